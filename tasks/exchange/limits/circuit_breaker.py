"""Circuit breaker rules: closed → open → half-open, with one probe at a time. Pure; time and names are arguments.

A symbol's breaker opens after several failed ticks in a row. The exchange's breaker opens when the latest ticks of
several symbols found the exchange unavailable, and during a ban. Each opening without a success in between waits
twice as long, up to a maximum.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pydantic import Field

from tasks.exchange.models import Frozen

_PROBE_POLL_MS = 2_000  # how often to ask whether another tick's probe has ended


class Phase(StrEnum):
    """CLOSED: every tick runs. OPEN: none does. HALF_OPEN: one tick runs as a probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Outcome(StrEnum):
    """What a tick showed about the breaker's symbol or exchange. NEUTRAL: nothing."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"


@dataclass(frozen=True)
class BreakerRules:
    """When a breaker opens, and for how long.

    `threshold` failures within `window_ms` open it. `consecutive`: every failure counts, and one success clears them
    all; otherwise each source counts once, by its latest outcome. It stays open for `first_wait_ms`, twice as long
    after each failed probe, at most `max_wait_ms`. A probe that has not ended after `probe_ms` counts as lost.
    """

    threshold: int
    window_ms: int
    consecutive: bool
    first_wait_ms: int = 10_000
    max_wait_ms: int = 300_000
    probe_ms: int = 60_000

    def wait_ms(self, openings: int) -> int:
        """How long the breaker stays open after its `openings`-th opening in a row."""
        return int(min(self.first_wait_ms * 2 ** min(openings - 1, 30), self.max_wait_ms))


SYMBOL_RULES = BreakerRules(threshold=5, window_ms=600_000, consecutive=True)
EXCHANGE_RULES = BreakerRules(threshold=3, window_ms=60_000, consecutive=False)


class Breaker(Frozen):
    """State of one breaker. Times in ms since the epoch."""

    phase: Phase = Phase.CLOSED
    failing: Mapping[str, int] = Field(default_factory=dict)  # what failed → when
    openings: int = 0  # in a row
    retry_at_ms: int = 0  # while open: when the first probe may start
    probe: str = ""  # while half-open: the owner of the probe
    probe_until_ms: int = 0  # while half-open: when the probe counts as lost
    since_ms: int = 0
    why: str = ""


class Decision(NamedTuple):
    """Whether a tick may run. `wait_ms`: if not, when to ask again. `probe`: if so, whether it is the probe."""

    allowed: bool
    wait_ms: int = 0
    probe: bool = False


def end_of_ban(stored: str, now_ms: int) -> int:
    """When a ban ends (ms), from its record `until since`; 0 for none. A clock set back does not lengthen it."""
    until, _, since = stored.partition(" ")
    return int(until or 0) - max(int(since or 0) - now_ms, 0)


def _by_this_clock(breaker: Breaker, now_ms: int) -> Breaker:
    """The breaker with its times moved where the clock was set back, so that it does not stay open for longer."""
    step = breaker.since_ms - now_ms
    if step <= 0:
        return breaker
    moved = {name: getattr(breaker, name) - step for name in ("retry_at_ms", "probe_until_ms", "since_ms")}
    return breaker.model_copy(update=moved)


def before_tick(
    breaker: Breaker, rules: BreakerRules, now_ms: int, owner: str, banned_until_ms: int = 0
) -> tuple[Breaker, Decision]:
    """Decide whether `owner` may tick; also the breaker's new state. An owner that gets the probe must report back."""
    breaker = _by_this_clock(breaker, now_ms)
    if banned_until_ms > now_ms:
        if breaker.phase is not Phase.OPEN or breaker.retry_at_ms < banned_until_ms:
            breaker = _opened(breaker, now_ms, banned_until_ms, "the exchange allows no calls")
        return breaker, Decision(allowed=False, wait_ms=breaker.retry_at_ms - now_ms)
    if breaker.phase is Phase.CLOSED:
        return breaker, Decision(allowed=True)
    if breaker.phase is Phase.OPEN and now_ms < breaker.retry_at_ms:
        return breaker, Decision(allowed=False, wait_ms=breaker.retry_at_ms - now_ms)
    if breaker.phase is Phase.HALF_OPEN and breaker.probe != owner and now_ms < breaker.probe_until_ms:
        return breaker, Decision(allowed=False, wait_ms=min(breaker.probe_until_ms - now_ms, _PROBE_POLL_MS))
    since = breaker.since_ms if breaker.phase is Phase.HALF_OPEN else now_ms
    update = {"phase": Phase.HALF_OPEN, "probe": owner, "probe_until_ms": now_ms + rules.probe_ms, "since_ms": since}
    return breaker.model_copy(update=update), Decision(allowed=True, probe=True)


def after_tick(
    breaker: Breaker, rules: BreakerRules, now_ms: int, owner: str, outcome: Outcome, source: str, why: str = ""
) -> Breaker:
    """The breaker's state after a tick of `owner`. While it is not closed, only the probe's outcome counts.

    `source`: what failed or succeeded, such as the symbol. `why`: the failure's text.
    """
    if breaker.phase is Phase.CLOSED:
        return _counted(breaker, rules, now_ms, outcome, source, why)
    if breaker.phase is Phase.OPEN or breaker.probe != owner:
        return breaker
    if outcome is Outcome.SUCCESS:
        return Breaker(since_ms=now_ms)
    if outcome is Outcome.FAILURE:
        openings = breaker.openings + 1
        return _opened(breaker, now_ms, now_ms + rules.wait_ms(openings), why, openings)
    return _opened(breaker, now_ms, now_ms, breaker.why, breaker.openings)  # the next tick may be the probe


def _counted(breaker: Breaker, rules: BreakerRules, now_ms: int, outcome: Outcome, source: str, why: str) -> Breaker:
    """A closed breaker that counted the outcome, and opened if that was one failure too many."""
    if outcome is Outcome.NEUTRAL:
        return breaker
    recent = {name: at for name, at in breaker.failing.items() if now_ms - at <= rules.window_ms}
    if outcome is Outcome.SUCCESS:
        recent = {} if rules.consecutive else {name: at for name, at in recent.items() if name != source}
    else:
        recent[f"{now_ms}-{len(recent)}" if rules.consecutive else source] = now_ms
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
