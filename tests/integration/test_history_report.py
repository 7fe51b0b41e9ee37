"""`gridflow report`: the page about an account's trades; its figures are those of the history."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.runtime.cli import cli
from tasks.backtest.report.of_history import history_report
from tasks.base.clock import DAY_MS
from tasks.base.errors import StateError
from tasks.base.outbox import Record
from tasks.exchange.models import Side
from tasks.history.database import Database, history_url
from tasks.history.rows import batch_of
from tasks.history.store import claim, write
from tasks.settings.environment import state_dir
from tasks.settings.load import load
from tests.support.many_fills import many_fills

START_MS = 1_767_225_600_000  # 2026-01-01
FILLS = list(many_fills(200, ["AA/USDT"], START_MS, 20 * DAY_MS))
SPLIT_MS = START_MS + 10 * DAY_MS


async def written(database: Database) -> None:
    """Fills of 20 days, and an equity point each hour."""
    records = [Record(f"{fill.at_ms}-0", "fill", fill.model_dump_json()) for fill in FILLS]
    for number, at_ms in enumerate(range(START_MS, START_MS + 20 * DAY_MS, 3_600_000)):
        body = {"at_ms": at_ms, "equity": str(1000 + number), "grid_profit": "5", "capital": "1000", "symbols": {}}
        records.append(Record(f"{at_ms}-1", "equity", json.dumps(body)))
    async with database.begin() as connection:
        await claim(connection, "main", 1, 1)
        await write(connection, "main", batch_of(records))


async def test_figures_are_those_of_the_time(database: Database) -> None:
    """Fills before it only say what was held at its start."""
    await written(database)
    found = await history_report(database, load(), SPLIT_MS, START_MS + 20 * DAY_MS)
    inside = [fill for fill in FILLS if fill.at_ms >= SPLIT_MS]
    assert (found.statistics.trades, found.statistics.grid_profit) == (
        len(inside),
        sum((fill.profit for fill in inside), Decimal(0)),
    )
    sold = {fill.client_id for fill in inside if fill.side is Side.SELL}
    assert found.statistics.rounds == len(sold)
    base = sum((fill.qty if fill.side is Side.BUY else -fill.qty for fill in FILLS), Decimal(0))
    assert found.held["AA/USDT"][-1] == base * found.prices["AA/USDT"][-1][1]
    assert found.statistics.total_pnl == found.curve[-1].equity - found.curve[0].equity
    with pytest.raises(StateError, match="--from"):
        await history_report(database, load(), START_MS - 9 * DAY_MS, START_MS - 8 * DAY_MS)


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    """From the history in the state folder; without one it says so."""

    async def fill() -> None:
        database = Database(history_url(load(), state_dir()))
        await database.open()
        await written(database)
        await database.close()

    out = tmp_path / "page.html"
    command = ["report", "--from", "2026-01-05", "--to", "2026-01-15", "--out", str(out)]
    missing = CliRunner().invoke(cli, command)
    assert missing.exit_code == 1
    assert "no history" in str(missing.exception)
    asyncio.run(fill())
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    assert "Account main" in out.read_text(encoding="utf-8")
