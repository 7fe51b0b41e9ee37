"""Cancels every order of a stopped pot: ticks each symbol until its journal is empty."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

from redis.exceptions import RedisError

from tasks.base.errors import ExchangeError, StateError, UnknownSymbol
from tasks.base.money import plain
from tasks.exchange.order_ids import account_tag, parse_order_id
from tasks.orders.models import Intent
from tasks.tick import store, window
from tasks.tick.active_symbols import active_symbols
from tasks.tick.clock_check import check_clock
from tasks.tick.desk import Desk
from tasks.tick.stopping import StopReport, read_stop_report, with_retries
from tasks.tick.trader import GridTrader, LeaseHeld, SymbolLeft

log = logging.getLogger(__name__)
TraderOf: TypeAlias = Callable[[str], Awaitable[GridTrader]]
MAX_SECONDS = 60.0  # for one symbol; the report lists the orders that are left
_PAUSE_SECONDS = 0.5
_UNLISTED_TRIES = 3  # one such answer may be a mistake
_VERIFY_TRIES = 3  # readings of the exchange that may fail before the journal alone counts


async def cancel_all_orders(desk: Desk, trader_of: TraderOf) -> StopReport:
    """Cancel the open orders of every symbol and book their fills. Returns the orders that are left after a minute.

    The pot must be stopped, else ticks place new orders. Raises StateError where Redis does not answer for a minute, or
    went back in time and could not be compared with the exchange: it may have lost the journal of open orders.
    """
    symbols = await with_retries(lambda: active_symbols(desk))
    await asyncio.gather(*(_cancel_orders(desk, symbol, trader_of) for symbol in symbols))
    report = await with_retries(lambda: read_stop_report(desk.redis, desk.keys, symbols))
    if not await with_retries(lambda: store.is_compared(desk.redis, keys=desk.keys)):
        raise StateError(
            "Redis restarted or went back, and its books could not be compared with the exchange: orders may be open "
            "that it has lost. Stop again once the exchange answers"
        )
    facts = {"open_orders": len(report.orders_open), "reserved": plain(report.reserved)}
    log.log(logging.INFO if report.is_clean else logging.ERROR, "stopped", extra=facts)
    return report


async def _cancel_orders(desk: Desk, symbol: str, trader_of: TraderOf) -> None:
    """Tick a stopped symbol until its journal is empty, and the exchange lists no order of ours either.

    A tick that fails is logged once and tried again. A symbol that the exchange does not list cannot tick: its orders
    are cancelled, and the report lists them.
    """
    trader: GridTrader | None = None
    loop = asyncio.get_running_loop()
    deadline = loop.time() + MAX_SECONDS
    logged, unknown, unread = "", 0, 0
    while True:
        try:
            trader = trader or await trader_of(symbol)
            await check_clock(desk.redis, desk.clock)
            with suppress(LeaseHeld, SymbolLeft):  # LeaseHeld: a window ticks the symbol and cancels its orders
                await trader.tick()
        except UnknownSymbol as error:
            unknown += 1
            if unknown >= _UNLISTED_TRIES:
                log.error("stop: the exchange does not list the symbol", extra={"symbol": symbol, "why": str(error)})
                await _cancel_unread(desk, symbol)
                break
        except Exception as error:  # a failure of one symbol must not stop the others
            if str(error) != logged:
                logged = str(error)
                log.exception("stop: tick failed; trying again", extra={"symbol": symbol})
        if await _has_no_orders(desk, symbol):
            resting = await _resting_orders(desk, symbol)
            unread += resting is None
            if resting == [] or unread >= _VERIFY_TRIES:
                break
        if loop.time() > deadline:
            break
        await asyncio.sleep(_PAUSE_SECONDS)
    if trader is not None:
        await window.give_up_lease(trader)


async def _cancel_unread(desk: Desk, symbol: str) -> None:
    """Request to cancel every order in the symbol's journal, without reading the exchange."""
    try:
        journal = await desk.redis.hvals(desk.keys.intents(symbol))
        ids = [one for text in journal if (one := Intent.model_validate_json(text).exchange_id)]
        await desk.exchange.cancel(symbol, ids)
    except Exception:  # a failure of one symbol must not stop the others
        log.exception("stop: its orders could not be cancelled", extra={"symbol": symbol})


async def _resting_orders(desk: Desk, symbol: str) -> list[str] | None:
    """Ids of the account's orders that the exchange lists now; None where it does not answer."""
    try:
        found = await desk.exchange.open_orders(symbol)
    except ExchangeError as error:
        log.warning("stop: not compared with the exchange", extra={"symbol": symbol, "why": str(error)})
        return None
    tag = account_tag(desk.keys.account)
    named = [(order.client_id, parse_order_id(order.client_id)) for order in found]
    resting = [client_id for client_id, known in named if known is not None and known.account == tag]
    if resting:
        log.warning("stop: orders still rest on the exchange", extra={"symbol": symbol, "orders": ", ".join(resting)})
    return resting


async def _has_no_orders(desk: Desk, symbol: str) -> bool:
    """Whether the symbol's journal is empty and compared; False while Redis does not answer."""
    try:
        is_empty = int(await desk.redis.hlen(desk.keys.intents(symbol))) == 0
        return is_empty and await store.is_compared(desk.redis, keys=desk.keys)
    except RedisError:
        return False
