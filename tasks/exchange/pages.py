"""How an exchange's lists are read to their end, page by page. Pure; records are dicts as ccxt gives them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

Record = Mapping[str, Any]
DAY_MS = 24 * 3600 * 1000
WEEK_MS = 7 * DAY_MS
_CLOCKS_MS = 60_000  # a day that ends sooner than so far ahead may be over at the exchange when it answers
_AHEAD_MS = 3600 * 1000  # how far the first week reaches into the future, for clocks that are not quite ours


@dataclass(frozen=True)
class Ask:
    """One page to ask for: from when on (ms, exchange time; None: not said), and the exchange's own params.

    Where weeks are read one by one: `floor_ms`, the moment to end at, and how many weeks in a row had nothing.
    Where days are: `now_ms`, the moment to end at; 0 once nothing limits how far a page reaches.
    """

    since_ms: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    floor_ms: int = 0
    quiet_weeks: int = 0
    now_ms: int = 0


class Pages(Protocol):
    """A way to page. `size`: records asked for at once; None leaves it to the exchange."""

    @property
    def size(self) -> int | None:
        """Records a full page holds."""

    def first(self, since_ms: int, now_ms: int) -> Ask:
        """The first page of everything since `since_ms` (0: from the beginning)."""

    def following(self, ask: Ask, page: Sequence[Record], fresh: bool, oldest_ms: int) -> Ask | None:
        """What to ask after `page`; None when that was the last one.

        `fresh`: it brought something new. `oldest_ms`: the time of the oldest thing known by now.
        """


@dataclass(frozen=True)
class OnePage:
    """Everything comes at once."""

    size: int | None = None

    def first(self, since_ms: int, now_ms: int) -> Ask:  # noqa: ARG002 - as Pages has it
        """See Pages."""
        return Ask(since_ms or None)

    def following(self, ask: Ask, page: Sequence[Record], fresh: bool, oldest_ms: int) -> Ask | None:  # noqa: ARG002
        """See Pages."""
        return None


@dataclass(frozen=True)
class Forward:
    """Oldest first: on from the newest record's time, or, with `key`, from the id after its own (params[key])."""

    size: int
    key: str | None = None

    def first(self, since_ms: int, now_ms: int) -> Ask:  # noqa: ARG002
        """See Pages."""
        return Ask(params={self.key: 0}) if self.key and not since_ms else Ask(since_ms)

    def following(self, ask: Ask, page: Sequence[Record], fresh: bool, oldest_ms: int) -> Ask | None:  # noqa: ARG002
        """See Pages."""
        if len(page) < self.size or not fresh:
            return None
        newest = _newest(page)
        return Ask(params={self.key: int(newest["id"]) + 1}) if self.key else Ask(newest["timestamp"])


def _newest(page: Sequence[Record]) -> Record:
    return max(page, key=lambda one: (one["timestamp"] or 0, len(str(one["id"])), str(one["id"])))


@dataclass(frozen=True)
class ByDay:
    """Oldest first, by id (params[key]) from the first record found on; a time reaches a day only.

    Days that hold nothing are stepped over one by one. Each ends 1 ms before the next begins, and says so, so that no
    record is read twice whether or not the exchange itself cuts its answer after a day. The last one has no end.
    """

    size: int
    key: str

    def first(self, since_ms: int, now_ms: int) -> Ask:
        """See Pages."""
        return _day(since_ms, now_ms) if since_ms > 0 else Ask(params={self.key: 0})

    def following(self, ask: Ask, page: Sequence[Record], fresh: bool, oldest_ms: int) -> Ask | None:
        """See Pages."""
        if not ask.now_ms:
            return Forward(self.size, self.key).following(ask, page, fresh, oldest_ms)
        if not page:
            return _day((ask.since_ms or 0) + DAY_MS, ask.now_ms)
        return Ask(params={self.key: int(_newest(page)["id"]) + 1})


def _day(start_ms: int, now_ms: int) -> Ask:
    if start_ms + DAY_MS > now_ms + _CLOCKS_MS:
        return Ask(start_ms)
    return Ask(start_ms, {"endTime": start_ms + DAY_MS - 1}, now_ms=now_ms)


