"""The status and the views of the past: today, 7 and 30 days, pages of trades, the whole curve."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from click.testing import CliRunner
from sqlalchemy import URL

from flows.runtime.cli import cli
from tasks.base.clock import DAY_MS, to_ms, utc_now
from tasks.base.outbox import Record
from tasks.funds.models import RebalanceReport
from tasks.history.database import Database
from tasks.history.queries import FillFilter
from tasks.history.rows import batch_of
from tasks.history.store import claim, write
from tasks.ledger.models import Fill
from tasks.settings.environment import state_dir
from tasks.views import history
from tests.support.many_fills import many_fills

NOW = to_ms(utc_now())
FILLS = list(many_fills(300, ["AA/USDT"], NOW - 40 * DAY_MS, 40 * DAY_MS))


async def written(database: Database) -> None:
    """Fills of 40 days, and an equity point each six hours: it falls by a tenth after 20 days."""
    records = [Record(f"{fill.at_ms}-0", "fill", fill.model_dump_json()) for fill in FILLS]
    for at_ms in range(NOW - 40 * DAY_MS, NOW, DAY_MS // 4):
        equity = 1000 if at_ms < NOW - 20 * DAY_MS else 900
        body = {"at_ms": at_ms, "equity": str(equity), "grid_profit": "5", "capital": "1000", "symbols": {}}
        records.append(Record(f"{at_ms}-1", "equity", json.dumps(body)))
    async with database.begin() as connection:
        await claim(connection, "main", 1, 1)
        await write(connection, "main", batch_of(records))


@pytest.fixture
async def filled(database: Database) -> Database:
    """The database with all that."""
    await written(database)
    return database


def since(days: int) -> list[Fill]:
    """The fills of the last days."""
    return [fill for fill in FILLS if NOW - days * DAY_MS <= fill.at_ms < NOW]


async def test_results_of_the_last_days(filled: Database) -> None:
    """Sums of the fills; the drawdown of a tenth is in 30 days and not in 7."""
    now = datetime.fromtimestamp(NOW / 1000, UTC)
    today, week, month = await history.recent_results(filled, "main", Decimal(1000), now)
    assert (today.name, week.trades, month.trades) == ("today", len(since(7)), len(since(30)))
    assert month.volume == sum(fill.quote for fill in since(30))
    assert month.grid_profit == sum(fill.profit for fill in since(30))
    assert month.total_pnl == -100
    assert month.floating == -100 - month.grid_profit
    assert [month.max_drawdown, week.max_drawdown] == [Decimal("0.1"), Decimal(0)]
    assert today.from_ms == NOW // DAY_MS * DAY_MS


async def test_pages_by_neighbour_and_by_number_agree(filled: Database) -> None:
    """With the exact total of the filter, and all of them for a file."""
    wanted = FillFilter(from_ms=NOW - 30 * DAY_MS)
    first = await history.trades(filled, "main", wanted, 25)
    assert first.total == len(since(30))
    second = await history.trades(filled, "main", wanted, 25, 2, first.older)
    assert await history.trades(filled, "main", wanted, 25, 2) == second
    assert second.fills == tuple(since(30)[::-1][25:50])
    assert [fill async for fill in history.all_trades(filled, "main", wanted)] == since(30)[::-1]


async def test_the_curve_goes_back_to_the_beginning(filled: Database) -> None:
    """In at most so many points."""
    points = await history.curve(filled, "main", 50, NOW)
    assert len(points) <= 50
    assert points[0].at_ms < NOW - 39 * DAY_MS
    assert {point.equity for point in points} == {Decimal(1000), Decimal(900)}
    assert points[0].grid_profit == 5


async def test_rebalances_refusals_and_actions_are_newest_first(database: Database) -> None:
    """A rebalance comes back with its lines, as it was reported."""
    line = {"symbol": "AA/USDT", "before": "1", "target": "3", "after": "2", "used": "0", "committed": "0.5"}
    facts = {"reason": "manual", "strategy": "equal", "applied": True, "outcome": "applied", "pool": "9"}
    reports = [
        RebalanceReport.model_validate({"at_ms": 10 * one, "version": one, "changes": (line,) * one} | facts)
        for one in (0, 1)
    ]
    records = [Record(f"{one.at_ms}-0", "rebalance", one.model_dump_json()) for one in reports]
    records += [Record(f"{number}-1", "blocked", f"{number}|AA/USDT|2|{number}00000000|o{number}") for number in (5, 6)]
    action = {"id": "a", "at_ms": 7, "actor": "cli", "action": "pause", "subject": "AA/USDT", "result": "done"}
    records.append(Record("7-2", "action", json.dumps(action)))
    async with database.begin() as connection:
        await claim(connection, "main", 1, 1)
        await write(connection, "main", batch_of(records))
    assert await history.rebalances(database, "main", 10) == tuple(reports[::-1])
    refused = await history.blocked(database, "main", 10)
    assert [(one.order_id, one.reason, int(one.amount)) for one in refused] == [
        ("o6", "SYMBOL_LIMIT", 6),
        ("o5", "SYMBOL_LIMIT", 5),
    ]
    (done,) = await history.actions(database, "main", 10)
    assert done.model_dump() | {"id": "a"} == action


async def test_status_of_a_stopped_stack_shows_its_results() -> None:
    """From the file in the state folder, with nothing running."""
    missing = await asyncio.to_thread(CliRunner().invoke, cli, ["status", "--json"])
    assert "No stack runs" in str(missing.exception), "without a history there is nothing to show"
    database = Database(URL.create("sqlite+aiosqlite", database=str(state_dir() / "history.db")))
    await database.open()
    await written(database)
    await database.close()
    done = await asyncio.to_thread(CliRunner().invoke, cli, ["status", "--json"])
    assert done.exit_code == 0, done.output
    found = {one["name"]: one for one in json.loads(done.stdout)["results"]}
    assert found["30 days"]["trades"] >= len(since(30)) - 2
    shown = await asyncio.to_thread(CliRunner().invoke, cli, ["status"])
    assert "30 days" in shown.stdout
