"""Stopping trading and going on, on the trading loop."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from flows.runtime.announcing import stop_facts
from flows.runtime.archiving import Archiving
from tasks.base.events import EventKind
from tasks.control.actions import Actor
from tasks.control.steps import resume_everything, stop
from tasks.tick.desk import Desk
from tasks.tick.order_cancelling import cancel_all_orders
from tasks.tick.stopping import StopReport, held, read_stop_report
from tasks.tick.trader import GridTrader

log = logging.getLogger(__name__)
Tell = Callable[[EventKind, Mapping[str, Any]], Awaitable[None]]


class Stops:
    """Stops of one process. `newest`: the report of the newest stop that ends the process."""

    def __init__(self, trader_of: Callable[[str], Awaitable[GridTrader]], archiving: Archiving, tell: Tell) -> None:
        self._trader_of, self._archiving, self._tell = trader_of, archiving, tell
        self.newest: StopReport | None = None

    async def cancel_orders(self, desk: Desk) -> StopReport:
        """Cancel every open order of the pot. Meanwhile no worker of the account places orders."""
        async with held(desk.redis, desk.keys):
            self.newest = await cancel_all_orders(desk, self._trader_of)
        return self.newest

    async def keep_orders(self, desk: Desk) -> StopReport:
        """Leave open orders as they are, and say so."""
        report = await read_stop_report(desk.redis, desk.keys, desk.settings.symbols)
        facts = stop_facts(desk.keys.account, report, ends=True)
        await self._tell(EventKind.SYSTEM_STOPPED, facts | {"kept": True})
        return report

    async def until_resumed(self, desk: Desk) -> StopReport:
        """An operator's stop: cancel every open order. No order is placed until `resume`."""
        await stop(desk.redis, desk.settings, by=Actor.PREFECT)
        await self._make_durable()
        report = await cancel_all_orders(desk, self._trader_of)
        await self._tell(EventKind.SYSTEM_STOPPED, stop_facts(desk.keys.account, report, ends=False))
        return report

    async def resume(self, desk: Desk) -> None:
        """Lift the stop and every pause."""
        await resume_everything(desk.redis, desk.settings, by=Actor.PREFECT)
        await self._make_durable()

    async def _make_durable(self) -> None:
        """Write flags and actions to the database before the flow ends. Without it they are in force all the same."""
        if not await self._archiving.write_now():
            log.warning("in force, not yet durable: the history does not hold it yet")
