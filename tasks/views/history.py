"""What the past looks like: results of a time span, pages of trades, the equity curve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Table

from tasks.base.clock import DAY_MS, to_ms
from tasks.base.money import ZERO
from tasks.exchange.models import Side
from tasks.funds.models import RebalanceReport, SymbolChange
from tasks.history import queries, tables, tallies
from tasks.history.curves import equity_curve
from tasks.history.database import BUSY_SECONDS, Database, history_url
from tasks.history.queries import Cursor, FillFilter, Page
from tasks.history.rows import HOUR_MS
from tasks.ledger.models import Fill
from tasks.ledger.periods import Period, bucket_of
from tasks.ledger.statistics import CurvePoint, Statistics, Tally, statistics
from tasks.settings.model import Settings
from tasks.views.line_models import ActionView, BlockedView, EquityPoint
from tasks.views.price_bars import PriceBar, Samples, price_bars
from tasks.views.result_models import DayView, ResultsView, SymbolResults

_ALL_POINTS = 10**9


class Bars(NamedTuple):
    """Bars of prices, oldest first, and the fills among them, newest first."""

    bars: tuple[PriceBar, ...]
    fills: tuple[Fill, ...]


SPANS = (("today", 0), ("7 days", 7), ("30 days", 30))


@asynccontextmanager
async def opened_history(
    settings: Settings, state: Path, busy_seconds: float = BUSY_SECONDS
) -> AsyncIterator[Database | None]:
    """The history database, its tables upgraded; None where there is none yet.

    `busy_seconds`: how long to wait for a file that another process holds. Raises HistoryUnavailable where it does not
    answer, StateError where it is of a newer version.
    """
    database = Database(history_url(settings, state), busy_seconds)
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
    side: Side | None = None,
    zone: tzinfo = UTC,
) -> ResultsView:
    """The results of `start_ms` to `end_ms` (not part of it), of one symbol or of all, of both sides or of one.

    `capital`: what APRs and buy-and-hold refer to, where no point of the equity curve says it. The equity curve, and
    what follows from it, is of the account.
    """
    async with database.connection() as connection:
        wanted = FillFilter(symbol=symbol, side=side, from_ms=start_ms, to_ms=end_ms)
        tally = await tallies.tally_of(connection, account, wanted)
        first = await queries.prices_at(connection, account, symbol, start_ms, after=True)
        last = await queries.prices_at(connection, account, symbol, end_ms, after=False)
        curve: list[CurvePoint] = []
        if symbol is None:
            curve = await equity_curve(connection, account, start_ms, end_ms, _ALL_POINTS)
    capital = curve[-1].capital if curve and curve[-1].capital > 0 else capital
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
    """A page of fills, newest first, and how many the filter holds in all. `older`: where the next page begins."""

    fills: tuple[Fill, ...]
    total: int
    older: Cursor | None


def without_history(newest: Samples, start_ms: int, step_ms: int) -> Bars:
    """Bars of the last ticks alone."""
    return Bars(price_bars(newest, start_ms, step_ms), ())


async def trades(
    database: Database,
    account: str,
    wanted: FillFilter,
    limit: int,
    number: int = 1,
    older_than: Cursor | None = None,
    total: int | None = None,
) -> Trades:
    """The page of that number; the newest is 1. `older_than`: where it begins, if known: the time of reading it does
    not grow with its number then. `total`: how many the filter holds, if known.
    """
    async with database.connection() as connection:
        if total is None:
            total = await queries.count_fills(connection, account, wanted)
        if number == 1 or older_than is not None:
            page = await queries.fills_page(connection, account, wanted, limit, older_than)
            return Trades(page.fills, total, page.older)
        fills = await queries.fills_at(connection, account, wanted, limit, (number - 1) * limit)
        has_older = number * limit < total and fills
        return Trades(fills, total, Cursor.after(fills[-1]) if has_older else None)


async def totals(database: Database, account: str, wanted: FillFilter) -> Tally:
    """The totals of all fills that a filter holds."""
    async with database.connection() as connection:
        return await tallies.tally_of(connection, account, wanted)


async def days(database: Database, account: str, wanted: FillFilter) -> list[DayView]:
    """What each UTC day of a span brought, oldest first; days without a fill too. `from_ms` and `to_ms` are set."""
    assert wanted.from_ms is not None
    assert wanted.to_ms is not None
    async with database.connection() as connection:
        found = await tallies.tallies_by_day(connection, account, wanted)
    first, last = wanted.from_ms // DAY_MS, -(-wanted.to_ms // DAY_MS)
    views, so_far = [], ZERO
    for day in range(first, last):
        tally = found.get(day, Tally())
        so_far += tally.profit
        views.append(_day_view(day, tally, so_far))
    return views


def _day_view(day: int, tally: Tally, so_far: Decimal) -> DayView:
    name = f"{datetime.fromtimestamp(day * DAY_MS / 1000, UTC):%Y-%m-%d}"
    trades = tally.buys + tally.sells
    return DayView(day=name, trades=trades, volume=tally.volume, profit=tally.profit, cumulative=so_far)


async def by_symbol(database: Database, account: str, wanted: FillFilter) -> tuple[SymbolResults, ...]:
    """What each symbol with a fill brought in a span of whole UTC days, by name."""
    async with database.connection() as connection:
        found = await tallies.tallies_by_symbol(connection, account, wanted)
    return tuple(
        SymbolResults(
            symbol=symbol,
            trades=tally.buys + tally.sells,
            rounds=tally.rounds,
            win_rate=Decimal(tally.wins) / tally.rounds if tally.rounds else None,
            volume=tally.volume,
            fees=tally.fees,
            profit=tally.profit,
        )
        for symbol, tally in sorted(found.items())
    )


async def prices(
    database: Database, account: str, start_ms: int, symbol: str | None = None
) -> dict[str, list[tuple[int, Decimal]]]:
    """Symbol → (time, price) of each hour since then, oldest first; of all symbols or of one. One query."""
    async with database.connection() as connection:
        return await queries.hourly_prices(connection, account, start_ms, symbol)


async def bars(
    database: Database, account: str, symbol: str, start_ms: int, step_ms: int, newest: Samples, fills: int
) -> Bars:
    """Bars of the prices that ticks saw, and the newest `fills` since then. Two queries.

    `newest`: (time, price) of the last ticks, which the history has not got yet. Of each minute one price is kept, so
    the fills' prices, which lie at the extremes, are part of the bars.
    """
    async with database.connection() as connection:
        if step_ms < HOUR_MS:
            seen = await queries.minute_prices(connection, account, symbol, start_ms)
        else:
            seen = (await queries.hourly_prices(connection, account, start_ms, symbol)).get(symbol, [])
        page = await queries.fills_page(connection, account, FillFilter(symbol=symbol, from_ms=start_ms), fills)
    traded = [(fill.at_ms, fill.price) for fill in page.fills]
    return Bars(price_bars([*seen, *newest, *traded], start_ms, step_ms), page.fills)


async def traded_symbols(database: Database, account: str) -> list[str]:
    """All symbols with a fill, sorted."""
    async with database.connection() as connection:
        return await queries.traded_symbols(connection, account)


async def fills_page(
    database: Database, account: str, wanted: FillFilter, limit: int, older_than: Cursor | None
) -> Page:
    """The newest fills, or those after a place; without a total."""
    async with database.connection() as connection:
        return await queries.fills_page(connection, account, wanted, limit, older_than)


async def all_trades(database: Database, account: str, wanted: FillFilter) -> AsyncIterator[Fill]:
    """Every fill that the filter holds, newest first, read page by page."""
    place: Cursor | None = None
    while True:
        page = await fills_page(database, account, wanted, 2000, place)
        for fill in page.fills:
            yield fill
        if page.older is None:
            return
        place = page.older


async def curve(
    database: Database, account: str, points: int, now_ms: int, start_ms: int = 0
) -> tuple[EquityPoint, ...]:
    """The equity curve of the account since then in at most `points` points, oldest first."""
    async with database.connection() as connection:
        found = await equity_curve(connection, account, start_ms, now_ms + DAY_MS, points)
    return tuple(
        EquityPoint.model_construct(
            at_ms=one.at_ms, equity=one.equity, grid_profit=one.grid_profit, capital=one.capital
        )
        for one in found
    )


async def rebalances(database: Database, account: str, limit: int) -> tuple[RebalanceReport, ...]:
    """The newest applied rebalances with their lines, newest first."""
    async with database.connection() as connection:
        rows = await queries.newest_rows(connection, account, tables.REBALANCES, limit)
        keys = [(row["at_ms"], row["version"]) for row in rows]
        lines = await queries.rebalance_lines(connection, account, keys) if keys else []
    changes: dict[tuple[int, int], list[SymbolChange]] = {key: [] for key in keys}
    for line in lines:
        values = {name: line[name] for name in SymbolChange.model_fields}
        changes[line["at_ms"], line["version"]].append(SymbolChange.model_validate(values))
    found = zip(rows, changes.values(), strict=True)
    return tuple(RebalanceReport.model_validate(row | {"applied": True, "changes": lines}) for row, lines in found)


async def blocked(database: Database, account: str, limit: int) -> tuple[BlockedView, ...]:
    """The newest refused reservations, newest first."""
    return tuple(BlockedView.model_validate(row) for row in await _newest(database, account, tables.BLOCKED, limit))


async def actions(database: Database, account: str, limit: int) -> tuple[ActionView, ...]:
    """The newest actions of operators, newest first."""
    rows = await _newest(database, account, tables.ACTIONS, limit)
    return tuple(ActionView.model_validate({name: row[name] for name in ActionView.model_fields}) for row in rows)


async def _newest(database: Database, account: str, table: Table, limit: int) -> list[dict[str, Any]]:
    async with database.connection() as connection:
        return await queries.newest_rows(connection, account, table, limit)
