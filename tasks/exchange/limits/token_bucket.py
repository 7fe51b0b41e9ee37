"""A token bucket that fills steadily: calls of its scripts, and what their answers mean. State is in Redis.

A bucket of capacity C that fills at rate r grants at most C + r·W in any span W. With C = W/5 and r = 4/5 that is
exactly W: whatever minute the exchange counts in, it never sees more than it allows.
"""

import sys
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from tasks.exchange.limits.priority import Surplus
from tasks.exchange.limits.scripts import ScriptCall

_BURST = 0.2  # share of the exchange's window that may be used at once; the rest flows in over the window
REFILL = 1 - _BURST  # ms per ms


class BudgetCode(IntEnum):
    """Answers of budget.lua."""

    GRANTED = 0
    WAIT = 1
    BANNED = 2


class TakeAnswer(NamedTuple):
    """An answer of budget.lua: requests granted, and what else the code says (ms), by Redis's clock (`at_ms`)."""

    code: int
    granted: int
    ms: int
    at_ms: int


@dataclass(frozen=True)
class TokenBucket:
    """One token bucket and the ban that goes with it."""

    key: str
    ban: str
    window_ms: int

    @property
    def capacity(self) -> float:
        """ms that may be used at once."""
        return self.window_ms * _BURST

    def take(self, cost_ms: float, count: int, reserve: float, reported_left: float = -1) -> ScriptCall:
        """See budget.lua. `reserve`: share of the capacity. `reported_left`: by a response (ms), or -1."""
        args = [cost_ms, count, self.capacity, REFILL, reserve * self.capacity, reported_left]
        return ScriptCall("budget", [self.key, self.ban], args)

    def room(self, cost_ms: float, reserve: float) -> int:
        """How many requests a full bucket grants at once, at least 1."""
        return max(int((1 - reserve) * self.capacity / cost_ms), 1) if cost_ms > 0 else sys.maxsize

    def wait_ms(self, answer: TakeAnswer, cost_ms: float, reserve: float) -> float:
        """When the bucket can grant the next request, counted from its answer."""
        if answer.code == BudgetCode.WAIT:
            return answer.ms
        needed = min(cost_ms + reserve * self.capacity, self.capacity)
        return max(needed - answer.ms, 0) / REFILL if cost_ms > 0 else 0.0

    def give_back(self, surplus: Surplus) -> ScriptCall:
        """See give_back.lua."""
        return ScriptCall("give_back", [self.key], [surplus.cost_ms, surplus.since_ms, self.capacity, REFILL])
