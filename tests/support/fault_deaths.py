"""Ticks and monitors of workers that die or freeze in the middle, in a fault run."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

from redis.exceptions import RedisError

from tasks.base.errors import GridflowError
from tasks.exchange.models import Market
from tasks.tick.monitor import run_monitor
from tasks.tick.recover import open_books
from tasks.tick.window import BreakerOpen
from tests.support.binance.faults import Fault, FaultKind
from tests.support.binance.server import LocalExchange
from tests.support.fault_events import Operator
from tests.support.fault_swarm import Swarm, Trouble
from tests.support.fault_workers import Workers
from tests.support.mortal import Killed, Mortal


@dataclass
class Deaths:
    """Runs the work of a scenario's workers. `kills`: how many died."""

    server: LocalExchange
    workers: Workers
    operator: Operator
    swarm: Swarm
    rng: random.Random
    markets: Mapping[str, Market]
    kills: int = 0

    async def monitor(self, after: float) -> None:
        """Run a worker's monitor. Now and then it is killed or freezes in the middle."""
        await asyncio.sleep(after)
        fatal = self._death("await", "freeze")
        monitoring = Mortal(
            run_monitor(self.workers.new().desk), self.rng.randint(1, 12) if fatal == "await" else 0, Killed
        )
        if fatal == "freeze":
            monitoring.freezes = {self.rng.randint(1, 12): self.rng.uniform(5, 40)}
        try:
            await monitoring
        except Killed:
            self.kills += 1
        except (GridflowError, RedisError):
            return

    def _death(self, *kinds: str) -> str:
        """How this work ends early; '' where it does not."""
        return self.rng.choice(kinds) if self.swarm.comes(Trouble.DEATHS) else ""

    async def one_step(self, owner: str, symbol: str, running: list[asyncio.Task[None]]) -> None:
        """Tick once. A tick that freezes is waited for only a short time; it goes on among `running`."""
        fatal = self._death("step", "await", "sent", "freeze")
        ticking = asyncio.create_task(self.one_tick(f"{owner} {symbol}", symbol, fatal))
        await asyncio.wait({ticking}, timeout=self.rng.uniform(1, 5) if fatal == "freeze" else None)
        running.append(ticking)

    async def one_tick(self, owner: str, symbol: str, fatal: str) -> None:
        """Tick once. `fatal`: how the worker dies or freezes on the way; '' where it does not."""
        left = self.rng.randint(1, 7)

        def checkpoint(step: str) -> None:
            nonlocal left
            left -= 1
            if fatal == "step" and left == 0:
                raise Killed
            if fatal == "sent" and step == "reserved":  # dies while its orders are on their way
                ticking.life, ticking.last_breath = ticking.lived + 1, 0.5

        if fatal == "sent":
            slow = Fault(kind=FaultKind.DELAY_BEFORE, method="POST", path="order", seconds=3)
            await self.server.inject(slow, count=3)
        other = self.operator.other_file() if self.rng.random() < 0.1 else None
        worker = self.workers.new(other)
        try:
            if other is not None and self.rng.random() < 0.5:
                await open_books(worker.desk, self.markets, owner)
            trader = await worker.trader(symbol, owner, checkpoint)
            ticking = Mortal(self.workers.ticks(trader)(), self.rng.randint(1, 40) if fatal == "await" else 0, Killed)
            if fatal == "freeze":
                ticking.freezes = {self.rng.randint(1, 40): self.rng.uniform(5, 40)}
            ticking.last_breath = self.rng.choice([0, self.rng.uniform(0, 0.004), self.rng.uniform(0, 0.08)])
            await ticking
        except Killed:
            self.kills += 1
        except BreakerOpen as closed:
            await asyncio.sleep(closed.wait_seconds)
        except (GridflowError, RedisError):
            return
