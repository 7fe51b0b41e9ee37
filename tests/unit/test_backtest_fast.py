"""The fast engine against the exact one: the same fills and balances, or a refusal that names what it cannot play."""

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.backtest.engine import Engine
from tasks.backtest.fast_engine import fast_result
from tasks.backtest.result import Result, result_of
from tasks.base.errors import ConfigError
from tasks.settings.model import Settings
from tests.support.backtests import market, random_grid, random_walk, trailing

REACH = ("0.004", "0.01", "0.03", "0.07", "1")
NAMES = ("AAA/USDT", "BBB/USDT")


def fills_of(result: Result) -> list[tuple[Any, ...]]:
    """Every fill; those of one instant in any order."""
    return sorted(
        (one.at_ms, one.symbol, one.side, one.price, one.qty, one.fee, one.cell, one.maker, one.profit)
        for one in result.fills
    )


def drawn(rng: random.Random) -> dict[str, Any]:
    """A grid with a size; one in three follows the price, and one in three has orders near it alone."""
    grid = random_grid(rng, sized=True) | ({"activation_pct": rng.choice(REACH)} if rng.random() < 0.35 else {})
    return trailing(rng, {**grid, "size_factor": 1}) if rng.random() < 0.35 else grid


def play_both(rng: random.Random) -> int:
    """A random grid over a random path in both engines; how many fills both had. Raises ConfigError where refused."""
    symbols = NAMES[: rng.choice((1, 1, 2))]
    own = Settings.model_validate(
        {
            "total_funds": "1000000",
            "allocation_strategy": rng.choice(("equal", "weighted")) if len(symbols) > 1 else "dynamic",
            "symbols": {name: drawn(rng) for name in symbols},
        }
    )
    steps = {"tick_size": rng.choice(("0.01", "0.05")), "lot_step": rng.choice(("0.00001", "0.01", "0.00000001"))}
    markets = {name: market(name, min_notional=rng.choice(("0", "5")), **steps) for name in symbols}
    candles = {name: random_walk(rng, 70, step_bp=rng.choice((30, 90, 200))) for name in symbols}
    fast = fast_result(own, markets, candles)
    exact = result_of(Engine(own, markets, candles).play())
    assert fills_of(fast) == fills_of(exact)
    assert {name: vars(one) for name, one in fast.symbols.items()} == {
        name: vars(one) for name, one in exact.symbols.items()
    }
    assert (fast.quote, fast.equity, fast.identity_error) == (exact.quote, exact.equity, Decimal(0))
    assert (fast.start_ms, fast.end_ms) == (exact.start_ms, exact.end_ms)
    return len(fast.fills)


@settings(max_examples=275)
@given(seed=st.integers(0, 2**32))
def test_fast_and_exact_trade_the_same(seed: int) -> None:
    """Fill for fill, over grids of all kinds and paths with gaps, spikes and stand-stills."""
    rng = random.Random(seed)
    try:
        play_both(rng)
    except ConfigError as refused:
        remedies = {problem.remedy for problem in refused.problems}
        assert remedies <= {"Use --engine exact", "Use fewer cells or a wider range", "Use fewer cells or more money"}


def test_random_grids_do_trade() -> None:
    """The comparison above compares something: hundreds of fills, and few refusals."""
    fills, refused = 0, 0
    for seed in range(25):
        try:
            fills += play_both(random.Random(seed))
        except ConfigError:
            refused += 1
    assert fills > 250
    assert refused < 8


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"quote_per_cell": None}, "quote_per_cell"),
        ({"stop_loss_price": "90"}, "stop_loss_price"),
        ({"activation_pct": "0.02", "start": "balanced", "quote_per_cell": "5"}, "activation_pct"),
        ({"end_at": "2024-02-01T00:00:00Z"}, "end_at"),
        ({"earn": "base"}, "earn"),
        ({"trail_up_to": "110", "size_factor": "1.1", "quote_per_cell": "5"}, "size_factor"),
        ({"trail_up_to": "600", "quote_per_cell": "5"}, "do not all pay their fees"),
        ({"trail_up_to": "9000", "quote_per_cell": "5"}, "more than 2000 levels"),
        ({"quote_per_cell": "300"}, "money may bind"),
        ({"max_usage_pct": "0.1"}, "money may bind"),
    ],
)
def test_what_it_cannot_play_is_refused_by_name(changes: dict[str, Any], name: str) -> None:
    """Never an approximation."""
    grid = {"lower": "95", "upper": "105", "cells": 10, "quote_per_cell": "50"} | changes
    own = Settings.model_validate({"total_funds": "1000", "global_max_usage": "1", "symbols": {NAMES[0]: grid}})
    candles = {NAMES[0]: random_walk(random.Random(1), 20)}
    with pytest.raises(ConfigError, match=name):
        fast_result(own, {NAMES[0]: market(NAMES[0])}, candles)


def test_the_account_is_refused_by_name() -> None:
    """Fees in base, and a strategy that moves money."""
    grid = {"lower": "95", "upper": "105", "cells": 10, "quote_per_cell": "5"}
    own = Settings.model_validate(
        {"symbols": dict.fromkeys(NAMES, grid), "allocation_strategy": "dynamic", "paper": {"fee_currency": "base"}}
    )
    candles = {name: random_walk(random.Random(1), 20) for name in NAMES}
    with pytest.raises(ConfigError) as refused:
        fast_result(own, {name: market(name) for name in NAMES}, candles)
    assert {problem.field for problem in refused.value.problems} == {"paper.fee_currency", "allocation_strategy"}


def test_sums_are_exact() -> None:
    """A price and an amount of 8 decimals each."""
    grid = {"lower": "95.12345678", "upper": "105.87654321", "cells": 7, "base_per_cell": "0.12345678"}
    own = Settings.model_validate({"symbols": {NAMES[0]: grid}})
    steps = {"tick_size": "0.00000001", "lot_step": "0.00000001"}
    markets, candles = {NAMES[0]: market(NAMES[0], **steps)}, {NAMES[0]: random_walk(random.Random(3), 300)}
    fast, exact = fast_result(own, markets, candles), result_of(Engine(own, markets, candles).play())
    assert fast.buys > 10
    assert fast.symbols[NAMES[0]] == exact.symbols[NAMES[0]]
    assert fast.quote != fast.quote.quantize(Decimal("1e-8"))
