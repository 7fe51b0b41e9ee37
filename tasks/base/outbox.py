"""The outbox: records on their way from Redis to the history, in one stream an account.

A script appends what it commits (`_outbox.lua`, and the verb XADD of `_writes.lua`). The archiver deletes an entry once
its record is in the database. The stream is never trimmed by length: that would drop records that nobody has read.
"""

from enum import StrEnum
from typing import Any, NamedTuple

PLACES = 1_000_000  # more entries than one millisecond ever has


class RecordKind(StrEnum):
    """What a record is of. Lua scripts name some of them by their value; a test compares both lists."""

    FILL = "fill"  # a booked fill
    ORDER = "order"  # the newest state of an order
    GRID = "grid"  # a grid in force
    EQUITY = "equity"  # a point of the equity curve
    REBALANCE = "rebalance"  # an applied rebalance (set_limits.lua)
    BLOCKED = "blocked"  # a refused reservation (reserve.lua)
    EVENT = "event"  # a domain event
    ACTION = "action"  # what an operator did
    SETTINGS = "settings"  # settings put in force (publish_settings.lua)
    CAPITAL = "capital"  # money put in or taken out (move_capital.lua)
    FLAG = "flag"  # a pause or a stop, set or lifted (set_flag.lua)


class Record(NamedTuple):
    """One entry of the outbox. `entry_id`: of the stream. `kind` is plain text where a later version wrote it."""

    entry_id: str
    kind: str
    body: str

    @property
    def at_ms(self) -> int:
        """When it was appended, by the clock of Redis."""
        return int(self.entry_id.partition("-")[0])

    @property
    def sequence(self) -> int:
        """Its place in the outbox as one number, the time first."""
        at_ms, _, place = self.entry_id.partition("-")
        return int(at_ms) * PLACES + int(place)


def fields_of(kind: RecordKind, body: str) -> dict[Any, Any]:
    """The fields of a stream entry."""
    return {"kind": kind.value, "body": body}
