"""What the past looks like: results of a time span, pages of trades, the equity curve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from tasks.base.clock import to_ms
from tasks.history import queries
from tasks.history.database import Database, history_url
from tasks.history.queries import Cursor, FillFilter, Page
from tasks.history.rows import DAY_MS
from tasks.ledger.models import Fill
from tasks.ledger.periods import Period, bucket_of
from tasks.ledger.statistics import CurvePoint, Statistics, statistics
from tasks.settings.model import Settings
from tasks.views.models import EquityPoint, ResultsView

_ALL_POINTS = 10**9
SPANS = (("today", 0), ("7 days", 7), ("30 days", 30))


@asynccontextmanager
async def opened_history(settings: Settings, state: Path) -> AsyncIterator[Database | None]:
    """The history database, its tables upgraded; None where there is none yet.

    Raises HistoryUnavailable where it does not answer, StateError where it is of a newer version.
    """
    database = Database(history_url(settings, state))
    try:
        if not database.exists():
            yield None
            return
        await database.open()
        yield database
    finally:
        await database.close()


async def recent_results(database: Database, account: str, capital: Decimal, now: datetime) -> tuple[ResultsView, ...]:
    """The results of today (UTC), of the last 7 and of the last 30 days."""
    now_ms = to_ms(now)
    midnight = bucket_of(now_ms, Period.DAY, UTC).start_ms
    starts = [(name, now_ms - days * DAY_MS if days else midnight) for name, days in SPANS]
    return tuple([await results(database, account, name, start, now_ms, capital) for name, start in starts])


async def results(
    database: Database,
    account: str,
    name: str,
    start_ms: int,
    end_ms: int,
    capital: Decimal,
    symbol: str | None = None,
    zone: tzinfo = UTC,
) -> ResultsView:
    """The results of `start_ms` to `end_ms` (not part of it), of one symbol or of all.

    `capital`: what APRs and buy-and-hold refer to. The equity curve, and what follows from it, is of the account.
    """
    async with database.connection() as connection:
        tally = await queries.tally_between(connection, account, start_ms, end_ms, symbol)
        symbols = [symbol] if symbol else await queries.traded_symbols(connection, account)
        first = await queries.prices_at(connection, account, symbols, start_ms, after=True)
        last = await queries.prices_at(connection, account, symbols, end_ms, after=False)
        curve: list[CurvePoint] = []
        if symbol is None:
            curve = await queries.equity_curve(connection, account, start_ms, end_ms, _ALL_POINTS)
    found = statistics(tally, curve, start_ms, end_ms, capital=capital, first_prices=first, last_prices=last, zone=zone)
    return results_view(name, start_ms, end_ms, found)


def results_view(name: str, start_ms: int, end_ms: int, found: Statistics) -> ResultsView:
    """Statistics as a view."""
    drawdown = found.drawdown
    return ResultsView(
        name=name,
        from_ms=start_ms,
        to_ms=end_ms,
        max_drawdown=drawdown.share,
        max_drawdown_quote=drawdown.quote,
        drawdown_from_ms=drawdown.peak_ms,
        drawdown_to_ms=drawdown.trough_ms,
        **found.model_dump(exclude={"drawdown"}),
    )


class Trades(NamedTuple):
    """A page of fills, newest first, and how many the filter holds in all."""

    page: Page
    total: int


async def trades(
    database: Database,
    account: str,
    wanted: FillFilter,
    limit: int,
    older_than: Cursor | None = None,
    newer_than: Cursor | None = None,
) -> Trades:
    """A page by its neighbour: the newest one, or the one next to a cursor."""
    async with database.connection() as connection:
        page = await queries.fills_page(connection, account, wanted, limit, older_than, newer_than)
        return Trades(page, await queries.count_fills(connection, account, wanted))


async def trades_at(database: Database, account: str, wanted: FillFilter, limit: int, number: int) -> tuple[Fill, ...]:
    """The page of that number; the newest is 1."""
    async with database.connection() as connection:
        return await queries.fills_at(connection, account, wanted, limit, (number - 1) * limit)


async def all_trades(database: Database, account: str, wanted: FillFilter) -> AsyncIterator[Fill]:
    """Every fill that the filter holds, newest first, read page by page."""
    place: Cursor | None = None
    while True:
        async with database.connection() as connection:
            page = await queries.fills_page(connection, account, wanted, 2000, older_than=place)
        for fill in page.fills:
            yield fill
        if page.older is None:
            return
        place = page.older


async def curve(database: Database, account: str, points: int, now_ms: int) -> tuple[EquityPoint, ...]:
    """The whole equity curve of the account in at most `points` points, oldest first."""
    async with database.connection() as connection:
        found = await queries.equity_curve(connection, account, 0, now_ms + DAY_MS, points)
    return tuple(EquityPoint.model_validate(one.model_dump()) for one in found)
