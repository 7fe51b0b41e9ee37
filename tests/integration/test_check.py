"""What `check` finds before anything starts: the exchange's list and minimums, money, the key, candle files."""

import asyncio
import csv
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.runtime.cli import cli
from flows.runtime.commands.findings import find
from tasks.base.errors import ConfigError
from tasks.exchange import listing
from tasks.exchange.venues import bybit, okx
from tasks.settings.load import load
from tests.support.binance.config import API_KEY, SECRET, Config, SymbolRules
from tests.support.binance.server import local_exchange
from tests.support.desk import BTC, walk

MINUTE = 60_000
RULES = {BTC: SymbolRules(symbol=BTC, min_notional=Decimal(50), max_orders=25)}
GRID = '[symbols."BTC/USDT"]\nlower = "39000"\nupper = "48000"\ncells = {cells}\nquote_per_cell = "{size}"\n'


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder with nothing but a state folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDFLOW_LIVE", "false")
    Path("state").mkdir()


def check(text: str, *more: str) -> Result:
    """What `check` answers to a file."""
    Path("x.toml").write_text(text, encoding="utf-8")
    return CliRunner().invoke(cli, ["check", "--config", "x.toml", "--state", "state", *more])


def live(url: str, more: str) -> str:
    """A file that wants real orders on the exchange of this machine."""
    keys = f'api_key = "{API_KEY}"\nsecret = "{SECRET}"\n'
    return f'[exchange]\nlive = true\napi_url = "{url}"\n{keys}{more}'


async def test_the_exchange_s_own_list_and_minimums_are_checked_and_kept() -> None:
    """A symbol it does not list, its minimum at any level, its limit of orders, a key that may withdraw."""
    async with (
        asyncio.timeout(60),
        local_exchange({BTC: walk(3)}, Config(symbols=RULES, may_withdraw=True)) as exchange,
    ):
        found = await asyncio.to_thread(
            check,
            live(exchange.url, GRID.format(cells=30, size=60) + '[symbols."FOO/USDT"]\nrange_pct = 0.04\n'),
            "--live",
        )
        assert isinstance(found.exception, ConfigError)
        assert [(one.field, one.rule) for one in found.exception.problems] == [
            ('symbols."FOO/USDT"', "binance does not list it")
        ]
        small = await asyncio.to_thread(check, live(exchange.url, GRID.format(cells=10, size=40)), "--live")
        assert "an order at 39000 is below the exchange's minimum (50 quote)" in str(small.exception)
        good = await asyncio.to_thread(check, live(exchange.url, GRID.format(cells=30, size=60)), "--live", "--json")
    assert good.exit_code == 0, good.output
    shown = json.loads(good.stdout)
    assert shown["mode"] == "real orders"
    assert shown["asked"] == "binance answered: it lists 1 of 1 symbols"
    preview = shown["symbols"][0]["preview"]
    assert (preview["cells"], len(preview["levels"]), preview["minimum"]) == (30, 31, "50")
    assert Decimal(preview["least_profit"]) > 0 < Decimal(preview["fee_share"]) < 1
    assert Decimal(preview["smallest_order"]) > 59
    assert (preview["allocated"], preview["funded"]) == ("9500", 30)
    withdraw, orders = shown["notes"]
    assert withdraw.startswith("The API key may withdraw.")
    assert "30 cells, but binance allows 25 open orders" in orders
    away = await asyncio.to_thread(check, live(exchange.url, GRID.format(cells=30, size=60)), "--live")
    assert away.exit_code == 1
    assert "binance was not asked (" in away.output
    assert "checked with its answer of" in away.output


def test_an_exchange_that_is_not_reachable_was_not_asked() -> None:
    """Said; exit code 0 only for paper."""
    nowhere = live("http://no-such-host.invalid", GRID.format(cells=10, size=60))
    paper = check(nowhere)
    assert paper.exit_code == 0, paper.output
    assert "binance was not asked (" in paper.output
    assert "its list of symbols and its minimums are not checked" in paper.output
    assert check(nowhere, "--live").exit_code == 1


async def test_a_start_asks_in_a_process_of_its_own_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same answer; the next start within a day reads what is kept."""
    async with asyncio.timeout(60), local_exchange({BTC: walk(3)}, Config(symbols=RULES)) as exchange:
        monkeypatch.setenv("GRIDFLOW_EXCHANGE__API_URL", exchange.url)
        monkeypatch.setenv("GRIDFLOW_SYMBOLS", '{"FOO/USDT": {"range_pct": "0.04"}}')
        settings = load()
        first = await asyncio.to_thread(find, settings, Path("state"), apart=True)
        asked = len((await exchange.record()).requests)
        again = await asyncio.to_thread(find, settings, Path("state"), apart=True)
        assert len((await exchange.record()).requests) == asked > 0
    assert first == again
    assert [problem.field for problem in first.problems] == ['symbols."FOO/USDT"']


def test_automatic_prices_without_the_exchange_are_checked_as_synthetic_ones() -> None:
    """They are what trades then."""
    found = check('[exchange]\napi_url = "http://no-such-host.invalid"\n' + GRID.format(cells=10, size=3))
    assert "an order at 39000 is below the exchange's minimum (5 quote)" in str(found.exception)


def test_an_answer_that_cannot_be_read_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process died, for instance."""
    found = asyncio.run(listing.asked_apart(load(), ["false"]))
    assert found.not_asked == "its answer could not be read"


