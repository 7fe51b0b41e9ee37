"""The report of live or paper trading over some time, from the history database."""

import json
from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.backtest.report.contents import Contents, PricePoints, contents_of
from tasks.base.errors import StateError
from tasks.history import queries
from tasks.history.curves import equity_curve
from tasks.history.database import Database
from tasks.history.queries import Cursor, FillFilter
from tasks.ledger.models import Fill
from tasks.settings.load import public_values
from tasks.settings.model import Settings

_POINTS = 5000  # of the equity curve
_PAGE = 2000


async def history_report(database: Database, settings: Settings, start_ms: int, end_ms: int) -> Contents:
    """The report of `start_ms` to `end_ms` (not part of it). Raises StateError where nothing is known of that time.

    The prices of a symbol are those of its fills, and its prices at the start and the end where they are known.
    """
    account = settings.account
    async with database.connection() as connection:
        curve = await equity_curve(connection, account, start_ms, end_ms, _POINTS)
        if len(curve) < 2:
            raise StateError("The history has no equity of that time. Name another with --from and --to")
        fills = await _fills(connection, account, FillFilter(to_ms=end_ms))
        inside = [fill for fill in fills if fill.at_ms >= start_ms]
        symbols = await queries.traded_symbols(connection, account)
        first = await queries.prices_at(connection, account, None, start_ms, after=True)
        last = await queries.prices_at(connection, account, None, end_ms, after=False)
    known = {
        symbol: _points(symbol, inside, first.get(symbol), last.get(symbol), curve[0].at_ms, curve[-1].at_ms)
        for symbol in symbols
    }
    shown = {"total_funds": str(settings.total_funds), "symbols": public_values(settings)["symbols"]}
    return contents_of(
        f"Account {account}",
        inside,
        {symbol: points for symbol, points in known.items() if points},
        {},
        curve,
        curve[-1].capital,
        json.dumps(shown, indent=2),
        earlier=[fill for fill in fills if fill.at_ms < start_ms],
    )


async def _fills(connection: AsyncConnection, account: str, wanted: FillFilter) -> list[Fill]:
    """Every fill that the filter holds, oldest first."""
    found: list[Fill] = []
    place: Cursor | None = None
    while True:
        page = await queries.fills_page(connection, account, wanted, _PAGE, place)
        found += page.fills
        if page.older is None:
            return found[::-1]
        place = page.older


def _points(
    symbol: str, fills: Sequence[Fill], first: Decimal | None, last: Decimal | None, start_ms: int, end_ms: int
) -> PricePoints:
    own = [(fill.at_ms, fill.price) for fill in fills if fill.symbol == symbol and fill.price > 0]
    before = [(start_ms, first)] if first is not None else []
    return [*before, *own, *([(max(end_ms, own[-1][0] if own else 0), last)] if last is not None else [])]
