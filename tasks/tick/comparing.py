"""Comparing the books with the exchange after Redis restarted, failed over or was restored from a snapshot.

Such a Redis may hold records of an earlier time: it has lost the newest orders, fills and leases. The key with the
server's ids that it carries is then of that time too, so it never equals the ids of the server itself. No lease is
given until one worker has raised every fence, compared each symbol with the exchange, and stored the new ids.
"""

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple
from uuid import uuid4

from tasks.base.clock import to_ms
from tasks.base.errors import ExchangeError, ExchangeUnavailable, RedisRestarted, StateError, UnknownSymbol
from tasks.base.events import EventKind, publish_event
from tasks.base.money import from_units
from tasks.exchange.models import Market, Order, Trade
from tasks.exchange.order_ids import OrderId
from tasks.funds.models import FundCode, Write
from tasks.ledger.steps import repair_funds
from tasks.orders.evidence import gather_evidence, prices_of_all
from tasks.tick import orphans, store
from tasks.tick.active_symbols import active_symbols
from tasks.tick.adopting import look_up_orphans
from tasks.tick.desk import Desk
from tasks.tick.fold import fold
from tasks.tick.forgotten import forgotten_with_base
from tasks.tick.lease import check_code, kept, kept_lease
from tasks.tick.lost_orders import (
    adopt,
    can_be_rebuilt,
    ended_by_the_books,
    first_lost_ms,
    lost_orders,
    orders_to_look_up,
    orphan_orders,
    own_symbols,
    why_forgotten,
)
from tasks.tick.models import SymbolState
from tasks.tick.recover import outlast_requests, recover
from tasks.tick.trade_memory import SymbolTrades

log = logging.getLogger(__name__)


class Compared(NamedTuple):
    """What the comparison of one symbol found: orders that Redis had lost, and fills that it did not have.

    `waits`: why the symbol does not trade; '' where it does.
    """

    symbol: str
    lost: int
    fills: int
    waits: str = ""


async def compare_books(desk: Desk) -> None:
    """Raise every fence, bring each symbol's records up to what the exchange shows, and let leases be given again.

    One worker does it at a time; it may be killed anywhere, another one then does it from the start. A paper exchange
    lies in the same Redis and went back with it, so only the fences are raised.
    Raises RedisRestarted where another worker is doing it, StateError, ExchangeUnavailable.
    """
    desk.explained.clear()  # trades may have left the books
    holder = f"compare-{uuid4().hex}"
    if not await store.lock_comparison(desk.redis, keys=desk.keys, holder=holder, lock_ms=desk.lease_ms):
        raise RedisRestarted(desk.keys.account)
    try:
        async with kept(desk, desk.keys.comparison_lock, holder):
            await _compare(desk, holder)
    finally:
        await store.unlock_comparison(desk.redis, keys=desk.keys, holder=holder)


async def _compare(desk: Desk, holder: str) -> None:
    await desk.follow_settings()
    symbols = await active_symbols(desk)
    ids = await store.raise_fences(desk.redis, keys=desk.keys, symbols=symbols, holder=holder)
    if not ids:
        return  # another worker has done it meanwhile
    if desk.exchange.apart_from_redis:
        log.warning("Redis went back or restarted: comparing with the exchange", extra={"symbols": symbols})
        await outlast_requests(desk)
        await store.release_symbols(desk.redis, keys=desk.keys, symbols=symbols)
        found = await _compare_all(desk, symbols, holder)
        _, code = await repair_funds(desk.redis, desk.keys, await active_symbols(desk))
        if code is FundCode.CONFLICT:
            raise StateError("the pot could not be repaired after Redis restarted; the next tick tries again")
        await _report(desk, found)
    if not await store.end_comparison(desk.redis, keys=desk.keys, holder=holder, ids=ids):
        raise RedisRestarted(desk.keys.account)
    await desk.redis.hdel(desk.keys.history, "compare")


