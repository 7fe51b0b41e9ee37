"""Forms that stand in Redis and on disk: ids of grids, settings in force, the record of a stack. They never change."""

import json
from typing import Any

import pytest

from tasks.grid.levels import grid_id, old_grid_id
from tasks.settings.in_force import shared_part
from tasks.settings.load import from_values, public_values
from tasks.settings.model import Settings
from tests.support.grids import symbol_settings

_SYMBOLS = {
    "BTC/USDT": {"lower": "39000", "upper": "48000", "cells": 19, "quote_per_cell": "150"},
    "ETH/USDT": {"grid": "geometric", "range_pct": "0.04"},
}
_SHARED = (
    '{"account": "main", "quote": "USDT", "total_funds": "10000", "global_max_usage": "0.95", '
    '"allocation_strategy": "dynamic", "dynamic_step": "0.25", "resize_tolerance": "0.1", "sole_account": false, '
    '"exchange": {"id": "binance", "sandbox": false, "live": false, "maker_fee": "0.001", "taker_fee": "0.001"}, '
    '"trading": {"window_seconds": 60, "tick_min_seconds": "2", "tick_max_seconds": "30", "lease_seconds": "10", '
    '"request_valid_seconds": "5", "protection_seconds": "15", "stale_price_seconds": "60"}, '
    '"symbols": {"BTC/USDT": {"grid": "arithmetic", "lower": "39000", "upper": "48000", "range_pct": null, '
    '"cells": 19, "quote_per_cell": "150", "base_per_cell": null, "start": "flat", "max_usage_pct": "1", '
    '"weight": "1"}, "ETH/USDT": {"grid": "geometric", "lower": null, "upper": null, "range_pct": "0.04", '
    '"cells": 20, "quote_per_cell": null, "base_per_cell": null, "start": "flat", "max_usage_pct": "1", '
    '"weight": "1"}}, "live": false}'
)
_OWN: dict[str, Any] = {"symbols": _SYMBOLS, "trading": {"window_seconds": 60}}  # a later version has longer windows


@pytest.mark.parametrize(
    ("values", "new", "old"),
    [
        ({"lower": "39000", "upper": "48000.50", "cells": 19}, "ec243", "gec2439be"),
        ({"grid": "arithmetic", "range_pct": "0.030", "cells": 8}, "6c47c", "g6c47c12b"),
        ({"grid": "geometric", "lower": "39000", "upper": "48000", "cells": 19}, "a48e4", "ga48e4053"),
        ({"grid": "geometric", "range_pct": "0.04", "cells": 20}, "81fdc", "g81fdc201"),
    ],
)
def test_the_id_of_a_grid_never_changes(values: dict[str, Any], new: str, old: str) -> None:
    """Orders on the exchange and cells in Redis carry it."""
    own = symbol_settings(**values)
    assert (grid_id("BTC/USDT", own), old_grid_id("BTC/USDT", own)) == (new, old)


def test_the_settings_in_force_keep_their_text() -> None:
    """The same settings are the same text, so that an upgrade puts no new version in force. Fields may be added."""
    own = Settings.model_validate(_OWN | {"redis_url": "redis://:pw@host"})
    assert json.dumps(fields_in(json.loads(_SHARED), shared_part(own))) == _SHARED


def fields_in(old: Any, new: Any) -> Any:
    """`new` in its own order, with only the fields that `old` has."""
    if not isinstance(old, dict):
        return new
    return {name: fields_in(old[name], value) for name, value in new.items() if name in old}


def test_the_settings_in_force_of_today_can_be_read_back() -> None:
    """A worker reads what an earlier version put in force."""
    assert Settings.model_validate_json(_SHARED) == Settings.model_validate(_OWN)


def test_the_record_of_a_stack_reads_back() -> None:
    """All values but the secrets; fields that are not set are left out."""
    own = Settings.model_validate({"symbols": _SYMBOLS})
    stored = json.loads(json.dumps(public_values(own)))
    assert stored["symbols"]["ETH/USDT"] == {
        "grid": "geometric",
        "range_pct": "0.04",
        "cells": 20,
        "size_factor": "1",
        "start": "flat",
        "earn": "quote",
        "max_usage_pct": "1",
        "stop_exit": "sell",
        "stop_slippage": "0.001",
        "weight": "1",
    }
    assert from_values(stored) == own
