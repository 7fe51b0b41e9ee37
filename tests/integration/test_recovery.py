"""Redis is lost: what the history has comes back, and the exchange is asked only for what is newer."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import func, select

from flows.runtime.stack.history import check_market
from tasks.base.errors import StackError, StateError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.control import books
from tasks.control import steps as control
from tasks.history import checkpoints, tables
from tasks.history.archiver import Archiver
from tasks.history.database import Database
from tasks.history.transfer import export_history, import_history
from tasks.ledger.models import Book
from tasks.orders.rules import TRADE_OVERLAP_MS
from tasks.settings.in_force import in_force, publish
from tasks.tick.comparing import compare_books, trust_exchange
from tasks.tick.recover import open_books
from tasks.tick.trader import GridTrader
from tasks.tick.trading_mode import mode_of
from tasks.views.steps import read_status
from tests.support.binance.config import Config
from tests.support.binance.desk import BinanceDesk, binance_desk, open_binance_desk, real_ccxt
from tests.support.binance.record import open_orders, sent_twice, unseen_trades
from tests.support.desk import BTC, QUICK, TestDesk, open_desk, settings, walk
from tests.support.history import file_database
from tests.support.views import shown

KEYS = Keys("main")
COINS = {BTC: "BTC", "ETH/USDT": "ETH", "BNB/USDT": "BNB"}
STARTS = {BTC: "42000", "ETH/USDT": "2280", "BNB/USDT": "310"}
CANDLES = {symbol: walk(200, seed=3, step_bp=60, start=start) for symbol, start in STARTS.items()}
EXCHANGE = Config(fee_currency="base", weight_limit=60_000, orders_per_10s=10_000)
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
OWN = settings(
    trading=QUICK,
    symbols=dict.fromkeys(COINS, settings().symbols[BTC]),
    exchange={"id": "binance", "live": True, "api_key": "k", "secret": "s"},
    live=True,
)


@pytest.fixture
async def archiver(redis: RedisClient, database: Database) -> AsyncIterator[Archiver]:
    """An archiver on a new database."""
    found = Archiver(redis, KEYS, database, 256)
    yield found
    await found.close()


async def trade(desk: BinanceDesk, minutes: int) -> None:
    """Tick every symbol and move the market; at the end nothing is left to book."""
    traders = [await desk.trader(symbol) for symbol in COINS]
    for _ in range(minutes):
        for trader in traders:
            await trader.tick()
        await desk.server.advance(1)
    for trader in traders:
        await quiet(trader)
        await trader.end_lease()


async def quiet(trader: GridTrader) -> None:
    """Tick until nothing changes."""
    for _ in range(100):
        report = await trader.tick()
        if not (report.placed or report.fills or report.cancelled or report.resolving):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the journal never settled")


@asynccontextmanager
async def started_again(redis: RedisClient, desk: BinanceDesk, archiver: Archiver) -> AsyncIterator[BinanceDesk]:
    """A new worker on the same exchange, whose Redis is empty; its books are open."""
    again = binance_desk(redis, OWN, desk.server, real_ccxt(desk.server))
    again.desk.recover = lambda: archiver.recover(mode_of(OWN))
    again.desk.markets.add(await again.client.markets(list(COINS)))
    try:
        await open_books(again.desk, again.desk.markets.known, "again")
        yield again
    finally:
        await again.close()


async def check(desk: BinanceDesk, redis: RedisClient, archiver: Archiver, database: Database) -> None:
    """By the exchange's record: no id twice, every order journalled, every fill booked and in the table once."""
    record, balances = await desk.server.record(), await desk.client.balances()
    assert sent_twice(record) == {}
    journalled = {str(one) for symbol in COINS for one in await redis.hkeys(KEYS.intents(symbol))}
    assert {order.client_id for order in open_orders(record)} == journalled
    seen = [str(one) for symbol in COINS for one in await redis.zrange(KEYS.seen(symbol), 0, -1)]
    assert unseen_trades(record, seen) == []
    for symbol, coin in COINS.items():
        book = Book.model_validate_json(await redis.get(KEYS.book(symbol)) or "")
        assert book.base == balances[coin].free + balances[coin].locked
    assert await archiver.drain(20) == 0
    rows = await filed(database)
    traded = Counter((trade.symbol, str(trade.trade_id)) for trade in record.trades)
    assert Counter((symbol.replace("/", ""), name) for symbol, name in rows if ":" not in name) == traded


