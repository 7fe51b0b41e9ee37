"""The report: its figures are those of the books and of the exact curve; the file needs nothing else."""

import random
from decimal import Decimal
from pathlib import Path

import pytest

from tasks.backtest.engine import Engine, Played
from tasks.backtest.report.contents import base_at
from tasks.backtest.report.of_backtest import report_of
from tasks.backtest.report.page import html, write_report
from tasks.backtest.result import result_of
from tasks.base.errors import ConfigError
from tasks.settings.model import Settings
from tests.support.backtests import market, random_walk

NAMES = ("AAA/USDT", "BBB/USDT")


@pytest.fixture(scope="module", params=["quote", "base"])
def played(request: pytest.FixtureRequest) -> Played:
    """Two symbols; fees in quote, or a buy's in base."""
    grid = {"lower": "92", "upper": "108", "cells": 24, "quote_per_cell": "30", "start": "balanced"}
    values = {"total_funds": "2000", "symbols": dict.fromkeys(NAMES, grid), "paper": {"fee_currency": request.param}}
    own = Settings.model_validate(values)
    candles = {name: random_walk(random.Random(number), 400) for number, name in enumerate(NAMES)}
    return Engine(own, {name: market(name) for name in NAMES}, candles).play()


def test_figures_are_those_of_the_books(played: Played) -> None:
    """Equity at both ends, profit, counts, base of each symbol; the months add up to the whole."""
    report, result = report_of(played), result_of(played)
    assert report.curve[0].equity == 2000
    assert report.curve[-1].equity == result.equity
    assert report.curve[-1].grid_profit == result.grid_profit == report.statistics.grid_profit
    assert report.statistics.total_pnl == result.equity - 2000
    assert (report.statistics.buys, report.statistics.sells) == (result.buys, result.sells)
    assert result.sells > 20
    for name in NAMES:
        assert base_at(report.fills, name, [played.end_ms]) == [result.symbols[name].base]
        assert report.held[name][-1] == result.symbols[name].base * result.symbols[name].price
    assert sum((row.change for row in report.months), Decimal(0)) == result.equity - 2000
    assert sum(row.fills for row in report.months) == len(report.fills)
    assert report.statistics.buy_and_hold == report.hold[-1] - 2000
    assert report.statistics.drawdown.share > 0


@pytest.mark.parametrize("played", ["quote"], indirect=True)
def test_the_page_stands_alone(played: Played, tmp_path: Path) -> None:
    """It loads nothing, shows every chart, the settings and the numbers; a place that cannot be written to is named."""
    report = report_of(played, "A <title>")
    page = html(report)
    assert "A &lt;title&gt;" in page
    assert "<script src=" not in page
    assert page.count("Plotly.newPlot(") == 5  # equity, two prices, drawdown, allocation
    assert f"{report.statistics.total_pnl:,.2f}" in page
    assert "&quot;quote_per_cell&quot;: &quot;30&quot;" in page
    write_report(tmp_path / "report.html", report)
    assert (tmp_path / "report.html").stat().st_size > len(page) // 2
    with pytest.raises(ConfigError, match="--report"):
        write_report(tmp_path / "no" / "report.html", report)
