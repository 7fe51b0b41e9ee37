"""`gridflow backtest`: one grid from options alone, or the settings' symbols; what it prints, writes and refuses."""

import csv
import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flows.runtime.cli import main
from tasks.backtest.candle_files import load_file
from tests.support.recorded import DATA

BTC = DATA / "BTC-USDT-1m-2024-01.csv.gz"
GRID = ["--symbol", "BTC/USDT", "--grid", "arithmetic", "--lower", "41000", "--upper", "46500", "--cells", "23"]
MONEY = ["--quote-per-cell", "300", "--quote", "10000", "--start", "flat", "--maker-fee", "0.001"]
STEPS = ["--taker-fee", "0.001", "--tick-size", "0.01", "--lot-step", "0.00001"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as left:
        main(["backtest", *map(str, arguments)])
    shown = capsys.readouterr()
    return int(str(left.value.code)), shown.out, shown.err


def found(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    """The JSON object of a run that succeeds; its numbers as Decimals."""
    code, out, err = run(capsys, *arguments, "--json")
    assert (code, err) == (0, "")
    values: dict[str, Any] = json.loads(out, parse_float=Decimal)
    return values


def test_one_grid_needs_no_settings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The totals follow from the file of fills, and a settings file beside it is not read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gridflow.toml").write_text("total_funds = 'nonsense'\n")
    monkeypatch.setenv("GRIDFLOW_GLOBAL_MAX_USAGE", "0.01")
    trades = tmp_path / "trades.csv"
    values = found(capsys, "--data", BTC, *GRID, *MONEY, *STEPS, "--trades", trades)
    with trades.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[:6] == ["time", "side", "price", "qty", "fee", "cell"]
    sides = [row["side"] for row in rows]
    assert (sides.count("buy"), sides.count("sell")) == (values["buys"], values["sells"])
    quote, base, fees = Decimal(10_000), Decimal(0), Decimal(0)
    for row in rows:
        price, qty, fee = (Decimal(row[name]) for name in ("price", "qty", "fee"))
        sign = 1 if row["side"] == "buy" else -1
        quote, base, fees = quote - sign * price * qty - fee, base + sign * qty, fees + fee
    assert (values["quote"], values["base"], values["fees"]) == (quote, base, fees)
    last = Decimal(int(load_file(BTC).close[-1])) / 10**8
    assert values["grid_profit"] + values["floating_pnl"] == quote + base * last - 10_000
    assert values["identity_error"] == 0
    assert 0 < values["engine_seconds"] < 60
    assert len(rows) > 100


def test_the_same_candles_give_the_same_from_any_kind_of_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """csv with other columns and another order, parquet, a folder, a binary copy."""
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    with (tmp_path / "plain.csv").open("wb") as out:
        shutil.copyfileobj(__import__("gzip").open(BTC), out)
    table = arrow_csv.read_csv(tmp_path / "plain.csv")
    parquet.write_table(table, tmp_path / "some.parquet")
    swapped = table.select(["volume", "close", "open", "high", "low", "timestamp"]).append_column("x", table["open"])
    arrow_csv.write_csv(swapped, tmp_path / "swapped.csv")
    (tmp_path / "folder").mkdir()
    shutil.copy(tmp_path / "some.parquet", tmp_path / "folder" / "BTC-USDT-1m-2024-01.parquet")
    names = ("plain.csv", "plain.csv", "some.parquet", "swapped.csv", "folder")
    results = [found(capsys, "--data", tmp_path / name, *GRID, *MONEY, *STEPS) for name in names]
    for values in results:
        values.pop("engine_seconds")
    assert all(values == results[0] for values in results)


def test_symbols_of_the_settings_share_one_pot(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each symbol's books, and together never more than the pool."""
    config = tmp_path / "own.toml"
    config.write_text(
        'total_funds = "5000"\nglobal_max_usage = 0.5\n'
        '[symbols."BTC/USDT"]\ngrid = "geometric"\nrange_pct = 0.04\ncells = 20\nstart = "balanced"\n'
        '[symbols."ETH/USDT"]\ngrid = "arithmetic"\nlower = "2100"\nupper = "2500"\ncells = 16\n'
        'earn = "base"\n'
    )
    values = found(capsys, "--config", config, "--data", DATA, "--from", "2024-01-01", "--to", "2024-01-02")
    assert set(values["symbols"]) == {"BTC/USDT", "ETH/USDT"}
    assert all(one["buys"] > 3 for one in values["symbols"].values())
    assert values["identity_error"] == 0
    kept = {name: one["earned"] for name, one in values["symbols"].items()}
    assert kept["ETH/USDT"] > 0 == kept["BTC/USDT"]
    assert kept["ETH/USDT"] <= values["symbols"]["ETH/USDT"]["base"]
    assert 1000 < values["most_committed"] <= 2500
    one = found(capsys, "--config", config, "--data", DATA, "--symbol", "ETH/USDT", "--quote", "800")
    assert list(one["symbols"]) == ["ETH/USDT"]
    assert one["most_committed"] <= 400


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ([*GRID, *MONEY, *STEPS], "--data"),
        (["--data", DATA / "none.csv", *GRID], "none.csv"),
        (["--data", BTC, *GRID[2:]], "--symbol"),
        (["--data", BTC, *GRID, "--cells", "0"], "cells"),
        (["--data", BTC, *GRID, "--upper", "40000"], "upper"),
        (["--data", BTC, *GRID, *STEPS, "--tick-size", "x"], "--tick-size"),
        (["--data", BTC, *GRID, *MONEY, "--maker-fee", "0.5"], "maker_fee"),
        (["--data", BTC, *GRID, "--set", "nonsense=1"], "nonsense"),
        (["--data", BTC, *GRID, *MONEY, "--min-notional", "301"], "below the exchange's minimum"),
        (["--data", BTC, *GRID, "--set", "nonsense"], "--set"),
        (["--data", BTC, *GRID, "--lower", "46400", "--quote-per-cell", "100"], "cells"),
    ],
)
def test_a_wrong_option_is_named(capsys: pytest.CaptureFixture[str], arguments: list[str | Path], field: str) -> None:
    """Nothing is printed but the field, the value, the rule and the remedy."""
    code, out, err = run(capsys, *arguments)
    assert code in (1, 2)
    assert out == ""
    assert field in err
    assert "Traceback" not in err
