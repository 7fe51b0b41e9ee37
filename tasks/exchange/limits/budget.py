"""The shared rate budget: one token bucket per account and one per IP address, for all processes.

The unit is ms of the exchange's time: ccxt knows each endpoint's cost, and cost × rateLimit ms is what a request uses
up. See `token_bucket` for why the exchange never counts more than it allows.

Round trips to Redis: one for a request, or for a whole batch (`priority.request_batch`). A batch that costs more than
the buckets hold is granted in parts, one round trip each. What responses report is written only when it is less than
a full bucket; of a batch's responses the lowest count is written, once, at its end. The two buckets' keys lie in
different hash slots, because accounts share the address: see `scripts.run_scripts`.
"""

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import ccxt
from redis.exceptions import RedisError

from tasks.base.keys import AddressKeys, Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.limits.priority import NextTry, Priority, RequestBatch, current_scope
from tasks.exchange.limits.rate_headers import ban_seconds
from tasks.exchange.limits.scripts import ScriptCall, run_scripts
from tasks.exchange.limits.token_bucket import REFILL, BudgetCode, TakeAnswer, TokenBucket
from tasks.exchange.venues.venue import RateLimits, Response, Venue

log = logging.getLogger(__name__)
_GRANT_SECONDS = 1.0  # a grant is used within this time, or given back


class BudgetExhausted(ccxt.RateLimitExceeded):
    """The request was refused here: nothing was sent. `wait_ms` until it is worth another try, 0 where unknown."""

    nothing_sent = True

    def __init__(self, why: str, wait_ms: int = 0) -> None:
        self.why, self.wait_ms = why, wait_ms
        super().__init__(why)


