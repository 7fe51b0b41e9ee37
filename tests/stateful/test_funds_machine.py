"""The pot as a state machine: a plain model predicts every result code of the real scripts on a real server.

Crashes are in it: any operation may be repeated as if its answer had been lost, under the old or a newer lease.
Run the long profile by hand: pytest tests/stateful --long
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tasks.base.keys import Keys
from tasks.base.redis import RedisClient, connect
from tasks.base.settings import AllocationStrategy
from tasks.funds import store
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.models import FillMove, FundCode, Reservation, ShareRequest, Write
from tasks.funds.rules import share_pool

T = TypeVar("T")
KEYS = Keys("main")
SYMBOLS = ("BTC/USDT", "ETH/USDT", "BNB/USDT")
TOTAL = Decimal("0.00001")  # 1000 units: small, so that limits are met often
symbols = st.sampled_from(SYMBOLS)
slots = st.integers(0, 4)


@dataclass
class Share:
    """The model's idea of one symbol."""

    allocated: int = 0
    used: int = 0
    fence: int = 0
    paused: bool = False
    reservations: dict[str, int] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    lots: list[int] = field(default_factory=list)  # cost of each lot held

    @property
    def reserved(self) -> int:
        return sum(self.reservations.values())

    @property
    def committed(self) -> int:
        return self.used + self.reserved


