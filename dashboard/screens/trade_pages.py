"""The filters of the Trades screen, and which page of fills is shown.

The filters stand in the address. The first page shows the newest fills and renews itself. The later pages are of the
fills up to the moment when the visitor left the first one, so that new fills move nothing between pages.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

import streamlit as st

from dashboard.screens.frame import options
from tasks.base.clock import to_ms
from tasks.exchange.models import Side
from tasks.history.database import Database
from tasks.history.queries import Cursor, FillFilter
from tasks.views import history

ROWS = 100
ALL = "All symbols"
BOTH = "Both sides"
_SYMBOL, _SIDE, _FROM, _TO, _PAGE = "symbol", "side", "from", "to", "trades_page"
_PLACE = "trades_place"
_FIRST_DAY = date(2010, 1, 1)  # no exchange has older trades


class Place(NamedTuple):
    """Where the visitor is. `until_ms`: of the fills before then; None on the first page, whose newest fill is of
    `newest_ms`. `begins`: number of a page → where it begins, as far as it is known.
    """

    wanted: FillFilter
    number: int = 1
    until_ms: int | None = None
    newest_ms: int | None = None
    begins: Mapping[int, Cursor] = MappingProxyType({})


class Shown(NamedTuple):
    """The page that is shown."""

    page: history.Trades
    place: Place

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return max(-(-self.page.total // ROWS), 1)


def filters(symbols: Iterable[str]) -> None:
    """Draw the filters. Days are in UTC, and both are part of the span."""
    symbol, side, since, until = st.columns(4)
    symbol.selectbox("Symbol", options(symbols, _SYMBOL, ALL), key=_SYMBOL, bind="query-params")
    side.selectbox("Side", [BOTH, *(each.value for each in Side)], key=_SIDE, bind="query-params")
    day: dict[str, Any] = {"value": None, "min_value": _FIRST_DAY, "format": "YYYY-MM-DD", "bind": "query-params"}
    since.date_input("From (UTC)", key=_FROM, **day)
    until.date_input("To (UTC)", key=_TO, **day)


def wanted() -> FillFilter:
    """What the filters say."""
    memory: Any = st.session_state
    symbol, side = memory.get(_SYMBOL, ALL), memory.get(_SIDE, BOTH)
    last: date | None = memory.get(_TO)
    return FillFilter(
        symbol=None if symbol in (None, ALL) else symbol,
        side=None if side in (None, BOTH) else Side(side),
        from_ms=_midnight_ms(memory.get(_FROM)),
        to_ms=None if last is None else _midnight_ms(last + timedelta(days=1)),
    )


def _midnight_ms(day: date | None) -> int | None:
    return None if day is None else to_ms(datetime(day.year, day.month, day.day, tzinfo=UTC))


def place() -> Place:
    """Where the visitor is now: another filter begins at the first page again."""
    memory: Any = st.session_state
    before: Place | None = memory.get(_PLACE)
    asked, number = wanted(), int(memory.get(_PAGE, 1))
    if before is None or before.wanted != asked:
        if number != 1:
            memory[_PAGE] = 1
        return Place(asked)
    if number == 1:
        return Place(asked, newest_ms=before.newest_ms, begins=before.begins)
    if before.number == 1 and before.newest_ms is not None:
        return before._replace(number=number, until_ms=before.newest_ms + 1)
    return before._replace(number=number)


async def read(database: Database, account: str, asked: Place) -> Shown:
    """Read the page that the visitor asked for. The number of queries is fixed."""
    wanted, until_ms = asked.wanted, asked.until_ms
    if until_ms is not None:
        wanted = wanted.model_copy(update={"to_ms": min(until_ms, wanted.to_ms or until_ms)})
    begins = dict(asked.begins) if asked.number > 1 else {}
    page = await history.trades(database, account, wanted, ROWS, asked.number, begins.get(asked.number))
    if page.older is not None:
        begins[asked.number + 1] = page.older
    reached = asked._replace(begins=begins)
    if asked.number == 1:
        reached = reached._replace(newest_ms=page.fills[0].at_ms if page.fills else None)
    return Shown(page, reached)


def remember(shown: Shown) -> None:
    """Remember where the visitor is. Only the script's own thread may."""
    st.session_state[_PLACE] = shown.place


def chooser(shown: Shown) -> None:
    """Draw the numbers of the pages."""
    if shown.pages > 1:
        st.pagination(shown.pages, key=_PAGE)


def caption(shown: Shown) -> str:
    """`12,345 fills, the newest first · page 3 of 124, of fills before 2024-01-01 12:00:00 UTC`."""
    text = f"{shown.page.total:,} fills, the newest first · page {shown.place.number:,} of {shown.pages:,}"
    if shown.place.until_ms is None:
        return text
    return f"{text}, of fills up to {datetime.fromtimestamp(shown.place.until_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
