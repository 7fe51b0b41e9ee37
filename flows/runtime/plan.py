"""Which deployments there are: pure, from the settings alone, so that it can be read, compared and tested."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.base.keys import slug
from tasks.base.settings import Settings

POOL_NAME = "gridflow"
POOL_TYPE = "gridflow"
GRID_TICK = "grid-tick"
REBALANCE_MANUAL = "rebalance/manual"
GRACEFUL_STOP = "graceful-stop/manual"

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
    """One deployment as it should be: flow and name, entry point, parameters, schedule if any."""

    flow_name: str
    name: str
    entrypoint: str
    parameters: dict[str, Any] = field(default_factory=dict)
    every: Every | None = None

    @property
    def full_name(self) -> str:
        return f"{self.flow_name}/{self.name}"


def planned_deployments(settings: Settings) -> list[PlannedDeployment]:
    """Every deployment of the account; grid-tick windows are spread evenly over the window length."""
    window = settings.trading.window_seconds
    share = window / len(settings.symbols)
    ticks = [
        PlannedDeployment(
            GRID_TICK,
            slug(symbol),
            "flows.grid_tick.grid_tick",
            {"symbol": symbol},
            Every("window", window, round(index * share, 3)),
        )
        for index, symbol in enumerate(settings.symbols)
    ]
    hourly = {"force": True, "reason": "scheduled"}
    manual = {"force": True, "reason": "manual"}
    return [
        *ticks,
        PlannedDeployment("rebalance", "hourly", "flows.rebalance.rebalance", hourly, Every("hourly", 3600)),
        PlannedDeployment("rebalance", "manual", "flows.rebalance.rebalance", manual),
        PlannedDeployment("log-status", "five-minutes", "flows.log_status.log_status", {}, Every("five-minutes", 300)),
        PlannedDeployment("graceful-stop", "manual", "flows.graceful_stop.graceful_stop"),
        PlannedDeployment("resume", "manual", "flows.resume.resume"),
    ]