class FundsMachine(RuleBasedStateMachine):
    """Model and server side by side; every rule compares codes, every invariant only reads."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis: RedisClient = connect(self.url)
        self.run(self.redis.flushall())
        self.model = {symbol: Share() for symbol in SYMBOLS}
        self.pool = 0
        self.committed_at_rebalance = 0  # a pot made smaller below it keeps what is committed
        self.paused = False
        self.short = 0
        self.version = 0
        self.registered: set[str] = set()
        self.weights = dict.fromkeys(SYMBOLS, Decimal(1))
        self.max_usage = Decimal("0.95")
        self.counter = 0
        self.now_ms = 1_000
        self.refused = 0
        self.repeat: Callable[[], None] | None = None

    def run(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self.runner.run(wait())

    def teardown(self) -> None:
        self.run(self.redis.aclose())
        self.runner.close()

    # --- what happens ----------------------------------------------------------------------------------
    @initialize(strategy=st.sampled_from(AllocationStrategy))
    def open_pot(self, strategy: AllocationStrategy) -> None:
        self.strategy = strategy
        self.rebalance()

    def allocator(self) -> GlobalFundAllocator:
        allocator = GlobalFundAllocator(
            redis=self.redis, keys=KEYS, total_funds=TOTAL, global_max_usage=self.max_usage, strategy=self.strategy
        )
        for symbol, weight in self.weights.items():
            allocator.register_trader(symbol, weight=weight, max_usage_pct=Decimal("0.6"))
        return allocator

    @rule()
    def rebalance(self) -> None:
        before = (self.pool, {name: share.allocated for name, share in self.model.items()}, set(self.registered))
        report = self.run(self.allocator().rebalance_if_needed(force=True, reason="test"))
        self.pool = int(1000 * self.max_usage)
        self.committed_at_rebalance = self.total()
        self.registered = {
            name for name in SYMBOLS if name in self.weights or (self.model[name].committed and name in self.registered)
        }
        for name in SYMBOLS:
            known = next((change for change in report.changes if change.symbol == name), None)
            after = int(known.after * 10**8) if known and name in self.registered else 0
            self.model[name].allocated = after
        if self.strategy is not AllocationStrategy.DYNAMIC:
            assert {name: self.model[name].allocated for name in self.registered} == self.fair_shares()
        after_state = (self.pool, {name: share.allocated for name, share in self.model.items()}, self.registered)
        assert report.applied == (before != after_state)
        self.version += int(report.applied)
        assert report.version == self.version

    def fair_shares(self) -> dict[str, int]:
        return share_pool(
            self.strategy,
            self.pool,
            [
                ShareRequest(
                    symbol=name,
                    weight=self.weights.get(name, Decimal(0)),
                    cap_units=600 if name in self.weights else 0,
                    floor_units=self.model[name].committed,
                )
                for name in self.registered
            ],
        )

    @rule()
    def rebalance_twice_changes_nothing(self) -> None:
        self.rebalance()
        again = self.run(self.allocator().rebalance_if_needed(force=True, reason="again"))
        assert (again.applied, again.outcome) == (False, "nothing to change")

    @rule(symbol=symbols, weight=st.sampled_from([None, Decimal(0), Decimal(1), Decimal(5)]))
    def change_configuration(self, symbol: str, weight: Decimal | None) -> None:
        if weight is None and len(self.weights) > 1:
            self.weights.pop(symbol, None)
        elif weight is not None:
            self.weights[symbol] = weight

    @rule(share=st.sampled_from([Decimal("0.95"), Decimal("0.5"), Decimal(1)]))
    def change_pool(self, share: Decimal) -> None:
        self.max_usage = share

    @rule(symbol=symbols)
    def new_lease(self, symbol: str) -> None:
        self.model[symbol].fence = int(self.run(self.redis.incr(KEYS.fence(symbol))))

    @rule(symbol=st.sampled_from([None, *SYMBOLS]), value=st.booleans())
    def pause(self, symbol: str | None, value: bool) -> None:
        key = KEYS.funds if symbol is None else KEYS.funds_symbol(symbol)
        was = self.paused if symbol is None else self.model[symbol].paused
        changed = self.run(store.set_flag(self.redis, hashes=[key], flag="paused", value=value))
        assert changed == int(was != value)
        if symbol is None:
            self.paused = value
        else:
            self.model[symbol].paused = value

    @rule(milliseconds=st.integers(-5_000, 60_000))
    def clock_moves(self, milliseconds: int) -> None:
        self.now_ms = max(self.now_ms + milliseconds, 0)

    @rule(
        symbol=symbols,
        orders=st.lists(st.tuples(slots, st.integers(0, 2), st.integers(0, 400)), min_size=1, max_size=6),
        stale=st.booleans(),
    )
    def reserve(self, symbol: str, orders: list[tuple[int, int, int]], stale: bool) -> None:
        share = self.model[symbol]
        fence = share.fence - 1 if stale and share.fence else share.fence
        items = []
        for slot, step, units in orders:
            sequence = max(share.slots.get(str(slot), -1) + step, 0)
            items.append(
                Reservation(
                    id=f"{symbol}-{slot}-{sequence}",
                    slot=str(slot),
                    sequence=sequence,
                    units=units,
                    intent="{}",
                    cell_key=str(slot),
                    cell="{}",
                )
            )

        def attempt() -> None:
            expected = [self.expect(symbol, fence, item) for item in items]
            self.refused += sum(code > FundCode.ALREADY for code in expected if code < FundCode.STALE_FENCE)
            codes = self.run(
                store.reserve(self.redis, keys=KEYS, symbol=symbol, fence=fence, now_ms=self.now_ms, items=items)
            )
            assert [answer.code for answer in codes] == expected
            assert [answer.grant is not None for answer in codes] == [code is FundCode.OK for code in expected]

        attempt()
        self.repeat = attempt

    def expect(self, symbol: str, fence: int, item: Reservation) -> FundCode:
        share = self.model[symbol]
        if fence != share.fence:
            return FundCode.STALE_FENCE
        if symbol not in self.registered:
            return FundCode.UNKNOWN_SYMBOL
        if share.slots.get(item.slot, -1) >= item.sequence:
            return FundCode.ALREADY
        if item.units:
            if self.paused or share.paused:
                return FundCode.PAUSED
            if share.committed + item.units > share.allocated:
                return FundCode.SYMBOL_LIMIT
            if self.total() + item.units > self.pool:
                return FundCode.GLOBAL_LIMIT
        share.slots[item.slot] = item.sequence
        share.reservations[item.id] = item.units
        return FundCode.OK

    def total(self) -> int:
        return sum(share.committed for share in self.model.values())

    @precondition(lambda self: any(share.reservations for share in self.model.values()))
    @rule(data=st.data(), part=st.integers(1, 100), stale=st.booleans(), ends=st.booleans())
    def fill_buy(self, data: st.DataObject, part: int, stale: bool, ends: bool) -> None:
        symbol = data.draw(st.sampled_from([name for name in SYMBOLS if self.model[name].reservations]))
        share = self.model[symbol]
        order = data.draw(st.sampled_from(sorted(share.reservations)))
        take = share.reservations[order] * part // 100
        cost = data.draw(st.integers(0, take))
        self.counter += 1
        trade = f"t{self.counter}"
        fence = share.fence - 1 if stale and share.fence else share.fence
        move = FillMove(trade_id=trade, at_ms=self.now_ms, reservation_id=order, take_units=take, used_delta=cost)
        done: list[bool] = []

        def attempt() -> None:
            expected = FundCode.ALREADY if done else FundCode.OK
            if fence != share.fence:
                expected = FundCode.STALE_FENCE
            code = self.record(symbol, fence, [move], [order] if ends else [])
            assert code is expected
            if code is FundCode.OK:
                done.append(True)
                share.used += cost
                share.lots.append(cost)
                share.reservations[order] -= take
                if ends:
                    del share.reservations[order]

        attempt()
        self.repeat = attempt

    @precondition(lambda self: any(share.lots for share in self.model.values()))
    @rule(data=st.data())
    def fill_sell(self, data: st.DataObject) -> None:
        symbol = data.draw(st.sampled_from([name for name in SYMBOLS if self.model[name].lots]))
        share = self.model[symbol]
        lot = data.draw(st.integers(0, len(share.lots) - 1))
        freed = data.draw(st.integers(0, share.lots[lot]))
        self.counter += 1
        move = FillMove(trade_id=f"t{self.counter}", at_ms=self.now_ms, reservation_id="", used_delta=-freed)
        assert self.record(symbol, share.fence, [move], []) is FundCode.OK
        share.lots[lot] -= freed
        share.used -= freed
        self.repeat = None
        assert self.record(symbol, share.fence, [move], []) is FundCode.ALREADY

    def record(self, symbol: str, fence: int, fills: list[FillMove], ended: list[str]) -> FundCode:
        return self.run(
            store.record(
                self.redis,
                keys=KEYS,
                symbol=symbol,
                fence=fence,
                fills=fills,
                ended=ended,
                writes=[Write(key=KEYS.book(symbol), verb="SET", value="{}")],
            )
        )

    @rule(symbol=symbols, known=st.booleans())
    def half_a_batch_is_refused_whole(self, symbol: str, known: bool) -> None:
        share = self.model[symbol]
        self.counter += 2
        first, second = (
            FillMove(trade_id=f"t{number}", at_ms=0, reservation_id="", used_delta=0)
            for number in (self.counter - 1, self.counter)
        )
        assert self.record(symbol, share.fence, [first], []) is FundCode.OK
        expected = FundCode.CONFLICT if known else FundCode.OK
        assert self.record(symbol, share.fence, [first, second] if known else [second], []) is expected

    @precondition(lambda self: any(share.reservations for share in self.model.values()))
    @rule(data=st.data(), stale=st.booleans())
    def release(self, data: st.DataObject, stale: bool) -> None:
        symbol = data.draw(st.sampled_from([name for name in SYMBOLS if self.model[name].reservations]))
        share = self.model[symbol]
        orders = data.draw(st.lists(st.sampled_from([*sorted(share.reservations), "unknown"]), max_size=3))
        fence = share.fence - 1 if stale and share.fence else share.fence

        def attempt() -> None:
            answer = self.run(store.release(self.redis, keys=KEYS, symbol=symbol, fence=fence, ids=orders))
            if fence != share.fence:
                assert answer == (FundCode.STALE_FENCE, 0)
                return
            given = sum(share.reservations.pop(order, 0) for order in orders)
            assert answer == (FundCode.OK, given)

        attempt()
        self.repeat = attempt

    @precondition(lambda self: self.repeat is not None)
    @rule()
    def the_answer_was_lost_and_the_call_is_repeated(self) -> None:
        assert self.repeat is not None
        self.repeat()

    # --- what always holds -----------------------------------------------------------------------------
    @invariant()
    def server_and_model_agree(self) -> None:
        status = self.run(store.status(self.redis, keys=KEYS, symbols=SYMBOLS))
        assert status.pool_units == self.pool
        for name, share in self.model.items():
            seen = status.symbols[name]
            assert (seen.used_units, seen.reserved_units) == (share.used, share.reserved)
            assert (seen.allocated_units, seen.paused) == (share.allocated, share.paused)
            assert seen.registered == (name in self.registered)
        assert status.used_units == sum(share.used for share in self.model.values())
        assert status.reserved_units == sum(share.reserved for share in self.model.values())

    @invariant()
    def nothing_above_the_pool_is_ever_granted(self) -> None:
        status = self.run(store.status(self.redis, keys=KEYS, symbols=SYMBOLS))
        assert status.max_committed_units <= 1000
        allocated = sum(share.allocated for share in self.model.values())
        assert allocated <= max(self.pool, self.committed_at_rebalance)
        assert all(share.allocated >= 0 and share.used >= 0 for share in self.model.values())

    @invariant()
    def refusals_are_counted(self) -> None:
        counts: list[Any] = self.run(self.redis.hvals(KEYS.blocked_counts))
        assert sum(map(int, counts)) >= self.refused
        note(f"committed {self.total()} of {self.pool}")


@pytest.fixture
def machine(either_redis_url: str) -> type[FundsMachine]:
    """The machine on this test's server: each kind in turn."""
    FundsMachine.url = either_redis_url
    return FundsMachine


def test_model_and_scripts_agree(machine: type[FundsMachine], pytestconfig: pytest.Config) -> None:
    """At least 200 runs of 50 steps on each kind of server; with --long ten times that."""
    long = bool(pytestconfig.getoption("--long"))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=2000 if long else 200,
            stateful_step_count=50,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