async def _compare_all(desk: Desk, symbols: Sequence[str], holder: str) -> list[Compared]:
    """Compare these symbols, and those that Redis forgot: they came after the moment that it went back to, and left.

    A forgotten symbol shows by a resting order of ours, or by its base.
    """
    orders = await desk.exchange.all_open_orders()
    forgotten = sorted(own_symbols(orders, desk.keys.account) - set(symbols))
    await store.raise_fences(desk.redis, keys=desk.keys, symbols=forgotten, holder=holder)
    found = await _compare_each(desk, [*symbols, *forgotten], orders, holder)
    held = await forgotten_with_base(desk, {one.symbol for one in found})
    return [*found, *await _compare_each(desk, held, [], holder)]


async def _compare_each(desk: Desk, symbols: Sequence[str], orders: Sequence[Order], holder: str) -> list[Compared]:
    """`orders`: all open ones, read after every request from before has arrived or expired."""
    by_symbol = {symbol: [order for order in orders if order.symbol == symbol] for symbol in symbols}
    found: list[Compared] = []
    for symbol in symbols:
        try:
            found.append(await _compare_symbol(desk, symbol, by_symbol[symbol], holder))
        except UnknownSymbol:  # delisted, and this process did not know it
            found.append(await _unlisted(desk, symbol))
    return found


async def _report(desk: Desk, found: Sequence[Compared]) -> None:
    facts = {
        "symbols": len(found),
        "lost_orders": sum(one.lost for one in found),
        "fills": sum(one.fills for one in found),
        "waiting": [one.symbol for one in found if one.waits],
    }
    log.warning("Redis went back or restarted: the books were compared with the exchange", extra=facts)
    await publish_event(desk.redis, desk.keys, EventKind.REDIS_RESTARTED, facts)


async def _compare_symbol(desk: Desk, symbol: str, open_orders: Sequence[Order], holder: str) -> Compared:
    """Book what Redis has lost of one symbol. One request where nothing is new."""
    try:
        market = (await desk.exchange.markets([symbol]))[symbol]
    except ExchangeUnavailable:
        raise
    except ExchangeError:
        return await _unlisted(desk, symbol)
    async with _held(desk, symbol, holder) as state:
        return await _compare_state(desk, market, state, open_orders)


async def _compare_state(desk: Desk, market: Market, state: SymbolState, open_orders: Sequence[Order]) -> Compared:
    if state.grid is not None:
        return await _book_lost(desk, market, state, open_orders)
    return Compared(market.symbol, int(await recover(desk, market, state)), 0)


async def _unlisted(desk: Desk, symbol: str) -> Compared:
    """The exchange does not list the symbol, so it shows no order of it: it is compared once it is listed again."""
    await desk.redis.hset(desk.keys.uncompared, symbol, "1")
    return Compared(symbol, 0, 0)


async def compare_listed_again(desk: Desk, market: Market, state: SymbolState) -> None:
    """Book what Redis has lost of a symbol that was not listed when the books were compared.

    `state`: read under the symbol's lease. Raises as `compare_books`.
    """
    desk.explained.clear()  # trades may have left the books
    symbol = market.symbol
    open_orders = await desk.exchange.open_orders(symbol)
    found = await _compare_state(desk, market, state, open_orders)
    done = Write(key=desk.keys.uncompared, verb="HDEL", field=symbol)
    code, _ = await desk.allocator.release(symbol, state.fence, ids=[], writes=[done])
    check_code(code, symbol, state.fence, desk.keys.account)
    await _report(desk, [found])


@asynccontextmanager
async def _held(desk: Desk, symbol: str, holder: str) -> AsyncIterator[SymbolState]:
    """The symbol's lease and its state. Raises StateError where somebody else has the lease."""
    state, _ = await store.begin(desk.redis, keys=desk.keys, symbol=symbol, owner=holder, lease_ms=desk.lease_ms)
    if state is None:
        raise StateError(f"{symbol}: its lease is held while Redis is compared with the exchange; it is tried again")
    try:
        async with kept_lease(desk, symbol, holder):
            yield state
    finally:
        await store.end_lease(desk.redis, keys=desk.keys, symbol=symbol, owner=holder)


class _Seen(NamedTuple):
    """What the exchange showed of one symbol: open orders, trades that are not booked, and lost orders.

    `listed`: the ids of all its trades since `since_ms`. `orphans`: orders of ours with such trades that were not lost
    and are not in the journal. `ended`: those of them that have ended by the books.
    """

    since_ms: int
    listed: Collection[str]
    open_orders: Sequence[Order]
    trades: Sequence[Trade]
    lost: Sequence[tuple[OrderId, Order]]
    orphans: Sequence[Order]
    ended: Sequence[Order]


