"""The limits for a tick's plan: of the pot and of the operator; and the orders that can be resized. Pure."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tasks.base.errors import RejectReason
from tasks.base.keys import Keys
from tasks.base.remembering import by_identity
from tasks.exchange.models import Order, Side
from tasks.funds.models import FundCode, Write
from tasks.grid.levels import configured_size
from tasks.grid.models import Grid
from tasks.grid.plan_models import MARKET_SLIPPAGE, GridLimits, GridPlan, IdleReason, Limits
from tasks.market.models import Snapshot
from tasks.orders.models import Intent, IntentState
from tasks.risk.models import StopCode, Verdict
from tasks.settings.grids import Earn, SymbolSettings
from tasks.settings.model import Settings
from tasks.tick.fold import Folded
from tasks.tick.models import SymbolState
from tasks.tick.order_requests import REJECTION_WAIT_MS
from tasks.tick.stops import is_stale

_RESTING = (IntentState.OPEN, IntentState.PARTIAL)
_POT_REFUSALS = {FundCode.SYMBOL_LIMIT.name, FundCode.GLOBAL_LIMIT.name, FundCode.PAUSED.name}


def limits_of(
    settings: Settings,
    state: SymbolState,
    folded: Folded,
    snapshot: Snapshot,
    grid: Grid,
    now_ms: int,
    *,
    unfit: Collection[str] = (),
    free_base: Decimal | None = None,
    others: int = 0,
    verdict: Verdict | None = None,
) -> Limits:
    """The limits, from the tick's reading and its fold. The reserve script checks them again.

    `unfit`: ids of grids that must not buy. `free_base`: see `Limits`. `others`: its `other_orders`. `verdict`: of the
    symbol's stops, limits and guards; None where it left the settings.
    """
    own = settings.symbols.get(state.share.symbol)
    used_delta = sum([move.used_delta for move in folded.moves])
    released = sum([move.take_units for move in folded.moves]) + sum([intent.units_left for intent in folded.ended])
    used = state.share.used_units + used_delta
    committed = state.share.committed_units + used_delta - released
    fired = own is not None and verdict is not None and verdict.marks.fired is not StopCode.NONE
    sells = own.stop_exit == "sell" if own and verdict and verdict.fires is not StopCode.NONE else state.share.liquidate
    return Limits(
        **_of_grid(own, grid),
        unfit=grid.grid_id in unfit,
        others={each.grid_id: GridLimits(**_of_grid(own, each), unfit=each.grid_id in unfit) for each in grid.others},
        symbol_free=max(state.share.allocated_units - committed, 0),
        global_free=0 if state.short else max(state.pool_free_units - used_delta + released, 0),
        allocated=state.share.allocated_units,
        used=used,
        committed=committed,
        resize_tolerance=settings.resize_tolerance,
        paused=state.paused or state.share.paused,
        stopped=state.stopped,
        retiring=own is None,
        liquidate=sells and (own is None or state.share.paused or fired),
        refused=state.last.refused if state.last else {},
        stale=is_stale(snapshot.ticker, settings.trading, now_ms),
        free_base=free_base,
        other_orders=others,
        now_ms=now_ms,
        stop_fired=fired,
        exit_slippage=own.stop_slippage if own else MARKET_SLIPPAGE,
        no_buys=verdict.no_buys if verdict else None,
        no_sells=verdict.no_sells if verdict else None,
        cancel_buys=verdict is not None and verdict.cancel_buys,
        activation=own.activation_pct if own else None,
        max_open_orders=own.max_open_orders if own else None,
    )


@by_identity
def _of_grid(settings: SymbolSettings | None, grid: Grid) -> Mapping[str, Any]:
    """What the settings say of one grid, as fields of `GridLimits`. `settings`: None where the symbol left them."""
    own = settings.each_grid.get(grid.name) if settings else None
    if settings is None or own is None:
        return {}
    return {
        "share": settings.part_of(grid.name),
        "size": configured_size(own),
        "weights": own.cell_weights(grid.first_price),
        "keeps_reserve": own.reserve_share is not None,
        "earns_base": own.earn is Earn.BASE,
    }


def other_orders(open_orders: Sequence[Order], folded: Folded) -> int:
    """Open orders of the account in the symbol that belong to no cell: of others, and orphans beside a cell's order."""
    own = {cell.order_id for cell in folded.cells.values()}
    return len([order for order in open_orders if order.client_id not in own])


def resting_buys(folded: Folded) -> dict[str, Intent]:
    """The buys that rest on the exchange, by client id."""
    buy, resting = Side.BUY, _RESTING
    return {
        client_id: intent
        for client_id, intent in folded.intents.items()
        if intent.side is buy and intent.state in resting
    }


def still_refused(planned: GridPlan) -> dict[str, str]:
    """Cells that the planner left without an order because the pot would refuse it: cell key → code of the pot."""
    return {key: reason.value for key, reason in planned.idle_reasons.items() if reason in _POT_REFUSALS}


def needs_free_base(state: SymbolState, now_ms: int) -> bool:
    """Whether a sell that was refused for want of base is planned again now."""
    return not state.stopped and any(cell.lacks_base and cell.retry_ms <= now_ms for cell in state.cells.values())


def without_filter_refusals(folded: Folded, keys: Keys) -> list[Write]:
    """Let cells whose last order a filter refused be planned anew: the filters have changed. Changes `folded`.

    All of them, whether or not they get an order at this tick.
    """
    changes = []
    for key, cell in sorted(folded.cells.items()):
        if cell.refusal is RejectReason.FILTER and cell.order_id is None:
            folded.cells[key] = cell.model_copy(update={"retry_ms": 0, "refusals": 0, "refusal": None})
            text = folded.cells[key].model_dump_json()
            changes.append(Write(key=keys.cells(folded.book.symbol), verb="HSET", field=key, value=text))
    return changes


def waiting_for_base(folded: Folded, planned: GridPlan, keys: Keys, now_ms: int) -> list[Write]:
    """Cells that cannot sell for want of base wait before the balance is read for them again. Changes `folded`."""
    changes = []
    for key, reason in sorted(planned.idle_reasons.items()):
        if reason is IdleReason.NO_BASE and folded.cells[key].retry_ms <= now_ms:
            cell = folded.cells[key].model_copy(update={"retry_ms": now_ms + REJECTION_WAIT_MS})
            folded.cells[key] = cell
            text = cell.model_dump_json()
            changes.append(Write(key=keys.cells(folded.book.symbol), verb="HSET", field=key, value=text))
    return changes
