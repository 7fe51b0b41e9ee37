"""Sharing the pot by each symbol's results."""

from collections.abc import Sequence

from tasks.base.clock import to_ms
from tasks.base.keys import Keys
from tasks.base.money import units_down
from tasks.base.redis_client import RedisClient
from tasks.funds.models import FundCode, RebalanceReport, SymbolPerformance
from tasks.funds.rebalancing import MANUAL, SCHEDULED
from tasks.ledger.models import Book
from tasks.ledger.rules import return_72h
from tasks.ledger.store import realised_profit
from tasks.settings.model import Settings
from tasks.tick.desk import Desk
from tasks.tick.models import TickReport


async def share_pot(desk: Desk, reason: str, *, force: bool = False, only_open: bool = False) -> RebalanceReport:
    """Share the pot by this process's settings and each symbol's performance.

    `force`, `only_open`: see `GlobalFundAllocator.rebalance_if_needed`.
    """
    facts = await performance(desk.redis, desk.keys, list(desk.settings.symbols), to_ms(desk.clock()))
    realised = await realised_for(desk.redis, desk.keys, desk.settings, reason)
    return await desk.allocator.rebalance_if_needed(force, reason, facts, only_open=only_open, realised_units=realised)


async def realised_for(redis: RedisClient, keys: Keys, settings: Settings, reason: str) -> int | None:
    """Realised profit that a rebalance for that reason puts into the pool, in units of 1e-8 quote; None for none."""
    if not settings.reinvest or reason not in (SCHEDULED, MANUAL):
        return None
    return units_down(await realised_profit(redis, keys))


async def performance(
    redis: RedisClient, keys: Keys, symbols: Sequence[str], now_ms: int
) -> dict[str, SymbolPerformance]:
    """Each symbol's performance, from ledger and newest tick, in one round trip."""
    names = [name for symbol in symbols for name in (keys.book(symbol), keys.last_tick(symbol))]
    texts = await redis.mget(names)
    found = {}
    for symbol, book_text, tick_text in zip(symbols, texts[::2], texts[1::2], strict=True):
        book = Book.model_validate_json(book_text) if book_text else Book(symbol=symbol)
        tick = TickReport.model_validate_json(tick_text) if tick_text else None
        found[symbol] = SymbolPerformance(
            return_72h=return_72h(book, now_ms),
            outside=tick is not None and tick.outside,
            refused=tick is not None and FundCode.SYMBOL_LIMIT.name in tick.refused.values(),
        )
    return found
