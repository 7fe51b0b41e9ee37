"""The infinity grid: its levels, its sizes, and the worth that it keeps while the price moves."""

import random
import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.backtest.candle_files import columns_of
from tasks.backtest.candles import CandleColumns
from tasks.backtest.engine import Engine, Played
from tasks.base.errors import ConfigError
from tasks.base.money import exact
from tasks.exchange.order_ids import cell_key
from tasks.grid.levels import first_sizes, grid_id, unchecked_grid
from tasks.grid.models import Grid
from tasks.grid.window import moved, place_of
from tasks.paper.candles import MINUTE
from tasks.settings.grids import InfinitySettings
from tasks.settings.load import load
from tasks.settings.model import Settings
from tasks.settings.section import all_valid
from tests.support.backtests import START_MS, UNIT, books_differ, market, random_walk, story

BTC = "BTC/USDT"
README = Path(__file__).parents[2] / "README.md"
OWN: dict[str, Any] = {"lower": "50", "spacing_pct": "0.02", "cells": 8, "start": "balanced"}


def own(**fields: Any) -> InfinitySettings:
    """From 50 up, levels 2 % apart, eight cells with orders."""
    return InfinitySettings.model_validate(OWN | fields)


def grid_at(settings: InfinitySettings, *prices: str) -> Grid:
    """The grid that started at the first price, after the others."""
    grid = unchecked_grid(BTC, settings, market(BTC), Decimal(prices[0]), 0)
    for price in prices[1:]:
        at = place_of(grid, settings, market(BTC), Decimal(price))
        grid = grid if at == grid.first_index else moved(grid, at, settings, market(BTC), 1)
    return grid


def test_level_i_is_lower_times_the_ratio_to_the_power_of_i() -> None:
    """To 1e-12, wherever the range is; half of its cells are below the price at the start."""
    settings = own()
    grid = grid_at(settings, "100")
    assert len(grid.levels) == settings.cells + 1
    assert grid.levels[4] <= 100 < grid.levels[5]
    for index in (0, 1, 35, 400):
        assert abs(settings.level_at(Decimal(100), index) / (50 * Decimal("1.02") ** index) - 1) < Decimal("1e-12")
    assert grid_id(BTC, settings) == grid_id(BTC, settings, Decimal(77)), "the first price is not part of the grid"


@pytest.mark.parametrize("price", ["50", "51", "60.95", "100", "12345.678"])
def test_the_price_is_in_the_range_at_the_start(price: str) -> None:
    """However near to the lowest level, and on a level itself."""
    grid = grid_at(own(), price)
    assert grid.levels[0] <= Decimal(price) < grid.levels[-1]


def test_the_range_keeps_cells_on_either_side_of_the_price() -> None:
    """It moves as soon as fewer than a quarter of its cells are left on one side, never below `lower`."""
    grid = grid_at(own(), "100", "130")
    assert grid.levels[-3] > 130 >= grid.levels[-4]
    assert grid_at(own(), "100", "130", "100").levels[2] <= 100
    assert grid_at(own(), "100", "20").first_index == 0
    assert grid_at(own(), "100", "100000").levels[-1] > 100000, "there is no highest price"
    assert grid_at(own(), "100", "130", "100").top_index == grid_at(own(), "100", "130").top_index


def test_what_is_bought_at_the_start_is_worth_the_same_at_every_level() -> None:
    """The cells above the price hold V/p base in all, V the worth of (1 + s)/s cells; cells below spend V·s/(1 + s)."""
    settings, first = own(), Decimal(100)
    weights = settings.cell_weights(first)
    grid = grid_at(settings, "100")
    with exact():
        bought = [weights.of(number, entry=True) / first for number, low in enumerate(grid.levels[:-1]) if low >= first]
        next_level = settings.level_at(first, settings.start_index(first) + 5)
        assert abs(sum(bought) * next_level / (Decimal("1.02") / Decimal("0.02")) - 1) < Decimal("1e-9")
        assert abs(weights.total - (36 + sum(bought) * first)) < Decimal("1e-9"), (
            "and 36 cells are at or below the price"
        )


def test_the_allocation_pays_for_all_cells_down_to_the_lowest_level() -> None:
    """So that a fall to `lower` finds every buy funded."""
    settings = own()
    sizes = first_sizes(settings, Decimal(10_000), market(BTC), Decimal(100))
    total = settings.cell_weights(Decimal(100)).total
    assert sizes[0].quote is not None
    assert 9_900 < sizes[0].quote * total < 10_000


@pytest.mark.parametrize(
    ("fields", "field", "rule"),
    [
        ({"lower": None}, "lower", "needs its lowest level"),
        ({"start": "flat"}, "start", "holds base from its start"),
        ({"earn": "base"}, "earn", "sells the rise"),
        ({"cells": 3}, "cells", "at least 4 cells"),
        ({"size_factor": "1.1"}, "size_factor", "spend the same quote"),
        ({"base_per_cell": "1"}, "base_per_cell", "spend the same quote"),
    ],
)
def test_what_an_infinity_grid_cannot_be(fields: dict[str, Any], field: str, rule: str) -> None:
    """Each fault names the field, the rule and the remedy."""
    (problem,) = own(**fields).level_problems("here", all_valid)
    assert problem.field == f"here.{field}"
    assert rule in problem.rule
    assert problem.remedy


