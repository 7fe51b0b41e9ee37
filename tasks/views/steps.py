"""Reading the status, for flows, commands and screens."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.keys import Keys
from tasks.base.money import exact, plain
from tasks.base.redis_client import RedisClient
from tasks.funds.allocator import GlobalFundAllocator
from tasks.paper.stored_market import describe_market
from tasks.settings.in_force import in_force
from tasks.settings.model import Settings
from tasks.tick.trading_mode import mode_of, stored_mode
from tasks.views import store
from tasks.views.market_time import market_time
from tasks.views.models import StatusView
from tasks.views.rules import status_view


async def read_status(settings: Settings, redis: RedisClient, *, at_once: bool = False) -> StatusView:
    """The account's status. Read in slices of symbols, so that it never blocks a trading loop for long.

    `at_once`: for a process that does not trade; the number of round trips then does not grow with the symbols.
    """
    keys = Keys(settings.account)
    found = await in_force(redis, settings, only_look=True)
    allocator = GlobalFundAllocator.from_settings(found.settings, redis)
    funds = await allocator.get_global_status_summary()
    symbols = sorted(funds.symbols)
    records = await store.account_records(redis, keys, symbols, len(symbols) if at_once else store.SLICE)
    mode = await stored_mode(redis, keys) or mode_of(settings)
    return status_view(found, records, funds, await _market(redis, keys), mode)


async def _market(redis: RedisClient, keys: Keys) -> Mapping[str, Any]:
    """Where paper prices come from; empty when trading is live."""
    stored = await describe_market(redis, keys)
    names = ("source", "why", "market", "speed", "seed", "data")
    found: dict[str, Any] = {name: str(stored[name]) for name in names if stored.get(name) is not None}
    found |= {name: stored[name] for name in ("candles_done",) if name in stored}
    return found | market_time(stored)


async def record_equity(settings: Settings, redis: RedisClient, clock: Clock = utc_now) -> StatusView | None:
    """Store a point of the equity curve, one in each minute of an account, whichever of its workers is first.

    Returns what it read; None where another worker was first.
    """
    keys, now_ms = Keys(settings.account), to_ms(clock())
    if not await store.take_minute(redis, keys, now_ms):
        return None
    view = await read_status(settings, redis)
    await store.add_equity_point(redis, keys, view, now_ms)
    return view


async def final_summary(settings: Settings, redis: RedisClient) -> dict[str, Any]:
    """The summary that `gridflow up` prints at its end; money as exact text."""
    view = await read_status(settings, redis)
    keys = Keys(settings.account)
    names = [symbol.symbol for symbol in view.symbols]
    open_reservations = sum([int(await redis.hlen(keys.reservations(name))) for name in names])
    with exact():
        error = view.identity_error + sum((abs(symbol.identity_error) for symbol in view.symbols), Decimal(0))
    return {
        "symbols": names,
        "ticks": {symbol.symbol: symbol.ticks for symbol in view.symbols},
        "fills": {symbol.symbol: symbol.fills for symbol in view.symbols},
        "rounds": {symbol.symbol: symbol.rounds for symbol in view.symbols},
        "equity_start": plain(view.capital),
        "equity_end": plain(view.equity),
        "grid_profit": plain(view.grid_profit),
        "floating_pnl": plain(view.floating),
        "missing": plain(view.missing),
        "fees": plain(view.fees),
        "identity_error": plain(error),
        "max_committed": plain(view.max_committed),
        "pool": plain(view.pool),
        "committed": plain(view.committed),
        "reservations_open_after_stop": open_reservations,
        "orders_open_after_stop": sum(symbol.open_orders for symbol in view.symbols),
        "market": dict(view.market),
    }
