"""The workers of a fault run.

Every worker has a Redis connection of its own. In one scenario of three it also has an exchange client of its own,
with the shared readings, the shared rate budget and the circuit breakers around its ticks, as a live worker has.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from tasks.base.keys import AddressKeys
from tasks.exchange.limits.breaker_store import Breakers
from tasks.exchange.limits.budget import Budget
from tasks.exchange.limits.ccxt_hooks import attach_budget
from tasks.exchange.models import OrderRequest, Placement
from tasks.exchange.shared_client import SharedReads
from tasks.exchange.venues.registry import venue_of
from tasks.settings.model import Settings
from tasks.tick.trader import GridTrader
from tasks.tick.window import guarded_tick
from tests.support.binance.desk import BinanceDesk
from tests.support.fault_check import Tick
from tests.support.virtual.desk import VirtualWorld


@dataclass
class Workers:
    """Creates workers. `first`: a desk whose exchange client they share, or copy the markets from. `whole`: see Scene.

    Every second worker has run since before the symbols changed: its shared readings cover the first symbols.
    `asked`: (client id, price, amount) of every order that a worker asked its client to place.
    """

    world: VirtualWorld
    first: BinanceDesk
    whole: bool
    made: int = 0
    asked: set[tuple[str, Decimal, Decimal]] = field(default_factory=set)

    def ticks(self, trader: GridTrader) -> Tick:
        """The tick function of a trader in this scenario."""
        if not self.whole:
            return trader.tick
        breakers = Breakers(trader.desk.redis, trader.desk.keys)
        return lambda: guarded_tick(trader, breakers)

    def new(self, own: Settings | None = None) -> BinanceDesk:
        """A new worker process. `own`: its settings file, if it differs from the scenario's first."""
        worker = self._new(own)
        place = worker.desk.exchange.place

        async def noted(requests: Sequence[OrderRequest]) -> list[Placement]:
            self.asked |= {(one.client_id, one.price, one.qty) for one in requests}
            return await place(requests)

        worker.desk.exchange.place = noted  # type: ignore[method-assign]
        return worker

    def _new(self, own: Settings | None) -> BinanceDesk:
        if not self.whole:
            return self.world.worker(self.first.exchange, own)
        worker = self.world.worker(own=own)
        redis, keys, exchange = worker.desk.redis, worker.desk.keys, worker.exchange
        exchange.set_markets_from_exchange(self.first.exchange)
        attach_budget(exchange, Budget(redis, keys, AddressKeys(keys.account), venue_of("binance").rate_limits))
        self.made += 1
        opened_with = self.first if self.made % 2 else worker
        symbols = list(opened_with.desk.settings.symbols)
        port = SharedReads(exchange, redis, keys, symbols, max_age_ms=1800, clock=worker.desk.clock)
        port.lists_all_orders = lambda symbols: True  # type: ignore[method-assign]  # as with many symbols
        return replace(worker, desk=replace(worker.desk, exchange=port))