class Budget:
    """Grants requests before they are sent. `limits`: what the exchange allows. Redis's clock counts."""

    def __init__(self, redis: RedisClient, keys: Keys, address: AddressKeys, limits: RateLimits) -> None:
        self._redis = redis
        self._account = TokenBucket(keys.budget, keys.ban, limits.account_window_ms)
        self._address = TokenBucket(address.budget, address.ban, limits.address_window_ms)
        self._order_ms = limits.order_ms
        self._turns = {priority: asyncio.Lock() for priority in Priority}
        self._banned_until = float("-inf")  # by this process's own clock: stays when Redis has lost it

    async def take(self, cost_ms: float) -> None:
        """Wait for the right to send a request that uses up `cost_ms`. Raises BudgetExhausted: nothing may be sent.

        Requests of the same priority go first come, first served within a process. A request of a batch takes for
        the whole batch.
        """
        scope = current_scope()
        batch = scope.batch
        if batch is None or not batch.covers(cost_ms):
            batch = RequestBatch(1, scope.wait_seconds)
        else:
            batch.at_end = partial(self._end, batch, scope.priority)
        async with batch.lock:
            if batch.refusal is not None:
                raise BudgetExhausted(*batch.refusal)
            if self._is_stale(batch):
                self._drop_grants(batch, scope.priority)
            if not batch.granted:
                await self._take_for(batch, scope.priority, cost_ms)
            batch.send_one()

    def _is_stale(self, batch: RequestBatch) -> bool:
        """Whether the batch's grants are too old: requests sent late could add up to more than a window allows."""
        return batch.granted > 0 and asyncio.get_running_loop().time() > batch.granted_at + _GRANT_SECONDS

    def _drop_grants(self, batch: RequestBatch, priority: Priority) -> None:
        for bucket, each in self._costs(priority, batch.cost_ms or 0.0).items():
            batch.add_surplus(bucket.key, batch.granted * each, batch.since_ms)
        batch.granted = 0

    async def _take_for(self, batch: RequestBatch, priority: Priority, cost_ms: float) -> None:
        """Take until at least one more request of the batch may be sent; else refuse all that are left of it."""
        batch.cost_ms = cost_ms
        if batch.deadline is None:
            batch.deadline = asyncio.get_running_loop().time() + batch.wait_seconds
        try:
            await self._wait_and_ask(batch, priority, cost_ms, batch.deadline)
        except BudgetExhausted as refused:
            batch.refusal = (refused.why, refused.wait_ms)
            await self._correct(self._give_backs(batch))
            raise

    async def _wait_and_ask(self, batch: RequestBatch, priority: Priority, cost_ms: float, deadline: float) -> None:
        turn = self._turns[priority]
        try:
            async with asyncio.timeout_at(deadline):
                await turn.acquire()
        except TimeoutError:
            raise BudgetExhausted(f"too many {priority.label} requests wait for the shared budget") from None
        try:
            while not batch.granted:
                await _wait(batch.next_try, deadline)
                batch.next_try = await self._ask(batch, priority, cost_ms)
        finally:
            turn.release()

    async def _ask(self, batch: RequestBatch, priority: Priority, cost_ms: float) -> NextTry:
        """Take from both buckets in one round trip; what only one of them grants is given back with the next one.

        Raises BudgetExhausted during a ban.
        """
        self._check_known_ban()
        costs, wanted = self._costs(priority, cost_ms), batch.wanted()
        wanted = min(wanted, *(bucket.room(each, priority.reserve) for bucket, each in costs.items()))
        returned = self._give_backs(batch)
        takes = [bucket.take(each, wanted, priority.reserve) for bucket, each in costs.items()]
        answers = [TakeAnswer(*row) for row in (await self._run([*returned, *takes]))[len(returned) :]]
        batch.granted, batch.granted_at = min(answer.granted for answer in answers), asyncio.get_running_loop().time()
        batch.since_ms = min(answer.at_ms for answer in answers)
        for (bucket, each), answer in zip(costs.items(), answers, strict=True):
            batch.add_surplus(bucket.key, (answer.granted - batch.granted) * each, answer.at_ms)
        banned_ms = max((answer.ms for answer in answers if answer.code == BudgetCode.BANNED), default=0)
        if banned_ms:
            raise _banned(banned_ms)
        return _next_try(batch, costs, answers, priority.reserve)

    def _check_known_ban(self) -> None:
        left = self._banned_until - asyncio.get_running_loop().time()
        if left > 0:
            raise _banned(int(left * 1000))

    def _costs(self, priority: Priority, cost_ms: float) -> dict[TokenBucket, float]:
        """What one request costs each bucket. It may cost the account 0, whose ban counts all the same."""
        by_account = cost_ms if self._order_ms is None else self._order_ms if priority.places_orders else 0.0
        return {self._account: by_account, self._address: cost_ms}

    async def _run(self, calls: list[ScriptCall]) -> list[Any]:
        try:
            return await run_scripts(self._redis, calls)
        except RedisError as error:
            raise BudgetExhausted(f"no request without the shared budget: Redis, {type(error).__name__}") from error

    def _give_backs(self, batch: RequestBatch) -> list[ScriptCall]:
        surplus, batch.surplus = batch.surplus, {}
        buckets = (self._account, self._address)
        return [bucket.give_back(surplus[bucket.key]) for bucket in buckets if bucket.key in surplus]

    async def _correct(self, calls: list[ScriptCall]) -> None:
        """Write what makes the budget more exact; no request depends on it, so it may be lost when Redis is away."""
        try:
            if calls:
                await run_scripts(self._redis, calls)
        except RedisError as error:
            log.warning("the rate budget was not corrected", extra={"error": str(error)})

    async def read_response(self, venue: Venue, response: Response) -> None:
        """Keep to what a response says of the exchange's limits; of a batch's responses, to the lowest at its end.

        Never raises for Redis: the caller needs the response.
        """
        seconds = ban_seconds(venue, response)
        if seconds:
            self._note_ban(seconds)
            await self._correct(self._ban_calls(seconds))
        left, lowest = venue.limits_left(response.headers), dict[str, float]()
        for bucket, share in ((self._account, left.account), (self._address, left.address)):
            if share is not None and share * bucket.window_ms < bucket.capacity:  # else the bucket holds no more anyway
                lowest[bucket.key] = share * bucket.window_ms
        batch = current_scope().batch
        if batch is None:
            await self._correct(self._corrections(lowest))
        else:
            batch.note_left(lowest)

    def _corrections(self, lowest_ms: Mapping[str, float]) -> list[ScriptCall]:
        buckets = (self._account, self._address)
        return [bucket.take(0, 0, 0, lowest_ms[bucket.key]) for bucket in buckets if bucket.key in lowest_ms]

    async def _end(self, batch: RequestBatch, priority: Priority) -> None:
        """Give back what a batch did not send, then correct the buckets by what its responses reported."""
        self._drop_grants(batch, priority)
        await self._correct([*self._give_backs(batch), *self._corrections(batch.lowest_ms)])

    async def ban(self, seconds: float) -> None:
        """Stop every request of this account and from this address, in every process; never shortens an earlier ban.

        Raises RedisError.
        """
        self._note_ban(seconds)
        await run_scripts(self._redis, self._ban_calls(seconds))

    def _note_ban(self, seconds: float) -> None:
        log.error("the exchange allows no requests for a while; all workers stop", extra={"seconds": seconds})
        self._banned_until = max(self._banned_until, asyncio.get_running_loop().time() + seconds)

    def _ban_calls(self, seconds: float) -> list[ScriptCall]:
        return [ScriptCall("ban", [bucket.ban], [int(seconds * 1000)]) for bucket in (self._account, self._address)]


def _banned(ms: int) -> BudgetExhausted:
    return BudgetExhausted(f"the exchange allows no calls for another {ms} ms", ms)


def _next_try(
    batch: RequestBatch, costs: Mapping[TokenBucket, float], answers: Sequence[TakeAnswer], reserve: float
) -> NextTry:
    """When to ask again for what was not granted, and for how many."""
    if batch.granted >= batch.unsent:
        return NextTry()
    now, many = asyncio.get_running_loop().time(), batch.unsent - batch.granted
    for bucket, each in costs.items():
        many = min(many, bucket.room(each, reserve))
    one_at = many_at = now
    for (bucket, each), answer in zip(costs.items(), answers, strict=True):
        one_ms = bucket.wait_ms(answer, each, reserve)
        many_ms = one_ms + (many - 1) * each / REFILL
        one_at = max(one_at, now + one_ms / 1000)
        many_at = max(many_at, now + (many_ms + 1) / 1000 * random.uniform(1, 1.1))
    return NextTry(one_at, many_at, many)


async def _wait(next_try: NextTry, deadline: float) -> None:
    """Sleep until the next try is worth it. Raises BudgetExhausted when that would be too late for any request."""
    now = asyncio.get_running_loop().time()
    if next_try.one_at > deadline:
        wait_ms = max(int((next_try.one_at - now) * 1000), 1)
        raise BudgetExhausted(f"the shared budget is spent for another {wait_ms} ms", wait_ms)
    await asyncio.sleep(max(min(next_try.many_at, max(deadline, next_try.one_at)) - now, 0))
