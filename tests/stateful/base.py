"""The state machine of the pot, first part: model and server side by side, time, leases, pauses and stops."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.funds import store
from tasks.funds.models import FundsStatus
from tasks.settings.model import AllocationStrategy
from tests.support.funds_model import Pot, Share

T = TypeVar("T")
KEYS = Keys("main")
SYMBOLS = ("BTC/USDT", "ETH/USDT", "BNB/USDT")
UNITS = 1000  # total funds: small, so that limits are met often
TRIGGER_GAP_MS = 10 * 60_000

symbols = st.sampled_from(SYMBOLS)
seldom = st.sampled_from([False, False, False, True])
rarely = st.sampled_from([*[False] * 9, True])


class PotMachine(RuleBasedStateMachine):
    """Model and server side by side. Its rules: time, leases, pauses and stops."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis: RedisClient = connect(self.url)
        self.run(self.redis.flushall())
        self.pot = Pot({symbol: Share() for symbol in SYMBOLS})
        self.strategy = AllocationStrategy.DYNAMIC
        self.weights: dict[str, Decimal] = dict.fromkeys(SYMBOLS, Decimal(1))
        self.caps: dict[str, Decimal] = dict.fromkeys(SYMBOLS, Decimal("0.6"))
        self.max_usage = Decimal("0.95")
        self.inputs_in_force: Any = None
        self.used_at_write = 0
        self.lock_ends_ms = 0
        self.counter = 0
        self.time_ms = 1_704_067_200_000
        self.clock_error_ms = 0
        self.refused = 0
        self.shortages = 0  # how often the exchange began to hold too little
        self.repeat: Callable[[], None] | None = None

    def run(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self.runner.run(wait())

    def teardown(self) -> None:
        self.run(self.redis.aclose())
        self.runner.close()

    @property
    def now_ms(self) -> int:
        """What the workers' clocks show."""
        return self.time_ms + self.clock_error_ms

    def status(self) -> FundsStatus:
        return self.run(store.status(self.redis, keys=KEYS, symbols=SYMBOLS))

    @rule(minutes=st.sampled_from([1, 9, 10, 30, 58, 59, 60, 120]))
    def time_passes(self, minutes: int) -> None:
        """The triggers' lock is timed by the server's own clock: it is ended by hand when its time is over."""
        left_ms = self.run(self.redis.pttl(KEYS.rebalance_lock))
        assert (left_ms > 0) == self.is_locked
        assert left_ms <= TRIGGER_GAP_MS
        self.time_ms += minutes * 60_000
        if not self.is_locked:
            self.run(self.redis.delete(KEYS.rebalance_lock))

    @property
    def is_locked(self) -> bool:
        """Whether some worker has fired a trigger within the last ten minutes."""
        return self.time_ms < self.lock_ends_ms

    @rule(milliseconds=st.integers(-5_000, 5_000))
    def a_clock_is_wrong(self, milliseconds: int) -> None:
        self.clock_error_ms = milliseconds

    @rule(symbol=symbols)
    def new_lease(self, symbol: str) -> None:
        self.pot.shares[symbol].fence = int(self.run(self.redis.incr(KEYS.fence(symbol))))

    @rule(symbol=st.sampled_from([None, *SYMBOLS]), value=st.sampled_from([False, False, True]))
    def pause(self, symbol: str | None, value: bool) -> None:
        owner = self.pot if symbol is None else self.pot.shares[symbol]
        key = KEYS.funds if symbol is None else KEYS.funds_symbol(symbol)
        changed = self.run(store.set_flag(self.redis, hashes=[key], flag="paused", value=value))
        assert changed == int(owner.paused != value)
        owner.paused = value

    @rule(stopped=rarely)
    def stop(self, stopped: bool) -> None:
        """By an operator: nothing is granted, sales neither."""
        changed = self.run(store.set_flag(self.redis, hashes=[KEYS.funds], flag="stopped", value=stopped))
        assert changed == int(self.pot.stopped != stopped)
        self.pot.stopped = stopped

    @rule(owner=st.sampled_from(["w1", "w2"]), held=rarely)
    def hold(self, owner: str, held: bool) -> None:
        """Whoever winds down holds the pot stopped in a name of its own; the stop ends with the last hold."""
        standing = self.run(store.hold(self.redis, keys=KEYS, owner=owner, ms=3_600_000 if held else 0))
        self.pot.holds.discard(owner)
        self.pot.holds |= {owner} if held else set()
        assert standing == len(self.pot.holds)
