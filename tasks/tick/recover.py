"""Recovery: rebuilds a symbol's records from the exchange where Redis has lost them, before the symbol trades again."""

import asyncio
import logging
from collections.abc import Iterable, Mapping

from tasks.base.clock import to_ms
from tasks.base.errors import LeaseLost, StateError
from tasks.base.money import from_units
from tasks.base.outbox import RecordKind
from tasks.exchange.models import Market
from tasks.funds.models import FundCode, Write
from tasks.grid.levels import grid_id, old_grid_id
from tasks.ledger.models import QueuedFee
from tasks.ledger.steps import repair_funds
from tasks.orders.evidence import prices_of_all
from tasks.settings.grids.common import ONLY
from tasks.settings.in_force import publish
from tasks.tick import store
from tasks.tick.active_symbols import active_symbols
from tasks.tick.desk import Desk
from tasks.tick.fees import summed
from tasks.tick.lease import kept_lease
from tasks.tick.lost_orders import cycle_writes
from tasks.tick.models import SymbolState
from tasks.tick.rebuild import Rebuilt, own_orders, rebuild
from tasks.tick.record_format import upgrade_records
from tasks.tick.records import archived, fill_writes, grid_writes
from tasks.tick.sharing import share_pot
from tasks.tick.trading_mode import claim_books

log = logging.getLogger(__name__)
_MAX_TRIES = 2400  # of up to 0.5 s: another worker's recovery may take twenty minutes


async def open_books(desk: Desk, markets: Mapping[str, Market], owner: str) -> None:
    """Open the account's books and share the pot. Where Redis holds none, they come from the history; where that has
    none either, every symbol is rebuilt from the exchange first.

    The pot grants nothing before it is shared, so one symbol never gets the money that another has committed. If Redis
    was lost while a worker was running, the worker's last requests may still be in flight. The exchange is therefore
    read after those requests have expired. `markets`: a symbol without one, because the exchange does not list it, is
    left out and does not trade.

    Raises StateError where the account holds the books of another trading mode, and ExchangeUnavailable.
    """
    await claim_books(desk.redis, desk.keys, desk.settings)
    if not await desk.redis.hexists(desk.keys.settings, "version"):
        await desk.restore_settings()
    await publish(desk.redis, desk.settings, only_first=True)
    if not await desk.redis.hexists(desk.keys.funds, "version") and await desk.recover():
        log.warning("books restored from the history; they are compared with the exchange before anything trades")
    await upgrade_records(desk.redis, desk.keys, desk.settings)
    await desk.follow_settings()
    status = await desk.allocator.get_global_status_summary()
    if status.version == 0:
        if desk.exchange.apart_from_redis:
            await outlast_requests(desk)
        for symbol in desk.settings.symbols:
            if symbol in markets:
                await _recover_under_lease(desk, markets[symbol], owner)
    await share_pot(desk, "start")


async def outlast_requests(desk: Desk) -> None:
    """Wait until requests sent before now have arrived or expired, where their journal entries may be lost."""
    seconds = float(desk.settings.trading.protection_seconds)
    log.info("waiting until earlier requests have arrived or expired", extra={"seconds": seconds})
    await asyncio.sleep(seconds)


async def _recover_under_lease(desk: Desk, market: Market, owner: str) -> None:
    """Recover one symbol under its lease. Wait for another worker that holds it. Raises StateError in the end."""
    symbol, lease_ms = market.symbol, desk.lease_ms
    for _ in range(_MAX_TRIES):
        state, wait_ms = await store.begin(desk.redis, keys=desk.keys, symbol=symbol, owner=owner, lease_ms=lease_ms)
        if state is not None:
            if state.grid is None:
                async with kept_lease(desk, symbol, owner):
                    await recover(desk, market, state)
            await store.end_lease(desk.redis, keys=desk.keys, symbol=symbol, owner=owner)
            return
        await asyncio.sleep(min(max(wait_ms, 50) / 1000, 0.5))
    raise StateError(f"{symbol}: another worker holds its lease and does not finish. Check the log of that worker")