async def filed(database: Database) -> Sequence[tuple[str, str]]:
    """The fills in the table."""
    async with database.connection() as connection:
        fills = tables.FILLS.c
        found = await connection.execute(select(fills.symbol, fills.trade_id))
        return [(str(symbol), str(name)) for symbol, name in found]


@pytest.fixture
def few_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few trade ids in a checkpoint that most come from the table of fills."""
    monkeypatch.setattr(checkpoints, "SEEN", 5)


@SQLITE
@pytest.mark.usefixtures("few_ids")
async def test_the_status_is_the_same_to_the_last_digit(
    redis: RedisClient, archiver: Archiver, database: Database, tmp_path: Path
) -> None:
    """On a new machine, with an import of the history: three symbols, then trading goes on.

    No request to the exchange is older than the last archived fill less the overlap.
    """
    async with open_binance_desk(redis, OWN, CANDLES, EXCHANGE) as desk:
        for _ in range(3):
            await trade(desk, 15)
            await archiver.step()
        assert await archiver.drain(20) == 0
        before, asked = await shown(redis, OWN), len((await desk.server.record()).requests)
        assert before["fills"] > 60
        assert before["grid_profit"] > 0
        async with database.connection() as connection:
            last_ms = int((await connection.execute(select(func.max(tables.FILLS.c.at_ms)))).scalar_one())
        booked = {symbol: await redis.zrange(KEYS.seen(symbol), 0, -1, withscores=True) for symbol in COINS}
        await redis.flushall()
        await export_history(database, "main", tmp_path / "export", "parquet")
        elsewhere = Database(file_database(tmp_path))
        await elsewhere.open()
        await import_history(elsewhere, "main", tmp_path / "export")
        other = Archiver(redis, KEYS, elsewhere, 256)
        async with started_again(redis, desk, other) as again:
            await compare_books(again.desk)
            assert await shown(redis, OWN) == before
            for symbol, ids in booked.items():
                assert await redis.zrange(KEYS.seen(symbol), 0, -1, withscores=True) == ids
            requests = (await desk.server.record()).requests[asked:]
            since = [int(row.params["startTime"]) for row in requests if "startTime" in row.params]
            assert since
            assert min(since) >= last_ms - TRADE_OVERLAP_MS
            assert not [row.path for row in requests if "allOrders" in row.path]
            assert all("startTime" in row.params for row in requests if "myTrades" in row.path)
            view = await read_status(OWN, redis)
            assert f"books of {', '.join(sorted(COINS))}" in view.history.restored
            await trade(again, 10)
            await check(again, redis, other, elsewhere)
        await other.close()


@POSTGRESQL
@pytest.mark.usefixtures("few_ids")
async def test_what_no_archiver_had_read_comes_from_the_exchange(
    redis: RedisClient, archiver: Archiver, database: Database
) -> None:
    """Orders and fills since the last checkpoint are booked; what else was lost, the status says."""
    async with open_binance_desk(redis, OWN, CANDLES, EXCHANGE) as desk:
        await trade(desk, 10)
        assert await archiver.drain(20) == 0
        known = len(await filed(database))
        await trade(desk, 10)
        before = await shown(redis, OWN)
        await redis.flushall()
        await control.pause(redis, OWN)  # before the books are back
        assert await archiver.drain(20) == 0
        async with started_again(redis, desk, archiver) as again:
            await trade(again, 0)
            view = await read_status(OWN, redis)
            assert view.paused
            await control.resume(redis, OWN)
            for now in view.symbols:
                assert before[f"{now.symbol} base"] == now.base
                assert before[f"{now.symbol} grid_profit"] == now.grid_profit
            assert "refusals, events and equity points from" in view.history.restored
            await trade(again, 10)
            await check(again, redis, archiver, database)
            assert len(await filed(database)) > known


@SQLITE
@pytest.mark.parametrize("source", ["exchange", "history"])
async def test_where_both_disagree_the_symbol_waits(redis: RedisClient, archiver: Archiver, source: str) -> None:
    """Both are named; the other symbols trade on; an operator chooses whom to trust."""
    async with open_binance_desk(redis, OWN, CANDLES, EXCHANGE) as desk:
        await trade(desk, 15)
        newest = str((await redis.zrevrange(KEYS.seen(BTC), 0, 0))[0])
        if source == "exchange":  # the history lacks a trade of an order that has ended
            await redis.zrem(KEYS.seen(BTC), newest)
        else:  # it has one that the exchange never had
            await redis.zadd(KEYS.seen(BTC), {"987654": int(await redis.zscore(KEYS.seen(BTC), newest) or 0)})
        assert await archiver.drain(20) == 0
        await redis.flushall()
        async with started_again(redis, desk, archiver) as again:
            await compare_books(again.desk)
            trader = await again.trader()
            says = f"exchange shows 1 trades .{newest}." if source == "exchange" else "history has 1 trades .987654."
            with pytest.raises(StateError, match=f"{says}.*recover --trust exchange BTC/USDT.*--trust history"):
                await trader.tick()
            await (await again.trader("ETH/USDT")).tick()
            with pytest.raises(StateError, match="ETH/USDT waits for its books: there is nothing to decide"):
                await books.trust(redis, OWN, source, ["ETH/USDT"])
            if source == "exchange":
                await trust_exchange(again.desk, BTC)
            else:
                assert await books.trust(redis, OWN, source, []) == (BTC,)
            await trade(again, 3)
            assert sent_twice(await desk.server.record()) == {}


@SQLITE
async def test_a_new_paper_market_repeats_no_id(
    redis: RedisClient, archiver: Archiver, database: Database, tmp_path: Path
) -> None:
    """Without leave none begins; then the history has the trades of both, and counts each once."""
    own = settings()

    async def market(seed: int, new_market: bool = False) -> tuple[TestDesk, int]:
        desk = await open_desk(redis, own, {BTC: walk(80, seed)}, rebalance=False)
        desk.desk.recover = lambda: archiver.recover("paper", new_market)
        await open_books(desk.desk, await desk.client.markets([BTC]), "test")
        trader, fills = await desk.trader(), 0
        for _ in range(20):
            fills += (await trader.tick()).fills
            await desk.exchange.advance(3)
        await archiver.drain(20)
        await desk.close()
        return desk, fills

    _, first = await market(1)
    await redis.flushall()
    with pytest.raises(StateError, match="gridflow up --new-market"):
        await market(2)
    up = settings(database_url=database.url.render_as_string(hide_password=False))
    with pytest.raises(StackError, match=r"ended when Redis lost it.*gridflow up --new-market"):
        await check_market(up, redis, tmp_path, new_market=False)
    await check_market(up, redis, tmp_path, new_market=True)
    _, second = await market(2)
    await redis.flushall()
    _, third = await market(3, new_market=True)  # a worker outside a stack needs no leave
    assert len(await filed(database)) == first + second + third > first > 5
    async with database.connection() as connection:
        counted = (await connection.execute(select(func.sum(tables.DAYS.c.fills)))).scalar()
        sums = (await connection.execute(select(tables.DAYS.c.profit))).scalars().all()
        rounds = (await connection.execute(select(tables.ROUNDS.c.profit))).scalars().all()
        unread = (await connection.execute(select(tables.UNREADABLE))).all()
    assert (counted, unread) == (first + second + third, [])
    assert sum(sums) == sum(rounds)
    assert "a new one began" in (await read_status(own, redis)).history.restored


@SQLITE
async def test_settings_in_force_come_back_before_a_worker_s_own_file_counts(
    redis: RedisClient, archiver: Archiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator published newer ones; the worker starts with an older file. What it cannot trade by is named."""
    monkeypatch.setattr(logging.getLogger("tasks"), "propagate", True)
    older, newer = settings(), settings(global_max_usage="0.5", total_funds="5000")
    await publish(redis, older)
    await publish(redis, newer)
    assert await archiver.drain(20) == 0
    await redis.flushall()
    desk = await open_desk(redis, older, {BTC: walk(20)}, rebalance=False)

    async def restore() -> None:
        await archiver.restore_settings(older)

    desk.desk.restore_settings = restore
    desk.desk.markets.add(await desk.client.markets([BTC]))
    await open_books(desk.desk, desk.desk.markets.known, "again")
    found = await in_force(redis, older)
    assert (found.version, found.settings.total_funds) == (2, Decimal(5000))
    assert desk.desk.settings.total_funds == 5000
    assert (await read_status(older, redis)).pool == 2500
    assert await archiver.restore_settings(older) == 0, "they are in force"
    await redis.flushall()
    await publish(redis, older)
    assert await archiver.restore_settings(older) == 0, "what an operator publishes first stands"
    await redis.flushall()
    assert await archiver.restore_settings(settings(exchange={"id": "okx"})) == 0
    assert "they differ in exchange.id" in [getattr(record, "why", "") for record in caplog.records]
    assert not await redis.exists(KEYS.settings)
    await desk.close()
