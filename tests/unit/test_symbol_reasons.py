"""Why a symbol does nothing, and what would wake it: the words that status, screens and API share."""

from decimal import Decimal
from typing import Any

import pytest

from tasks.exchange.limits.circuit_breaker import Phase
from tasks.grid.plan_models import IdleReason
from tasks.tick.active_symbols import Lifecycle
from tasks.views.market_time import market_time
from tasks.views.models import HistoryView
from tasks.views.price_range import place_in_range, place_text
from tasks.views.reasons import reason_of
from tasks.views.symbol_reasons import with_reasons
from tests.support.views import NOW, status, symbol

LEVELS = (Decimal(40_000), Decimal(42_000), Decimal(44_000))


@pytest.mark.parametrize(
    ("price", "place", "text"),
    [
        (40_000, "0", "0 %"),
        (41_000, "0.25", "25 %"),
        (44_000, "1", "100 %"),
        (46_000, "1.5", "above"),
        (38_000, "-0.5", "below"),
    ],
)
def test_the_place_of_a_price(price: int, place: str, text: str) -> None:
    """0 at the lowest level, 1 at the highest; outside it has a word of its own."""
    found = place_in_range(Decimal(price), LEVELS)
    assert found == Decimal(place)
    assert place_text(found) == text


def test_without_a_price_there_is_no_place() -> None:
    """Before the first tick."""
    assert place_in_range(None, LEVELS) is None
    assert place_text(None) == "–"


def told(symbol_changes: dict[str, Any], **account: Any) -> list[str]:
    """The reasons of one symbol, as a person reads them."""
    return [str(reason) for reason in with_reasons(status(symbol(**symbol_changes), **account)).symbols[0].reasons]


@pytest.mark.parametrize(
    ("changes", "account", "sentence"),
    [
        (
            {"place": Decimal("1.2"), "next_buy": Decimal("44043.5")},
            {},
            "the price is above the range: all sold; waits for: the price falls to 44,043.5",
        ),
        (
            {"place": Decimal("1.2"), "base": Decimal(1)},
            {},
            "the price is above the range; waits for: a price inside the range",
        ),
        (
            {"place": Decimal("-0.1"), "next_sell": Decimal(41_000)},
            {},
            "the price is below the range: all bought; waits for: the price rises to 41,000",
        ),
        ({}, {"stopped": True}, "trading is stopped; waits for: gridflow resume"),
        ({}, {"paused": True}, "new buys are paused; waits for: gridflow resume"),
        ({"paused": True}, {}, "new buys are paused; waits for: gridflow resume BTC/USDT"),
        (
            {"dark": True, "dark_why": "no worker is alive"},
            {},
            "nobody ticks it: no worker is alive; waits for: a worker; gridflow up starts one",
        ),
        (
            {"failed_tick_ms": NOW, "failed_tick_why": "no answer"},
            {},
            "the tick at 00:00:00 UTC failed: no answer; waits for: the next tick, which tries again",
        ),
        (
            {"breaker": Phase.OPEN, "breaker_until_ms": NOW},
            {},
            "its circuit breaker is open: tick after tick failed; "
            "waits for: a probe tick that succeeds, at 00:00:00 UTC",
        ),
        (
            {},
            {"breaker": Phase.HALF_OPEN, "breaker_why": "timeouts"},
            "the exchange's circuit breaker is half-open: timeouts; waits for: a probe tick that succeeds",
        ),
        (
            {"paused_in_prefect": True},
            {},
            "it is paused in Prefect; waits for: its deployment, schedule or work pool switched on in Prefect",
        ),
        (
            {"state": Lifecycle.RETIRING},
            {},
            "it left the settings: it buys nothing and sells what it holds; "
            "waits for: nothing; it leaves once all is sold",
        ),
        ({"state": Lifecycle.LEFT}, {}, "it left the settings and holds nothing; waits for: its table in the file"),
        ({}, {"history": HistoryView(full=True)}, "no new buys: history full; waits for: the history database"),
        (
            {},
            {"short": Decimal("12.5")},
            "no new buys: the exchange holds 12.50 USDT less than the pot promises; "
            "waits for: a deposit of USDT, or sales",
        ),
        ({"last_tick_ms": None}, {}, "it had no tick yet; waits for: its first tick, within seconds"),
        ({}, {"market": {"ended": True}}, "the recording has ended: the price changes no more"),
        (
            {"idle": {"GLOBAL_LIMIT": 1}},
            {},
            "1 cell: the pool is used up; waits for: a sale of any symbol, or more funds",
        ),
        (
            {"idle": {"GRID_UNFIT": 4}, "unfit": "the narrowest cell loses"},
            {},
            "4 cells: the exchange's present rules or fees do not allow the grid: it only sells "
            "(the narrowest cell loses); waits for: a grid that fits: gridflow check",
        ),
    ],
)
def test_each_reason_says_why_and_what_wakes_it(
    changes: dict[str, Any], account: dict[str, Any], sentence: str
) -> None:
    """One sentence a reason; nothing else is told."""
    assert told(changes, **account) == [sentence]


def test_a_healthy_symbol_has_no_reason() -> None:
    """Inside its range, every cell with an order."""
    assert told({"place": Decimal("0.4"), "cells": {"BUYING": 20}}) == []


@pytest.mark.parametrize("code", list(IdleReason))
def test_every_code_of_a_cell_has_words(code: IdleReason) -> None:
    """Also for one that is added later."""
    words = reason_of(code)
    assert words.why != code
    assert words.wakes


def test_the_time_of_a_replay_and_its_end() -> None:
    """The newest candle; the end once every symbol has reached its last one; candles that are missing."""
    spans = {
        name: {"files": 1, "candles": 3, "first_ms": 60_000, "last_ms": 240_000, "gaps": 1} for name in ("A/U", "B/U")
    }
    stored = {"source": "replay", "spans": spans, "market_ms": {"A/U": 240_000, "B/U": 180_000}}
    found = market_time(stored | {"candles_done": {"A/U": 3, "B/U": 2}})
    assert found == {"market_ms": 240_000, "until_ms": 240_000, "ended": False, "missing_minutes": 2} | {
        "candle_minutes": 1
    }
    assert market_time(stored | {"candles_done": {"A/U": 3, "B/U": 3}})["ended"]
    assert market_time({"source": "live", "market_ms": {"A/U": 1}}) == {}
