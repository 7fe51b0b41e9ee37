"""Whether a channel sends an alert now, later in a digest, or not at all. Pure; times in ms since the epoch."""

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from pydantic import Field

from tasks.alerts.models import Alert
from tasks.base.alert_kinds import AlertKind, AlertLevel
from tasks.exchange.models import Frozen

_MINUTE_MS = 60_000
DIGEST_MS = 10_000  # at least this long between two digests for the rate limit


class Rules(NamedTuple):
    """A channel's settings. `quiet`: minutes of the day from and to, in `zone`; None: no quiet hours.

    `backlog`: alerts that may wait while the channel fails.
    """

    min_level: AlertLevel
    kinds: Mapping[AlertKind, str]
    repeat_ms: int
    per_minute: int
    quiet: tuple[int, int] | None
    zone: tzinfo
    backlog: int = 10_000


class Gate(Frozen):
    """What a channel has sent: how many messages it may send now, and when it last sent each repeat key."""

    tokens: float = 0.0
    at_ms: int = 0  # of `tokens`; 0: nothing was sent yet
    sent: Mapping[str, int] = Field(default_factory=dict)


class Drop(NamedTuple):
    """The channel does not want the alert."""


class Send(NamedTuple):
    """Send it now."""

    silent: bool


class Hold(NamedTuple):
    """Keep it for a digest, which may go at `until_ms`."""

    until_ms: int


Verdict = Drop | Send | Hold


def judge(rules: Rules, gate: Gate, name: str, alert: Alert, now_ms: int) -> Verdict:
    """What channel `name` does with the alert. Critical alerts ignore quiet hours and the rate limit."""
    switch = rules.kinds.get(alert.kind, "on")
    if alert.level < rules.min_level or switch == "off" or (alert.channels is not None and name not in alert.channels):
        return Drop()
    last = gate.sent.get(alert.repeat_key)
    if last is not None and now_ms < last + rules.repeat_ms:
        return Hold(last + rules.repeat_ms)
    if alert.level < AlertLevel.CRITICAL:
        quiet_until = quiet_end_ms(rules, now_ms)
        if quiet_until is not None:
            return Hold(quiet_until)
        if tokens_at(rules, gate, now_ms) < 1:
            return Hold(now_ms + max(DIGEST_MS, _MINUTE_MS // rules.per_minute))
    return Send(silent=switch == "silent")


def digest_at_ms(rules: Rules, gate: Gate, now_ms: int) -> int:
    """When a digest may go, at the earliest: outside the quiet hours, and within the rate limit."""
    quiet_until = quiet_end_ms(rules, now_ms)
    if quiet_until is not None:
        return quiet_until
    missing = 1 - tokens_at(rules, gate, now_ms)
    return now_ms if missing <= 0 else now_ms + int(missing * _MINUTE_MS / rules.per_minute) + 1


def after_sending(rules: Rules, gate: Gate, keys: list[str], now_ms: int) -> Gate:
    """The gate after one message with alerts of these repeat keys. Forgets keys whose window is over."""
    kept = {key: ms for key, ms in gate.sent.items() if now_ms < ms + rules.repeat_ms}
    sent = kept | dict.fromkeys(keys, now_ms) if rules.repeat_ms else {}
    return Gate(tokens=max(tokens_at(rules, gate, now_ms) - 1, 0.0), at_ms=now_ms, sent=sent)


def tokens_at(rules: Rules, gate: Gate, now_ms: int) -> float:
    """How many messages may go now: as many as a minute allows after a minute of silence."""
    if not gate.at_ms:
        return float(rules.per_minute)
    gained = max(now_ms - gate.at_ms, 0) * rules.per_minute / _MINUTE_MS
    return min(gate.tokens + gained, float(rules.per_minute))


def quiet_end_ms(rules: Rules, now_ms: int) -> int | None:
    """When the quiet hours of now end; None outside them. They may go over midnight."""
    if rules.quiet is None or rules.quiet[0] == rules.quiet[1]:
        return None
    begins, ends = rules.quiet
    now = datetime.fromtimestamp(now_ms / 1000, rules.zone)
    minute = now.hour * 60 + now.minute
    inside = begins <= minute < ends if begins < ends else minute >= begins or minute < ends
    if not inside:
        return None
    end = now.replace(hour=ends // 60, minute=ends % 60, second=0, microsecond=0)
    if ends <= minute:
        end += timedelta(days=1)
    return int(end.timestamp() * 1000)


def minutes_of(hours: str) -> tuple[int, int] | None:
    """`22:00-07:30` → (1320, 450); None for an empty text."""
    if not hours:
        return None
    begins, ends = ((int(part[:2]) * 60 + int(part[3:])) for part in hours.split("-"))
    return begins, ends


def back_off_seconds(failures: int, retry_after: float | None) -> float:
    """How long a channel waits after its n-th failure in a row: twice as long each time, at most five minutes."""
    own = min(2.0 ** min(failures, 9), 300.0)
    return own if retry_after is None else max(own, min(retry_after, 3600.0))
