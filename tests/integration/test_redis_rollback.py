"""Redis goes back in time (a restored snapshot, a failover to a lagging replica) or restarts, on a live account."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis as sync_redis

from tasks.base.clock import utc_now
from tasks.base.errors import ExchangeUnavailable, RedisRestarted, StateError
from tasks.base.events import EventKind
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.control.steps import put_in_force, stop
from tasks.funds.models import FundCode
from tasks.ledger.models import Book
from tasks.ledger.steps import audit_funds
from tasks.settings.in_force import publish
from tasks.settings.model import Settings
from tasks.tick import comparing, order_cancelling
from tasks.tick.comparing import compare_books
from tasks.tick.order_cancelling import cancel_all_orders
from tasks.tick.trader import GridTrader
from tasks.tick.window import run_window
from tasks.views import store as views
from tests.support.binance.config import Config
from tests.support.binance.desk import BinanceDesk, join_binance_desk, open_binance_desk
from tests.support.binance.faults import Fault, FaultKind
from tests.support.binance.record import open_orders, sent_twice, unseen_trades
from tests.support.books import check_books, settle
from tests.support.desk import BTC, open_desk, settings, walk
from tests.support.mortal import Mortal
from tests.support.servers import RestartableRedis

KEYS = Keys("main")
BNB = "BNB/USDT"
ETH = "ETH/USDT"
EXCHANGE = Config(weight_limit=60_000)  # the tests tick faster than any worker
QUICK = {"request_valid_seconds": "0.8", "protection_seconds": "1", "lease_seconds": 2}


class Killed(BaseException):
    """The worker was killed."""


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


def own_settings(lease_seconds: int = 2, **changes: Any) -> Settings:
    """One busy grid; a comparison waits a second."""
    return settings(trading=QUICK | {"lease_seconds": lease_seconds}, **changes)


@asynccontextmanager
async def two_symbols(redis: RedisClient) -> AsyncIterator[tuple[BinanceDesk, list[GridTrader]]]:
    """A desk with BTC and ETH, and a trader of each."""
    both = own_settings(symbols=dict.fromkeys((BTC, ETH), own_settings().symbols[BTC]))
    candles = {BTC: walk(60, seed=4), ETH: walk(60, seed=4, start="2300")}
    async with open_binance_desk(redis, both, candles, EXCHANGE) as desk:
        yield desk, [await desk.trader(symbol) for symbol in (BTC, ETH)]


async def trade(desk: BinanceDesk, trader: GridTrader, minutes: int) -> None:
    """Tick and move the market."""
    for _ in range(minutes):
        await trader.tick()
        await desk.server.advance(1)


async def check(desk: BinanceDesk, trader: GridTrader, redis: RedisClient) -> None:
    """Both sides agree. By the exchange's record: no id twice, every fill booked, every resting order journalled."""
    await settle(trader, redis)
    while (report := await trader.tick()).placed or report.fills:
        pass  # what fills as it is placed is booked by the next tick
    record = await desk.server.record()
    assert sent_twice(record) == {}
    assert unseen_trades(record, map(str, await redis.zrange(KEYS.seen(BTC), 0, -1))) == []
    assert {order.client_id for order in open_orders(record)} == set(await redis.hkeys(KEYS.intents(BTC)))
    await check_books(desk, redis)


async def cancel_some(desk: BinanceDesk) -> None:
    """By hand: their cells send new orders, and the exchange lists the old ones nowhere but among all orders."""
    for order in (await desk.client.open_orders(BTC))[::3]:
        await desk.exchange.cancel_order(order.exchange_id, BTC)


@pytest.mark.parametrize("seed", range(4))
async def test_a_restored_snapshot(server: RestartableRedis, redis: RedisClient, seed: int) -> None:
    """No id is sent twice, every fill is booked, the base is the account's, fences are above the old ones."""
    odd: dict[str, Any] = {"fee_currency": "base", "partial_share": 0.4, "partial_chance": 0.5} if seed % 2 else {}
    config = Config(weight_limit=60_000, **odd)
    async with open_binance_desk(redis, own_settings(), {BTC: walk(300, seed=seed, step_bp=50)}, config) as desk:
        trader = await desk.trader()
        await trade(desk, trader, 15 + 7 * seed)
        snapshot = server.snapshot()
        for _ in range(4):
            await trade(desk, trader, 15)
            await cancel_some(desk)
        fence, lost = int(await redis.get(KEYS.fence(BTC)) or 0), await redis.zcard(KEYS.seen(BTC))
        server.go_back(snapshot)
        assert await redis.zcard(KEYS.seen(BTC)) < lost
        report = await trader.tick()
        assert report.fence > fence
        await check(desk, trader, redis)
        await trade(desk, trader, 60)
        await check(desk, trader, redis)
        (event,) = [one for one in await views.events(redis, KEYS, 50) if one.type == EventKind.REDIS_RESTARTED]
        assert '"lost_orders": 0' not in str(event)


