"""A Redis that restarts, is away for a while, or goes back to an earlier state, in a fault run."""

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tests.support.binance.faults import Fault, FaultKind
from tests.support.binance.server import LocalExchange
from tests.support.fault_events import Operator
from tests.support.fault_swarm import Swarm, Trouble
from tests.support.virtual.redis import VirtualRedis


@dataclass
class RedisTrouble:
    """Does what the swarm draws. `put_backs`: how often Redis went back to an earlier state."""

    redis: VirtualRedis
    server: LocalExchange
    operator: Operator
    swarm: Swarm
    rng: random.Random
    done: Counter[str]
    put_backs: int = 0
    _server: asyncio.Lock = field(default_factory=asyncio.Lock)

    def begin(self) -> None:
        """From now on, connections break now and then after Redis has done what it was asked for."""
        if Trouble.LOST_ANSWERS in self.swarm.rates:
            self.redis.loses_answer = self._loses_answer

    def end(self) -> None:
        """Every answer arrives again."""
        self.redis.loses_answer = None

    def _loses_answer(self) -> bool:
        lost = self.rng.random() < self.swarm.rates[Trouble.LOST_ANSWERS]
        self.done[Trouble.LOST_ANSWERS] += lost
        return lost

    async def act(self) -> list[Coroutine[Any, Any, None]]:
        """One step's trouble. Returns what happens during the step; an absence is over when this returns."""
        during: list[Coroutine[Any, Any, None]] = []
        if self.swarm.comes(Trouble.RESTARTED):
            if self.rng.random() < 0.5:
                await self._restart(self.rng.uniform(0.5, 20))
            else:
                during.append(self._restart_later(self.rng.uniform(0, 3)))
        if self.swarm.comes(Trouble.PUT_BACK):
            during.append(self._put_back(self.rng.choice([self.rng.uniform(0, 2), self.rng.uniform(2, 60)])))
        return during

    async def _restart_later(self, after: float) -> None:
        await asyncio.sleep(after)
        await self._restart(0)

    async def _restart(self, away: float) -> None:
        """Restart with everything it had. It does not answer for `away` seconds."""
        async with self._server:
            self.done[Trouble.RESTARTED] += 1
            self.redis.save()
            self.redis.stop()
            await asyncio.sleep(away)
            self.redis.start()

    async def _put_back(self, after: float) -> None:
        """Put Redis back to its state of `after` seconds before. The operator later deploys the settings again."""
        async with self._server:
            saved, remembered = self.redis.save(), self.operator.asked()
        await asyncio.sleep(after)
        async with self._server:
            self.done[Trouble.PUT_BACK] += 1
            self.put_backs += 1
            self.redis.put_back(saved)
            if self.rng.random() < 0.4:  # what a comparison then reads first
                await self.server.inject(Fault(kind=FaultKind.TRUNCATED, path="myTrades"), count=3)
            self.operator.went_back(remembered)
        await asyncio.sleep(self.rng.choice([0, self.rng.uniform(0, 10)]))
        with suppress(RedisError):  # Redis is away again: the operator deploys again later
            await self.operator.deploy_again()


async def is_compared(redis: RedisClient, keys: Keys) -> bool:
    """Whether the books were compared with the exchange since Redis restarted or went back."""
    ids = f"{(await redis.info('replication'))['master_replid']} {(await redis.info('server'))['run_id']}"
    return bool(await redis.get(keys.compared) == ids)
