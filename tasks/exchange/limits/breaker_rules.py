"""Circuit breaker rules: closed → open → half-open, one probe at a time. Pure; time and names are passed in.

A symbol's breaker opens after so many failed ticks in a row; the exchange's when so many symbols' latest ticks found
it unavailable, or while it bans us. Each opening without a success in between waits twice as long, up to a bound.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pydantic import Field

from tasks.exchange.models import Frozen

_LOOK_AGAIN_MS = 2_000  # while somebody else probes


class Phase(StrEnum):
    """What a breaker lets through: everything, nothing, one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Outcome(StrEnum):
    """What a tick says of what the breaker guards; NEITHER when it says nothing."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEITHER = "neither"


@dataclass(frozen=True)
class BreakerRules:
    """`threshold` failures within `window_ms` open it; a probe has `probe_ms` to end.

    `in_a_row`: every failure counts and one success strikes them all; else each source counts once, by its latest.
    """

    threshold: int
    window_ms: int
    in_a_row: bool
    first_wait_ms: int = 10_000
    most_wait_ms: int = 300_000
    probe_ms: int = 60_000

    def wait_ms(self, openings: int) -> int:
        """How long the breaker stays open after its `openings`-th opening in a row."""
        return int(min(self.first_wait_ms * 2 ** min(openings - 1, 30), self.most_wait_ms))


SYMBOL_RULES = BreakerRules(threshold=5, window_ms=600_000, in_a_row=True)
EXCHANGE_RULES = BreakerRules(threshold=3, window_ms=60_000, in_a_row=False)


class Breaker(Frozen):
    """One breaker. Times in ms since the epoch."""

    phase: Phase = Phase.CLOSED
    failing: Mapping[str, int] = Field(default_factory=dict)  # failure → when
    openings: int = 0  # in a row
    retry_at_ms: int = 0  # while open: the first probe may start then
    probe: str = ""  # while half-open: whose probe it is …
    probe_until_ms: int = 0  # … and when it counts as lost
    since_ms: int = 0
    why: str = ""


class Door(NamedTuple):
    """May a tick go through, and if not, when to look again."""

    allowed: bool
    wait_ms: int = 0
    probe: bool = False


def ask(breaker: Breaker, rules: BreakerRules, now_ms: int, who: str, banned_until_ms: int = 0) -> tuple[Breaker, Door]:
    """The breaker after `who` asked, and the answer. Who is let through while half-open must `tell` how it went."""
    if banned_until_ms > now_ms:
        if breaker.phase is not Phase.OPEN or breaker.retry_at_ms < banned_until_ms:
            breaker = _opened(breaker, now_ms, banned_until_ms, "the exchange wants no calls")
        return breaker, Door(allowed=False, wait_ms=breaker.retry_at_ms - now_ms)
    if breaker.phase is Phase.CLOSED:
        return breaker, Door(allowed=True)
    if breaker.phase is Phase.OPEN and now_ms < breaker.retry_at_ms:
        return breaker, Door(allowed=False, wait_ms=breaker.retry_at_ms - now_ms)
    if breaker.phase is Phase.HALF_OPEN and breaker.probe != who and now_ms < breaker.probe_until_ms:
        return breaker, Door(allowed=False, wait_ms=min(breaker.probe_until_ms - now_ms, _LOOK_AGAIN_MS))
    since = breaker.since_ms if breaker.phase is Phase.HALF_OPEN else now_ms
    update = {"phase": Phase.HALF_OPEN, "probe": who, "probe_until_ms": now_ms + rules.probe_ms, "since_ms": since}
    return breaker.model_copy(update=update), Door(allowed=True, probe=True)


def tell(
    breaker: Breaker, rules: BreakerRules, now_ms: int, who: str, outcome: Outcome, source: str, why: str = ""
) -> Breaker:
    """The breaker after a tick of `who`. While it is not closed, only the one probe's word counts."""
    if breaker.phase is Phase.CLOSED:
        return _told_closed(breaker, rules, now_ms, outcome, source, why)
    if breaker.phase is Phase.OPEN or breaker.probe != who:
        return breaker
    if outcome is Outcome.SUCCESS:
        return Breaker(since_ms=now_ms)
    if outcome is Outcome.FAILURE:
        openings = breaker.openings + 1
        return _opened(breaker, now_ms, now_ms + rules.wait_ms(openings), why, openings)
    return _opened(breaker, now_ms, now_ms, breaker.why, breaker.openings)  # the next one may probe at once


def _told_closed(
    breaker: Breaker, rules: BreakerRules, now_ms: int, outcome: Outcome, source: str, why: str
) -> Breaker:
    if outcome is Outcome.NEITHER:
        return breaker
    recent = {name: at for name, at in breaker.failing.items() if now_ms - at <= rules.window_ms}
    if outcome is Outcome.SUCCESS:
        recent = {} if rules.in_a_row else {name: at for name, at in recent.items() if name != source}
    else:
        recent[f"{now_ms}-{len(recent)}" if rules.in_a_row else source] = now_ms
        if len(recent) >= rules.threshold:
            return _opened(breaker, now_ms, now_ms + rules.wait_ms(1), why, 1)
    return breaker.model_copy(update={"failing": recent})


def _opened(breaker: Breaker, now_ms: int, retry_at_ms: int, why: str, openings: int | None = None) -> Breaker:
    since = breaker.since_ms if breaker.phase is Phase.OPEN else now_ms
    return Breaker(
        phase=Phase.OPEN,
        openings=breaker.openings if openings is None else openings,
        retry_at_ms=retry_at_ms,
        since_ms=since,
        why=why,
    )
