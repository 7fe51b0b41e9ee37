"""A failover to a lagging replica, several symbols and workers, and books that only a full rebuild mends."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.runtime.cli import cli
from tasks.base.errors import RedisRestarted, StateError
from tasks.base.events import EventKind
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.control.steps import put_in_force
from tasks.exchange.order_ids import OrderId, Purpose, parse_order_id
from tasks.ledger.models import Book
from tasks.settings.model import Settings
from tasks.tick.comparing import compare_books
from tasks.tick.trader import GridTrader, LeaseHeld
from tasks.views import store as views
from tests.support.binance.config import Config
from tests.support.binance.desk import BinanceDesk, join_binance_desk, open_binance_desk
from tests.support.binance.record import open_orders, sent_twice, unseen_trades
from tests.support.desk import BTC, QUICK, settings, walk
from tests.support.link import Link
from tests.support.mortal import Mortal
from tests.support.servers import RestartableRedis, debian_redis

KEYS = Keys("main")
ETH = "ETH/USDT"
COINS = {BTC: "BTC", ETH: "ETH"}
CANDLES = {BTC: walk(300, seed=3, step_bp=60), ETH: walk(300, seed=4, step_bp=60, start="2280")}
# The tests tick faster than any worker, so the exchange allows more requests and orders than Binance does.
EXCHANGE = Config(fee_currency="base", weight_limit=60_000, orders_per_10s=10_000)


class Killed(BaseException):
    """The worker was killed."""


def own_settings() -> Settings:
    """Two busy grids; a comparison waits two seconds."""
    return settings(trading=QUICK, symbols=dict.fromkeys(COINS, settings().symbols[BTC]))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestartableRedis]:
    """A Redis that can be restarted, also from an earlier state."""
    started = RestartableRedis(tmp_path)
    started.start()
    yield started
    started.stop()


@pytest.fixture
async def redis(server: RestartableRedis) -> AsyncIterator[RedisClient]:
    """A client of it."""
    client = connect(server.url)
    yield client
    await client.aclose()


async def traders_of(desk: BinanceDesk, owner: str = "test") -> list[GridTrader]:
    """One for each symbol."""
    return [await desk.trader(symbol, owner=f"{owner} {symbol}") for symbol in COINS]


async def trade(desk: BinanceDesk, traders: Sequence[GridTrader], minutes: int) -> None:
    """Tick every symbol and move the market."""
    for _ in range(minutes):
        for trader in traders:
            await trader.tick()
        await desk.server.advance(1)


async def check(desk: BinanceDesk, traders: Sequence[GridTrader], redis: RedisClient) -> None:
    """By the exchange's record: no id twice, every fill booked, every order journalled, the base is the account's."""
    for trader in traders:
        await quiet(trader, redis)
    record, balances = await desk.server.record(), await desk.client.balances()
    assert sent_twice(record) == {}
    seen = [str(one) for symbol in COINS for one in await redis.zrange(KEYS.seen(symbol), 0, -1)]
    assert unseen_trades(record, seen) == []
    journalled = {str(one) for symbol in COINS for one in await redis.hkeys(KEYS.intents(symbol))}
    assert {order.client_id for order in open_orders(record)} == journalled
    for symbol, coin in COINS.items():
        book = Book.model_validate_json(await redis.get(KEYS.book(symbol)) or "")
        assert book.base == balances[coin].free + balances[coin].locked


async def quiet(trader: GridTrader, redis: RedisClient) -> None:
    """Tick until nothing changes and no order is in doubt."""
    for _ in range(200):
        report = await trader.tick()
        states = " ".join(map(str, await redis.hvals(KEYS.intents(trader.symbol))))
        changed = report.placed or report.fills or report.cancelled
        if not (changed or '"INTENT"' in states or '"UNKNOWN"' in states):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the journal never settled")


async def restarts(redis: RedisClient) -> list[str]:
    """The events of finished comparisons."""
    return [one.body for one in await views.events(redis, KEYS, 200) if one.type == EventKind.REDIS_RESTARTED]


# --- failover


@pytest.fixture(params=["valkey-9", "redis-7"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[RestartableRedis, RestartableRedis]]:
    """A primary and a second server, of each kind."""
    binary = debian_redis() if request.param == "redis-7" else None
    folders = [tmp_path / name for name in ("primary", "replica")]
    for folder in folders:
        folder.mkdir()
    both = [RestartableRedis(folder, binary) for folder in folders]
    for one in both:
        one.start()
    yield both[0], both[1]
    for one in both:
        one.stop()


@asynccontextmanager
async def replicated(
    primary: RestartableRedis, replica: RestartableRedis
) -> AsyncIterator[tuple[RedisClient, Link, Link]]:
    """(client by way of an address that can be pointed elsewhere, that address, the replica's way to the primary)."""
    async with Link(primary.port) as front, Link(primary.port) as replication:
        client, operator = connect(f"redis://127.0.0.1:{front.port}/0"), connect(replica.url)
        await operator.replicaof("127.0.0.1", str(replication.port))
        await operator.aclose()
        yield client, front, replication
        await client.aclose()


async def in_step(primary: RedisClient, replica: RedisClient) -> None:
    """Wait until the replica has every write."""
    for _ in range(600):
        facts = await replica.info("replication")
        if facts["master_link_status"] == "up" and await replica.zcard(KEYS.seen(BTC)) == await primary.zcard(
            KEYS.seen(BTC)
        ):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the replica never caught up")


async def test_a_failover_to_a_lagging_replica(pair: tuple[RestartableRedis, RestartableRedis]) -> None:
    """The replica has lost the link some time ago, the primary dies, the replica is promoted: workers go on by it."""
    primary, replica = pair
    async with (
        replicated(primary, replica) as (redis, front, replication),
        open_binance_desk(redis, own_settings(), CANDLES, EXCHANGE) as desk,
    ):
        promoted = connect(replica.url)
        traders = await traders_of(desk)
        await trade(desk, traders, 15)
        await in_step(redis, promoted)
        await replication.cut()
        known = await promoted.zcard(KEYS.seen(BTC))
        await trade(desk, traders, 40)
        fences = dict(desk.desk.fences)
        assert await redis.zcard(KEYS.seen(BTC)) > known, "the replica does not lag"
        primary.kill()
        await promoted.replicaof("NO", "ONE")
        await front.cut()
        front.point_to(replica.port)
        assert await redis.zcard(KEYS.seen(BTC)) == known, "the client is not on the promoted replica"
        reports = [await trader.tick() for trader in traders]
        assert all(report.fence > fences[report.symbol] for report in reports)
        await check(desk, traders, redis)
        await trade(desk, traders, 40)
        await check(desk, traders, redis)
        (event,) = await restarts(redis)
        assert '"symbols": 2' in event
        assert '"lost_orders": 0' not in event
        await promoted.aclose()


# --- several symbols, several workers


async def test_one_request_for_each_symbol_when_nothing_is_new(server: RestartableRedis, redis: RedisClient) -> None:
    """The trades since its last tick; and two for all: the open orders and the balances."""
    async with open_binance_desk(redis, own_settings(), CANDLES, EXCHANGE) as desk:
        traders = await traders_of(desk)
        await trade(desk, traders, 20)
        for trader in traders:
            await quiet(trader, redis)
        server.stop()
        server.start()
        before = len((await desk.server.record()).requests)
        await compare_books(desk.desk)
        assert len((await desk.server.record()).requests) - before == 2 + len(COINS)
        await check(desk, traders, redis)


async def test_many_workers_race_and_one_compares(server: RestartableRedis, redis: RedisClient) -> None:
    """All workers of all symbols notice it at once: one of them compares every symbol, the others wait for it."""
    async with open_binance_desk(redis, own_settings(), CANDLES, EXCHANGE) as desk:
        first = await traders_of(desk)
        await trade(desk, first, 15)
        snapshot = server.snapshot()
        await trade(desk, first, 40)
        for trader in first:
            await trader.end_lease()
        server.go_back(snapshot)
        again = [await join_binance_desk(redis, own_settings(), desk.server) for _ in range(3)]
        workers = [first, *[await traders_of(one, f"worker {number}") for number, one in enumerate(again)]]
        ticks = (trader.tick() for traders in workers for trader in traders)
        answers = await asyncio.gather(*ticks, return_exceptions=True)
        assert {type(one) for one in answers if isinstance(one, Exception)} <= {RedisRestarted, LeaseHeld}
        assert len(await restarts(redis)) == 1
        for traders in workers:
            for trader in traders:
                await trader.end_lease()
        await check(desk, workers[1], redis)
        await trade(desk, workers[1], 20)
        await check(desk, workers[1], redis)
        assert len(await restarts(redis)) == 1
        for one in again:
            await one.close()


# --- a full rebuild


async def lose_fills(desk: BinanceDesk, server: RestartableRedis, redis: RedisClient) -> list[GridTrader]:
    """A restore that was only partial: the books are of an earlier time, and the order slots are not.

    The orders of the time between have then ended by the books, so their trades belong to nobody.
    """
    traders = await traders_of(desk)
    await trade(desk, traders, 15)
    snapshot = server.snapshot()
    await trade(desk, traders, 40)
    slots = {str(slot): str(cycle) for slot, cycle in (await redis.hgetall(KEYS.slots(BTC))).items()}
    for trader in traders:
        await trader.end_lease()
    server.go_back(snapshot)
    for slot, cycle in slots.items():
        await redis.hset(KEYS.slots(BTC), slot, cycle)
    return traders


async def test_books_that_still_differ_are_rebuilt(server: RestartableRedis, redis: RedisClient) -> None:
    """Trades of orders that have ended by the books: that symbol is rebuilt from all its orders and trades."""
    async with open_binance_desk(redis, own_settings(), CANDLES, EXCHANGE) as desk:
        traders = await lose_fills(desk, server, redis)
        await check(desk, traders, redis)
        await trade(desk, traders, 40)
        await check(desk, traders, redis)
        (event,) = await restarts(redis)
        assert '"waiting": []' in event


async def test_a_symbol_that_left_the_settings_needs_no_rebuild(server: RestartableRedis, redis: RedisClient) -> None:
    """Nobody knows its grid any more. Its fills are booked on top of what Redis holds, and it sells what it holds."""
    async with open_binance_desk(redis, own_settings(), CANDLES, EXCHANGE) as desk:
        traders = await lose_fills(desk, server, redis)
        await put_in_force(redis, settings(trading=QUICK, symbols={ETH: settings().symbols[BTC]}))
        await check(desk, traders, redis)
        (event,) = await restarts(redis)
        assert '"waiting": []' in event


async def test_an_order_that_came_late_needs_no_rebuild(server: RestartableRedis, redis: RedisClient) -> None:
    """It was declared never placed, and it filled before Redis restarted. Its cell had other orders since.

    The comparison books it as a tick does.
    """
    async with open_binance_desk(redis, own_settings(), CANDLES, EXCHANGE) as desk:
        traders = await traders_of(desk)
        await trade(desk, traders, 5)
        for order in await desk.client.open_orders(BTC):
            await desk.exchange.cancel_order(order.exchange_id, BTC)
        server.go_back(server.snapshot())
        await trade(desk, traders, 3)  # cycles start anew, with a gap
        names = [buy_after_a_restart(order.client_id) for order in open_orders(await desk.server.record(), BTC)]
        (name, *_) = filter(None, names)
        late, before = name._replace(cycle=name.cycle - 1), await redis.lrange(KEYS.newest_fills(BTC), 0, -1)
        await desk.exchange.create_order(BTC, "limit", "buy", 0.005, 60_000, {"clientOrderId": str(late)})
        server.go_back(server.snapshot())
        await traders[0].tick()
        fills = await redis.lrange(KEYS.newest_fills(BTC), 0, -1)
        assert str(late) in " ".join(map(str, fills))
        assert fills[-len(before) :] == before, "not rebuilt"
        await check(desk, traders, redis)


def buy_after_a_restart(client_id: str) -> OrderId | None:
    """Its name, if it is a buy whose cycle was set then."""
    name = parse_order_id(client_id)
    return name if name is not None and name.purpose is Purpose.BUY and name.cycle > 10**6 else None


async def test_killed_in_the_middle_of_a_rebuild(server: RestartableRedis, redis: RedisClient) -> None:
    """At every wait of it: another worker does it again from the start."""
    async with open_binance_desk(redis, own_settings(), CANDLES, EXCHANGE) as desk:
        traders = await lose_fills(desk, server, redis)
        before = await redis.get(KEYS.compared)
        for life in itertools.count(2, 3):
            try:
                await Mortal(compare_books(desk.desk), life, Killed)
                break
            except Killed:
                if await redis.get(KEYS.compared) != before:
                    break  # it was done
                await redis.delete(KEYS.comparison_lock, *map(KEYS.lease, COINS))
        assert life > 20
        await check(desk, traders, redis)
        await trade(desk, traders, 20)
        await check(desk, traders, redis)


async def test_a_rebuild_is_refused_where_the_exchange_has_forgotten(
    server: RestartableRedis, redis: RedisClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The books are older than what the exchange lists: that symbol waits and says why, the other one trades."""
    async with open_binance_desk(redis, own_settings(), CANDLES, EXCHANGE) as desk:
        traders = await lose_fills(desk, server, redis)
        monkeypatch.setattr(desk.client, "_venue", replace(desk.client._venue, keeps_ms=1))
        book = await redis.get(KEYS.book(BTC))
        btc, eth = traders
        for _ in range(2):
            with pytest.raises(StateError) as waits:
                await btc.tick()
            assert "BTC/USDT does not trade" in str(waits.value)
            assert "the exchange lists trades of the last 0 days only" in str(waits.value)
            assert "gridflow recover --accept BTC/USDT" in str(waits.value)
        await quiet(eth, redis)
        await trade(desk, [eth], 20)
        assert await redis.get(KEYS.book(BTC)) == book
        (event,) = await restarts(redis)
        assert '"waiting": ["BTC/USDT"]' in event
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("GRIDFLOW_REDIS_URL", server.url)
        accepted = await asyncio.to_thread(CliRunner().invoke, cli, ["recover", "--accept", BTC])
        assert accepted.exit_code == 0, accepted.output
        assert (await btc.tick()).symbol == BTC
        again = await asyncio.to_thread(CliRunner().invoke, cli, ["recover", "--accept", BTC])
        assert again.exit_code != 0
        assert "does not wait" in str(again.exception)
