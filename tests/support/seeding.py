"""An account that has really traded: three symbols on the paper exchange, with logs, refusals and an equity curve."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from tasks.base.clock import to_ms
from tasks.base.keys import Keys
from tasks.base.log_setup import RedisLogHandler
from tasks.base.redis_client import RedisClient, connect
from tasks.exchange.models import Candle
from tasks.funds.models import Reservation, SymbolPerformance
from tasks.history.archiver import Archiver
from tasks.history.database import Database, history_url
from tasks.settings.model import Settings
from tasks.tick import store as tick_store
from tasks.views import store as views_store
from tasks.views.steps import read_status
from tests.support.desk import TestDesk, open_desk, walk
from tests.support.own_loop import in_own_loop
from tests.support.servers import RestartableRedis

STARTS = {"BTC/USDT": ("42000", 3), "ETH/USDT": ("2300", 5), "BNB/USDT": ("310", 8)}
HOSTILE = "<img src=x onerror=alert(1)> **bold** [link](http://example.org) =SUM(A1)"


def account() -> Settings:
    """The account the dashboard shows: built-in symbols, a dynamic strategy."""
    return Settings(allocation_strategy="dynamic", trading={"lease_seconds": 1})


def market(candles: int) -> dict[str, Sequence[Candle]]:
    """A random walk for each symbol; cent prices."""
    return {symbol: walk(candles, seed, start, 45) for symbol, (start, seed) in STARTS.items()}


async def seed(url: str, candles: int = 120) -> None:
    """Fill the Redis at `url`."""
    redis = connect(url)
    own = account()
    desk = await open_desk(redis, own, market(candles + 1))
    try:
        await _trade(desk, redis, own, candles)
        earned = {"BTC/USDT": SymbolPerformance(return_72h=Decimal("0.05"))}
        await desk.desk.allocator.rebalance_if_needed(force=True, reason="scheduled", performance=earned)
        await _refuse(desk, redis)
        await _log(redis, desk)
    finally:
        await desk.close()
        await redis.aclose()


async def _trade(desk: TestDesk, redis: RedisClient, own: Settings, candles: int) -> None:
    traders = [await desk.trader(symbol) for symbol in STARTS]
    begun = to_ms(datetime.now(UTC)) - candles * 60_000
    for minute in range(candles):
        for trader in traders:
            await trader.tick()
        await desk.exchange.advance(1)
        if minute % 5 == 0:
            view = await read_status(own, redis)
            await views_store.add_equity_point(redis, desk.desk.keys, view, begun + minute * 60_000)
    for trader in traders:
        await trader.tick()


async def _refuse(desk: TestDesk, redis: RedisClient) -> None:
    """Ask for more than there is, twice."""
    for number, symbol in enumerate(("BTC/USDT", "ETH/USDT")):
        state, _ = await tick_store.begin(redis, keys=desk.desk.keys, symbol=symbol, owner="test", lease_ms=1000)
        assert state is not None
        cell = next(iter(state.cells.values()))
        item = Reservation(
            id=f"too-much-{number}",
            slot="test:buy",
            sequence=number,
            units=10**13,
            intent="{}",
            cell_key=cell.key,
            cell=cell.model_dump_json(),
        )
        await desk.desk.allocator.reserve(symbol, state.fence, [item])
    _, refused = await views_store.counters(redis, desk.desk.keys)
    assert refused == {(symbol, "SYMBOL_LIMIT"): 1 for symbol in ("BTC/USDT", "ETH/USDT")}


async def _log(redis: RedisClient, desk: TestDesk) -> None:
    handler = RedisLogHandler("worker")
    records: list[tuple[int, str, dict[str, object]]] = [
        (logging.INFO, "rebalanced", {"reason": "scheduled", "version": 2}),
        (logging.INFO, "fill booked", {"symbol": "BTC/USDT", "side": "sell", "price": "42100.5", "profit": "0.93"}),
        (logging.WARNING, "order outcome unknown", {"symbol": "ETH/USDT", "id": "g1-3-b-7"}),
        (logging.ERROR, "tick failed; the next tick reads everything again", {"symbol": "BNB/USDT", "error": HOSTILE}),
    ]
    for level, message, fields in records:
        name = logging.getLevelName(level)
        handler.handle(
            logging.makeLogRecord({"name": "tasks.tick", "levelno": level, "levelname": name, "msg": message, **fields})
        )
    await handler.flush_to(redis, desk.desk.keys)


@contextmanager
def traded_redis(folder: Path) -> Iterator[RestartableRedis]:
    """A Redis with an account that has traded; it may be stopped and started again."""
    server = RestartableRedis(folder)
    try:
        server.start()
        in_own_loop(seed(server.url))
        yield server
    finally:
        server.stop()


async def archive(url: str, state: Path) -> None:
    """Move what waits in Redis into the history in the state folder, as a worker does."""
    redis = connect(url)
    archiver = Archiver(redis, Keys("main"), Database(history_url(account(), state)), 256)
    try:
        assert await archiver.drain(30) == 0
    finally:
        await archiver.close()
        await redis.aclose()
