"""When a symbol's stops, limits and guards would act next, while nothing is bought or sold. Pure.

A bound may come too early, never too late: the tick that it wakes decides.
"""

from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from tasks.base.clock import to_ms
from tasks.base.money import UNITS_PER_QUOTE, exact
from tasks.ledger.models import Book
from tasks.risk.models import RiskMarks, StopCode
from tasks.risk.rules import PRICE_MARGIN
from tasks.settings.grids import SymbolSettings

# Rules that may act in any candle: they depend on the distance to the price, or on the tick before.
EVERY_CANDLE = frozenset({"activation_pct", "max_position_pct", "min_position_pct", "max_price_jump_pct"})
# Rules that act at a price or at a time, which is worked out here.
BOUNDED = frozenset(
    {
        "stop_loss_price",
        "take_profit_price",
        "stop_loss_quote",
        "take_profit_quote",
        "profit_drawdown_pct",
        "pause_below",
        "pause_above",
        "pause_from",
        "pause_until",
        "trigger_price",
        "start_at",
        "end_at",
        "max_open_orders",
    }
)
# Settings that only say how another rule acts, or that no candle fulfils: bid and ask are one price here.
INERT = frozenset({"stop_exit", "stop_slippage", "max_spread_pct"})


class RuleBounds(NamedTuple):
    """A rule may act where a close is above `above` or at or below `below` (units of 1e-8), or from `until_ms` on."""

    above: int | None = None
    below: int | None = None
    until_ms: int | None = None


NO_BOUNDS = RuleBounds()
_RULES = EVERY_CANDLE | BOUNDED  # a setting that the file does not have is None


class _Bound(NamedTuple):
    price: Decimal
    up: bool  # whether the rule may act at and above it; else at and below it


def rule_bounds(
    own: SymbolSettings, book: Book, marks: RiskMarks, first_price: Decimal, now_ms: int
) -> RuleBounds | None:
    """The nearest bounds; None where a rule may act in any candle. `marks`: after the tick. No stop has fired."""
    if own.model_fields_set.isdisjoint(_RULES) and marks.fired is StopCode.NONE:
        return NO_BOUNDS
    if any(getattr(own, name) is not None for name in EVERY_CANDLE) or marks.fired is not StopCode.NONE:
        return None
    if own.max_open_orders is not None and own.max_open_orders < own.cell_count:
        return None
    found = [*_price_stops(own), *_profit_stops(own, book, marks), *_guards(own, marks, first_price)]
    up = [_units(one.price, ROUND_FLOOR) - 1 for one in found if one.up]
    down = [_units(one.price, ROUND_CEILING) for one in found if not one.up]
    moments = (own.start_at, own.end_at, own.pause_from, own.pause_until)
    times = [at_ms for at_ms in (to_ms(moment) for moment in moments if moment is not None) if at_ms > now_ms]
    return RuleBounds(min(up, default=None), max(down, default=None), min(times, default=None))


def _units(price: Decimal, rounding: str) -> int:
    return int((price * UNITS_PER_QUOTE).to_integral_value(rounding))


def _price_stops(own: SymbolSettings) -> Iterator[_Bound]:
    if own.stop_loss_price is not None:
        yield _Bound(own.stop_loss_price, up=False)
    if own.take_profit_price is not None:
        yield _Bound(own.take_profit_price, up=True)


def _profit_stops(own: SymbolSettings, book: Book, marks: RiskMarks) -> Iterator[_Bound]:
    """Profit is a straight line of the price. A new best profit moves the floor, so it is a bound as well."""
    if book.base <= 0:
        return

    def price_at(profit: Decimal) -> Decimal:
        return (profit + marks.base - book.cash + book.other_value) / book.base

    if own.stop_loss_quote is not None:
        yield _Bound(price_at(-own.stop_loss_quote), up=False)
    if own.take_profit_quote is not None:
        yield _Bound(price_at(own.take_profit_quote), up=True)
    if own.profit_drawdown_pct is not None:
        yield _Bound(price_at(marks.best), up=True)
        if marks.best > 0:
            with exact():
                floor = marks.best * (1 - own.profit_drawdown_pct)
            yield _Bound(price_at(floor), up=False)


def _guards(own: SymbolSettings, marks: RiskMarks, first_price: Decimal) -> Iterator[_Bound]:
    if own.trigger_price is not None and not marks.started:
        yield _Bound(own.trigger_price, up=first_price <= own.trigger_price)
    if own.pause_below is not None:
        yield _Bound(own.pause_below * (1 + PRICE_MARGIN) if marks.outside else own.pause_below, up=marks.outside)
    if own.pause_above is not None:
        yield _Bound(own.pause_above * (1 - PRICE_MARGIN) if marks.outside else own.pause_above, up=not marks.outside)
