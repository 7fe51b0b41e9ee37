"""How an exchange's lists are read to their end, page by page. Pure; records are dicts as ccxt gives them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from tasks.base.clock import DAY_MS

Record = Mapping[str, Any]
WEEK_MS = 7 * DAY_MS
_CLOCK_DRIFT_MS = 60_000  # a day that ends within this time may be over by the exchange's clock
_LOOK_AHEAD_MS = 3600 * 1000  # how far the first week reaches into the future, because clocks differ


@dataclass(frozen=True)
class PageRequest:
    """One page to read: its start (ms, exchange time; None: no start) and the exchange's own params.

    `end_ms`: when lists are read week by week backwards, the moment to stop at.
    `empty_weeks`: how many weeks in a row held nothing so far.
    `now_ms`: when lists are read day by day forwards, the moment to stop at; 0 once a page is no longer cut at a day.
    """

    since_ms: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    end_ms: int = 0
    empty_weeks: int = 0
    now_ms: int = 0


class Pagination(Protocol):
    """How a list is split into pages. `size`: records asked for at once; None leaves it to the exchange."""

    @property
    def size(self) -> int | None:
        """Records a full page holds."""

    def first(self, since_ms: int, now_ms: int) -> PageRequest:
        """The first page of everything since `since_ms` (0: from the beginning)."""

    def next(self, request: PageRequest, page: Sequence[Record], has_new: bool, oldest_ms: int) -> PageRequest | None:
        """The request after `page`; None when that was the last page.

        `has_new`: the page held a record that no earlier page had. `oldest_ms`: the time of the oldest record so far.
        """


@dataclass(frozen=True)
class OnePage:
    """The whole list in one answer."""

    size: int | None = None

    def first(self, since_ms: int, now_ms: int) -> PageRequest:  # noqa: ARG002 - the protocol's signature
        """See Pagination."""
        return PageRequest(since_ms or None)

    def next(self, request: PageRequest, page: Sequence[Record], has_new: bool, oldest_ms: int) -> PageRequest | None:  # noqa: ARG002
        """See Pagination."""
        return None


@dataclass(frozen=True)
class Forward:
    """Oldest first. The next page starts at the newest record's time, or, with `key`, at the id after its own."""

    size: int
    key: str | None = None

    def first(self, since_ms: int, now_ms: int) -> PageRequest:  # noqa: ARG002
        """See Pagination."""
        return PageRequest(params={self.key: 0}) if self.key and not since_ms else PageRequest(since_ms)

    def next(self, request: PageRequest, page: Sequence[Record], has_new: bool, oldest_ms: int) -> PageRequest | None:  # noqa: ARG002
        """See Pagination."""
        if len(page) < self.size or not has_new:
            return None
        newest = _newest(page)
        return PageRequest(params={self.key: int(newest["id"]) + 1}) if self.key else PageRequest(newest["timestamp"])


def _newest(page: Sequence[Record]) -> Record:
    return max(page, key=lambda one: (one["timestamp"] or 0, len(str(one["id"])), str(one["id"])))


@dataclass(frozen=True)
class ByDay:
    """Oldest first, for an exchange whose answer to a start time covers one day only.

    Empty days are skipped one by one. From the first record on, pages go by id (params[key]), which has no such limit.
    Each day ends 1 ms before the next begins, so that no record is read twice. The last day has no end.
    """

    size: int
    key: str

    def first(self, since_ms: int, now_ms: int) -> PageRequest:
        """See Pagination."""
        return _day(since_ms, now_ms) if since_ms > 0 else PageRequest(params={self.key: 0})

    def next(self, request: PageRequest, page: Sequence[Record], has_new: bool, oldest_ms: int) -> PageRequest | None:
        """See Pagination."""
        if not request.now_ms:
            return Forward(self.size, self.key).next(request, page, has_new, oldest_ms)
        if not page:
            return _day((request.since_ms or 0) + DAY_MS, request.now_ms)
        return PageRequest(params={self.key: int(_newest(page)["id"]) + 1})


def _day(start_ms: int, now_ms: int) -> PageRequest:
    if start_ms + DAY_MS > now_ms + _CLOCK_DRIFT_MS:
        return PageRequest(start_ms)
    return PageRequest(start_ms, {"endTime": start_ms + DAY_MS - 1}, now_ms=now_ms)


