"""Moments in the viewer's zone with UTC beside them, and ages. Pure."""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def iso(ms: int) -> str:
    """Milliseconds since the epoch as `2024-01-01T00:00:00.000Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def zone_of(name: str | None) -> tzinfo:
    """The zone that a browser names; UTC where it names none that is known."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def local(ms: int, zone: tzinfo, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A moment as the viewer's clock shows it."""
    return f"{datetime.fromtimestamp(ms / 1000, zone):{form}}"


def clock(ms: int, zone: tzinfo, now_ms: int) -> str:
    """The time alone for a moment of today, else with its date."""
    is_today = local(ms, zone, "%F") == local(now_ms, zone, "%F")
    return local(ms, zone, "%H:%M:%S" if is_today else "%d %b %H:%M")


def utc(ms: int) -> str:
    """`2024-01-01 00:00:00 UTC`, for what hovers over a time."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def age_text(seconds: float) -> str:
    """`3 s`, `4 min`, `2 h`, `5 d`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def since(ms: int, now_ms: int, zone: tzinfo) -> str:
    """`since 12:03:10 (2 min)`."""
    return f"since {clock(ms, zone, now_ms)} ({age_text((now_ms - ms) / 1000)})"
