"""Days, weeks and months in UTC or in a named time zone. Pure."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class Period(StrEnum):
    """How long a bucket is."""

    DAY = "day"
    WEEK = "week"  # from Monday, as in ISO 8601
    MONTH = "month"


class Bucket(NamedTuple):
    """One period: its first day, its start, and its end (not part of it), in ms."""

    day: date
    start_ms: int
    end_ms: int


def zone_of(name: str) -> tzinfo:
    """The time zone of that name, such as `UTC` or `Europe/Berlin`. Raises ValueError for an unknown one."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"zone = {name!r}: must be a time zone like UTC or Europe/Berlin") from None


def bucket_of(at_ms: int, period: Period, zone: tzinfo) -> Bucket:
    """The bucket that holds the time `at_ms`."""
    day = _first_day(datetime.fromtimestamp(at_ms / 1000, zone).date(), period)
    return Bucket(day, _midnight_ms(day, zone), _midnight_ms(_next_first_day(day, period), zone))


def buckets(start_ms: int, end_ms: int, period: Period, zone: tzinfo) -> list[Bucket]:
    """Every bucket that has a part of `start_ms` to `end_ms` (not part of it), oldest first."""
    found = []
    while start_ms < end_ms:
        found.append(bucket_of(start_ms, period, zone))
        start_ms = found[-1].end_ms
    return found


def _first_day(day: date, period: Period) -> date:
    if period is Period.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period is Period.MONTH else day


def _next_first_day(day: date, period: Period) -> date:
    if period is Period.MONTH:
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return day + timedelta(days=7 if period is Period.WEEK else 1)


def _midnight_ms(day: date, zone: tzinfo) -> int:
    """The day's first moment. Where the clock jumps over midnight, the moment of the jump."""
    return int(datetime.combine(day, time(), zone).timestamp() * 1000)
