"""Own windows that have ended, until they are recorded in Prefect: one completed run for each unbroken stretch."""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed

from tasks.base.deployment_names import DeploymentNames
from tasks.tick.models import WindowReport

log = logging.getLogger(__name__)
_SAME_STRETCH = timedelta(seconds=30)


@dataclass(frozen=True)
class Stretch:
    """Own windows of one symbol without a longer gap between them."""

    symbol: str
    began: datetime
    ended: datetime
    ticks: int
    fills: int
    failed: int

    @property
    def message(self) -> str:
        """What the run's state says."""
        return (
            f"A worker ran this window without Prefect from {self.began:%H:%M:%S} to {self.ended:%H:%M:%S} UTC: "
            f"{self.ticks} ticks, {self.fills} fills, {self.failed} failed ticks."
        )


class PastWindows:
    """The stretches that Prefect does not know yet."""

    def __init__(self) -> None:
        self._stretches: list[Stretch] = []

    def is_open(self, symbol: str) -> bool:
        """Whether a stretch of the symbol waits to be recorded, and a new window may continue it."""
        return any(each.symbol == symbol for each in self._stretches)

    def add(self, report: WindowReport, began: datetime, ended: datetime) -> None:
        """A window has ended. One without a tick is not worth a record."""
        if not report.ticks:
            return
        new = Stretch(report.symbol, began, ended, report.ticks, report.fills, report.failed_ticks)
        for index, last in enumerate(self._stretches):
            if last.symbol == new.symbol and began - last.ended <= _SAME_STRETCH:
                more = {name: getattr(last, name) + getattr(new, name) for name in ("ticks", "fills", "failed")}
                self._stretches[index] = replace(last, ended=ended, **more)
                return
        self._stretches.append(new)

    async def record(self, client: PrefectClient, names: DeploymentNames, now: datetime) -> None:
        """Write the stretches that nothing continues any more to Prefect, as completed runs of their deployments.

        A stretch whose deployment is gone is dropped: only the log shows it.
        """
        for stretch in [each for each in self._stretches if now - each.ended > _SAME_STRETCH]:
            try:
                await _record(client, names, stretch)
            except ObjectNotFound:
                log.info("a window without Prefect was not recorded: no deployment", extra={"symbol": stretch.symbol})
            self._stretches.remove(stretch)


async def _record(client: PrefectClient, names: DeploymentNames, stretch: Stretch) -> None:
    """One call: the server sets the times of a run itself, so the message has the true ones."""
    deployment = await client.read_deployment_by_name(names.tick(stretch.symbol))
    await client.create_flow_run_from_deployment(
        deployment.id,
        state=Completed(message=stretch.message),
        name=f"{stretch.symbol} without Prefect",
        tags=["without-prefect"],
    )
