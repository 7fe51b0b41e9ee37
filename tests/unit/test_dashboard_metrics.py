"""Metrics of a reading, and the failures a scrape may meet."""

from decimal import Decimal
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from dashboard.metrics import Reading, ViewsCollector
from tasks.views.models import WorkerView
from tests.support.views import NOW, status, symbol

ALLOCATOR = {
    "gridflow_global_fund_usage_pct",
    "gridflow_per_symbol_usage_pct",
    "gridflow_rebalance_count_total",
    "gridflow_blocked_trades_count_total",
    "gridflow_allocation_efficiency",
}


def lines(reading: Reading) -> dict[str, float]:
    """Sample → value, as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ViewsCollector(lambda: reading))
    text = generate_latest(registry).decode()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")}


def test_the_allocators_metrics() -> None:
    """Percent of the pool and of each share, a share from 0 to 1, counters with their labels."""
    view = status(symbol(), symbol("ETH/USDT", used=Decimal(500), committed=Decimal(900)), pool=Decimal(2000))
    found = lines(Reading(view, 7, {("BTC/USDT", "STALE_FENCE"): 3}, NOW))
    assert found["gridflow_global_fund_usage_pct"] == 70.0
    assert found['gridflow_per_symbol_usage_pct{symbol="BTC/USDT"}'] == 50.0
    assert found['gridflow_per_symbol_usage_pct{symbol="ETH/USDT"}'] == 90.0
    assert found["gridflow_rebalance_count_total"] == 7
    assert found['gridflow_blocked_trades_count_total{reason="STALE_FENCE",symbol="BTC/USDT"}'] == 3
    assert found['gridflow_blocked_trades_count_total{reason="SYMBOL_LIMIT",symbol="ETH/USDT"}'] == 0
    assert found["gridflow_allocation_efficiency"] == 0.35
    assert {name.split("{")[0] for name in found} >= ALLOCATOR


def test_an_account_that_has_not_begun() -> None:
    """No pool, no allocation, no tick: zeros, and no age of a tick that never was."""
    nothing: dict[str, Any] = dict.fromkeys(("allocated", "used", "reserved", "committed", "free"), Decimal(0))
    fresh = symbol(price=None, last_tick_ms=None, **nothing)
    found = lines(Reading(status(fresh, pool=Decimal(0)), 0, {}, NOW))
    assert found["gridflow_global_fund_usage_pct"] == 0
    assert found['gridflow_per_symbol_usage_pct{symbol="BTC/USDT"}'] == 0
    assert found["gridflow_allocation_efficiency"] == 0
    assert not any(name.startswith("gridflow_last_tick_age_seconds") for name in found)


def test_the_age_of_a_tick() -> None:
    """Seconds; a clock that went back makes no negative age."""
    early, late = symbol(last_tick_ms=NOW - 2500), symbol("ETH/USDT", last_tick_ms=NOW + 9000)
    found = lines(Reading(status(early, late), 0, {}, NOW))
    assert found['gridflow_last_tick_age_seconds{symbol="BTC/USDT"}'] == 2.5
    assert found['gridflow_last_tick_age_seconds{symbol="ETH/USDT"}'] == 0


def test_dark_symbols_and_workers() -> None:
    """1 for a dark symbol; only workers that are alive count, and the loop that lags most."""
    facts: dict[str, Any] = {"host": "h", "pid": 1, "version": "1", "age_seconds": 0.5}
    workers = [WorkerView(worker=str(lag), alive=lag < 900, lag_ms=lag, **facts) for lag in (20, 250, 900)]
    view = status(symbol(), symbol("ETH/USDT", dark=True, late_seconds=21.5), workers=tuple(workers))
    found = lines(Reading(view, 0, {}, NOW))
    assert [found[f'gridflow_dark{{symbol="{name}/USDT"}}'] for name in ("BTC", "ETH")] == [0, 1]
    assert [found[f'gridflow_late_seconds{{symbol="{name}/USDT"}}'] for name in ("BTC", "ETH")] == [0, 21.5]
    assert found["gridflow_workers"] == 2
    assert found["gridflow_worker_loop_lag_seconds"] == 0.25
