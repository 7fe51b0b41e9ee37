"""Which kinds of trouble a fault run has, and how often: each seed switches some off and varies the other rates."""

import random
from dataclasses import dataclass, field
from enum import StrEnum


class Trouble(StrEnum):
    """A kind of trouble. The names of those that happen on the exchange, in Redis or by hand are counted as events."""

    RULES = "stops and limits"
    MOVING = "grids move"
    DEATHS = "workers die or freeze"
    FAULTS = "requests fail"
    SETTINGS = "settings change"
    MONITOR = "monitor"
    FLAG = "stopped for a step"
    CANCELLED = "order cancelled by hand"
    STOPPED = "stopped with a report"
    FILTERS = "filters changed"
    SUSPENDED = "symbol suspended and listed again"
    DELISTED = "symbol delisted"
    LEFT_BEHIND = "buy partly filled, then the price leaves"
    AMENDED = "order amended by hand"
    STRAY = "order of ours without a journal entry"
    WITHDRAWN = "base withdrawn and returned"
    COIN_FEES = "fee in a coin that a grid holds"
    GONE = "base withdrawn for minutes"
    RESTARTED = "Redis restarted"
    PUT_BACK = "Redis put back to an earlier state"
    LOST_ANSWERS = "answer of Redis lost"
    FEW_ORDERS = "other number of open orders allowed"
    INVESTED = "money invested"
    TAKEN_OUT = "profit withdrawn"
    EARNING = "fill of a sell that only brings back its cost"


@dataclass(frozen=True)
class _Range:
    """How likely a kind is in a scenario, and how likely it then is at each step, between two bounds."""

    share: float
    least: float
    most: float


_RANGES = {
    Trouble.DEATHS: _Range(0.85, 0.2, 0.7),  # of ticks
    Trouble.FAULTS: _Range(0.85, 0.4, 1.4),  # a factor for the probabilities of the plan of faults
    Trouble.SETTINGS: _Range(0.85, 0.3, 0.9),
    Trouble.MONITOR: _Range(0.9, 0.1, 0.5),
    Trouble.FLAG: _Range(0.6, 0.1, 0.3),
    Trouble.CANCELLED: _Range(0.6, 0.1, 0.3),
    Trouble.STOPPED: _Range(0.35, 0.04, 0.12),
    Trouble.FILTERS: _Range(0.35, 0.1, 0.3),
    Trouble.SUSPENDED: _Range(0.2, 0.05, 0.15),
    Trouble.DELISTED: _Range(0.35, 0.1, 0.3),
    Trouble.LEFT_BEHIND: _Range(0.5, 0.1, 0.4),
    Trouble.AMENDED: _Range(0.35, 0.1, 0.3),
    Trouble.STRAY: _Range(0.3, 0.1, 0.3),
    Trouble.WITHDRAWN: _Range(0.35, 0.1, 0.3),
    Trouble.COIN_FEES: _Range(0.5, 1, 1),  # with three symbols
    Trouble.RESTARTED: _Range(0.3, 0.05, 0.2),
    Trouble.PUT_BACK: _Range(0.3, 0.05, 0.15),
    Trouble.GONE: _Range(0.25, 1.0, 1.0),  # once, at the end of the trouble
    Trouble.LOST_ANSWERS: _Range(0.35, 0.002, 0.02),  # of requests
    Trouble.FEW_ORDERS: _Range(0.3, 0.1, 0.3),
}
_RULES_SHARE = 0.3  # drawn apart, so that other scenarios are what they were before there were rules
_MOVING_SHARE = 0.3  # likewise
_EARNING_SHARE = 0.3  # likewise
_CAPITAL_SHARE = 0.3  # likewise
COUNTED = tuple(Trouble)[tuple(Trouble).index(Trouble.CANCELLED) :]


@dataclass
class Swarm:
    """The rates of a scenario by kind; a kind that is off has none. Draws come from a generator of its own."""

    rng: random.Random
    rates: dict[Trouble, float] = field(default_factory=dict)

    @classmethod
    def drawn(cls, seed: int) -> "Swarm":
        """The rates of `seed`."""
        rng = random.Random(f"swarm {seed}")
        drawn = {kind: (rng.random(), rng.uniform(found.least, found.most)) for kind, found in _RANGES.items()}
        rates = {kind: rate for kind, (at, rate) in drawn.items() if at < _RANGES[kind].share}
        if random.Random(f"rules {seed}").random() < _RULES_SHARE:
            rates[Trouble.RULES] = 1.0
        if random.Random(f"moving {seed}").random() < _MOVING_SHARE:
            rates[Trouble.MOVING] = 1.0
        if random.Random(f"earning {seed}").random() < _EARNING_SHARE:
            rates[Trouble.EARNING] = 1.0
        if random.Random(f"capital {seed}").random() < _CAPITAL_SHARE:
            rates[Trouble.INVESTED] = 1.0
        return cls(rng, rates)

    def comes(self, kind: Trouble) -> bool:
        """Whether it happens now."""
        rate = self.rates.get(kind, 0.0)
        return rate > 0 and self.rng.random() < rate
