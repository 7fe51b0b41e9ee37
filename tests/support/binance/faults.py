"""Faults: by count ("the next 3 POST /order"), or by a seeded plan that replays with the same request sequence."""

import random
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class FaultKind(StrEnum):
    """What may go wrong with one request. "After" means: the exchange has done what was asked."""

    DROP_BEFORE = "drop_before"  # connection closed, nothing done
    DROP_AFTER = "drop_after"  # done, then the connection is closed: the answer is lost
    DELAY_BEFORE = "delay_before"  # waits `seconds`, then looks at the request (its time stamp may be old by then)
    DELAY_AFTER = "delay_after"  # done at once, answered after `seconds`
    ERROR_BEFORE = "error_before"  # HTTP `status` with an HTML body, nothing done
    ERROR_AFTER = "error_after"  # the same, but done
    RATE_LIMIT = "rate_limit"  # 429 with Retry-After `seconds`, nothing done
    BAN = "ban"  # 418 from now on for `seconds`
    CLOCK_DRIFT = "clock_drift"  # the time stamp is judged by a clock that is `ms` ahead (or, negative, behind)
    STALE = "stale"  # a read answered as of `requests` requests or `seconds` ago
    HTML_BEFORE = "html_before"  # 200 with an HTML body, nothing done
    HTML_AFTER = "html_after"  # 200 with an HTML body, done
    TRUNCATED = "truncated"  # 200 with half of the JSON body, done
    FILL_ON_CANCEL = "fill_on_cancel"  # the order fills just before its cancel is looked at
    DUPLICATE_TRADES = "duplicate_trades"  # every trade of the answer stands in it twice
    SHUFFLED_TRADES = "shuffled_trades"  # the trades of the answer are out of order
    OUTAGE = "outage"  # from this request on every connection is closed for `seconds`


_READS = ("order", "openOrders", "allOrders", "myTrades", "account")
_ONLY: dict[FaultKind, tuple[str, tuple[str, ...]]] = {
    FaultKind.STALE: ("GET", _READS),
    FaultKind.FILL_ON_CANCEL: ("DELETE", ("order",)),
    FaultKind.DUPLICATE_TRADES: ("GET", ("myTrades",)),
    FaultKind.SHUFFLED_TRADES: ("GET", ("myTrades",)),
}


class Fault(BaseModel):
    """One kind of fault and the requests it may happen to.

    `path` is the end of the path (`order`, `openOrders`, `ticker/24hr`); empty means all. `match`: parameters that the
    request must have (`{"side": "SELL"}`). Some kinds only ever happen to the requests they make sense for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind
    method: str = ""
    path: str = ""
    match: dict[str, str] = {}
    seconds: Annotated[float, Field(ge=0)] = 0
    requests: Annotated[int, Field(ge=0)] = 0
    status: int = 502
    ms: int = 0

    def fits(self, method: str, path: str, params: dict[str, str]) -> bool:
        """Whether this fault may happen to that request."""
        only_method, only_paths = _ONLY.get(self.kind, ("", ()))
        end = path.removeprefix("/api/v3/").removeprefix("/sapi/v1/")
        return (
            (not self.method or self.method == method)
            and (not self.path or self.path.strip("/") == end)
            and (not only_method or (method == only_method and end in only_paths))
            and all(params.get(name) == value for name, value in self.match.items())
        )


class Injected(BaseModel):
    """A fault for the next `count` fitting requests after the first `skip` of them."""

    model_config = ConfigDict(extra="forbid")

    fault: Fault
    count: int = 1
    skip: int = 0


class Chance(BaseModel):
    """A fault that fitting requests meet with `probability`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fault: Fault
    probability: Annotated[float, Field(ge=0, le=1)]


class Plan(BaseModel):
    """A seeded random plan. One number is drawn per request, whatever it is, so that the same requests replay it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 1
    chances: tuple[Chance, ...] = ()


class Faults:
    """Chooses at most one fault for a request: an injected one first, else by the plan."""

    def __init__(self) -> None:
        self.waiting: list[Injected] = []
        self.use(Plan())

    def use(self, plan: Plan) -> None:
        """Start a plan from its seed; `Plan()` has no faults."""
        self._plan, self._random = plan, random.Random(plan.seed)

    def inject(self, fault: Fault, count: int = 1, skip: int = 0) -> None:
        """Let the next `count` fitting requests after `skip` of them meet `fault`."""
        self.waiting.append(Injected(fault=fault, count=count, skip=skip))

    def clear(self) -> None:
        """No faults from now on."""
        self.waiting.clear()
        self.use(Plan())

    def pick(self, method: str, path: str, params: dict[str, str]) -> Fault | None:
        """The fault this request meets, if any."""
        drawn = self._random.random()
        for entry in self.waiting:
            if entry.fault.fits(method, path, params):
                if entry.skip:
                    entry.skip -= 1
                    continue
                entry.count -= 1
                if not entry.count:
                    self.waiting.remove(entry)
                return entry.fault
        for chance in self._plan.chances:
            if chance.fault.fits(method, path, params):
                if drawn < chance.probability:
                    return chance.fault
                drawn -= chance.probability
        return None
