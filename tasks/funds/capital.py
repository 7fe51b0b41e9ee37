"""The money that an account works with: what was put in, what was taken out, and what it earned. Pure.

Two amounts must not be mixed up:

    capital           = total_funds + invested − withdrawn: the operator's own money. Equity = capital + profit.
    capital in force  = capital + reinvested: what the pool and every cap are shares of.

Reinvested money is a part of the profit. It is counted in the equity once, as profit, and never as capital.
"""

from decimal import Decimal
from enum import StrEnum

from tasks.base.money import MAX_QUOTE, ZERO, exact, from_units
from tasks.exchange.models import Frozen


class CapitalMove(StrEnum):
    """Money that an operator moves. move_capital.lua and the history name it by its value."""

    INVEST = "invest"
    WITHDRAW = "withdraw"


class Capital(Frozen):
    """Movements of an account's money so far, in units of 1e-8 quote.

    `reinvested`: realised profit that works in the pool; below 0 after a loss. Always 0 without `reinvest`.
    """

    invested_units: int = 0
    withdrawn_units: int = 0
    reinvested_units: int = 0

    def put_in(self, total_funds: Decimal) -> Decimal:
        """The operator's own money in quote: total_funds + invested − withdrawn."""
        with exact():
            return total_funds + from_units(self.invested_units - self.withdrawn_units)

    def in_force(self, total_funds: Decimal) -> Decimal:
        """What the pool and the caps are shares of, in quote: own money and reinvested profit; 0 to MAX_QUOTE."""
        with exact():
            return min(max(self.put_in(total_funds) + from_units(self.reinvested_units), ZERO), MAX_QUOTE)

    def withdrawable_units(self, realised_units: int) -> int:
        """How much of the realised profit has not been withdrawn yet; 0 where nothing is left."""
        return max(realised_units - self.withdrawn_units, 0)

    def with_reinvested(self, units: int) -> "Capital":
        """The same movements with another amount of reinvested profit."""
        return self.model_copy(update={"reinvested_units": units})
