"""`gridflow suggest`: volatility by hand, a grid that pays its fees, reasons, and a result on candles not seen."""

import json
import math
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.runtime.cli import cli
from tasks.backtest.candle_files import load_symbol
from tasks.backtest.suggest import suggest
from tasks.base.errors import ConfigError
from tasks.market.volatility import annual_volatility
from tasks.settings.grids import net_profit
from tests.support.grids import symbol_settings

DATA = Path(__file__).parents[1] / "data"
FEE = Decimal("0.001")


def test_volatility_of_equal_steps_is_theirs() -> None:
    """A price that goes up and down by 1 % each day: about 1 % times the square root of 365."""
    closes = [100 * (1.01 if day % 2 else 1.0) for day in range(401)]
    found = annual_volatility(closes, 86_400_000)
    assert found == pytest.approx(math.log(1.01) * math.sqrt(365), rel=0.01)
    assert annual_volatility(closes, 3_600_000) == pytest.approx(found * math.sqrt(24), rel=0.01)
    assert annual_volatility([100.0, 101.0], 86_400_000) == 0.0


def test_volatility_leans_towards_the_newest_days() -> None:
    """Calm days and then wild ones are wilder than the other way round."""
    calm = [0.001 * (-1) ** day for day in range(60)]
    wild = [0.05 * (-1) ** day for day in range(60)]

    def closes(returns: list[float]) -> list[float]:
        prices = [100.0]
        for one in returns:
            prices.append(prices[-1] * math.exp(one))
        return prices

    day = 86_400_000
    assert annual_volatility(closes(calm + wild), day) > 1.2 * annual_volatility(closes(wild + calm), day)


@pytest.mark.parametrize("money", ["100", "5000"])
def test_a_suggested_grid_pays_its_fees_and_can_be_funded(money: str) -> None:
    """Every cell of it; and it is played on the newest third of the candles alone."""
    candles = load_symbol(DATA, "BTC/USDT")
    found = suggest("BTC/USDT", candles, Decimal(money), Decimal(30), FEE)
    own = symbol_settings(**found.grid)
    levels = own.raw_levels(Decimal(42_000))
    profits = [net_profit(low, high, FEE, FEE) for low, high in pairwise(levels)]
    assert min(profits) > 0
    assert (found.least_profit, found.most_profit) == (round(min(profits), 4), round(max(profits), 4))
    assert Decimal(money) / own.cells >= 5, "no cell is below the exchange's smallest order"
    assert set(found.reasons) == set(found.grid) - {"quote_per_cell"}
    assert found.tested.fills
    assert found.tested.start_ms >= int(candles.at[len(candles) * 2 // 3])
    assert found.tested.identity_error == 0


def test_the_command_prints_a_table_to_copy_and_json() -> None:
    """What it prints is a symbol's table of the settings."""
    done = CliRunner().invoke(cli, ["suggest", "ETH/USDT", "--data", str(DATA), "--quote", "2000"])
    assert done.exit_code == 0, done.output
    assert '[symbols."ETH/USDT"]' in done.output
    assert "The past is no promise" in done.output
    told = json.loads(CliRunner().invoke(cli, ["suggest", "ETH/USDT", "--data", str(DATA), "--json"]).output)
    assert told["grid"]["cells"]
    assert set(told["out_of_sample"]) >= {"profit", "grid_profit", "buy_and_hold"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["BTC", "--data", str(DATA)], "BASE/QUOTE"),
        (["BTC/USDT", "--data", str(DATA), "--quote", "x"], "must be a number above 0"),
        (["BTC/USDT", "--data", str(DATA), "--days", "nan"], "must be a number above 0"),
        (["BTC/USDT", "--data", str(DATA), "--quote", "2"], "below the exchange's smallest order"),
    ],
)
def test_careless_inputs_are_refused(arguments: list[str], said: str) -> None:
    """With the field, the value, the rule and the remedy."""
    done = CliRunner().invoke(cli, ["suggest", *arguments])
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)
