"""`gridflow data`: candles from a loopback exchange through the real ccxt client, imported ones, and what is there."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from flows.runtime.cli import cli
from tasks.backtest.candle_files import load_file, load_symbol
from tasks.backtest.candle_store import add_candles
from tasks.backtest.candles import CandleColumns
from tasks.backtest.fetching import fetch
from tasks.base.errors import ExchangeUnavailable
from tasks.exchange.client import CcxtClient
from tasks.exchange.models import Candle
from tests.support.binance.desk import real_ccxt
from tests.support.binance.server import local_exchange
from tests.support.desk import BTC, START_MS, walk
from tests.support.recorded import DATA

COUNT = 2500
MINUTE = 60_000
END_MS = START_MS + COUNT * MINUTE


async def test_a_fetch_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """An error keeps what came before; the rest is fetched once; a candle that is not over is left out."""
    candles = walk(COUNT)
    async with local_exchange({BTC: candles}) as server:
        await server.advance(COUNT)
        client = CcxtClient(real_ccxt(server))
        asked: list[int] = []

        class Source:
            """The client, which fails at the third page."""

            fails = True

            async def candles(self, symbol: str, since_ms: int | None, limit: int) -> list[Candle]:
                asked.append(since_ms or 0)
                if self.fails and len(asked) == 3:
                    raise ExchangeUnavailable("no answer")
                return await client.candles(symbol, since_ms, limit)

        source, times = Source(), list[int]()
        with pytest.raises(ExchangeUnavailable):
            await fetch(source, BTC, tmp_path, START_MS, END_MS, END_MS, times.append)
        assert len(load_symbol(tmp_path, BTC)) == 2000
        source.fails = False
        now_ms = END_MS - MINUTE // 2
        found = await fetch(source, BTC, tmp_path, START_MS, END_MS + 10 * MINUTE, now_ms, times.append)
        await client.close()
    assert (found.new, found.candles, found.gaps) == (COUNT - 1 - 2000, COUNT - 1, [])
    assert asked == [START_MS, START_MS + 1000 * MINUTE, *[START_MS + 2000 * MINUTE] * 2]
    assert times == sorted(times)
    expected = CandleColumns.of(candles[:-1])
    got = load_symbol(tmp_path, BTC)
    assert all(np.array_equal(getattr(got, name), getattr(expected, name)) for name in ("at", "open", "high", "close"))


def test_import_adds_minutes_once_and_show_counts_gaps(tmp_path: Path) -> None:
    """The same file twice changes nothing; another price for a known minute is refused."""
    runner, folder = CliRunner(), tmp_path / "candles"
    source = DATA / "BTC-USDT-1m-2024-01.csv.gz"
    for _ in range(2):
        done = runner.invoke(cli, ["data", "import", str(source), "--symbol", BTC, "--dir", str(folder)])
        assert done.exit_code == 0, done.output
    whole = load_file(source)
    assert len(load_symbol(folder, BTC)) == len(whole)
    part = whole.between(int(whole.at[0]), int(whole.at[100]))
    add_candles(tmp_path / "gap", BTC, part)
    add_candles(tmp_path / "gap", BTC, whole.between(int(whole.at[150]), int(whole.at[200])))
    shown = runner.invoke(cli, ["data", "show", "--dir", str(tmp_path / "gap"), "--json"]).output
    assert '"candles": 150' in shown
    assert '"missing": 50' in shown
    changed = tmp_path / "changed.csv"
    changed.write_text(f"timestamp,open,high,low,close,volume\n{whole.at[0]},1,1,1,1,1\n{whole.at[1]},1,1,1,1,1\n")
    refused = runner.invoke(cli, ["data", "import", str(changed), "--symbol", BTC, "--dir", str(folder)])
    assert refused.exit_code == 1
    assert "another open" in str(refused.exception)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["import", "x.csv", "--symbol", "BTC"], "--symbol"),
        (["fetch", "--symbol", BTC, "--from", "2999-01-01"], "--from"),
        (["import", str(DATA / "BTC-USDT-15m-2024-01.csv.gz"), "--symbol", BTC], "missing column volume"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], field: str) -> None:
    """Before anything is asked or written."""
    refused = CliRunner().invoke(cli, ["data", *arguments])
    assert refused.exit_code == 1
    assert field in str(refused.exception)