async def test_an_order_whose_end_cannot_be_read_yet_is_compared_again(
    server: RestartableRedis, redis: RedisClient
) -> None:
    """It ended, the next one of its cell was cancelled unfilled, and Redis lost both facts: nothing shows the second
    one any more. Trading goes on only when the end of the first one is known, because the next id is above it alone.
    """
    async with open_binance_desk(redis, own_settings(), {BTC: walk(60)}, EXCHANGE) as desk:
        trader = await desk.trader()
        await trade(desk, trader, 2)
        snapshot = server.snapshot()
        for _ in range(2):
            for order in await desk.client.open_orders(BTC):
                await desk.exchange.cancel_order(order.exchange_id, BTC)
            await trader.tick()
        for order in await desk.client.open_orders(BTC):
            await desk.exchange.cancel_order(order.exchange_id, BTC)
        server.go_back(snapshot)
        await desk.server.inject(Fault(kind=FaultKind.HTML_BEFORE, method="GET", path="/order"), count=3)
        with pytest.raises(ExchangeUnavailable, match=r"the outcome of gf.* is not known; it is compared again"):
            await trader.tick()
        await trader.tick()
        await trade(desk, trader, 5)
        await check(desk, trader, redis)


async def test_a_snapshot_of_before_the_first_tick(server: RestartableRedis, redis: RedisClient) -> None:
    """The pot was shared and nothing else: what it grants again must not be what orders of ours have committed."""
    async with open_binance_desk(redis, own_settings(), {BTC: walk(100, seed=4)}, EXCHANGE) as desk:
        snapshot = server.snapshot()
        trader = await desk.trader()
        await trade(desk, trader, 5)
        server.go_back(snapshot)
        other = await join_binance_desk(redis, own_settings(), desk.server)
        trader = await other.trader(owner="other")
        await trader.tick()
        assert [one for one in await views.events(redis, KEYS, 50) if one.type == EventKind.REDIS_RESTARTED]
        await check(other, trader, redis)
        await other.close()