async def _read(desk: Desk, market: Market, state: SymbolState, open_orders: Sequence[Order]) -> _Seen:
    """The open orders were read first: what fills between the two reads then shows in the trades."""
    exchange, symbol, redis, keys = desk.exchange, market.symbol, desk.redis, desk.keys
    since_ms = first_lost_ms(state)
    listed = await exchange.trades(symbol, since_ms)
    booked = await store.booked_trades(redis, keys, symbol, [trade.trade_id for trade in listed]) if listed else set()
    trades = [trade for trade in listed if trade.trade_id not in booked]
    known = {intent.exchange_id for intent in state.intents.values()}
    unlisted = orders_to_look_up(trades, open_orders, known)
    answers = [await exchange.order(symbol, one.client_id or "", one.exchange_id) for one in unlisted]
    slots = await store.order_slots(redis, keys=keys, symbol=symbol)
    looked_up = [order for order in answers if order is not None]
    lost = lost_orders([*open_orders, *looked_up], state.intents.keys(), slots, keys.account)
    adopted = [order for _, order in lost]
    rest = orphan_orders(trades, [*open_orders, *looked_up], state.intents.keys(), adopted, keys.account)
    ids, ended = {trade.trade_id for trade in listed}, ended_by_the_books(rest, slots, keys.account)
    return _Seen(since_ms, ids, open_orders, trades, lost, rest, ended)


async def _book_lost(desk: Desk, market: Market, state: SymbolState, open_orders: Sequence[Order]) -> Compared:
    """Book the orders that the journal has, and orphans, as a tick does, then the lost ones, in one step."""
    symbol, exchange, intents = market.symbol, desk.exchange, list(state.intents.values())
    seen = await _read(desk, market, state, open_orders)
    if await _are_from_history(desk) and (why := await _disagreement(desk, symbol, seen)):
        return await _hold(desk, state, symbol, why)
    if seen.ended and can_be_rebuilt(state, is_configured=symbol in desk.settings.symbols):
        ended = {order.exchange_id for order in seen.ended}
        return await _rebuild(desk, market, state, sum(trade.exchange_id in ended for trade in seen.trades))
    asked_ms = to_ms(desk.clock())
    valid_ms = int(desk.settings.trading.request_valid_seconds * 1000)
    memory, account = SymbolTrades(desk, symbol), desk.keys.account
    cursor_ms = state.book.cursor_ms
    gathered = await gather_evidence(exchange, symbol, intents, seen.open_orders, cursor_ms, memory, account, valid_ms)
    late = await look_up_orphans(desk, symbol, [], seen.orphans)
    changed = orphans.adopt(state, gathered.evidence, late, market)
    if changed.items:
        check_code(await desk.allocator.adopt(symbol, state.fence, changed.items), symbol, state.fence, account)
    state, evidence = changed.state, changed.evidence
    trades = [*seen.trades, *(trade for one in evidence.values() for trade in one.trades)]
    prices = await prices_of_all(exchange, {trade.fee_currency for trade in trades if trade.fee}, market.symbol)
    protection_ms = desk.settings.trading.protection_ms
    allocated = from_units(state.share.allocated_units)
    folded = fold(state.book, state.cells, state.intents, evidence, market, asked_ms, protection_ms, prices, allocated)
    if in_doubt := sorted(folded.intents.keys() - {order.client_id for order in seen.open_orders}):
        # An order that ends after the comparison would be followed by one under the next id, which may be a lost one.
        raise ExchangeUnavailable(f"{symbol}: the outcome of {', '.join(in_doubt)} is not known; it is compared again")
    found = adopt(state, folded, seen.lost, seen.trades, market, prices, allocated, desk.keys, asked_ms)
    code = await desk.allocator.record_trade(
        symbol, state.fence, fills=found.moves, ended=found.ended, writes=found.changes, charges=found.charges
    )
    if code is not FundCode.OK:
        raise StateError(f"{symbol}: its records could not be written ({code.name}); they are compared again")
    for _, order in seen.lost:
        log.warning("order that Redis had lost", extra={"symbol": symbol, "order": order.client_id})
    return Compared(symbol, len(seen.lost), found.fills)