@dataclass(frozen=True)
class Backward:
    """Newest first. The next page is older than the page's lowest id, its `key` in the exchange's own record."""

    size: int
    key: str

    def first(self, since_ms: int, now_ms: int) -> PageRequest:  # noqa: ARG002
        """See Pagination."""
        return PageRequest(since_ms or None)

    def next(self, request: PageRequest, page: Sequence[Record], has_new: bool, oldest_ms: int) -> PageRequest | None:  # noqa: ARG002
        """See Pagination."""
        if len(page) < self.size or not has_new:
            return None
        return PageRequest(request.since_ms, {"after": str(min(int(one["info"][self.key]) for one in page))})


@dataclass(frozen=True)
class ByCursor:
    """Newest first. The answer names its next page; a short page need not be the last one."""

    size: int

    def first(self, since_ms: int, now_ms: int) -> PageRequest:  # noqa: ARG002
        """See Pagination."""
        return PageRequest(since_ms or None)

    def next(self, request: PageRequest, page: Sequence[Record], has_new: bool, oldest_ms: int) -> PageRequest | None:  # noqa: ARG002
        """See Pagination."""
        cursor = next((one["info"]["nextPageCursor"] for one in page if one["info"].get("nextPageCursor")), None)
        if not cursor or cursor == request.params.get("cursor"):
            return None
        return replace(request, params={**request.params, "cursor": cursor})


@dataclass(frozen=True)
class ByWeek:
    """By cursor within a week, and backwards week by week, for an exchange whose answer covers one week only.

    A start time is read back to, however many weeks are empty. Without one, reading stops after `max_empty_weeks`
    weeks in a row that hold nothing and are older than every record so far, at the latest at `retention_ms` before
    now: the exchange keeps nothing older.
    """

    size: int
    retention_ms: int
    max_empty_weeks: int

    def first(self, since_ms: int, now_ms: int) -> PageRequest:
        """See Pagination."""
        end_ms = max(since_ms, now_ms - self.retention_ms)
        empty_weeks = -(2**31) if since_ms else 0  # a start time is read back to, so the count must never be reached
        start_ms = max(end_ms, now_ms + _LOOK_AHEAD_MS - WEEK_MS)
        return PageRequest(start_ms, end_ms=end_ms, empty_weeks=empty_weeks)

    def next(self, request: PageRequest, page: Sequence[Record], has_new: bool, oldest_ms: int) -> PageRequest | None:
        """See Pagination."""
        same_week = ByCursor(self.size).next(request, page, has_new, oldest_ms)
        if same_week is not None:
            return same_week
        start_ms = request.since_ms or 0
        is_empty = not page and "cursor" not in request.params and start_ms <= oldest_ms
        empty_weeks = request.empty_weeks + 1 if is_empty else min(request.empty_weeks, 0)
        if start_ms <= request.end_ms or empty_weeks >= self.max_empty_weeks:
            return None
        earlier_ms = max(request.end_ms, start_ms - WEEK_MS)
        return PageRequest(earlier_ms, {"endTime": start_ms}, request.end_ms, empty_weeks)


@dataclass(frozen=True)
class ListCall:
    """One of ccxt's list calls: its method, how it is split into pages, and params that go with every page."""

    method: str
    pages: Pagination
    params: Mapping[str, Any] = field(default_factory=dict)


class Dated(Protocol):
    """A record with a time."""

    @property
    def at_ms(self) -> int:
        """Its time by the exchange's clock, in ms."""


R = TypeVar("R", bound=Dated)


async def read_all(
    calls: Sequence[ListCall],
    read: Callable[[ListCall, PageRequest], Awaitable[Sequence[Record]]],
    parse: Callable[[Record], tuple[str, R | None]],
    since_ms: int,
    now_ms: int,
    oldest_ms: int | None = None,
) -> list[R]:
    """Every record of the lists, each id once and as the last list has it; oldest first.

    `parse` gives a record's id and the record, or None for one to leave out; a page of such records counts as read.
    `oldest_ms`: the time of the oldest record known before.
    """
    found: dict[str, R | None] = {}
    oldest_ms = now_ms if oldest_ms is None else oldest_ms
    for call in calls:
        request: PageRequest | None = call.pages.first(since_ms, now_ms)
        while request is not None:
            page = await read(call, request)
            records: dict[str, R | None] = dict(map(parse, page))
            has_new = not records.keys() <= found.keys()
            found.update(records)
            oldest_ms = min([oldest_ms, *(record.at_ms for record in records.values() if record is not None)])
            request = call.pages.next(request, page, has_new, oldest_ms)
    kept = [(record.at_ms, len(name), name, record) for name, record in found.items() if record is not None]
    return [record for *_, record in sorted(kept, key=lambda one: one[:3])]
