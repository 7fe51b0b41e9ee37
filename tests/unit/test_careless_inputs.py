"""120 careless inputs. Each is refused with field, value, rule and remedy, exit code 2, and no traceback."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from flows.runtime.cli import main

GRID = '[symbols."BTC/USDT"]\nlower = "39000"\nupper = "48000"\ncells = 19\n'
SYNTHETIC = '[paper]\nmarket = "synthetic"\n'


class Careless(NamedTuple):
    """An input. `says`: parts of the answer: the field, the rule, the remedy."""

    says: tuple[str, ...]
    file: str = ""
    command: tuple[str, ...] = ("check",)
    variables: Mapping[str, str] = {}


def in_file(text: str, *says: str) -> Careless:
    """A settings file with a mistake, at the top where it may stand there."""
    return Careless(says, text)


def field(line: str, *says: str) -> Careless:
    """A line for the one symbol of the file."""
    return Careless(says, GRID + line + "\n")


def instead(old: str, new: str, *says: str) -> Careless:
    """The one symbol of the file with another line."""
    return Careless(says, GRID.replace(old, new))


def variable(name: str, value: str, *says: str) -> Careless:
    """A variable with a mistake."""
    return Careless(says, "", ("check",), {name: value})


def typed(command: str, *says: str) -> Careless:
    """A command line with a mistake."""
    return Careless(says, SYNTHETIC + GRID, tuple(command.split()))


SHARE = "It is a share: write 0.95 for 95 %"

KEYS = [
    in_file("total_fund = 5", "total_fund = (hidden)", "no such setting", "Did you mean total_funds?"),
    in_file("totalfunds = 5", "totalfunds", "Did you mean total_funds?"),
    in_file("TOTAL_FUNDS = 5", "TOTAL_FUNDS", "Did you mean total_funds?"),
    in_file("strategy = 'equal'", "strategy", "Remove it; `gridflow init` writes every known key"),
    in_file("alocation_strategy = 'equal'", "Did you mean allocation_strategy?"),
    in_file("maker_fee = 0.001", "maker_fee", "It belongs below [exchange]"),
    in_file("market = 'replay'", "market", "It belongs below [paper]"),
    in_file("[exchange]\ntotal_funds = 5", "exchange.total_funds", "It belongs at the top of the file"),
    in_file("[exchange]\napikey = 'x'", "exchange.apikey = (hidden)", "Did you mean api_key?"),
    in_file("[exchange]\nmakerfee = 0", "Did you mean maker_fee?"),
    in_file("[trading]\nwindow = 60", "trading.window", "no such setting"),
    in_file("[trading]\ntick_min_second = 60", "Did you mean tick_min_seconds?"),
    in_file("[tradng]\nwindow_seconds = 60", "tradng", "Did you mean trading?"),
    in_file("[paper]\nsped = 60", "Did you mean speed?"),
    in_file("[alerts.telegram]\nchatid = 1", "alerts.telegram.chatid", "Did you mean chat_id?"),
    field("cell = 5", 'symbols."BTC/USDT".cell', "Did you mean cells?"),
    field("uper = 5", "Did you mean upper?"),
    field("quote_per_cel = 5", "Did you mean quote_per_cell?"),
    field("leverage = 5", "leverage = (hidden)", "no such setting"),
    variable("GRIDFLOW_TOTL_FUNDS", "5", "GRIDFLOW_TOTL_FUNDS", "Did you mean GRIDFLOW_TOTAL_FUNDS?"),
    variable("GRIDFLOW_MONEY", "5", "GRIDFLOW_MONEY", "no such setting", "Unset it"),
    variable("GRIDFLOW_PAPER__SPED", "5", "paper.sped", "Did you mean speed?"),
]
VALUES = [
    in_file("global_max_usage = 95", "global_max_usage = 95", "must be at most 1", SHARE),
    in_file("global_max_usage = '95%'", "global_max_usage = 95%", "must be a number", SHARE),
    in_file("global_max_usage = '95 %'", SHARE),
    in_file("global_max_usage = 1.5", "write 0.015 for 1.5 %"),
    in_file("global_max_usage = 0", "must be above 0", "Example: global_max_usage = 0.95"),
    in_file("global_max_usage = -0.5", "must be above 0", "Example: global_max_usage = 0.95"),
    in_file("dynamic_step = 25", "dynamic_step = 25", "write 0.25 for 25 %"),
    in_file(
        "resize_tolerance = 'ten'", "resize_tolerance = ten", "must be a number", "Example: resize_tolerance = 0.1"
    ),
    in_file("total_funds = 'much'", "total_funds = much", "must be a number", "Example: total_funds = 10000"),
    in_file("total_funds = '10,000'", "Write it without separators: 10000"),
    in_file("total_funds = '10k'", "Write it in full: 10000"),
    in_file("total_funds = '2M'", "Write it in full: 2000000"),
    in_file("total_funds = ''", 'total_funds = ""', "must be a number", "Example: total_funds = 10000"),
    in_file("total_funds = nan", "must be a number", "Example"),
    in_file("total_funds = inf", "must be a number", "Example"),
    in_file("total_funds = -inf", "must be a number", "Example"),
    in_file("total_funds = 0", "must be above 0", "Example"),
    in_file("total_funds = -100", "must be above 0", "Example"),
    in_file("total_funds = 1e12", "must be at most 90000000", "Example"),
    in_file("total_funds = true", "must be a number", "Example"),
    in_file("total_funds = [1]", "total_funds", "must be a number", "Example"),
    in_file("total_funds = {a = 1}", "total_funds", "must be a number", "Example"),
    in_file("quote = 'usdt'", "quote = usdt", "must be 1 to 10 of A-Z and 0-9", 'Example: quote = "USDT"'),
    in_file("quote = 5", "must be text", 'Example: quote = "USDT"'),
    in_file("account = 'My Pot'", "account = My Pot", "must be 1 to 16", 'Example: account = "main"'),
    in_file("allocation_strategy = 'wieghted'", "must be 'equal'", 'Did you mean "weighted"?'),
    in_file("allocation_strategy = 'fair'", "allocation_strategy = fair", "Use one of those named"),
    in_file("live = true", "live = True", "cannot stand in the file", "Set live under [exchange]"),
    in_file("symbols = 'BTC/USDT'", "symbols", "must be a table", "Write a [table]"),
    in_file("[exchange]\nid = 'Binance'", "exchange.id = Binance", "must be 2 to 30", 'Example: id = "binance"'),
    in_file(
        "[exchange]\nid = 'binanse'", "exchange.id = binanse", "ccxt knows no such exchange", "Use one of ccxt's ids"
    ),
    in_file("[exchange]\nlive = 'yes please'", "exchange.live", "must be true or false", "Example: live = false"),
    in_file(
        "[exchange]\nlive = true", "exchange.api_key = (not set)", "real orders need it", "GRIDFLOW_EXCHANGE__API_KEY"
    ),
    in_file("[exchange]\nmaker_fee = 0.1", "must be below 0.1", "Example: maker_fee = 0.001"),
    in_file("[exchange]\nmaker_fee = '0.1%'", "exchange.maker_fee = 0.1%", "write 0.001 for 0.1 %"),
    in_file("[exchange]\ntaker_fee = -1", "must be at least 0", "Example: taker_fee = 0.001"),
    in_file("[exchange]\napi_url = 'testnet'", "must be http:// or https://", "Example: api_url ="),
    in_file("[paper]\nspeed = 0", "paper.speed = 0", "must be above 0", "Example: speed = 1"),
    in_file("[paper]\nspeed = 'fast'", "must be a number", "Example: speed = 1"),
    in_file("[paper]\nseed = 1.5", "must be a whole number", "Example: seed = 7"),
    in_file("[paper]\nmarket = 'reply'", "must be 'auto'", 'Did you mean "replay"?'),
    in_file("[paper]\nmarket = 'replay'", "paper.data = (not set)", "replay needs candle files", "--data DIR"),
    in_file("[paper]\nmarket = 'replay'\ndata = 'nowhere'", "paper.data = nowhere", "no such folder", "another folder"),
    in_file("[paper]\nmarket = 'replay'\ndata = 'x.toml'", "paper.data = x.toml", "no such folder", "another folder"),
    in_file("[paper]\nmarket = 'replay'\ndata = 5", "paper.data = 5", "must be text", 'Example: data = "candles"'),
    in_file("[paper]\nfee_currency = 'bnb'", "must be 'quote' or 'base'", "Use one of those named"),
    in_file("[trading]\nwindow_seconds = 5", "must be at least 10", "Example: window_seconds = 300"),
    in_file("[trading]\nwindow_seconds = '5m'", "must be a whole number", "Example: window_seconds = 300"),
    in_file("[trading]\ntick_min_seconds = 40", "trading.tick_max_seconds", "must not be below", "Raise it"),
    in_file("[trading]\nlease_seconds = 0", "must be at least 1", "Example: lease_seconds = 10"),
    in_file("[trading]\nprotection_seconds = 2", "must be above request_valid_seconds", "Raise it"),
    in_file("[history]\noutbox_mb = 0", "must be at least 1", "Example: outbox_mb = 256"),
    in_file("[logs]\nlevel = 'verbose'", "must be 'debug'", "Use one of those named"),
    in_file("[logs]\nlevel = 'Info'", 'Did you mean "info"?'),
    in_file("[dashboard]\npassword = 'short'", "dashboard.password = (hidden)", "at least 8"),
    in_file("[alerts]\ntimezone = 'Berlin'", "must be the name of a time zone", 'Example: timezone = "UTC"'),
    in_file(
        "[alerts.telegram]\ntoken = 'x'", "alerts.telegram.chat_id", "needs both", "GRIDFLOW_ALERTS__TELEGRAM__CHAT_ID"
    ),
    in_file("[alerts.email]\nquiet_hours = '22-8'", "must be HH:MM-HH:MM", "quiet_hours"),
    in_file("redis_url = 'localhost:6379'", "redis_url = (hidden)", "must be redis://"),
    in_file("database_url = 'mysql://x/y'", "database_url = (hidden)", "must be postgresql+asyncpg://"),
    variable("GRIDFLOW_GLOBAL_MAX_USAGE", "95%", "global_max_usage = 95%", SHARE),
    variable("GRIDFLOW_TOTAL_FUNDS", "lots", "total_funds = lots", "Example: total_funds = 10000"),
    variable("GRIDFLOW_REDIS_URL", "nonsense", "redis_url = (hidden)", "must be redis://"),
    variable("GRIDFLOW_SYMBOLS", "BTC/USDT", "symbols", "must be a table", "a JSON object in the environment"),
]
SYMBOLS = [
    in_file('[symbols."btc/usdt"]\nrange_pct = 0.04', "BASE/QUOTE in capitals", 'Did you mean "BTC/USDT"?'),
    in_file('[symbols."BTCUSDT"]\nrange_pct = 0.04', "BASE/QUOTE in capitals", 'Did you mean "BTC/USDT"?'),
    in_file('[symbols."BTC-USDT"]\nrange_pct = 0.04', "BASE/QUOTE in capitals", 'Did you mean "BTC/USDT"?'),
    in_file("[symbols.BTC]\nrange_pct = 0.04", 'symbols."BTC"', 'Write it like "BTC/USDT"'),
    in_file('[symbols."BTC/EUR"]\nrange_pct = 0.04', "its quote is not the account's (USDT)", "change `quote`"),
    in_file('[symbols."USDT/USDT"]\nrange_pct = 0.04', "base and quote are the same coin", "Name two coins"),
    in_file(
        '[symbols."FOO/USDT"]\nrange_pct = 0.04\n[paper]\nmarket = "replay"\ndata = "."', "no candle file for FOO/USDT"
    ),
    in_file(GRID + GRID, "not valid TOML", "stand only once"),
    in_file('[symbols."BTC/USDT"]', 'symbols."BTC/USDT".lower = (not set)', "a grid needs both ends", "or range_pct"),
    instead('lower = "39000"\n', "", "a grid needs both ends", "Give lower and upper, or range_pct"),
    instead('"48000"', '"38000"', "levels out of order", "Swap or widen them"),
    instead('"48000"', '"39000"', "levels out of order", "Swap or widen them"),
    instead('"39000"', '"-1"', "must be above 0", 'Example: lower = "39000"'),
    instead('"39000"', '"39,000"', "Write it without separators: 39000"),
    instead("19", "0", "cells = 0", "must be at least 1", "Example: cells = 20"),
    instead("19", "501", "must be at most 500", "Example: cells = 20"),
    instead("19", "1.5", "must be a whole number", "Example: cells = 20"),
    instead("19", "400", "the narrowest cell loses", "Use fewer cells or a wider range"),
    field("range_pct = 0.04", "cannot stand beside lower or upper", "Keep range_pct, or lower and upper"),
    in_file('[symbols."BTC/USDT"]\nrange_pct = 4', "range_pct = 4", "must be below 1", "write 0.04 for 4 %"),
    in_file('[symbols."BTC/USDT"]\nrange_pct = "4%"', "must be a number", "write 0.04 for 4 %"),
    in_file('[symbols."BTC/USDT"]\nrange_pct = 0', "must be above 0", 'Example: range_pct = "0.04"'),
    field('max_usage_pct = "50%"', "max_usage_pct = 50%", "write 0.5 for 50 %"),
    field("max_usage_pct = 50", "must be at most 1", "write 0.5 for 50 %"),
    field("weight = -1", "must be at least 0", "Example: weight = 1"),
    field(
        "grid = 'geometrical'",
        "must be 'arithmetic', 'geometric', 'adaptive' or 'infinity'",
        'Did you mean "geometric"?',
    ),
    field("start = 'balance'", "must be 'flat' or 'balanced'", 'Did you mean "balanced"?'),
    field("quote_per_cell = 99999", "one cell alone is above", "Lower it, or raise total_funds"),
    field("quote_per_cell = '150 USDT'", "must be a number", 'Example: quote_per_cell = "150"'),
    field("quote_per_cell = 9\nbase_per_cell = 1", "only one cell size may be given", "Remove it or quote_per_cell"),
    field("quote_per_cell = 3", "below the exchange's minimum (5 quote)", "Use fewer cells or more money"),
    field("base_per_cell = 0.0001", "base_per_cell", "below the exchange's minimum", "Use fewer cells or more money"),
    in_file("total_funds = 60\n", "quote_per_cell", "below the exchange's minimum", "Use fewer cells or more money"),
]
COMMANDS = [
    typed("up --for nan", "'--for'", "nan must be a number of seconds", "Example: --for 60"),
    typed("up --for inf", "'--for'", "inf must be a number of seconds", "Example: --for 60"),
    typed("up --for -5", "'--for'", "-5 must be a number of seconds, above 0", "Example: --for 60"),
    typed("up --for 0", "'--for'", "above 0", "Example: --for 60"),
    typed("up --for 5m", "'--for'", "'5m' is not a number of seconds", "Example: --for 60"),
    typed("up --speed abc", "--speed = abc", "must be a number", "Example: --speed 1"),
    typed("up --speed 0", "--speed = 0", "must be above 0", "Example: --speed 1"),
    typed("up --speed nan", "--speed = nan", "must be a number", "Example: --speed 1"),
    typed("up --seed x", "--seed = x", "must be a whole number", "Example: --seed 7"),
    typed("up --market replay --data nowhere", "--data = ", "no such folder", "name another folder"),
    typed("up --market reply", "'--market'", "'reply' is not one of", "gridflow up"),
    typed("up --market replay", "paper.data = (not set)", "replay needs candle files", "--data DIR"),
    typed("up --live", "exchange.live = false", "--live is given", "Set live = true below [exchange]"),
    typed("check --live", "exchange.live = false", "--live is given", "Set live = true below [exchange]"),
    typed("up --sped 60", "--sped", "--speed"),
    typed(
        "up --state x.toml/below",
        "--state = ",
        "cannot be written (Not a directory)",
        "Example: --state ./gridflow-state",
    ),
    typed("up --state /proc/none/below", "--state = ", "cannot be written", "Example: --state ./gridflow-state"),
    typed("up --state x.toml", "'--state'", "is a file"),
    typed("check --config nowhere.toml", "file = nowhere.toml", "no such file", "Write one with `gridflow init`"),
    typed("check --config .", "'--config'", "is a directory"),
    typed("init --config x.toml", "--config = x.toml", "exists already", "overwrite it with --force"),
    typed("init --config none/x.toml", "--config = none/x.toml", "cannot be written", "a folder that exists"),
    typed("top --every nan", "'--every'", "must be a number of seconds", "Example: --every 2"),
    typed("top --times 0", "'--times'", "0 is not in the range"),
    typed("rebalance --timeout nan", "'--timeout'", "must be a number of seconds", "Example: --timeout 60"),
    typed("stop --timeout inf", "'--timeout'", "must be a number of seconds", "Example: --timeout 60"),
    typed("funds preview BTC/USDT buy much", "AMOUNT", "'much' is not a number", "give an amount of quote like 500"),
    typed("funds preview BTC/USDT buy nan", "AMOUNT", "nan", "give an amount of quote like 500"),
    typed("funds preview BTC/USDT buy 0", "AMOUNT", "0 is not above 0", "give an amount of quote like 500"),
    typed("funds preview BTC/USDT hold 5", "'hold' is not one of"),
    typed("token --expires 12", "'--expires'", "Example: 12h"),
    typed("token --expires 400d", "'--expires'", "at most 365d", "Example: 12h"),
    typed("export-trades --year 26", "'--year'", "26 is not in the range"),
    typed("dashboard --port 99999", "'--port'", "99999 is not in the range"),
    typed("staus", "No such command 'staus'", "Did you mean status?"),
    typed("up --for 1e9", "'--for'", "above 0 and at most 315360000", "Example: --for 60"),
    typed("invest -5", "'AMOUNT'", "-5 is not above 0", "give it without a sign"),
    typed("withdraw-profit -.5", "'AMOUNT'", "-.5 is not above 0", "give it without a sign"),
    typed("invest 1e20", "'AMOUNT'", "1e20 is above 90000000", "give an amount of quote like 500"),
    typed("data fetch --symbol BTC/USDT --from 2024-13-01", "'--from'", "is no day", "Example: --from 2024-01-31"),
    typed("report --from yesterday", "'--from'", "'yesterday' is no day", "Example: --from 2024-01-31"),
    typed("backtest --data none.csv", "--data = none.csv", "no such file or folder", "Name candles that exist"),
]
ALL = [*KEYS, *VALUES, *SYMBOLS, *COMMANDS]


def test_the_table_is_long_enough() -> None:
    """At least 120 rows, none twice."""
    assert len({(row.file, row.command, *row.variables.items()) for row in ALL}) == len(ALL) >= 120


@pytest.mark.parametrize("row", ALL, ids=[f"{number}-{row.says[0]}"[:60] for number, row in enumerate(ALL)])
def test_it_is_refused_with_field_value_rule_and_remedy(
    row: Careless, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, no traceback, nothing on standard output, nothing made."""
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "x.toml"
    config.write_text(row.file if "[paper]" in row.file else f"{row.file}\n{SYNTHETIC}", encoding="utf-8")
    monkeypatch.setenv("GRIDFLOW_CONFIG", str(config))
    monkeypatch.setenv("GRIDFLOW_LIVE", "false")  # so that what a command sets is put back
    for name, value in row.variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as left:
        main(list(row.command))
    shown = capsys.readouterr()
    assert left.value.code == 2, shown.err
    assert [part for part in row.says if part not in re.sub(r"\s+", " ", shown.err)] == [], shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["x.toml"]
    assert os.environ["GRIDFLOW_CONFIG"] == str(config)
