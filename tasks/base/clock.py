"""Time in UTC. Code that needs the time takes a `Clock` as a parameter, so that tests can pass their own."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]

DAY_MS = 86_400_000


def utc_now() -> datetime:
    """The system clock in UTC."""
    return datetime.now(UTC)


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, the unit of exchanges and of records in Redis."""
    return int(moment.timestamp() * 1000)
