"""How an exchange's lists are read to their end, page by page. Pure; records are dicts as ccxt gives them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Record = Mapping[str, Any]
WEEK_MS = 7 * 24 * 3600 * 1000


@dataclass(frozen=True)
class Ask:
    """One page to ask for: from when on (ms, exchange time; None: not said), and the exchange's own params."""

    since_ms: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


class Pages(Protocol):
    """A way to page. `size`: records asked for at once; None leaves it to the exchange."""

    @property
    def size(self) -> int | None:
        """Records a full page holds."""

    def first(self, since_ms: int, now_ms: int) -> Ask:
        """The first page of everything since `since_ms` (0: from the beginning)."""

    def following(self, ask: Ask, page: Sequence[Record], fresh: bool, now_ms: int) -> Ask | None:
        """What to ask after `page`; None when that was the last one. `fresh`: it brought something new."""


@dataclass(frozen=True)
class OnePage:
    """Everything comes at once."""

    size: int | None = None

    def first(self, since_ms: int, now_ms: int) -> Ask:  # noqa: ARG002 - as Pages has it
        """See Pages."""
        return Ask(since_ms or None)

    def following(self, ask: Ask, page: Sequence[Record], fresh: bool, now_ms: int) -> Ask | None:  # noqa: ARG002
        """See Pages."""
        return None


@dataclass(frozen=True)
class Forward:
    """Oldest first: on from the newest record's time, or, with `key`, from the id after its own (params[key])."""

    size: int
    key: str | None = None

    def first(self, since_ms: int, now_ms: int) -> Ask:  # noqa: ARG002
        """See Pages. A time reaches back a day only where ids reach back to the first."""
        return Ask(params={self.key: 0}) if self.key and not since_ms else Ask(since_ms)

    def following(self, ask: Ask, page: Sequence[Record], fresh: bool, now_ms: int) -> Ask | None:  # noqa: ARG002
        """See Pages."""
        if len(page) < self.size or not fresh:
            return None
        newest = max(page, key=lambda one: (one["timestamp"], len(str(one["id"])), str(one["id"])))
        return Ask(params={self.key: int(newest["id"]) + 1}) if self.key else Ask(newest["timestamp"])


@dataclass(frozen=True)
class Backward:
    """Newest first: on with what is older than the page's lowest id, `key` in the exchange's own record."""

    size: int
    key: str

    def first(self, since_ms: int, now_ms: int) -> Ask:  # noqa: ARG002
        """See Pages."""
        return Ask(since_ms or None)

    def following(self, ask: Ask, page: Sequence[Record], fresh: bool, now_ms: int) -> Ask | None:  # noqa: ARG002
        """See Pages."""
        if len(page) < self.size or not fresh:
            return None
        return Ask(ask.since_ms, {"after": str(min(int(one["info"][self.key]) for one in page))})


@dataclass(frozen=True)
class ByCursor:
    """The answer names its next page; a time reaches a week further only, so weeks are read one by one.

    `reach_ms`: how far back the exchange remembers; 0: the list knows no times. A short page is not yet the last.
    """

    size: int
    reach_ms: int = 0

    def first(self, since_ms: int, now_ms: int) -> Ask:
        """See Pages."""
        return Ask(max(since_ms, now_ms - self.reach_ms) if self.reach_ms else None)

    def following(self, ask: Ask, page: Sequence[Record], fresh: bool, now_ms: int) -> Ask | None:  # noqa: ARG002
        """See Pages."""
        cursor = next((one["info"]["nextPageCursor"] for one in page if one["info"].get("nextPageCursor")), None)
        if cursor and cursor != ask.params.get("cursor"):
            return Ask(ask.since_ms, {"cursor": cursor})
        if ask.since_ms is None or ask.since_ms + WEEK_MS > now_ms:
            return None
        return Ask(ask.since_ms + WEEK_MS)


@dataclass(frozen=True)
class Listing:
    """One of ccxt's list calls: its method, how it is paged, and params that go with every page."""

    method: str
    pages: Pages
    params: Mapping[str, Any] = field(default_factory=dict)
