"""The report of a tick, for the views and for the next tick. Pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from tasks.base.unchecked import unchecked
from tasks.exchange.models import Placement
from tasks.grid.models import Grid
from tasks.grid.plan_models import GridPlan
from tasks.market.models import Snapshot
from tasks.market.rules import distance_to_level, next_interval, variance_rate
from tasks.orders.models import IntentState
from tasks.risk.models import RiskMarks, StopCode, Verdict
from tasks.settings.model import TradingSettings
from tasks.tick.fold import Folded
from tasks.tick.grid_change import is_empty
from tasks.tick.models import SymbolState, TickReport
from tasks.tick.order_requests import is_unconfirmed

SAMPLES = 30
_MS = Decimal("0.001")


class Tick(NamedTuple):
    """What one tick read and did. Times in ms. `refused`: cell key → why the pot granted nothing."""

    started_ms: int
    ended_ms: int
    state: SymbolState
    snapshot: Snapshot
    grid: Grid
    planned: GridPlan
    answers: Sequence[Placement]
    refused: Mapping[str, str]
    unfit: str
    fees_waiting: int
    verdict: Verdict | None


def report_of(tick: Tick, outcome: Folded, trading: TradingSettings, *, retiring: bool) -> TickReport:
    """The report of a finished tick. `retiring`: its symbol left the settings."""
    last, planned, price = tick.state.last, tick.planned, tick.snapshot.price
    samples = (*(last.samples if last else ()), (tick.ended_ms, price))[-SAMPLES:]
    booked = outcome.book.buys + outcome.book.sells
    fills = booked - tick.state.book.buys - tick.state.book.sells
    intents = outcome.intents.values()
    orphans = tuple(sorted([intent.client_id for intent in intents if intent.orphan]))
    unknown = IntentState.UNKNOWN
    is_active = bool(tick.answers or fills or planned.cancel or planned.to_resize or orphans)
    return unchecked(
        TickReport,
        symbol=tick.grid.symbol,
        at_ms=tick.ended_ms,
        duration_ms=tick.ended_ms - tick.started_ms,
        fence=tick.state.fence,
        price=price,
        fills=fills,
        total_ticks=(last.total_ticks if last else 0) + 1,
        total_fills=booked,
        placed=len(tick.answers),
        not_placed=sum(map(is_unconfirmed, tick.answers)),
        orphan_orders=orphans,
        cancelled=len(planned.cancel),
        refused=tick.refused,
        idle={**planned.idle_reasons, **tick.refused},
        resolving=len([intent for intent in intents if intent.state is unknown]),
        fees_waiting=tick.fees_waiting,
        limits_version=tick.state.limits_version,
        to_resize=len(planned.resized) + planned.to_resize,
        outside=not tick.grid.contains(price),
        unfit=tick.unfit,
        marks=tick.verdict.marks if tick.verdict else RiskMarks(),
        stop_fires=tick.verdict is not None and tick.verdict.fires is not StopCode.NONE,
        retiring=retiring,
        left=retiring and not (intents or outcome.book.unvalued) and all(map(is_empty, outcome.cells.values())),
        next_in=interval_of(tick.grid, price, samples, trading, is_active).quantize(_MS),
        samples=samples,
    )


def interval_of(
    grid: Grid, price: Decimal, samples: Sequence[tuple[int, Decimal]], trading: TradingSettings, is_active: bool
) -> Decimal:
    """Seconds until the next tick; the shortest interval while orders change or there are too few samples."""
    if is_active or len(samples) < 3:
        return trading.tick_min_seconds
    return next_interval(
        min(distance_to_level(price, each.levels) for each in grid.each),
        variance_rate(samples),
        trading.tick_min_seconds,
        trading.tick_max_seconds,
    )
