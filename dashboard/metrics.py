"""Prometheus metrics, read from the views at each scrape. Amounts in quote."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from dashboard.connection import NoData, Reader, reader
from tasks.base.errors import ConfigError
from tasks.base.redis_client import RedisClient
from tasks.exchange.limits.circuit_breaker import Phase
from tasks.funds.models import FundCode
from tasks.views import store
from tasks.views.activity import ActivityView, read_activity
from tasks.views.models import StatusView, SymbolView
from tasks.views.steps import read_status

# Exported at 0 from the start: rate() misses the first event of a counter that appears with it.
_EXPECTED_REFUSALS = (FundCode.SYMBOL_LIMIT.name, FundCode.GLOBAL_LIMIT.name, FundCode.PAUSED.name)
_NO_RECORDS = {"WARNING": 0, "ERROR": 0, "CRITICAL": 0}


@dataclass(frozen=True)
class Reading:
    """The records that one scrape reports."""

    status: StatusView
    rebalances: int
    blocked: Mapping[tuple[str, str], int]  # (symbol, reason) → how many
    now_ms: int
    activity: ActivityView = field(default_factory=ActivityView)


def read_all(source: Reader) -> Reading:
    """Read them now. Raises NoData."""

    async def ask(redis: RedisClient) -> Reading:
        status = await read_status(source.settings, redis, at_once=True)
        rebalances, blocked = await store.counters(redis, source.keys)
        activity = await read_activity(source.settings, redis)
        return Reading(status, rebalances, blocked, int(time.time() * 1000), activity)

    return source.read(ask)


def share(part: Decimal, whole: Decimal, scale: int = 1) -> float:
    """part / whole × scale; 0 without a whole."""
    return float(part / whole * scale) if whole else 0.0


def _gauge(name: str, text: str, value: Decimal | float) -> Metric:
    return GaugeMetricFamily(f"gridflow_{name}", text, value=float(value))


def _per_symbol(
    name: str, text: str, symbols: Iterable[SymbolView], value: Callable[[SymbolView], Decimal | float | None]
) -> Metric:
    family = GaugeMetricFamily(f"gridflow_{name}", text, labels=["symbol"])
    for symbol in symbols:
        found = value(symbol)
        if found is not None:
            family.add_metric([symbol.symbol], float(found))
    return family


def _counter(name: str, text: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"gridflow_{name}", text, labels=["symbol"])
    for symbol, count in counts.items():
        family.add_metric([symbol], count)
    return family


def _is_open(view: StatusView | SymbolView) -> float:
    return float(view.breaker is not Phase.CLOSED)


def allocator_metrics(reading: Reading) -> Iterable[Metric]:
    """How the pot is used."""
    status = reading.status
    yield _gauge(
        "global_fund_usage_pct", "Committed share of the pool, percent", share(status.committed, status.pool, 100)
    )
    yield _per_symbol(
        "per_symbol_usage_pct",
        "Committed share of the symbol's allocation, percent",
        status.symbols,
        lambda symbol: share(symbol.committed, symbol.allocated, 100),
    )
    yield CounterMetricFamily("gridflow_rebalance_count", "Applied rebalances", value=reading.rebalances)
    blocked = CounterMetricFamily(
        "gridflow_blocked_trades_count", "Orders the pot refused to fund", labels=["symbol", "reason"]
    )
    expected = {(symbol.symbol, reason): 0 for symbol in status.symbols for reason in _EXPECTED_REFUSALS}
    for (symbol, reason), count in sorted((expected | dict(reading.blocked)).items()):
        blocked.add_metric([symbol, reason], count)
    yield blocked
    used = sum((symbol.used for symbol in status.symbols), Decimal(0))
    allocated = sum((symbol.allocated for symbol in status.symbols), Decimal(0))
    yield _gauge("allocation_efficiency", "Used over allocated funds of all symbols, 0 to 1", share(used, allocated))


def trading_metrics(reading: Reading) -> Iterable[Metric]:
    """Profit, fees, orders and ticks."""
    status = reading.status
    yield _gauge("equity", "Value of the account", status.equity)
    yield _gauge("equity_change", "Equity gained since the books were opened", status.equity_change)
    yield _gauge("grid_profit", "Profit of closed cells after fees", status.grid_profit)
    yield _gauge("floating_pnl", "Unrealised profit of the inventory", status.floating)
    yield _gauge("fees", "Fees paid", status.fees)
    yield _gauge("pool", "Funds that may be committed", status.pool)
    yield _gauge("invested", "Put into the pot beside total_funds", status.invested)
    yield _gauge("withdrawn", "Profit taken out of the pot", status.withdrawn)
    yield _gauge("reinvested", "Realised profit in the pool", status.reinvested)
    yield _gauge("committed", "Used plus reserved funds", status.committed)
    yield _gauge("paused", "1 while an operator has paused new buys", status.paused)
    yield _gauge("stopped", "1 while a stop is in force", status.stopped)
    yield _gauge("exchange_breaker_open", "1 while the exchange's circuit breaker is not closed", _is_open(status))
    symbols = status.symbols
    yield _per_symbol("breaker_open", "1 while the symbol's circuit breaker is not closed", symbols, _is_open)
    yield _counter("ticks", "Ticks made", {symbol.symbol: symbol.ticks for symbol in symbols})
    yield _counter("fills", "Fills booked", {symbol.symbol: symbol.fills for symbol in symbols})
    yield _per_symbol("price", "Price at the last tick", symbols, lambda symbol: symbol.price)
    yield _per_symbol("symbol_grid_profit", "The symbol's profit of closed cells", symbols, lambda one: one.grid_profit)
    yield _per_symbol("allocated", "The symbol's allocation", symbols, lambda symbol: symbol.allocated)
    yield _per_symbol("open_orders", "Orders not yet settled", symbols, lambda symbol: symbol.open_orders)
    yield _per_symbol("orders_resolving", "Orders whose outcome is unknown", symbols, lambda symbol: symbol.resolving)
    yield _per_symbol(
        "dark", "1 while nobody ticks the symbol, though somebody should", symbols, lambda symbol: float(symbol.dark)
    )
    yield _per_symbol(
        "late_seconds", "How much later than planned its next tick is", symbols, lambda symbol: symbol.late_seconds
    )
    yield _gauge("workers", "Processes that trade, by their heartbeats", sum(one.alive for one in status.workers))
    lag = max((one.lag_ms for one in status.workers if one.alive), default=0) / 1000
    yield _gauge("worker_loop_lag_seconds", "Longest delay of a worker's trading loop since its heartbeat before", lag)
    yield _per_symbol(
        "last_tick_age_seconds",
        "Time since the last tick ended",
        symbols,
        lambda symbol: None if symbol.last_tick_ms is None else max(reading.now_ms - symbol.last_tick_ms, 0) / 1000,
    )


def health_metrics(reading: Reading) -> Iterable[Metric]:
    """What does not work as it should, and what waits for it."""
    status, symbols = reading.status, reading.status.symbols
    yield _per_symbol("tick_duration_seconds", "Duration of the last tick", symbols, _tick_seconds)
    yield _per_symbol(
        "tick_failing", "1 while the newest tick failed", symbols, lambda one: one.failed_tick_ms is not None
    )
    yield _gauge("quote_short", "Quote that the exchange lacks of what is committed", status.short)
    yield _gauge("identity_error", "Equity change less grid and floating profit; always 0", status.identity_error)
    yield _gauge("history_waiting_records", "Records that are not in the history yet", status.history.waiting)
    yield _gauge("history_waiting_bytes", "Memory that they take", status.history.waiting_bytes)
    yield _gauge("history_away", "1 while the history database does not answer", status.history.away_ms is not None)
    yield _gauge("prefect_away", "1 while the Prefect server does not answer", status.prefect_away_since_ms is not None)
    sent = CounterMetricFamily("gridflow_alerts_delivered", "Alerts delivered", labels=["channel"])
    failed = CounterMetricFamily("gridflow_alert_failures", "Attempts to deliver that failed", labels=["channel"])
    waiting = GaugeMetricFamily("gridflow_alerts_waiting", "Alerts not delivered yet", labels=["channel"])
    for channel in status.alert_channels:
        sent.add_metric([channel.name], channel.delivered)
        failed.add_metric([channel.name], channel.failures)
        waiting.add_metric([channel.name], channel.waiting)
    yield from (sent, failed, waiting)


def activity_metrics(reading: Reading) -> Iterable[Metric]:
    """Requests to the exchange, and the log, counted over all workers."""
    activity = reading.activity
    families = (
        ("exchange_calls", "Calls to the exchange by all workers", "call", activity.calls),
        ("exchange_errors", "Calls to the exchange that failed, by kind", "error", activity.errors),
        ("log_records", "Warnings and errors logged by all workers", "level", {**_NO_RECORDS, **activity.log}),
    )
    for name, text, label, counts in families:
        family = CounterMetricFamily(f"gridflow_{name}", text, labels=[label])
        for value, count in counts.items():
            family.add_metric([value], count)
        yield family
    budget = GaugeMetricFamily(
        "gridflow_rate_budget_free", "Share of the rate budget that is free, 0 to 1; 1 unused", labels=["bucket"]
    )
    for bucket in ("account", "address"):
        budget.add_metric([bucket], float(activity.budget.get(bucket, 1)))
    yield budget
    yield _gauge("exchange_ban_seconds", "How long the exchange allows no requests", activity.banned_ms / 1000)


def _tick_seconds(symbol: SymbolView) -> float | None:
    return None if symbol.last_tick_duration_ms is None else symbol.last_tick_duration_ms / 1000


class ViewsCollector(Collector):
    """Collects metrics from a reading taken at scrape time."""

    def __init__(self, take: Callable[[], Reading]) -> None:
        self._take = take

    def collect(self) -> Iterable[Metric]:
        """All metrics of one reading. Raises NoData when there is none."""
        reading = self._take()
        yield from allocator_metrics(reading)
        yield from trading_metrics(reading)
        yield from health_metrics(reading)
        yield from activity_metrics(reading)


REGISTRY = CollectorRegistry(auto_describe=False)
REGISTRY.register(ViewsCollector(lambda: read_all(reader())))


def metrics(_request: Request) -> Response:
    """`GET /metrics`: the text format, or 503 while there is nothing to report. Runs in a thread of its own."""
    try:
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
    except NoData as error:
        return PlainTextResponse(f"{error}\n", status_code=503)
    except ConfigError:
        return PlainTextResponse("The settings cannot be used; `gridflow check` names the problems\n", status_code=503)


def open_metrics(request: Request) -> Response:
    """`GET /metrics`, where the settings do not ask for a token."""
    if not reader().settings.dashboard.public_metrics:
        return PlainTextResponse("Metrics need a token here: GET /api/metrics\n", status_code=404)
    return metrics(request)