def candles(name: str, times: Sequence[int], price: int = 42_000) -> None:
    """A candle file with a candle at each of these minutes."""
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["timestamp", "open", "high", "low", "close", "volume"])
        out.writerows([[1_700_000_040_000 + at * MINUTE, price, price, price, price, 1] for at in times])


REPLAY = '[paper]\nmarket = "replay"\ndata = "."\n'


def test_gaps_and_other_lengths_are_told_with_what_is_done_about_them() -> None:
    """Files that are skipped, minutes without a candle, candles further apart than a minute."""
    candles("BTC-USDT-1m-a.csv", [0, 1, 2, 5])
    candles("BTC-USDT-1m-b.csv", [8, 9])
    candles("BTC-USDT-15m-a.csv", [0, 15])
    candles("ETH-USDT-a.csv", [0, 15, 30, 45], 2300)
    tables = '[symbols."BTC/USDT"]\nrange_pct = 0.04\n[symbols."ETH/USDT"]\nrange_pct = 0.04\n'
    found = check(REPLAY + tables, "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["notes"] == [
        "BTC/USDT: a replay reads 1-minute candles only. Skipped: BTC-USDT-15m-a.csv",
        "BTC/USDT: 4 minutes have no candle. The market goes on with the next candle; no price is made up",
        "ETH/USDT: the candles of ETH-USDT-a.csv are 15 minutes apart. Each is played as one minute of market time",
    ]
    assert json.loads(found.stdout)["asked"] == ""


def test_money_asked_for_above_what_may_be_used_is_told() -> None:
    """Of a symbol, and of all together; in quote or in base."""
    candles("BTC-USDT-1m-a.csv", [0, 1])
    text = 'total_funds = "3000"\n' + REPLAY + GRID.format(cells=19, size=200)
    notes = json.loads(check(text, "--json").stdout)["notes"]
    assert notes[0].startswith("BTC/USDT: 19 cells ask for 3800 USDT, but the symbol may use 2850.")
    assert notes[1].startswith("All grids together ask for 3800 USDT, but the pool is 2850.")
    shown = check(text).output
    assert "money for 14 of 19 cells" in shown
    assert "┼── price 42,000" in shown
    candles("ETH-USDT-1m-a.csv", [0, 1], 2300)
    two = (
        text.replace('"3000"', '"600"').replace('"200"', '"400"')
        + '[symbols."ETH/USDT"]\nrange_pct = 0.04\ncells = 4\n'
    )
    none = check(two, "--json")
    assert isinstance(none.exception, ConfigError)
    assert "but the symbol would get 285 of the pool. Use a smaller size" in str(none.exception)
    in_base = text.replace('quote_per_cell = "200"', 'base_per_cell = "0.01"')
    assert json.loads(check(in_base, "--json").stdout)["notes"][0].startswith("BTC/USDT: 19 cells ask for 8220 USDT")
    enough = text.replace("3000", "30000")
    assert json.loads(check(enough, "--json").stdout)["notes"] == []


def test_an_order_below_the_minimum_at_any_level_is_refused() -> None:
    """Also where the first price is only known from the candles."""
    candles("BTC-USDT-1m-a.csv", [0, 1])
    table = '[symbols."BTC/USDT"]\nrange_pct = 0.04\nbase_per_cell = "0.000122"\n'
    found = check(REPLAY + table)
    assert isinstance(found.exception, ConfigError)
    (problem,) = found.exception.problems
    assert problem.field == 'symbols."BTC/USDT".base_per_cell'
    assert "an order at 40320 is below the exchange's minimum (5 quote)" in problem.rule


@pytest.mark.parametrize(
    ("reads", "answer", "may"),
    [
        (okx.may_withdraw, {"data": [{"perm": "read_only,trade"}]}, False),
        (okx.may_withdraw, {"data": [{"perm": "trade,withdraw"}]}, True),
        (bybit.may_withdraw, {"result": {"permissions": {"Wallet": ["AccountTransfer"]}}}, False),
        (bybit.may_withdraw, {"result": {"permissions": {"Wallet": ["Withdraw"]}}}, True),
        (bybit.may_withdraw, {}, False),
    ],
)
def test_each_exchange_says_in_its_own_way_what_a_key_may_do(
    reads: object, answer: dict[str, object], may: bool
) -> None:
    """By their documentation."""
    assert callable(reads)
    assert reads(answer) is may
