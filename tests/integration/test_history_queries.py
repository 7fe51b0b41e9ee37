"""Questions to the history give what a plain loop over all fills gives, on SQLite and PostgreSQL."""

import json
import random
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.base.clock import DAY_MS
from tasks.base.outbox import Record
from tasks.exchange.models import Side
from tasks.history import queries
from tasks.history.curves import equity_curve
from tasks.history.database import Database
from tasks.history.queries import Cursor, FillFilter
from tasks.history.rows import HOUR_MS, batch_of
from tasks.history.store import claim, write
from tasks.history.tallies import tally_of
from tasks.history.thinning import thinned
from tasks.ledger.models import Fill
from tasks.ledger.rounds import rounds_of
from tasks.ledger.statistics import Tally, tally_of_fill, tally_of_round, total_of
from tests.support.many_fills import many_fills

SYMBOLS = ["AA/USDT", "BB/USDT", "CC/USDT"]
START = 1_700_000_000_000
SPAN = 9 * DAY_MS
FILLS = list(many_fills(500, SYMBOLS, START, SPAN))
NEWEST_FIRST = sorted(FILLS, key=lambda fill: (fill.at_ms, fill.symbol, fill.trade_id), reverse=True)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[AsyncConnection]:
    """A database with all fills, and equity points each half hour."""
    records = [Record(f"{fill.at_ms}-0", "fill", fill.model_dump_json()) for fill in FILLS]
    for at_ms in range(START, START + SPAN, HOUR_MS // 2):
        symbols = {"AA/USDT": {"worth": "1", "grid_profit": "1", "price": str(at_ms // HOUR_MS)}}
        body = {"at_ms": at_ms, "equity": str(worth(at_ms)), "grid_profit": "0", "capital": "1000", "symbols": symbols}
        records.append(Record(f"{at_ms}-0", "equity", json.dumps(body)))
    for first in range(0, len(records), 200):
        async with database.begin() as writing:
            await claim(writing, "main", 1, 1)
            await write(writing, "main", batch_of(records[first : first + 200]))
    async with database.connection() as reading:
        yield reading


def worth(at_ms: int) -> int:
    """Made-up equity, with one high and one low."""
    hours = (at_ms - START) // HOUR_MS
    return {50: 1500, 120: 400}.get(hours, 1000 + hours % 24)


def wanted_fills(wanted: FillFilter) -> list[Fill]:
    """The plain loop."""
    return [
        fill
        for fill in NEWEST_FIRST
        if wanted.symbol in (None, fill.symbol)
        and wanted.side in (None, fill.side)
        and (wanted.from_ms or 0) <= fill.at_ms < (wanted.to_ms or 2**62)
    ]


def some_filters(count: int) -> list[FillFilter]:
    """Filters of all kinds; some spans are shorter than a day, some end outside."""
    rng = random.Random(5)
    found = [FillFilter()]
    for _ in range(count):
        start = START + rng.randrange(-DAY_MS, SPAN)
        end = start + rng.choice([0, 1000, 5 * HOUR_MS, DAY_MS, 4 * DAY_MS, 20 * DAY_MS])
        span = rng.choice([(None, None), (start, None), (None, end), (start, end)])
        side, symbol = rng.choice([None, *Side]), rng.choice([None, *SYMBOLS, "none"])
        found.append(FillFilter(symbol=symbol, side=side, from_ms=span[0], to_ms=span[1]))
    return found


async def test_pages_forward_and_backward_hold_every_fill_once(connection: AsyncConnection) -> None:
    """And each filter's total is exact."""
    for wanted in some_filters(12):
        expected = wanted_fills(wanted)
        assert await queries.count_fills(connection, "main", wanted) == len(expected)
        page = await queries.fills_page(connection, "main", wanted, 40)
        seen, last = list(page.fills), page
        while last.older is not None:
            last = await queries.fills_page(connection, "main", wanted, 40, older_than=Cursor.of(last.older.text()))
            seen += last.fills
        assert seen == expected
        back = list(last.fills)
        while last.newer is not None:
            last = await queries.fills_page(connection, "main", wanted, 40, newer_than=last.newer)
            back = [*last.fills, *back]
        assert back == expected
    assert await queries.count_fills(connection, "other", FillFilter()) == 0


async def test_a_jump_lands_where_the_pages_would(connection: AsyncConnection) -> None:
    """At any position, with any filter."""
    rng = random.Random(6)
    for wanted in some_filters(30):
        expected = wanted_fills(wanted)
        position = rng.randrange(len(expected) + 5)
        assert list(await queries.fills_at(connection, "main", wanted, 20, position)) == expected[position:][:20]


async def test_totals_of_any_span_equal_the_plain_sum(connection: AsyncConnection) -> None:
    """Whole days come from their totals, the rest from the fills; months add up from days."""
    rounds = rounds_of(FILLS)
    for wanted in some_filters(30):
        start, end, symbol = wanted.from_ms or START, wanted.to_ms or START + SPAN, wanted.symbol
        expected = [
            *(tally_of_fill(one) for one in FILLS if start <= one.at_ms < end and symbol in (None, one.symbol)),
            *(tally_of_round(one) for one in rounds if start <= one.closed_ms < end and symbol in (None, one.symbol)),
        ]
        wanted = FillFilter(symbol=symbol, from_ms=start, to_ms=end)
        assert await tally_of(connection, "main", wanted) == total_of(expected)
    assert await tally_of(connection, "main", FillFilter(from_ms=START, to_ms=START)) == Tally()
    assert await queries.traded_symbols(connection, "main") == SYMBOLS


async def test_a_thinned_curve_keeps_its_extremes_and_ends(connection: AsyncConnection) -> None:
    """Of hours for a long span, of minutes for a short one; it begins with the last point before it."""
    whole = await equity_curve(connection, "main", START, START + SPAN, 50)
    assert len(whole) <= 50
    assert {max(point.equity for point in whole), min(point.equity for point in whole)} == {Decimal(1500), Decimal(400)}
    assert [point.at_ms for point in whole] == sorted(point.at_ms for point in whole)
    assert whole[-1].equity == worth(START + SPAN - HOUR_MS // 2)
    day = await equity_curve(connection, "main", START + DAY_MS, START + 2 * DAY_MS, 1000)
    assert len(day) == 49
    assert day[0].at_ms < START + DAY_MS <= day[1].at_ms
    for symbol in (None, "AA/USDT"):
        prices = await queries.prices_at(connection, "main", symbol, START + DAY_MS, after=True)
        assert prices == {"AA/USDT": Decimal((START + DAY_MS) // HOUR_MS + 1)}
    assert await queries.prices_at(connection, "main", "BB/USDT", START + DAY_MS, after=True) == {}


def test_thinning_of_a_short_curve_changes_nothing() -> None:
    """And a long one has never more points than asked for."""
    assert thinned([1.0, 2.0], 4) == [0, 1]
    for count in range(5, 60):
        values = [float(place * 7 % 13) for place in range(count)]
        kept = thinned(values, 10)
        assert len(kept) <= 10
        assert {max(values), min(values)} <= {values[place] for place in kept}
        assert {0, count - 1} <= set(kept)