@dataclass(frozen=True)
class Backward:
    """Newest first: on with what is older than the page's lowest id, `key` in the exchange's own record."""

    size: int
    key: str

    def first(self, since_ms: int, now_ms: int) -> Ask:  # noqa: ARG002
        """See Pages."""
        return Ask(since_ms or None)

    def following(self, ask: Ask, page: Sequence[Record], fresh: bool, oldest_ms: int) -> Ask | None:  # noqa: ARG002
        """See Pages."""
        if len(page) < self.size or not fresh:
            return None
        return Ask(ask.since_ms, {"after": str(min(int(one["info"][self.key]) for one in page))})


@dataclass(frozen=True)
class ByCursor:
    """Newest first; the answer names its next page, and a short page is not yet the last."""

    size: int

    def first(self, since_ms: int, now_ms: int) -> Ask:  # noqa: ARG002
        """See Pages."""
        return Ask(since_ms or None)

    def following(self, ask: Ask, page: Sequence[Record], fresh: bool, oldest_ms: int) -> Ask | None:  # noqa: ARG002
        """See Pages."""
        cursor = next((one["info"]["nextPageCursor"] for one in page if one["info"].get("nextPageCursor")), None)
        if not cursor or cursor == ask.params.get("cursor"):
            return None
        return replace(ask, params={**ask.params, "cursor": cursor})


@dataclass(frozen=True)
class ByWeek:
    """By cursor, and one answer spans a week only: week by week back to the time that was asked for.

    Who asks for everything gets it until `patience` weeks in a row hold nothing that is older than all that is known,
    at most back to `reach_ms` ago, which is as far as the exchange remembers.
    """

    size: int
    reach_ms: int
    patience: int

    def first(self, since_ms: int, now_ms: int) -> Ask:
        """See Pages."""
        floor_ms = max(since_ms, now_ms - self.reach_ms)
        quiet_weeks = -(2**31) if since_ms else 0  # what was asked for is read, however quiet
        return Ask(max(floor_ms, now_ms + _AHEAD_MS - WEEK_MS), floor_ms=floor_ms, quiet_weeks=quiet_weeks)

    def following(self, ask: Ask, page: Sequence[Record], fresh: bool, oldest_ms: int) -> Ask | None:
        """See Pages."""
        further = ByCursor(self.size).following(ask, page, fresh, oldest_ms)
        if further is not None:
            return further
        start_ms = ask.since_ms or 0
        quiet = not page and "cursor" not in ask.params and start_ms <= oldest_ms
        quiet_weeks = ask.quiet_weeks + 1 if quiet else min(ask.quiet_weeks, 0)
        if start_ms <= ask.floor_ms or quiet_weeks >= self.patience:
            return None
        earlier_ms = max(ask.floor_ms, start_ms - WEEK_MS)
        return Ask(earlier_ms, {"endTime": start_ms}, ask.floor_ms, quiet_weeks)


@dataclass(frozen=True)
class Listing:
    """One of ccxt's list calls: its method, how it is paged, and params that go with every page."""

    method: str
    pages: Pages
    params: Mapping[str, Any] = field(default_factory=dict)


class Dated(Protocol):
    """A record with the exchange's time in ms."""

    @property
    def at_ms(self) -> int:
        """When."""


R = TypeVar("R", bound=Dated)


async def read_all(
    listings: Sequence[Listing],
    read: Callable[[Listing, Ask], Awaitable[Sequence[Record]]],
    parse: Callable[[Record], tuple[str, R | None]],
    since_ms: int,
    now_ms: int,
    oldest_ms: int | None = None,
) -> list[R]:
    """Every record of the lists, each id once and as the last list has it; oldest first.

    `parse` gives id and record; None for one that is left out, whose page is none the less a page that was read.
    `oldest_ms` is the time of the oldest thing known already.
    """
    found: dict[str, R | None] = {}
    oldest_ms = now_ms if oldest_ms is None else oldest_ms
    for listing in listings:
        ask: Ask | None = listing.pages.first(since_ms, now_ms)
        while ask is not None:
            page = await read(listing, ask)
            records: dict[str, R | None] = dict(map(parse, page))
            fresh = not records.keys() <= found.keys()
            found.update(records)
            oldest_ms = min([oldest_ms, *(record.at_ms for record in records.values() if record is not None)])
            ask = listing.pages.following(ask, page, fresh, oldest_ms)
    kept = [(record.at_ms, len(name), name, record) for name, record in found.items() if record is not None]
    return [record for *_, record in sorted(kept, key=lambda one: one[:3])]
