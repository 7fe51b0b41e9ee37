"""When a stop fires, and what limits and guards forbid. Pure.

Where a price cannot be trusted (stale, or a jump that no second tick has confirmed), nothing is bought and no stop
fires.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from tasks.base.clock import to_ms
from tasks.base.money import ZERO, exact, plain
from tasks.base.unchecked import changed
from tasks.grid.plan_models import IdleReason
from tasks.risk.models import RiskMarks, Seen, StopCode, Verdict
from tasks.settings.grids import SymbolSettings
from tasks.settings.grids.placement import PlacementSettings
from tasks.settings.grids.risk import RiskSettings

_POSITION_MARGIN = Decimal("0.05")  # a limit holds until the position is back by this share of it
PRICE_MARGIN = Decimal("0.002")  # a pause by price holds until the price is back by this share of it

# Settings of rules; one that the file does not have is at its default, which forbids nothing.
_RULES = frozenset((*RiskSettings.model_fields, *PlacementSettings.model_fields))


def assess(own: SymbolSettings, seen: Seen, marks: RiskMarks, fired: StopCode) -> Verdict:
    """What a symbol may do now. `marks`: of the last tick. `fired`: the stop that is in force."""
    if fired is StopCode.NONE and own.model_fields_set.isdisjoint(_RULES) and _is_plain(marks):
        best = marks.best if seen.stale else max(marks.best, seen.profit - marks.base)
        return Verdict(marks if best == marks.best else changed(marks, best=best))
    marks = _after_resume(marks, seen.profit, fired)
    jumped = has_jumped(own, seen.price, seen.last_price)
    if not seen.stale and not jumped:
        marks = _moved_on(own, seen, marks)
        if fired is StopCode.NONE:
            for code, why in _stops(own, seen, marks):
                return Verdict(marks.model_copy(update={"fired": code, "why": why}), code)
    if fired is not StopCode.NONE:
        return Verdict(marks)
    return _limits(own, seen, marks, jumped)


def _is_plain(marks: RiskMarks) -> bool:
    """Whether no rule is in force from before."""
    return marks.fired is StopCode.NONE and not (marks.sell_only or marks.buy_only or marks.outside)


def _after_resume(marks: RiskMarks, profit: Decimal, fired: StopCode) -> RiskMarks:
    """The marks with the stop that is in force. Once an operator has taken a stop back, profit counts from there."""
    if marks.fired is not StopCode.NONE and fired is StopCode.NONE:
        return marks.model_copy(update={"base": profit, "best": ZERO, "fired": fired, "why": ""})
    return marks if marks.fired is fired else marks.model_copy(update={"fired": fired})


def _moved_on(own: SymbolSettings, seen: Seen, marks: RiskMarks) -> RiskMarks:
    position = _position(seen)
    new = {
        "best": max(marks.best, seen.profit - marks.base),
        "sell_only": _above(position, own.max_position_pct, marks.sell_only),
        "buy_only": _below(position, own.min_position_pct, marks.buy_only),
        "outside": _is_outside(own, seen.price, was_outside=marks.outside),
        "started": marks.started or _reached(own.trigger_price, seen),
    }
    return marks if all(getattr(marks, name) == value for name, value in new.items()) else marks.model_copy(update=new)


def _stops(own: SymbolSettings, seen: Seen, marks: RiskMarks) -> Iterator[tuple[StopCode, str]]:
    """Stops whose condition holds, with the numbers that say so."""
    price, profit = seen.price, seen.profit - marks.base
    if own.stop_loss_price is not None and price <= own.stop_loss_price:
        yield StopCode.STOP_LOSS_PRICE, f"the price {plain(price)} is at or below {plain(own.stop_loss_price)}"
    if own.take_profit_price is not None and price >= own.take_profit_price:
        yield StopCode.TAKE_PROFIT_PRICE, f"the price {plain(price)} is at or above {plain(own.take_profit_price)}"
    if own.stop_loss_quote is not None and profit <= -own.stop_loss_quote:
        yield StopCode.STOP_LOSS_QUOTE, f"it has lost {_money(-profit)}, and {plain(own.stop_loss_quote)} is the limit"
    if own.take_profit_quote is not None and profit >= own.take_profit_quote:
        yield StopCode.TAKE_PROFIT_QUOTE, f"it has earned {_money(profit)}, the goal was {plain(own.take_profit_quote)}"
    if own.profit_drawdown_pct is not None and marks.best > 0:
        with exact():
            floor = marks.best * (1 - own.profit_drawdown_pct)
        if profit <= floor:
            yield StopCode.PROFIT_DRAWDOWN, f"its profit fell from {_money(marks.best)} to {_money(profit)}"
    if own.end_at is not None and seen.now_ms >= to_ms(own.end_at):
        yield StopCode.TIME_LIMIT, f"its time ended at {own.end_at.isoformat()}"


class _Rule(NamedTuple):
    holds: bool
    reason: IdleReason
    cancels: bool  # resting buys as well


def _limits(own: SymbolSettings, seen: Seen, marks: RiskMarks, jumped: bool) -> Verdict:
    started = own.trigger_price is None or marks.started
    rules = (
        _Rule(not started or _is_before(own.start_at, seen.now_ms), IdleReason.NOT_STARTED, True),
        _Rule(_is_within(own.pause_from, own.pause_until, seen.now_ms), IdleReason.PAUSED_BY_RULE, True),
        _Rule(marks.outside, IdleReason.PAUSED_BY_RULE, True),
        _Rule(marks.sell_only, IdleReason.POSITION_LIMIT, True),
        _Rule(jumped, IdleReason.PRICE_JUMP, False),
        _Rule(_is_wide(own, seen), IdleReason.WIDE_SPREAD, False),
    )
    first = next((rule for rule in rules if rule.holds), None)
    return Verdict(
        marks,
        no_buys=first.reason if first else None,
        no_sells=IdleReason.POSITION_LIMIT if marks.buy_only else None,
        cancel_buys=any(rule.holds and rule.cancels for rule in rules),
    )


def _position(seen: Seen) -> Decimal:
    """Share of the symbol's money that is in base; 0 where it has none."""
    whole = seen.inventory + max(seen.free, ZERO)
    return seen.inventory / whole if whole > 0 else ZERO


