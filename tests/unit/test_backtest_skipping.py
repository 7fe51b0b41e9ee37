"""The exact engine skips candles in which no rule can act: it must do what it does candle by candle."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tasks.backtest.engine import Engine
from tasks.backtest.quiet import KNOWN_FIELDS, KNOWN_KINDS
from tasks.base.errors import ConfigError
from tasks.settings.grids import GRIDS, KINDS, SeveralSettings
from tasks.settings.model import Settings
from tests.support.backtests import books_differ, market, random_settings, random_walk, story


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32), symbols=st.integers(1, 3))
def test_skipping_candles_changes_nothing(seed: int, symbols: int) -> None:
    """Fills, books, cells, balances, allocations: equal, whatever grids, money and strategy; all books add up."""
    rng = random.Random(seed)
    own = random_settings(rng, symbols)
    least = rng.choice(("0", "5"))
    markets = {name: market(name, min_notional=least) for name in own.symbols}
    candles = {name: random_walk(rng, 140, step_bp=rng.choice((20, 60, 150))) for name in own.symbols}
    try:
        every = Engine(own, markets, candles, skips=False).play()
    except ConfigError:
        with pytest.raises(ConfigError):
            Engine(own, markets, candles).play()
        return
    skipping = Engine(own, markets, candles).play()
    assert story(skipping) == story(every)
    assert books_differ(every) == []


def test_quiet_candles_are_skipped() -> None:
    """A walk that hardly moves takes fewer ticks than candles."""
    rng = random.Random(7)
    own = random_settings(rng, 1)
    (name,) = own.symbols
    played = Engine(own, {name: market(name)}, {name: random_walk(rng, 2000, step_bp=5)}).play()
    assert played.runs[name].trader.ticks < 500


@pytest.mark.parametrize(
    "grid",
    [
        {"grid": "arithmetic", "lower": 97, "upper": 103, "cells": 6, "trail_up_to": 300, "trail_down_to": 20},
        {"grid": "infinity", "lower": 50, "cells": 8, "start": "balanced", "spacing_pct": "0.02"},
        {"grid": "adaptive", "cells": 8, "spacing_pct": "0.01"},
    ],
    ids=["trailing", "infinity", "adaptive"],
)
def test_a_range_that_has_moved_is_quiet_too(grid: dict[str, Any]) -> None:
    """Cells that it has left, and the reserve, wake nobody."""
    own = Settings.model_validate({"symbols": {"BTC/USDT": {**grid, "quote_per_cell": "20"}}})
    walk = random_walk(random.Random(3), 3000, step_bp=15)
    played = Engine(own, {"BTC/USDT": market()}, {"BTC/USDT": walk}).play()
    run = played.runs["BTC/USDT"].trader
    assert run.records.grid is not None
    assert run.records.grid.covered is not None or grid["grid"] == "adaptive", "the range has moved"
    assert run.ticks < 1000


def test_every_setting_of_a_grid_is_known() -> None:
    """A new kind of grid or a new field may act by itself: say here when it wakes a symbol, or ticks every candle."""
    all_kinds: set[type[BaseModel]] = {*KINDS.values(), *GRIDS.values(), SeveralSettings}
    assert all_kinds == set(KNOWN_KINDS)
    assert {name for kind in all_kinds for name in kind.model_fields} == KNOWN_FIELDS