async def _rebuild(desk: Desk, market: Market, state: SymbolState, missing: int) -> Compared:
    """Rebuild the symbol from the exchange: `missing` trades belong to orders that have ended by the books.

    Where the exchange alone does not show all that the books need, the symbol waits for an operator instead.
    """
    symbol = market.symbol
    why = why_forgotten(state, desk.exchange.keeps_ms, desk.now_ms)
    if not why:
        if await recover(desk, market, state):
            return Compared(symbol, 0, missing)
        why = "the exchange lists no order of it"
    waits = (
        f"{symbol} does not trade: {missing} of its trades are on the exchange and not in the books, and the books "
        f"cannot be rebuilt: {why}. Compare `gridflow status` with the account, then let it trade with the books as "
        f"they are: gridflow recover --accept {symbol}"
    )
    return await _hold(desk, state, symbol, waits)


async def _are_from_history(desk: Desk) -> bool:
    """Whether the books were written back from the history and have not been compared since."""
    return bool(await desk.redis.hexists(desk.keys.history, "compare"))


async def _disagreement(desk: Desk, symbol: str, seen: _Seen) -> str:
    """What the history and the exchange say differently of a symbol whose books came from the history; '' if nothing.

    Orders and trades that are newer than the history are no difference: they are booked.
    """
    ended = {order.exchange_id for order in seen.ended}
    more = [trade.trade_id for trade in seen.trades if trade.exchange_id in ended]
    booked = await desk.redis.zrangebyscore(desk.keys.seen(symbol), seen.since_ms + 1, "+inf")
    less = [str(name) for name in booked if str(name) not in seen.listed and ":" not in str(name)]
    if not more and not less:
        return ""
    says = []
    if more:
        says.append(f"the exchange shows {_some(more)} of orders that have ended by the history, which lacks them")
    if less:
        says.append(f"the history has {_some(less)}, which the exchange does not show")
    return (
        f"{symbol} does not trade: {'; '.join(says)}. Compare `gridflow status` with the account, then choose: "
        f"gridflow recover --trust exchange {symbol} (rebuild the books from the exchange), or "
        f"gridflow recover --trust history {symbol} (trade with the books as they are)"
    )


def _some(trade_ids: Sequence[str]) -> str:
    return f"{len(trade_ids)} trades ({', '.join(trade_ids[:3])}{', …' if len(trade_ids) > 3 else ''})"


async def trust_exchange(desk: Desk, symbol: str) -> None:
    """Rebuild a symbol from the exchange alone, and let it trade.

    Raises StateError where that is not possible, RedisRestarted while the books are being compared, and
    ExchangeError.
    """
    if symbol not in desk.settings.symbols:
        raise StateError(f"{symbol} is not configured, so it cannot be rebuilt. Use --trust history")
    market = (await desk.exchange.markets([symbol]))[symbol]
    holder = f"trust-{uuid4().hex}"
    if not await store.lock_comparison(desk.redis, keys=desk.keys, holder=holder, lock_ms=desk.lease_ms):
        raise RedisRestarted(desk.keys.account)
    try:
        async with kept(desk, desk.keys.comparison_lock, holder), _held(desk, symbol, holder) as state:
            if not await recover(desk, market, state):
                raise StateError(f"the exchange lists no order of {symbol} that is ours. Use --trust history")
            await store.release_symbols(desk.redis, keys=desk.keys, symbols=[symbol])
    finally:
        await store.unlock_comparison(desk.redis, keys=desk.keys, holder=holder)


async def _hold(desk: Desk, state: SymbolState, symbol: str, waits: str) -> Compared:
    """Let the symbol wait for an operator."""
    log.error("books do not agree with the exchange", extra={"symbol": symbol, "why": waits})
    hold = Write(key=desk.keys.waiting, verb="HSET", field=symbol, value=waits)
    code, _ = await desk.allocator.release(symbol, state.fence, ids=[], writes=[hold])
    check_code(code, symbol, state.fence, desk.keys.account)
    return Compared(symbol, 0, 0, waits)
