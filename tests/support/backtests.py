"""Random grids and price paths for tests of the backtest engines."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from tasks.backtest.candle_files import columns_of
from tasks.backtest.candles import CandleColumns
from tasks.backtest.engine import Played
from tasks.base.money import from_units
from tasks.exchange.models import Market
from tasks.ledger.rules import value
from tasks.paper.candles import MINUTE
from tasks.settings.model import Settings
from tests.support.recorded import DATA, candles_in
from tests.support.several_grids import with_several_grids

UNIT = 10**8
CENT = 10**6
START_MS = 1_704_067_200_000
STRATEGIES = ("equal", "weighted", "dynamic")


def recorded(base: str) -> CandleColumns:
    """Three days of 1-minute candles."""
    return CandleColumns.of(candles_in(DATA / f"{base}-USDT-1m-2024-01.csv.gz"))


def market(symbol: str = "BTC/USDT", **changes: Any) -> Market:
    """Ticks of 0.01, lots of 0.00001, 0.1 % fees."""
    base, quote = symbol.split("/")
    fields = {"tick_size": "0.01", "lot_step": "0.00001", "maker_fee": "0.001", "taker_fee": "0.001"}
    return Market.model_validate({"symbol": symbol, "base": base, "quote": quote} | fields | changes)


def random_walk(rng: random.Random, count: int, start: int = 100 * UNIT, step_bp: int = 60) -> CandleColumns:
    """Candles around a price that moves by up to `step_bp`; some with gaps between them, some that do not move."""
    closes, opens, highs, lows = [], [], [], []
    price = start
    for _ in range(count):
        opened = price if rng.random() < 0.9 else _moved(rng, price, step_bp)
        close = opened if rng.random() < 0.1 else _moved(rng, opened, step_bp)
        reach = rng.choice((0, 0, step_bp // 3, step_bp * 2))
        highs.append(max(opened, close) * (10_000 + rng.randint(0, reach)) // 10_000 // CENT * CENT + CENT)
        lows.append(max(min(opened, close) * (10_000 - rng.randint(0, reach)) // 10_000 // CENT * CENT, CENT))
        opens.append(opened)
        closes.append(close)
        price = close
    at = START_MS + MINUTE * np.arange(count, dtype=np.int64)
    prices = [np.array(values, dtype=np.int64) for values in (opens, highs, lows, closes)]
    return columns_of([at, *prices], np.ones(count))


def _moved(rng: random.Random, price: int, step_bp: int) -> int:
    return max(price * (10_000 + rng.randint(-step_bp, step_bp)) // 10_000 // CENT * CENT, 10 * CENT)


def random_grid(rng: random.Random, *, sized: bool, moving: bool = False) -> dict[str, Any]:
    """A grid around 100: arithmetic or geometric, flat or balanced, narrow or wide. `sized`: with a size.

    `moving`: some follow the price, and some are adaptive.
    """
    middle, half = Decimal(rng.randint(96, 104)), Decimal(rng.randint(2, 12))
    grid: dict[str, Any] = {"grid": rng.choice(("arithmetic", "geometric")), "start": rng.choice(("flat", "balanced"))}
    if rng.random() < 0.3:
        grid["range_pct"] = str(half / 100)
    else:
        grid |= {"lower": str(middle - half), "upper": str(middle + half)}
    grid["cells"] = rng.randint(1, max(int(half * 2 / Decimal("0.35")), 1))
    if moving:
        grid = _moving(rng, grid)
    if sized:
        grid |= rng.choice(({"quote_per_cell": str(rng.randint(20, 90))}, {"base_per_cell": "0.31337"}))
    return grid | ({"size_factor": rng.choice(("0.9", "1.07"))} if rng.random() < 0.2 else {})


def spacing_only(rng: random.Random) -> dict[str, Any]:
    """A spacing that pays its fees."""
    return {"spacing_pct": rng.choice(("0.004", "0.006", "0.02"))}


def _moving(rng: random.Random, grid: dict[str, Any]) -> dict[str, Any]:
    """The grid, or one whose range moves."""
    if rng.random() < 0.4:
        return grid
    if rng.random() < 0.5:
        names = ("start",) if rng.random() < 0.7 else ("start", "spacing_pct")
        spacing = {"spacing_pct": rng.choice(("0.004", "0.01")), "start": grid["start"]}
        own = {name: spacing[name] for name in names} | {"min_spacing_pct": "0.004", "max_spacing_pct": "0.03"}
        recentre = rng.choice(("both", "both", "up", "down", "never"))
        if rng.random() < 0.4:
            own = spacing_only(rng) | {"lower": rng.randint(60, 101), "cells": rng.randint(4, 9)}
            return {"grid": "infinity", "start": "balanced"} | own
        return own | {"grid": "adaptive", "cells": rng.randint(1, 8), "recentre": recentre}
    return trailing(rng, grid)


def trailing(rng: random.Random, grid: dict[str, Any]) -> dict[str, Any]:
    """The grid with a narrow range that follows the price, in one direction or in both."""
    trails = rng.choice((("trail_up_to",), ("trail_down_to",), ("trail_up_to", "trail_down_to")))
    limits = {"trail_up_to": rng.randint(117, 200), "trail_down_to": rng.randint(40, 83)}
    narrow = {
        "cells": rng.randint(1, 6),
        "range_pct": None,
        "lower": rng.randint(97, 99),
        "upper": rng.randint(101, 103),
    }
    return grid | narrow | {name: limits[name] for name in trails}


def random_rules(rng: random.Random) -> dict[str, Any]:
    """Stops, limits and guards: none, or one or two of them."""

    def moment(low: int, high: int) -> datetime:
        return datetime.fromtimestamp(START_MS / 1000, UTC) + timedelta(minutes=rng.randint(low, high))

    choices: tuple[dict[str, Any], ...] = (
        {"stop_loss_price": rng.randint(93, 98)},
        {"take_profit_price": rng.randint(102, 107)},
        {"stop_loss_quote": rng.randint(2, 20)},
        {"take_profit_quote": rng.randint(1, 10)},
        {"profit_drawdown_pct": rng.choice(("0.2", "0.6"))},
        {"pause_below": rng.randint(95, 100), "pause_above": rng.randint(101, 104)},
        {"pause_from": moment(10, 60), "pause_until": moment(61, 120)},
        {"trigger_price": rng.randint(98, 102)},
        {"start_at": moment(5, 60), "end_at": moment(61, 200)},
        {"max_open_orders": rng.randint(2, 60)},
        {"activation_pct": "0.03"},
        {"max_position_pct": "0.5"},
        {"min_position_pct": "0.1"},
        {"max_price_jump_pct": "0.004"},
    )
    found: dict[str, Any] = {}
    for one in rng.sample(choices, rng.choice((0, 0, 1, 2))):
        found |= one
    return found | ({"stop_exit": rng.choice(("sell", "keep"))} if found else {})


def random_settings(rng: random.Random, symbols: int) -> Settings:
    """Symbols that share one pot; sometimes it is too small for all."""
    names = ("AAA/USDT", "BBB/USDT", "CCC/USDT")[:symbols]
    own = {
        name: random_grid(rng, sized=rng.random() < 0.5, moving=True)
        | {"max_usage_pct": rng.choice(("1", "0.6")), "weight": str(rng.randint(1, 3))}
        | random_rules(rng)
        for name in names
    }
    earning = random.Random(repr(own))  # of its own: seeds draw the same grids as before
    for one in own.values():
        one["earn"] = earning.choice(("quote", "base")) if one["grid"] != "infinity" else "quote"
    found = Settings.model_validate(
        {
            "total_funds": str(rng.choice((150, 600, 3000, 30_000))),
            "global_max_usage": rng.choice(("1", "0.95")),
            "allocation_strategy": rng.choice(STRATEGIES),
            "symbols": own,
            "reinvest": rng.random() < 0.3,
            "paper": {"fee_currency": rng.choice(("quote", "quote", "base"))},
        }
    )

    def grid_of(_symbol: str) -> dict[str, Any]:
        return random_grid(earning, sized=earning.random() < 0.5, moving=True)

    return with_several_grids(found, earning, grid_of, 0.3)


def story(played: Played) -> Mapping[str, Any]:
    """All that a run did, without how often it ticked."""
    traders = {name: run.trader for name, run in played.runs.items()}
    return {
        "fills": {name: trader.fills for name, trader in traders.items()},
        "books": {name: trader.records.book for name, trader in traders.items()},
        "cells": {name: trader.records.cells for name, trader in traders.items()},
        "free": played.account.free,
        "used": played.account.used,
        "shares": played.pot.shares,
        "most": played.pot.most_committed,
        "rebalances": played.sharing.rebalances,
    }


def books_differ(played: Played) -> list[str]:
    """What does not add up in a run's books: profit against money, cells against books, books against the account."""
    found = []
    cash = Decimal(0)
    for name, run in played.runs.items():
        book, cells = run.trader.records.book, run.trader.records.cells.values()
        error = value(book, run.trader.price).identity_error
        held = sum((cell.qty for cell in cells), Decimal(0))
        cash += book.cash
        if error or held != book.base or book.base != from_units(played.account.total(name.partition("/")[0])):
            found.append(f"{name}: {error=}, cells hold {held}, books {book.base}")
    quote = from_units(played.account.total(played.settings.quote))
    if quote != played.settings.total_funds + cash:
        found.append(f"the account has {quote}, the books {played.settings.total_funds + cash}")
    return found
