"""The shared rate budget: one token bucket per account and one per IP address, for all processes.

The unit is ms of the exchange's time: ccxt knows each endpoint's cost, and cost × rateLimit ms is what a call uses up.
A bucket of capacity C that fills at rate r grants at most C + r·W in any span W. With C = W/5 and r = 4/5 that is
exactly W: whatever minute the exchange counts in, it never sees more than it allows.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import ccxt
from redis.exceptions import RedisError

from tasks.base.keys import AddressKeys, Keys
from tasks.base.redis_client import RedisClient, script
from tasks.exchange.limits.call_class import CallClass, current_scope
from tasks.exchange.limits.rate_headers import Heard, heard_of, left_of

log = logging.getLogger(__name__)
_BURST = 0.2  # share of the exchange's window that may be used at once; the rest flows in over the window


class BudgetCode(IntEnum):
    """Answers of budget.lua."""

    GRANTED = 0
    WAIT = 1
    BANNED = 2


class BudgetExhausted(ccxt.RateLimitExceeded):
    """The call was refused here: nothing was sent. `wait_ms` until it is worth another try, 0 where unknown."""

    nothing_sent = True

    def __init__(self, why: str, wait_ms: int = 0) -> None:
        self.wait_ms = wait_ms
        super().__init__(why)


@dataclass(frozen=True)
class Allowance:
    """What an exchange allows. `order_ms`: an account counts orders alone, each that dear; None: every call."""

    window_ms: int = 2_000
    account_window_ms: int = 2_000
    order_ms: float | None = None


_ALLOWANCES: Mapping[str, Allowance] = {
    "binance": Allowance(window_ms=60_000, account_window_ms=10_000, order_ms=100),  # 100 orders in 10 s
    "okx": Allowance(),
    "bybit": Allowance(window_ms=5_000, account_window_ms=5_000),
}


def allowance_of(exchange_id: str) -> Allowance:
    """What is known of the exchange; a cautious guess for those not listed."""
    return _ALLOWANCES.get(exchange_id, Allowance())


@dataclass(frozen=True)
class _Bucket:
    """One token bucket and the ban that goes with it."""

    key: str
    ban: str
    window_ms: int

    @property
    def capacity(self) -> float:
        return self.window_ms * _BURST


class Budget:
    """The budget of one account at one exchange, seen from one process."""

    def __init__(self, redis: RedisClient, keys: Keys, address: AddressKeys, allowance: Allowance) -> None:
        self._account = _Bucket(keys.budget, keys.ban, allowance.account_window_ms)
        self._address = _Bucket(address.budget, address.ban, allowance.window_ms)
        self._order_ms = allowance.order_ms
        self._take_script = script(redis, "tasks.exchange.limits", "budget")
        self._ban_script = script(redis, "tasks.exchange.limits", "ban")
        self._turns = {kind: asyncio.Lock() for kind in CallClass}
        self._banned_until = float("-inf")  # of this process's own clock: outlives a Redis that forgot

    async def take(self, cost_ms: float) -> None:
        """Wait for the right to make a call that uses up `cost_ms`. Raises BudgetExhausted: nothing may be sent.

        Calls of a class go first come, first served within a process.
        """
        scope = current_scope()
        deadline = asyncio.get_running_loop().time() + scope.wait_seconds
        turn = self._turns[scope.kind]
        try:
            async with asyncio.timeout(scope.wait_seconds):
                await turn.acquire()
        except TimeoutError:
            raise BudgetExhausted(f"too many {scope.kind.label} calls wait for the shared budget") from None
        try:
            await self._take_from(self._account, self._account_cost(scope.kind, cost_ms), scope.kind, deadline)
            await self._take_from(self._address, cost_ms, scope.kind, deadline)
        finally:
            turn.release()

    def _account_cost(self, kind: CallClass, cost_ms: float) -> float:
        if self._order_ms is None:
            return cost_ms
        return self._order_ms if kind.places else 0.0

    async def _take_from(self, bucket: _Bucket, cost_ms: float, kind: CallClass, deadline: float) -> None:
        while True:
            code, wait_ms = await self._ask(bucket, cost_ms, kind)
            if code is BudgetCode.GRANTED:
                return
            if code is BudgetCode.BANNED:
                raise BudgetExhausted(f"the exchange wants no calls for another {wait_ms} ms", wait_ms)
            if asyncio.get_running_loop().time() + wait_ms / 1000 > deadline:
                raise BudgetExhausted(f"the shared budget is spent for another {wait_ms} ms", wait_ms)
            await asyncio.sleep((wait_ms + 1) / 1000 * random.uniform(1, 1.1))

    async def _ask(
        self, bucket: _Bucket, cost_ms: float, kind: CallClass, said_left: float = -1
    ) -> tuple[BudgetCode, int]:
        banned_ms = (self._banned_until - asyncio.get_running_loop().time()) * 1000
        if banned_ms > 0:
            return BudgetCode.BANNED, int(banned_ms)
        reserve = kind.reserve * bucket.capacity
        try:
            code, ms = await self._take_script(
                keys=[bucket.key, bucket.ban], args=[cost_ms, bucket.capacity, 1 - _BURST, reserve, said_left]
            )
        except RedisError as error:
            raise BudgetExhausted(f"no call without the shared budget: Redis, {type(error).__name__}") from error
        return BudgetCode(int(code)), int(ms)

    async def hear(self, exchange_id: str, heard: Heard) -> None:
        """Take in what the exchange said of its limits in an answer."""
        if heard.ban_seconds:
            await self.ban(heard.ban_seconds)
        left = left_of(exchange_id, heard.headers)
        for bucket, share in ((self._account, left.account), (self._address, left.address)):
            if share is not None and share * bucket.window_ms < bucket.capacity:
                await self._ask(bucket, 0, CallClass.CANCEL, share * bucket.window_ms)

    async def ban(self, seconds: float) -> None:
        """Stop every call of this account and from this address, in every process; never shortens an earlier ban."""
        log.error("the exchange wants no calls for a while: everybody stops", extra={"seconds": seconds})
        self._banned_until = max(self._banned_until, asyncio.get_running_loop().time() + seconds)
        for bucket in (self._account, self._address):
            await self._ban_script(keys=[bucket.ban], args=[int(seconds * 1000)])


@dataclass
class _Answer:
    """Status, headers and text of one HTTP answer; 0 while there was none."""

    code: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


_answer: ContextVar[_Answer | None] = ContextVar("exchange_answer", default=None)


def attach_budget(exchange: Any, budget: Budget) -> None:
    """Let a ccxt async exchange ask `budget` before each request, and tell it what each answer says."""
    plain_fetch, plain_response = exchange.fetch, exchange.on_rest_response

    async def throttle(cost: float | None = None) -> None:
        try:
            await budget.take((1 if cost is None else cost) * exchange.rateLimit)
        except BudgetExhausted as error:
            if current_scope().sent:  # a part of this call is out already: its outcome is not known here
                raise ccxt.RateLimitExceeded(str(error)) from error
            raise

    def on_rest_response(code: int, reason: str, url: str, method: str, headers: Any, body: str, *rest: Any) -> Any:
        answer = _answer.get()
        if answer is not None:
            answer.code, answer.headers, answer.body = code, dict(headers), body
        return plain_response(code, reason, url, method, headers, body, *rest)

    async def fetch(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        scope = current_scope()
        scope.sent = scope.sent or method != "GET"
        answer = _Answer()
        token = _answer.set(answer)
        refused = False
        try:
            return await plain_fetch(url, method, headers, body)
        except (ccxt.DDoSProtection, ccxt.RateLimitExceeded):
            refused = True
            raise
        finally:
            _answer.reset(token)
            now_ms = exchange.milliseconds()
            heard = heard_of(exchange.id, answer.code, answer.headers, answer.body, now_ms, refused=refused)
            await _tell(budget, exchange.id, heard)

    exchange.enableRateLimit = True
    exchange.throttle, exchange.fetch, exchange.on_rest_response = throttle, fetch, on_rest_response


async def _tell(budget: Budget, exchange_id: str, heard: Heard) -> None:
    """Never lets a fault of the budget hide the exchange's answer."""
    try:
        await budget.hear(exchange_id, heard)
    except (RedisError, BudgetExhausted) as error:
        log.warning("the exchange's word on its limits is not shared", extra={"error": str(error)})