async def recover(desk: Desk, market: Market, state: SymbolState) -> bool:
    """Rebuild the symbol from the exchange's orders and trades. False where it lists no order of ours.

    Books that are there are replaced: an earlier recovery did not finish, or they do not agree with the exchange.
    The caller holds the symbol's lease. The grid is written last: it marks the recovery as complete. A recovery that is
    killed before that starts over. In an open pot the symbol is registered too: it may have left the settings, even
    just now, and is ticked and sold then.
    Raises LeaseLost, ExchangeUnavailable, StateError.
    """
    symbol = market.symbol
    orders = await desk.exchange.orders(symbol)
    if not orders:
        return False
    trades = await desk.exchange.trades(symbol, 0)
    settings, account = desk.settings.symbols.get(symbol), desk.keys.account
    old_grids = None
    only = settings.each_grid.get(ONLY) if settings else None
    if only is not None and desk.settings.sole_account:
        old_grids = {old_grid_id(symbol, only): grid_id(symbol, only)}
    own = own_orders(orders, account, old_grids)
    coins = {trade.fee_currency for trade in trades if trade.fee and trade.exchange_id in own}
    prices = await prices_of_all(desk.exchange, coins, market.symbol)
    allocated = from_units(state.share.allocated_units) or desk.allocator.even_share
    rebuilt = rebuild(symbol, settings, market, orders, trades, allocated, prices, account, old_grids)
    if rebuilt is None:
        return False
    changes = _writes(desk, symbol, rebuilt)
    if state.limits_version and not state.share.registered:  # a pot that is not open yet registers when it is shared
        changes += _registration(desk, symbol)
    if state.book.opened_ms:
        booked = await store.all_booked_trades(desk.redis, keys=desk.keys, symbol=symbol)
        changes += _queued(desk, [fee for fee in rebuilt.fees if fee.trade_id not in booked])
        changes += cycle_writes(rebuilt.cells, to_ms(desk.clock()), desk.keys, symbol)
    else:
        changes += _queued_fees(desk, symbol, rebuilt)
    await _commit(desk, symbol, state.fence, changes)
    _, code = await repair_funds(desk.redis, desk.keys, await active_symbols(desk))
    if code is FundCode.CONFLICT:
        raise StateError(
            f"{symbol}: the pot could not be repaired while other workers changed it; the next tick tries again"
        )
    if rebuilt.grid is not None:
        await _commit(desk, symbol, state.fence, grid_writes(desk.keys, rebuilt.grid))
    facts = {"symbol": symbol, "orders": len(orders), "fills": len(rebuilt.fills), "open": len(rebuilt.intents)}
    log.warning("rebuilt from the exchange", extra=facts)
    return True


def _queued_fees(desk: Desk, symbol: str, rebuilt: Rebuilt) -> list[Write]:
    """The writes that queue the fees of all its trades, one entry for each configured symbol whose base paid them.

    Its first tick after the rebuild takes them from its cells.
    """
    sums = [summed(rebuilt.fees, payer, symbol) for payer in desk.settings.symbols]
    return _queued(desk, [fee for fee in sums if fee is not None])


def _queued(desk: Desk, fees: Iterable[QueuedFee]) -> list[Write]:
    """The writes that queue these fees for the configured symbols that pay them."""
    return [
        Write(key=desk.keys.fee_queue(fee.payer), verb="HSET", field=fee.field, value=fee.model_dump_json())
        for fee in fees
        if fee.payer in desk.settings.symbols
    ]


def _registration(desk: Desk, symbol: str) -> list[Write]:
    """The writes that register the symbol; its allocation is what its inventory costs, by the next rebalance."""
    keys = desk.keys
    sets = [Write(key=key, verb="SADD", value=symbol) for key in (keys.funds_symbols, keys.symbols)]
    return [*sets, Write(key=keys.funds_symbol(symbol), verb="HSET", field="allocated", value="0")]


async def _commit(desk: Desk, symbol: str, fence: int, writes: list[Write]) -> None:
    code, _ = await desk.allocator.release(symbol, fence, ids=[], writes=writes)
    if code in (FundCode.STALE_FENCE, FundCode.RESTARTED):
        raise LeaseLost(symbol, fence)


def _writes(desk: Desk, symbol: str, rebuilt: Rebuilt) -> list[Write]:
    """The writes of all records but the grid. They replace all records there are, such as of an unfinished recovery."""
    keys = desk.keys
    replaced = (keys.grid, keys.cells, keys.intents, keys.slots, keys.newest_fills, keys.old_fills, keys.seen)
    out = [Write(key=name(symbol), verb="DEL") for name in replaced]
    out.append(Write(key=keys.book(symbol), verb="SET", value=rebuilt.book.model_dump_json()))
    hashes = (
        (keys.cells(symbol), {key: cell.model_dump_json() for key, cell in rebuilt.cells.items()}),
        (keys.intents(symbol), {key: intent.model_dump_json() for key, intent in rebuilt.intents.items()}),
        (keys.slots(symbol), {slot: str(cycle) for slot, cycle in rebuilt.slots.items()}),
    )
    for key, fields in hashes:
        out += [Write(key=key, verb="HSET", field=name, value=value) for name, value in fields.items()]
    out += [archived(keys, RecordKind.ORDER, intent.model_dump_json()) for intent in rebuilt.intents.values()]
    for fill in rebuilt.fills:
        out.append(Write(key=keys.seen(symbol), verb="ZADD", field=str(fill.at_ms), value=fill.trade_id))
        out += fill_writes(keys, fill)
    return out
