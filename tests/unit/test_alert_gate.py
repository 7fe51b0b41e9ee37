"""When a channel sends an alert, and what it holds back."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tasks.alerts.gate import (
    Drop,
    Gate,
    Hold,
    Rules,
    Send,
    after_sending,
    back_off_seconds,
    digest_at_ms,
    judge,
    minutes_of,
    quiet_end_ms,
)
from tasks.alerts.models import Alert
from tasks.base.alert_kinds import AlertKind, AlertLevel

NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)
RULES = Rules(AlertLevel.INFO, {}, repeat_ms=600_000, per_minute=2, quiet=None, zone=UTC)


def alert(level: AlertLevel = AlertLevel.ERROR, title: str = "Order failed", **more: object) -> Alert:
    """Alert."""
    return Alert.model_validate({"level": level, "title": title, "message": "why"} | more)


def test_a_level_below_the_channels_minimum_is_dropped() -> None:
    """A level below the channels minimum is dropped."""
    rules = RULES._replace(min_level=AlertLevel.ERROR)
    assert judge(rules, Gate(), "email", alert(AlertLevel.WARNING), NOON) == Drop()
    assert judge(rules, Gate(), "email", alert(AlertLevel.ERROR), NOON) == Send(silent=False)


def test_a_kind_is_on_off_or_silent() -> None:
    """A kind is on off or silent."""
    rules = RULES._replace(kinds={AlertKind.FILL: "silent", AlertKind.STARTED: "off"})
    assert judge(rules, Gate(), "email", alert(kind=AlertKind.FILL), NOON) == Send(silent=True)
    assert judge(rules, Gate(), "email", alert(kind=AlertKind.STARTED), NOON) == Drop()


def test_an_alert_for_other_channels_is_dropped() -> None:
    """An alert for other channels is dropped."""
    assert judge(RULES, Gate(), "email", alert(channels=("telegram",)), NOON) == Drop()
    assert judge(RULES, Gate(), "telegram", alert(channels=("telegram",)), NOON) == Send(silent=False)


def test_a_repeat_waits_for_the_end_of_its_window() -> None:
    """A repeat waits for the end of its window."""
    sent = after_sending(RULES, Gate(), [alert().repeat_key], NOON)
    assert judge(RULES, sent, "email", alert(), NOON + 1000) == Hold(NOON + 600_000)
    assert judge(RULES, sent, "email", alert(title="Another"), NOON + 1000) == Send(silent=False)
    assert judge(RULES, sent, "email", alert(), NOON + 600_000) == Send(silent=False)
    later = after_sending(RULES, sent, ["other"], NOON + 600_000)
    assert later.sent == {"other": NOON + 600_000}, "a window that is over is forgotten"


def test_the_rate_limit_lets_a_minutes_messages_pass_and_then_one_at_a_time() -> None:
    """The rate limit lets a minutes messages pass and then one at a time."""
    gate = Gate()
    for name in ("a", "b"):
        assert judge(RULES, gate, "email", alert(title=name), NOON) == Send(silent=False)
        gate = after_sending(RULES, gate, [name], NOON)
    assert judge(RULES, gate, "email", alert(title="c"), NOON) == Hold(NOON + 30_000)
    assert judge(RULES, gate, "email", alert(AlertLevel.CRITICAL, "d"), NOON) == Send(silent=False)
    assert digest_at_ms(RULES, gate, NOON) == NOON + 30_001
    assert digest_at_ms(RULES, gate, NOON + 30_001) == NOON + 30_001


def test_critical_alerts_alone_break_the_quiet_hours() -> None:
    """Critical alerts alone break the quiet hours."""
    rules = RULES._replace(quiet=minutes_of("11:30-13:00"))
    end = NOON + 3_600_000
    assert judge(rules, Gate(), "email", alert(), NOON) == Hold(end)
    assert judge(rules, Gate(), "email", alert(AlertLevel.CRITICAL), NOON) == Send(silent=False)
    assert digest_at_ms(rules, Gate(), NOON) == end
    assert judge(rules, Gate(), "email", alert(), end) == Send(silent=False)


@pytest.mark.parametrize(
    ("hours", "now", "ends"),
    [
        ("22:00-07:00", "2026-03-01T23:00", "2026-03-02T07:00"),
        ("22:00-07:00", "2026-03-02T06:59", "2026-03-02T07:00"),
        ("22:00-07:00", "2026-03-02T07:00", None),
        ("22:00-07:00", "2026-03-02T21:59", None),
        ("09:00-10:00", "2026-03-02T09:00", "2026-03-02T10:00"),
        ("09:00-09:00", "2026-03-02T09:00", None),
        ("", "2026-03-02T09:00", None),
    ],
)
def test_quiet_hours_follow_the_time_zone_and_may_go_over_midnight(hours: str, now: str, ends: str | None) -> None:
    """Quiet hours follow the time zone and may go over midnight."""
    zone = ZoneInfo("Asia/Shanghai")

    def ms(text: str) -> int:
        return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)

    rules = RULES._replace(quiet=minutes_of(hours), zone=zone)
    assert quiet_end_ms(rules, ms(now)) == (None if ends is None else ms(ends))


def test_back_off_doubles_and_respects_what_the_service_asks_for() -> None:
    """Back off doubles and respects what the service asks for."""
    assert [back_off_seconds(n, None) for n in (1, 2, 3, 9, 50)] == [2, 4, 8, 300, 300]
    assert back_off_seconds(1, 30.0) == 30
    assert back_off_seconds(9, 30.0) == 300