def path(*prices: int) -> CandleColumns:
    """Candles that go from price to price in steps of half a percent."""
    at, closes = prices[0] * UNIT, [prices[0] * UNIT]
    for goal in prices[1:]:
        while at != goal * UNIT:
            step = max(at // 200, 1)
            at = min(at + step, goal * UNIT) if goal * UNIT > at else max(at - step, goal * UNIT)
            closes.append(at)
    ends = np.array(closes, dtype=np.int64)
    opens = np.concatenate([ends[:1], ends[:-1]])
    times = START_MS + MINUTE * np.arange(len(closes), dtype=np.int64)
    return columns_of([times, opens, np.maximum(opens, ends), np.minimum(opens, ends), ends], np.ones(len(closes)))


def played(columns: CandleColumns, **fields: Any) -> Played:
    """The exact backtest of one infinity grid with 10,000 quote."""
    table = OWN | {"grid": "infinity", "quote_per_cell": "40"} | fields
    settings = Settings.model_validate({"total_funds": "10000", "global_max_usage": 1, "symbols": {BTC: table}})
    return Engine(settings, {BTC: market(BTC)}, {BTC: columns}).play()


@pytest.mark.parametrize("goal", [110, 150, 300, 90, 60])
def test_the_worth_of_what_is_held_stays(goal: int) -> None:
    """A rise is sold and a fall is bought, level by level, however far the price goes."""
    run = played(path(100, goal)).runs[BTC].trader.records
    worth = run.book.base * goal
    assert abs(worth / (40 * Decimal("1.02") / Decimal("0.02")) - 1) < Decimal("0.04")
    assert run.grid is not None
    top = run.cells[cell_key(run.grid.grid_id, run.grid.top_index)]
    assert top.qty * goal > worth / 2, "the highest cell holds the base of all levels above"
    assert top.order_id is None


def test_there_and_back_again_earns_at_every_level() -> None:
    """The books are exact, and each level that was sold and bought again has earned its spacing less the fees."""
    result = played(path(100, 160, 100))
    book = result.runs[BTC].trader.records.book
    assert books_differ(result) == []
    assert (book.buys, book.sells) == (3 + 22, 22), "three cells at the start; 22 levels lie between 102 and 160"
    assert abs(book.base * 100 / (40 * Decimal("1.02") / Decimal("0.02")) - 1) < Decimal("0.04")


@pytest.mark.parametrize("seed", range(4))
def test_skipping_candles_changes_nothing(seed: int) -> None:
    """The reserve waits for a price like every cell without an order."""
    rng = random.Random(seed)
    table = OWN | {"grid": "infinity", "quote_per_cell": "40", "lower": rng.choice((60, 96, 99))}
    settings = Settings.model_validate({"total_funds": "10000", "symbols": {BTC: table}})
    columns = random_walk(rng, 300, step_bp=rng.choice((40, 150)))
    runs = [Engine(settings, {BTC: market(BTC)}, {BTC: columns}, skips=skips).play() for skips in (True, False)]
    assert story(runs[0]) == story(runs[1])
    assert runs[0].runs[BTC].trader.ticks < runs[1].runs[BTC].trader.ticks


def test_the_example_of_the_readme_is_a_valid_grid() -> None:
    """It stands alone there, because other examples have another kind."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (text,) = [one for one in blocks if 'grid = "infinity"\n' in one]
    (example,) = tomllib.loads(text)["symbols"].values()
    assert InfinitySettings.model_validate(example).level_problems("here", all_valid) == []


@pytest.mark.parametrize("lower", ["", 'lower = "-1"', 'lower = "x"'])
def test_a_grid_without_a_lowest_level_is_refused_by_its_field(tmp_path: Path, lower: str) -> None:
    """Rules that need the levels are left out then."""
    path = tmp_path / "gridflow.toml"
    path.write_text(f'[symbols."{BTC}"]\ngrid = "infinity"\nstart = "balanced"\nquote_per_cell = "10"\n{lower}\n')
    with pytest.raises(ConfigError, match="lower") as caught:
        load(path)
    assert len(caught.value.problems) == 1


def test_the_reserve_must_fit_into_the_pot(tmp_path: Path) -> None:
    """What the grid buys at the start is one order: 101 cells at 1 %."""
    path = tmp_path / "gridflow.toml"
    own = f'[symbols."{BTC}"]\ngrid = "infinity"\nstart = "balanced"\nlower = "30000"\nquote_per_cell = "100"\n'
    path.write_text(own)
    with pytest.raises(ConfigError, match="one cell alone is above"):
        load(path)
    path.write_text(own.replace('"100"', '"20"'))
    assert load(path).symbols[BTC].grid == "infinity"