def _above(position: Decimal, limit: Decimal | None, was: bool) -> bool:
    if limit is None:
        return False
    return position > (limit * (1 - _POSITION_MARGIN) if was else limit)


def _below(position: Decimal, limit: Decimal | None, was: bool) -> bool:
    if limit is None:
        return False
    return position < (limit * (1 + _POSITION_MARGIN) if was else limit)


def _is_outside(own: SymbolSettings, price: Decimal, *, was_outside: bool) -> bool:
    margin = PRICE_MARGIN if was_outside else ZERO
    below = own.pause_below is not None and price < own.pause_below * (1 + margin)
    above = own.pause_above is not None and price > own.pause_above * (1 - margin)
    return below or above


def _reached(trigger: Decimal | None, seen: Seen) -> bool:
    """Whether the price has come to the trigger from where the grid started, or passed it between two ticks."""
    if trigger is None:
        return False
    ends = (seen.first_price, seen.price)
    return min(ends) <= trigger <= max(ends)


def has_jumped(own: SymbolSettings, price: Decimal, last_price: Decimal | None) -> bool:
    """Whether the price differs from that of the last tick by more than the settings allow."""
    if own.max_price_jump_pct is None or not last_price:
        return False
    return abs(price - last_price) > last_price * own.max_price_jump_pct


def _is_wide(own: SymbolSettings, seen: Seen) -> bool:
    return own.max_spread_pct is not None and seen.ask - seen.bid > seen.bid * own.max_spread_pct


def _is_before(moment: datetime | None, now_ms: int) -> bool:
    return moment is not None and now_ms < to_ms(moment)


def _is_within(first: datetime | None, last: datetime | None, now_ms: int) -> bool:
    return first is not None and last is not None and to_ms(first) <= now_ms < to_ms(last)


def _money(amount: Decimal) -> str:
    return f"{amount:.2f}"