async def test_a_stop_cannot_tell_before_the_comparison(
    server: RestartableRedis, redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has lost the journal, and the exchange is away: no report says that no order is open."""
    async with open_binance_desk(redis, own_settings(), {BTC: walk(100, seed=4)}, EXCHANGE) as desk:
        snapshot = server.snapshot()
        await (await desk.trader()).tick()
        server.go_back(snapshot)
        await stop(redis, own_settings())
        monkeypatch.setattr(order_cancelling, "MAX_SECONDS", 1.0)
        await desk.server.outage(60)
        with pytest.raises(StateError, match="orders may be open that it has lost"):
            await cancel_all_orders(desk.desk, desk.trader)
        assert open_orders(await desk.server.record())
        await desk.server.outage(0)
        monkeypatch.setattr(order_cancelling, "MAX_SECONDS", 30.0)
        assert (await cancel_all_orders(desk.desk, desk.trader)).is_clean
        assert open_orders(await desk.server.record()) == []


async def test_a_delisted_symbol_does_not_stop_the_comparison(server: RestartableRedis, redis: RedisClient) -> None:
    """The comparing process still has its market. The other symbols trade on."""
    async with two_symbols(redis) as (desk, traders):
        for trader in traders:
            await trader.tick()
        desk.server.binance.engine.delist(ETH)  # type: ignore[attr-defined]
        server.go_back(server.snapshot())
        assert (await traders[0].tick()).symbol == BTC


async def test_a_symbol_that_is_listed_again_after_the_comparison_repeats_no_id(
    server: RestartableRedis, redis: RedisClient
) -> None:
    """The comparison saw none of its orders. Those that Redis lost had been cancelled by the exchange."""
    async with two_symbols(redis) as (desk, traders):
        for trader in traders:
            await trader.tick()
        snapshot = server.snapshot()
        await trade(desk, traders[1], 8)
        engine = desk.server.binance.engine  # type: ignore[attr-defined]
        engine.delist(ETH)
        server.go_back(snapshot)
        await traders[0].tick()
        engine.relist(ETH)
        await trade(desk, traders[1], 8)
        assert sent_twice(await desk.server.record()) == {}


async def test_fills_that_redis_lost_are_booked_once_the_symbol_is_listed_again(
    server: RestartableRedis, redis: RedisClient
) -> None:
    """It was not listed while the books were compared, so it is compared before its next tick, once."""
    async with two_symbols(redis) as (desk, traders):
        await traders[0].tick()
        await trade(desk, traders[1], 2)
        snapshot, before = server.snapshot(), await redis.zcard(KEYS.seen(ETH))
        await trade(desk, traders[1], 20)
        lost = await redis.zcard(KEYS.seen(ETH)) - before
        engine = desk.server.binance.engine  # type: ignore[attr-defined]
        engine.delist(ETH)
        server.go_back(snapshot)
        await traders[0].tick()
        assert await redis.hkeys(KEYS.uncompared) == [ETH]
        engine.relist(ETH)
        await traders[1].tick()
        assert lost > 3
        record = await desk.server.record()
        seen = [str(name) for name in await redis.zrange(KEYS.seen(ETH), 0, -1)]
        assert unseen_trades(record, seen, ETH) == []
        assert sent_twice(record) == {}
        assert await redis.hkeys(KEYS.uncompared) == []
        told = [one for one in await views.events(redis, KEYS, 50) if one.type == EventKind.REDIS_RESTARTED]
        assert len(told) == 2


async def test_a_delisted_coin_does_not_stop_the_search_for_symbols_that_redis_forgot(
    server: RestartableRedis, redis: RedisClient
) -> None:
    """The coin lies on the account, its symbol is in no settings, and this process has read its market before."""
    rich = Config(weight_limit=60_000, balances={"USDT": Decimal(10_000), "ETH": Decimal(1)})
    async with open_binance_desk(redis, own_settings(), {BTC: walk(60, seed=4), ETH: walk(60)}, rich) as desk:
        trader = await desk.trader()
        await trade(desk, trader, 2)
        snapshot = server.snapshot()
        await trade(desk, trader, 10)
        await desk.desk.exchange.markets([ETH])
        desk.server.binance.engine.delist(ETH)  # type: ignore[attr-defined]
        server.go_back(snapshot)
        assert (await trader.tick()).symbol == BTC


async def test_fees_of_lost_fills_leave_their_cells_once(server: RestartableRedis, redis: RedisClient) -> None:
    """Fees in BNB were queued and paid after the snapshot; what is booked again is queued and paid again, once."""
    grid = {"grid": "geometric", "range_pct": "0.04", "cells": 20, "start": "balanced"}
    own = own_settings(symbols={BTC: grid, BNB: grid})
    candles = {BTC: walk(200, seed=1, step_bp=50), BNB: walk(200, seed=2, start="312", step_bp=50)}
    account = {"USDT": Decimal(10_000), "BNB": Decimal(1)}
    config = Config(weight_limit=60_000, balances=account, fee_currency="BNB")
    async with open_binance_desk(redis, own, candles, config) as desk:
        traders = [await desk.trader(symbol) for symbol in (BTC, BNB)]

        async def both(minutes: int) -> None:
            for _ in range(minutes):
                for trader in traders:
                    await trader.tick()
                await desk.server.advance(1)

        async def books() -> list[Book]:
            return [Book.model_validate_json(await redis.get(KEYS.book(symbol)) or "") for symbol in (BTC, BNB)]

        await both(15)
        snapshot, before = server.snapshot(), await books()
        await both(25)
        assert (await books())[1].fee_base > before[1].fee_base
        server.go_back(snapshot)
        await both(40)
        for trader in (*traders, *traders, *traders):
            await trader.tick()
        btc, bnb = await books()
        assert await redis.hlen(KEYS.fee_queue(BNB)) == 0
        assert bnb.fee_base > before[1].fee_base
        held = {coin: one.free + one.locked for coin, one in (await desk.client.balances()).items()}
        elsewhere = btc.other_fees["BNB"] + bnb.other_fees.get("BNB", Decimal(0))
        assert held["BTC"] == btc.base
        assert held["BNB"] == 1 + bnb.base + bnb.fee_base - elsewhere
        assert held["USDT"] == 10_000 + btc.cash + bnb.cash
        assert bnb.fee_base == elsewhere, "BNB of one's own paid nothing"


async def test_a_plain_restart_costs_one_request_a_symbol_and_two_for_the_account(
    server: RestartableRedis, redis: RedisClient
) -> None:
    """Nothing is lost and nothing is new: the trades since the last tick; and all open orders, and the balances."""
    async with open_binance_desk(redis, own_settings(), {BTC: walk(100, seed=4)}, EXCHANGE) as desk:
        trader = await desk.trader()
        await trade(desk, trader, 20)
        await settle(trader, redis)
        before = await redis.hgetall(KEYS.intents(BTC)), await redis.get(KEYS.book(BTC))
        server.stop()
        server.start()
        requests = len((await desk.server.record()).requests)
        await compare_books(desk.desk)
        assert len((await desk.server.record()).requests) - requests == 3
        assert before == (await redis.hgetall(KEYS.intents(BTC)), await redis.get(KEYS.book(BTC)))
        await trade(desk, trader, 20)
        await check(desk, trader, redis)


@pytest.mark.parametrize("step", ["begun", "evidence", "cancelled", "reserved", "sent"])
async def test_redis_goes_back_in_the_middle_of_a_tick(server: RestartableRedis, redis: RedisClient, step: str) -> None:
    """The tick writes nothing more: not before anybody noticed, and not with its old lease after the comparison."""
    async with open_binance_desk(
        redis, own_settings(lease_seconds=10), {BTC: walk(200, seed=4, step_bp=60)}, EXCHANGE
    ) as desk:
        trader = await desk.trader()
        await trade(desk, trader, 10)
        snapshot = server.snapshot()
        await trade(desk, trader, 10)

        def go_back(reached: str) -> None:
            if reached == step:
                server.go_back(snapshot)

        frozen = await desk.trader(owner="test", checkpoint=go_back)
        with pytest.raises(RedisRestarted):
            await frozen.tick()
        fence = desk.desk.fences[BTC]
        await compare_books(desk.desk)
        code = (await desk.desk.allocator.release(BTC, fence, ids=[]))[0]
        assert code is FundCode.STALE_FENCE
        await trade(desk, trader, 30)
        await check(desk, trader, redis)


async def test_one_worker_compares_and_the_others_wait(server: RestartableRedis, redis: RedisClient) -> None:
    """The others' ticks say why, at once, and go on when it is done."""
    async with open_binance_desk(redis, own_settings(), {BTC: walk(200, seed=4)}, EXCHANGE) as desk:
        first, second = await desk.trader(owner="first"), await desk.trader(owner="second")
        await trade(desk, first, 10)
        snapshot = server.snapshot()
        await trade(desk, first, 20)
        await first.end_lease()
        server.go_back(snapshot)
        both = await asyncio.gather(first.tick(), second.tick(), return_exceptions=True)
        (waiting,) = [one for one in both if isinstance(one, BaseException)]
        assert isinstance(waiting, RedisRestarted)
        assert "being compared with the exchange" in str(waiting)
        await first.end_lease()
        await second.tick()
        await check(desk, second, redis)


async def test_a_window_goes_on(server: RestartableRedis, redis: RedisClient) -> None:
    """A lease that the restart took ends no window: where no other worker has the symbol, the next tick goes on."""
    async with open_binance_desk(redis, own_settings(), {BTC: walk(200, seed=4)}, EXCHANGE) as desk:
        reached = itertools.count()

        def restart(step: str) -> None:
            if step == "evidence" and next(reached) == 1:
                server.stop()
                server.start()

        trader = await desk.trader(checkpoint=restart)
        await trader.tick()
        report = await run_window(trader, utc_now().timestamp() + 6, utc_now, lambda: None)
        assert (report.ended, report.failed_ticks) == ("time", 1)
        assert report.ticks >= 1
        await check(desk, trader, redis)


async def test_killed_in_the_middle_of_a_comparison(server: RestartableRedis, redis: RedisClient) -> None:
    """At every wait of it: no lease is given meanwhile, and the next worker does it again from the start."""
    async with open_binance_desk(redis, own_settings(), {BTC: walk(200, seed=4, step_bp=50)}, EXCHANGE) as desk:
        trader = await desk.trader()
        await trade(desk, trader, 10)
        snapshot = server.snapshot()
        await trade(desk, trader, 40)
        server.go_back(snapshot)
        before = await redis.get(KEYS.compared)
        for life in itertools.count(1):
            try:
                await Mortal(compare_books(desk.desk), life, Killed)
                break
            except Killed:
                if await redis.get(KEYS.compared) != before:
                    break  # it was done
                with pytest.raises(RedisRestarted):
                    await _while_locked(trader, redis)
                await redis.delete(KEYS.comparison_lock, KEYS.lease(BTC))
        assert life > 8
        await trade(desk, trader, 30)
        await check(desk, trader, redis)


async def _while_locked(trader: GridTrader, redis: RedisClient) -> None:
    await redis.set(KEYS.comparison_lock, "the dead worker", nx=True)
    await trader.tick()


async def test_an_order_above_its_slot_proves_it(server: RestartableRedis, redis: RedisClient) -> None:
    """Also where the server's ids tell nothing: a resting order of ours was never journalled here."""
    async with open_binance_desk(redis, own_settings(), {BTC: walk(200, seed=4, step_bp=50)}, EXCHANGE) as desk:
        trader = await desk.trader()
        await trade(desk, trader, 10)
        snapshot = server.snapshot()
        await trade(desk, trader, 40)
        await trader.end_lease()
        server.go_back(snapshot)
        await redis.delete(KEYS.lease(BTC))
        info = {**await redis.info("replication"), **await redis.info("server")}
        for key in (KEYS.server, KEYS.compared):
            await redis.set(key, f"{info['master_replid']} {info['run_id']}")
        again = await join_binance_desk(redis, own_settings(), desk.server)  # another process: it knows no fence
        other = await again.trader(owner="other")
        with pytest.raises(RedisRestarted):
            await other.tick()
        await other.tick()
        await check(desk, other, redis)
        await again.close()


async def test_a_fence_below_a_known_one_proves_it(server: RestartableRedis, redis: RedisClient) -> None:
    """The data went back under a server that ran on, as with a restore into it."""
    async with open_binance_desk(redis, own_settings(), {BTC: walk(200, seed=4, step_bp=50)}, EXCHANGE) as desk:
        trader = await desk.trader()
        await trade(desk, trader, 10)
        with sync_redis.Redis.from_url(server.url) as bytewise:
            dumps = {key: bytewise.dump(key) for key in bytewise.scan_iter()}
        await trader.end_lease()
        await trade(desk, trader, 30)
        await redis.flushall()
        with sync_redis.Redis.from_url(server.url) as bytewise:
            for key, body in dumps.items():
                bytewise.restore(key, 0, body)
        await redis.delete(KEYS.lease(BTC))
        await trader.tick()
        await check(desk, trader, redis)


async def test_a_symbol_that_the_comparing_worker_did_not_know(server: RestartableRedis, redis: RedisClient) -> None:
    """It was added by other settings, and its first grid and orders were lost: they are rebuilt from the exchange."""
    grid = {"grid": "geometric", "range_pct": "0.04", "cells": 8, "quote_per_cell": "100"}
    first, both = own_settings(symbols={BTC: grid}), own_settings(symbols={BTC: grid, ETH: grid})
    candles = {BTC: walk(60), ETH: walk(60, seed=3, start="2300")}
    async with open_binance_desk(redis, first, candles, EXCHANGE) as desk:
        await publish(redis, first)
        old = await desk.trader(owner="old")
        await trade(desk, old, 5)
        await put_in_force(redis, both)
        snapshot = server.snapshot()
        other = await join_binance_desk(redis, both, desk.server)
        trader = await other.trader(ETH, owner="other")
        await trade(other, trader, 10)
        server.go_back(snapshot)
        assert set(desk.desk.settings.symbols) == {BTC}
        await old.tick()
        orders = {order.client_id for order in open_orders(await desk.server.record(), ETH)}
        assert orders
        assert orders == set(await redis.hkeys(KEYS.intents(ETH)))
        await other.close()


async def no_answer(*_: object) -> list[str]:
    """The exchange is away."""
    raise ExchangeUnavailable("the exchange is away")


@pytest.mark.parametrize(
    ("rests", "interrupted", "alone"),
    [(True, False, False), (False, False, False), (False, True, False), (False, False, True)],
)
async def test_a_forgotten_symbol_that_left_the_settings(
    server: RestartableRedis,
    redis: RedisClient,
    rests: bool,
    interrupted: bool,
    alone: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It came after the snapshot, bought, and left. It is found by its orders or its base, also where it is all
    that was lost (`alone`).

    Its books are rebuilt, and it sells what it holds. A comparison that is interrupted once all other losses are booked
    does not hide it from the next one.
    """
    one, both = own_settings(), own_settings(symbols=dict.fromkeys((BTC, ETH), own_settings().symbols[BTC]))
    candles = {BTC: walk(200, seed=4, step_bp=0 if alone else 50), ETH: walk(200, seed=4, start="2300")}
    async with open_binance_desk(redis, one, candles, EXCHANGE) as desk:
        btc = await desk.trader()
        await trade(desk, btc, 2)
        snapshot = server.snapshot()
        await put_in_force(redis, both)
        eth = await desk.trader(ETH)
        for _ in range(10):
            await eth.tick()
            await trade(desk, btc, 1)
        await put_in_force(redis, one)
        await eth.tick()  # cancels its buys
        await eth.tick()
        held = (await desk.client.balances())["ETH"]
        assert held.locked > 0
        book = Book.model_validate_json(await redis.get(KEYS.book(ETH)) or "")
        if not rests:
            for order in await desk.client.open_orders(ETH):
                await desk.exchange.cancel_order(order.exchange_id, ETH)
        server.go_back(snapshot)
        await put_in_force(redis, one)
        if interrupted:
            with monkeypatch.context() as patched:
                patched.setattr(comparing, "forgotten_with_base", no_answer)
                with pytest.raises(ExchangeUnavailable):
                    await btc.tick()
        await btc.tick()
        found = Book.model_validate_json(await redis.get(KEYS.book(ETH)) or "")
        assert (found.base, found.cash, found.basis) == (book.base, book.cash, book.basis)
        report = await eth.tick()
        assert (report.retiring, report.left) == (True, False)
        await eth.tick()
        selling = {order.client_id: order.qty for order in await desk.client.open_orders(ETH)}
        assert sum(selling.values()) == held.free + held.locked
        assert selling.keys() == set(await redis.hkeys(KEYS.intents(ETH)))
        assert (await audit_funds(redis, KEYS, [BTC, ETH], desk.client)).drift == ()


async def test_settings_that_redis_lost_are_followed_by_no_worker(server: RestartableRedis, redis: RedisClient) -> None:
    """A version that was lost is never given again: a worker that had loaded it loads what is in force."""
    capped = [own_settings(10, total_funds=funds) for funds in ("10000", "5000", "2000")]
    async with open_binance_desk(redis, capped[0], {BTC: walk(100)}, EXCHANGE) as desk:
        trader = await desk.trader()
        await put_in_force(redis, capped[0])
        await trade(desk, trader, 2)
        snapshot = server.snapshot()
        await put_in_force(redis, capped[1])
        await trade(desk, trader, 2)
        assert desk.desk.settings.total_funds == 5000
        await trader.end_lease()
        server.go_back(snapshot)
        other = await join_binance_desk(redis, capped[0], desk.server)
        await (await other.trader(owner="other")).tick()  # it compares
        await redis.delete(KEYS.lease(BTC))
        await put_in_force(redis, capped[2])
        await trader.tick()
        assert desk.desk.settings.total_funds == 2000
        await other.close()


async def test_paper_only_raises_the_fences(server: RestartableRedis, redis: RedisClient) -> None:
    """The paper exchange went back with the books: they agree, and trading goes on at the next tick."""
    desk = await open_desk(redis, own_settings(), {BTC: walk(200, seed=4)})
    trader = await desk.trader()
    for _ in range(10):
        await trader.tick()
        await desk.exchange.advance(1)
    snapshot = server.snapshot()
    for _ in range(10):
        await trader.tick()
        await desk.exchange.advance(1)
    fence = desk.desk.fences[BTC]
    server.go_back(snapshot)
    await desk.close()
    desk = await open_desk(redis, own_settings())
    trader = await desk.trader(owner="next")
    report = await trader.tick()
    assert report.fence > fence
    await settle(trader, redis)
    await check_books(desk, redis)
    assert await redis.get(KEYS.compared) == await redis.get(KEYS.server)
    await desk.close()
