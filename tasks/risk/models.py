"""Stops that fired, and what a symbol may do now."""

from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

from tasks.base.money import ZERO
from tasks.exchange.models import Frozen
from tasks.grid.plan_models import IdleReason


class StopCode(IntEnum):
    """Which stop fired. The numbers stand in Redis and in the history, so they never change."""

    NONE = 0
    STOP_LOSS_PRICE = 1
    TAKE_PROFIT_PRICE = 2
    STOP_LOSS_QUOTE = 3
    TAKE_PROFIT_QUOTE = 4
    PROFIT_DRAWDOWN = 5
    TIME_LIMIT = 6

    @property
    def words(self) -> str:
        """Lower case, for people: `stop loss price`."""
        return self.name.lower().replace("_", " ")


class RiskMarks(Frozen):
    """What the rules remember from tick to tick; part of the tick's report.

    `base`: profit (quote) when an operator last resumed the symbol; later profit counts from there. `best`: the best
    profit since then. `fired`: the stop that held at the last tick, and `why`, in words. `sell_only`, `buy_only`,
    `outside`: which condition held, so that a price at its edge does not switch it on and off at every tick.
    `started`: the trigger price has been reached.
    """

    base: Decimal = ZERO
    best: Decimal = ZERO
    fired: StopCode = StopCode.NONE
    why: str = ""
    sell_only: bool = False
    buy_only: bool = False
    outside: bool = False
    started: bool = False


class Seen(NamedTuple):
    """What the rules look at. Prices in quote per base, money in quote.

    `first_price`: at which the grid started. `last_price`: of the tick before; None at the first one. `profit`: grid
    profit and floating PnL of the symbol. `inventory`: the base at `price`. `free`: the allocation that is not in
    base. `stale`: the price is too old.
    """

    price: Decimal
    bid: Decimal
    ask: Decimal
    first_price: Decimal
    last_price: Decimal | None
    profit: Decimal
    inventory: Decimal
    free: Decimal
    now_ms: int
    stale: bool


class Verdict(NamedTuple):
    """What the symbol may do now.

    `fires`: the stop that fires at this tick, NONE for no new one; `marks.why` gives the numbers. `no_buys` and
    `no_sells`: the reason why there are none. `cancel_buys`: resting buys are cancelled as well.
    """

    marks: RiskMarks
    fires: StopCode = StopCode.NONE
    no_buys: IdleReason | None = None
    no_sells: IdleReason | None = None
    cancel_buys: bool = False
