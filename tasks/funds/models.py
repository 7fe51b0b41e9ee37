"""Requests to the pot, its answers, its state. Names with `units`: integers of 1e-8 quote; others: Decimal quote."""

from collections.abc import Mapping
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field

from tasks.base.money import ZERO, from_units
from tasks.exchange.models import Frozen, Grant
from tasks.funds.capital import Capital

MAX_SEQUENCE = 2**53


class FundCode(IntEnum):
    """Result codes of the scripts; each script's header lists those it returns."""

    OK = 0
    ALREADY = 1
    SYMBOL_LIMIT = 2
    GLOBAL_LIMIT = 3
    PAUSED = 4
    STALE_FENCE = 5
    UNKNOWN_SYMBOL = 6
    CONFLICT = 7
    RESTARTED = 8


class Reservation(Frozen):
    """A request for the money of one order, and the journal entry and cell record to write when it is granted."""

    id: str
    slot: str
    sequence: Annotated[int, Field(ge=0, lt=MAX_SEQUENCE)]
    units: Annotated[int, Field(ge=0)]
    intent: str
    cell_key: str
    cell: str


class Reserved(Frozen):
    """The pot's answer to one reservation. `grant` is set exactly when `code` is OK."""

    code: FundCode
    grant: Grant | None = None


class FillMove(Frozen):
    """What one fill does to the money, in units of 1e-8 quote.

    At most `take_units` leave the reservation; `used_delta` is added to what the symbol has used.
    """

    trade_id: str
    at_ms: int
    reservation_id: str
    take_units: Annotated[int, Field(ge=0)] = 0
    used_delta: int = 0


class FeeCharge(Frozen):
    """A fee for the queue of the symbol `payer`, whose base it was paid in; `entry` is JSON.

    Added only while `payer` has a share of the pot. `is_valued`: replaces the entry, if it is still in the queue.
    """

    payer: str
    field: str
    entry: str
    is_valued: bool = False


class Write(NamedTuple):
    """A record written in the same step as the money. `verb`: see _writes.lua. A tick makes many: not validated.

    `value`: text, or a record that is written as JSON when it is sent.
    """

    key: str
    verb: str
    field: str = ""
    value: str | BaseModel = ""

    @property
    def text(self) -> str:
        """The value as it is sent."""
        return self.value if isinstance(self.value, str) else self.value.model_dump_json()


class TraderAllocation(Frozen):
    """One symbol's share of the pot. `cap_units`: the most it may be allocated, capital in force × max_usage_pct."""

    symbol: str
    registered: bool
    allocated_units: int
    used_units: int
    reserved_units: int
    paused: bool
    cap_units: int = 0
    max_usage_pct: Decimal = ZERO
    fired: int = 0  # a stop that fired and holds (`tasks.risk.models.StopCode`); 0 for none
    liquidate: bool = False  # a symbol that left the settings, or is paused, sells what it holds at the market

    @property
    def committed_units(self) -> int:
        """Used plus reserved."""
        return self.used_units + self.reserved_units

    @property
    def free_units(self) -> int:
        """What the symbol may still commit; 0 when it has committed more than its allocation."""
        return max(self.allocated_units - self.committed_units, 0)

    @property
    def usage(self) -> Decimal:
        """used / allocated; 0 without an allocation."""
        return Decimal(self.used_units) / self.allocated_units if self.allocated_units else ZERO


class FundsStatus(Frozen):
    """One consistent reading of the whole pot."""

    pool_units: int
    used_units: int
    reserved_units: int
    version: int
    paused: bool
    stopped: bool
    short_units: int
    max_committed_units: int
    stepped_ms: int = 0  # when the dynamic strategy last took a scheduled step
    spread_fired: bool = False  # the usage spread has triggered a rebalance and has not come down since
    invested_units: int = 0  # that operators put into the pot, beside total_funds
    withdrawn_units: int = 0  # profit that operators took out of it
    reinvested_units: int = 0  # realised profit that the pool has in it
    inputs: str = ""  # digest of the operator's inputs that the allocations follow from
    symbols: Mapping[str, TraderAllocation]

    @property
    def committed_units(self) -> int:
        """Used plus reserved of all symbols."""
        return self.used_units + self.reserved_units

    @property
    def free_units(self) -> int:
        """What the pool could still grant."""
        return 0 if self.short_units else max(self.pool_units - self.committed_units, 0)

    @property
    def pool(self) -> Decimal:
        """The pool in quote."""
        return from_units(self.pool_units)

    @property
    def capital(self) -> Capital:
        """What was put in, taken out and reinvested."""
        return Capital(
            invested_units=self.invested_units,
            withdrawn_units=self.withdrawn_units,
            reinvested_units=self.reinvested_units,
        )


class SymbolPerformance(Frozen):
    """One symbol's results, from the ledger and its newest tick, that decide its share.

    `return_72h`: grid profit of the last 72 hours per quote allocated when it was made.
    `outside`: the price is outside the grid. `refused`: a buy was refused because of the symbol's own allocation.
    """

    return_72h: Decimal = ZERO
    outside: bool = False
    refused: bool = False


class ShareRequest(Frozen):
    """One symbol's part in sharing the pool. Units of 1e-8 quote.

    `floor_units`: what its inventory cost; no allocation goes below it.
    """

    symbol: str
    weight: Decimal
    cap_units: int
    floor_units: int
    score: Decimal = Decimal(1)
    demand: Decimal = Decimal(1)


class LimitsChange(Frozen):
    """One symbol's new limits, in units of 1e-8 quote; `max_usage` is its cap as a share of the capital in force."""

    symbol: str
    allocated_units: Annotated[int, Field(ge=0)]
    cap_units: Annotated[int, Field(ge=0)]
    max_usage: Decimal


class SymbolChange(Frozen):
    """One line of a rebalance report, in quote.

    `before` and `after`: the allocation in force before and after. `target`: the allocation that the strategy wants.
    """

    symbol: str
    before: Decimal
    target: Decimal
    after: Decimal
    used: Decimal
    committed: Decimal


class RebalanceReport(Frozen):
    """What a rebalance did and why."""

    at_ms: int
    reason: str
    strategy: str
    applied: bool
    outcome: str
    version: int
    pool: Decimal
    changes: tuple[SymbolChange, ...]


class Repair(Frozen):
    """The correct money of one symbol, in units of 1e-8 quote. `digest`: of the journal and cells behind it."""

    symbol: str
    digest: str
    used_units: Annotated[int, Field(ge=0)]
    reservations: Mapping[str, int]
