"""The pot as the fund scripts keep it, in memory. Pure; amounts in integer units of 1e-8 quote.

Each method does what the script of its name does for one writer whose lease is in force. Tests hold it against them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from tasks.base.money import ZERO
from tasks.base.unchecked import unchecked
from tasks.funds.models import FillMove, FundCode, FundsStatus, LimitsChange, TraderAllocation


class Wanted(NamedTuple):
    """One order of a reserve: `units` 0 for a sell."""

    id: str
    slot: str
    sequence: int
    units: int


@dataclass(slots=True)
class Share:
    """One symbol's money and the highest sequence by order slot. `allocated`: None where it is not registered."""

    allocated: int | None = None
    used: int = 0
    reserved: int = 0
    cap: int = 0
    max_usage: Decimal = ZERO
    fired: int = 0  # the stop that holds
    liquidate: bool = False
    reservations: dict[str, int] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)

    @property
    def committed(self) -> int:
        """Used plus reserved."""
        return self.used + self.reserved


@dataclass
class Pot:
    """The pot and each symbol's share."""

    shares: dict[str, Share] = field(default_factory=dict)
    pool: int = 0
    used: int = 0
    reserved: int = 0
    most_committed: int = 0
    version: int = 0
    inputs: str = ""
    stepped_ms: int = 0
    spread_fired: bool = False
    seen: set[str] = field(default_factory=set)  # ids of booked trades
    blocked: dict[str, int] = field(default_factory=dict)  # refusals by code

    @property
    def committed(self) -> int:
        """Used plus reserved of all symbols."""
        return self.used + self.reserved

    def reserve(self, symbol: str, items: Sequence[Wanted]) -> list[FundCode]:
        """reserve.lua: grant a batch, each item by itself."""
        share = self.shares[symbol]
        if share.allocated is None:
            return [FundCode.UNKNOWN_SYMBOL] * len(items)
        return [self._reserve(share, share.allocated, item) for item in items]

    def _reserve(self, share: Share, allocated: int, item: Wanted) -> FundCode:
        if share.slots.get(item.slot, -1) >= item.sequence:
            return FundCode.ALREADY
        if item.units and share.committed + item.units > allocated:
            code = FundCode.SYMBOL_LIMIT
        elif item.units and self.committed + item.units > self.pool:
            code = FundCode.GLOBAL_LIMIT
        else:
            share.slots[item.slot] = item.sequence
            share.reservations[item.id] = item.units
            share.reserved += item.units
            self.reserved += item.units
            self.most_committed = max(self.most_committed, self.committed)
            return FundCode.OK
        self.blocked[code.name] = self.blocked.get(code.name, 0) + 1
        return code

    def record(self, symbol: str, moves: Collection[FillMove], ended: Iterable[str] = ()) -> FundCode:
        """record.lua: book fills, and free what orders that ended still hold."""
        share, booked = self.shares[symbol], sum(move.trade_id in self.seen for move in moves)
        if booked:
            return FundCode.ALREADY if booked == len(moves) else FundCode.CONFLICT
        for move in moves:
            self.seen.add(move.trade_id)
            taken = min(move.take_units, share.reservations.get(move.reservation_id, 0))
            if taken:
                share.reservations[move.reservation_id] -= taken
            share.used += move.used_delta
            share.reserved -= taken
            self.used += move.used_delta
            self.reserved -= taken
        self.most_committed = max(self.most_committed, self.committed)
        self.release(symbol, ended)
        return FundCode.OK

    def release(self, symbol: str, ids: Iterable[str]) -> None:
        """release.lua: free what reservations still hold."""
        share = self.shares[symbol]
        for name in ids:
            left = share.reservations.pop(name, 0)
            share.reserved -= left
            self.reserved -= left

    def set_limits(self, pool: int, limits: Collection[LimitsChange], inputs: str, step_ms: int) -> FundCode:
        """set_limits.lua: put allocations in force, all or none."""
        sums = sum(one.allocated_units for one in limits)
        for one in limits:
            self.shares.setdefault(one.symbol, Share())
        if sums > max(pool, self.used) or any(self.shares[one.symbol].used > one.allocated_units for one in limits):
            return FundCode.CONFLICT
        if self.pool == pool and self.inputs == inputs and all(map(self._is_in_force, limits)):
            return FundCode.ALREADY
        for one in limits:
            share = self.shares[one.symbol]
            share.allocated, share.cap, share.max_usage = one.allocated_units, one.cap_units, one.max_usage
            share.liquidate = share.liquidate and (not share.cap or bool(share.fired))
        if self.pool != pool:
            self.most_committed = self.committed
        self.pool, self.inputs, self.version = pool, inputs, self.version + 1
        self.stepped_ms = step_ms or self.stepped_ms
        return FundCode.OK

    def _is_in_force(self, one: LimitsChange) -> bool:
        share = self.shares[one.symbol]
        return (share.allocated, share.cap, share.max_usage) == (one.allocated_units, one.cap_units, one.max_usage)

    def share_of(self, symbol: str) -> TraderAllocation:
        """One symbol's share, as a tick reads it."""
        share = self.shares[symbol]
        return unchecked(
            TraderAllocation,
            symbol=symbol,
            registered=share.allocated is not None,
            allocated_units=share.allocated or 0,
            used_units=share.used,
            reserved_units=share.reserved,
            paused=False,
            cap_units=share.cap,
            max_usage_pct=share.max_usage,
            fired=share.fired,
            liquidate=share.liquidate,
        )

    def status(self) -> FundsStatus:
        """The whole pot."""
        shares: Mapping[str, TraderAllocation] = {symbol: self.share_of(symbol) for symbol in self.shares}
        return unchecked(
            FundsStatus,
            pool_units=self.pool,
            used_units=self.used,
            reserved_units=self.reserved,
            version=self.version,
            paused=False,
            stopped=False,
            short_units=0,
            max_committed_units=self.most_committed,
            stepped_ms=self.stepped_ms,
            spread_fired=self.spread_fired,
            inputs=self.inputs,
            symbols=shares,
        )
