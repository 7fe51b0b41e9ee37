"""An operator's stop in a fault run, and whether its report is true."""

import asyncio
from collections.abc import Callable, Set
from dataclasses import dataclass

from tasks.base.errors import StateError
from tasks.control.steps import stop
from tasks.exchange.order_ids import parse_order_id
from tasks.tick.order_cancelling import cancel_all_orders
from tasks.tick.stopping import StopReport, with_retries
from tasks.tick.trader import GridTrader
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.engine import Engine


@dataclass
class Stop:
    """Stops trading as `gridflow stop` does. `put_backs`: how often Redis went back, which voids a stop.

    `strays`: client ids of orders that no journal had. `owner`: of its leases.
    `away_seconds`: for how long the exchange does not answer then.
    """

    worker: BinanceDesk
    engine: Engine
    put_backs: Callable[[], int]
    strays: Set[str]
    owner: str
    away_seconds: float = 0

    async def run(self, quiet_seconds: float) -> StopReport | None:
        """Stop, and hold the report against the exchange then and `quiet_seconds` later.

        Returns it; None where the stop says that it cannot tell.

        Raises AssertionError where an order of ours rests that the report does not name.
        """
        desk, before = self.worker.desk, self.put_backs()
        await with_retries(desk.follow_settings)
        await with_retries(lambda: stop(desk.redis, desk.settings))

        if self.away_seconds:
            await self.worker.server.outage(self.away_seconds)

        async def trader(symbol: str) -> GridTrader:
            return await self.worker.trader(symbol, self.owner)

        try:
            report = await cancel_all_orders(desk, trader)
        except StateError:
            return None
        self._check(report, before)
        await asyncio.sleep(quiet_seconds)
        self._check(report, before)
        return report

    def _check(self, report: StopReport, before: int) -> None:
        if self.put_backs() != before:
            return
        resting = {order.client_id for order in self.engine.open.values() if parse_order_id(order.client_id)}
        untold = sorted(resting - self.strays - {order.id for order in report.orders_open})
        assert untold == [], f"the stop reported {report}, and there rest {untold}"
