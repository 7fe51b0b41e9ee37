"""The deployments of an account, computed from its settings. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.base.deployment_names import DeploymentNames
from tasks.settings.model import Settings
from tasks.tick.trading_mode import is_live

POOL_TYPE = "gridflow"

# A fixed anchor keeps the phase of a schedule: a deploy at another time must not move the windows.
ANCHOR = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Every:
    """An interval schedule. `slug` lets a later deploy update it in place and keep its active flag."""

    slug: str
    seconds: int
    offset_seconds: float = 0

    @property
    def anchor(self) -> datetime:
        return ANCHOR + timedelta(seconds=self.offset_seconds)


@dataclass(frozen=True)
class PlannedDeployment:
    """One deployment as it should be: `flow/name`, entry point, parameters, schedule if any, tags."""

    full_name: str
    entrypoint: str
    parameters: dict[str, Any] = field(default_factory=dict)
    every: Every | None = None
    tags: tuple[str, ...] = ()

    @property
    def flow_name(self) -> str:
        return self.full_name.split("/")[0]

    @property
    def name(self) -> str:
        return self.full_name.split("/")[1]


def planned_deployments(settings: Settings, retiring: Iterable[str] = ()) -> list[PlannedDeployment]:
    """Every deployment of the account.

    `retiring`: symbols that left the settings but still hold something. They get windows too. Windows of configured
    symbols are spread evenly over the window length; those of retiring symbols lie halfway between them.
    """
    names = DeploymentNames(settings.account)
    every_flow = {"account": settings.account}
    scheduled = {"force": True, "reason": "scheduled"} | every_flow
    manual = {"force": True, "reason": "manual"} | every_flow
    rebalance, log_status = "flows.rebalance.rebalance", "flows.log_status.log_status"
    tags = (_mode(settings),)
    status = Every("five-minutes", settings.trading.status_seconds)
    return [
        *_ticks(names, settings, retiring),
        PlannedDeployment(names.rebalance_hourly, rebalance, scheduled, Every("hourly", 3600), tags),
        PlannedDeployment(names.rebalance_manual, rebalance, manual, tags=tags),
        PlannedDeployment(names.log_status, log_status, every_flow, status, tags),
        PlannedDeployment(names.graceful_stop, "flows.graceful_stop.graceful_stop", every_flow, tags=tags),
        PlannedDeployment(names.resume, "flows.resume.resume", every_flow, tags=tags),
    ]


def _mode(settings: Settings) -> str:
    return "live" if is_live(settings) else "paper"


def _ticks(names: DeploymentNames, settings: Settings, retiring: Iterable[str]) -> list[PlannedDeployment]:
    window = settings.trading.window_seconds
    share = window / len(settings.symbols)
    leaving = [symbol for symbol in dict.fromkeys(retiring) if symbol not in settings.symbols]
    offsets = [(symbol, index * share) for index, symbol in enumerate(settings.symbols)]
    offsets += [(symbol, (index % len(settings.symbols) + 0.5) * share) for index, symbol in enumerate(leaving)]
    return [
        PlannedDeployment(
            names.tick(symbol),
            "flows.grid_tick.grid_tick",
            {"symbol": symbol, "account": settings.account},
            Every("window", window, round(offset, 3)),
            (symbol, _mode(settings)),
        )
        for symbol, offset in offsets
    ]
