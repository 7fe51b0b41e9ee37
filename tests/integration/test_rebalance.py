"""Rebalancing: on demand, when usage drifts apart, by two at once, with symbols that come and go."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tasks.base.events import EventKind
from tasks.base.keys import Keys
from tasks.base.outbox import RecordKind
from tasks.base.redis_client import RedisClient, connect
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.models import FillMove, FundCode, RebalanceReport, Reservation, SymbolPerformance
from tasks.settings.model import AllocationStrategy
from tasks.views import store as views
from tests.support.outbox import bodies

KEYS = Keys("main")
A, B, C = "A/USDT", "B/USDT", "C/USDT"
QUOTE = 10**8


def pot(redis: RedisClient, *names: str, strategy: str = "equal", **own: Any) -> GlobalFundAllocator:
    """1000 quote, all of it usable."""
    allocator = GlobalFundAllocator(redis, KEYS, Decimal(1000), Decimal(1), AllocationStrategy(strategy))
    for name in names:
        allocator.register_trader(name, weight=Decimal(own.get(name[0], 1)), max_usage_pct=Decimal(1))
    return allocator


async def spend(allocator: GlobalFundAllocator, symbol: str, quote: int, number: int = 1) -> None:
    """Reserve and fill: the money is used."""
    item = Reservation(
        id=f"{symbol}{number}",
        slot="0",
        sequence=number,
        units=quote * QUOTE,
        intent="",
        cell_key="0",
        cell="",
    )
    (answer,) = await allocator.reserve(symbol, 0, [item])
    assert answer.grant is not None
    fill = FillMove(
        trade_id=f"{symbol}{number}",
        at_ms=1,
        reservation_id=item.id,
        take_units=item.units,
        used_delta=item.units,
    )
    await allocator.record_trade(symbol, 0, [fill], ended=[item.id])


async def test_usage_that_spreads_is_rebalanced_once_when_it_crosses_the_limit(redis: RedisClient) -> None:
    """0.2 of spread: not needed. 0.4: due, once. Again after the spread was below 0.25 and ten minutes are over."""
    allocator = pot(redis, A, B, strategy="dynamic")
    facts = {A: SymbolPerformance(return_72h=Decimal("0.02")), B: SymbolPerformance(return_72h=Decimal("0.01"))}
    await allocator.rebalance_if_needed(reason="start")
    await spend(allocator, A, 100)
    skipped = await allocator.rebalance_if_needed(reason="monitor", performance=facts)
    assert (skipped.applied, skipped.outcome) == (False, "not needed")
    await spend(allocator, A, 100, number=2)
    done = await allocator.rebalance_if_needed(reason="monitor", performance=facts)
    assert (done.applied, done.reason) == (True, "usage spread")
    (a, b) = done.changes
    assert [round(amount) for amount in (a.before, a.target, a.after)] == [500, 667, 542]
    assert b.after < b.before
    await redis.delete(KEYS.rebalance_lock)
    again = await allocator.rebalance_if_needed(reason="monitor", performance=facts)
    assert again.outcome == "not needed", "it fires when the limit is crossed, not while it is exceeded"
    for number, trade in ((1, "sale 1"), (2, "sale 2")):
        sale = FillMove(trade_id=trade, at_ms=number, reservation_id="", used_delta=-100 * QUOTE)
        await allocator.record_trade(A, 0, [sale])
    await allocator.rebalance_if_needed(reason="monitor", performance=facts)
    await spend(allocator, A, 200, number=3)
    fired = await allocator.rebalance_if_needed(reason="monitor", performance=facts)
    assert (fired.reason, fired.outcome) == ("usage spread", "the last step is less than an hour ago")
    locked = await allocator.rebalance_if_needed(reason="monitor", performance=facts)
    assert locked.outcome == "not needed"


async def test_a_symbol_that_is_refused_while_money_is_free_gets_more(redis: RedisClient) -> None:
    """Below its cap, refused for its own limit, a tenth of the pool free: a rebalance, once in ten minutes."""
    allocator = pot(redis, A, B, strategy="dynamic")
    await allocator.rebalance_if_needed(reason="start")
    refused = {A: SymbolPerformance(return_72h=Decimal("0.04"), refused=True), B: SymbolPerformance()}
    report = await allocator.rebalance_if_needed(reason="monitor", performance=refused)
    assert (report.applied, report.reason) == (True, "A/USDT was refused while money is free")
    again = await allocator.rebalance_if_needed(reason="monitor", performance=refused)
    assert again.outcome == "not needed"


async def test_a_manual_rebalance_goes_all_the_way_and_an_hourly_one_a_step(redis: RedisClient) -> None:
    """Target 800 and 200: the hourly run goes a quarter of the way, once an hour; a manual one all of it, at once."""
    now = datetime(2024, 1, 1, tzinfo=UTC)
    allocator = pot(redis, A, B, strategy="dynamic")
    allocator.clock = lambda: now
    await allocator.rebalance_if_needed(reason="start")
    facts = {A: SymbolPerformance(return_72h=Decimal("0.08")), B: SymbolPerformance(return_72h=Decimal("0.02"))}
    hourly = await allocator.rebalance_if_needed(force=True, reason="scheduled", performance=facts)
    assert [int(change.target) for change in hourly.changes] == [761, 238]  # scores 1.6 and 0.5
    assert [int(change.after) for change in hourly.changes] == [565, 434]
    now += timedelta(minutes=30)
    early = await allocator.rebalance_if_needed(force=True, reason="scheduled", performance=facts)
    assert (early.applied, early.outcome) == (False, "the last step is less than an hour ago")
    now += timedelta(minutes=30)
    second = await allocator.rebalance_if_needed(force=True, reason="scheduled", performance=facts)
    assert [int(change.after) for change in second.changes] == [614, 385]
    manual = await allocator.rebalance_if_needed(force=True, reason="manual", performance=facts)
    assert [int(change.after) for change in manual.changes] == [761, 238]
    twice = await allocator.rebalance_if_needed(force=True, reason="manual", performance=facts)
    assert (twice.applied, twice.outcome) == (False, "nothing to change")


async def test_an_hourly_step_that_no_order_would_follow_is_left_out(redis: RedisClient) -> None:
    """Target 600 and 400: a quarter of the way is 525 and 475, within a tenth of 500. A manual one goes all the way."""
    allocator = pot(redis, A, B, strategy="dynamic")
    await allocator.rebalance_if_needed(reason="start")
    facts = {A: SymbolPerformance(return_72h=Decimal("0.012")), B: SymbolPerformance(return_72h=Decimal("0.008"))}
    hourly = await allocator.rebalance_if_needed(force=True, reason="scheduled", performance=facts)
    assert (hourly.applied, hourly.outcome) == (False, "the step is within the tolerance")
    assert [int(change.target) for change in hourly.changes] == [600, 400]
    manual = await allocator.rebalance_if_needed(force=True, reason="manual", performance=facts)
    assert [int(change.after) for change in manual.changes] == [600, 400]


async def test_resting_buys_do_not_hold_an_allocation_up_but_inventory_does(redis: RedisClient) -> None:
    """A reserves 500 and uses none of it: its allocation may fall to 200. Used money may not fall out of it."""
    allocator = pot(redis, A, B)
    await allocator.rebalance_if_needed(reason="start")
    item = Reservation(id="a", slot="0", sequence=0, units=500 * QUOTE, intent="", cell_key="0", cell="")
    (answer,) = await allocator.reserve(A, 0, [item])
    assert answer.grant is not None
    moved = pot(redis, A, B, strategy="weighted", A=1, B=4)
    report = await moved.rebalance_if_needed(reason="start")
    assert [int(change.after) for change in report.changes] == [200, 800]
    status = await moved.get_global_status_summary()
    assert (status.symbols[A].committed_units, status.symbols[A].free_units) == (500 * QUOTE, 0)
    (more,) = await moved.reserve(A, 0, [item.model_copy(update={"id": "b", "slot": "1", "units": 1})])
    assert more.code is FundCode.SYMBOL_LIMIT, "no new grant while it is over its allocation"
    (other,) = await moved.reserve(B, 0, [item.model_copy(update={"id": "c", "units": 500 * QUOTE + 1})])
    assert other.code is FundCode.GLOBAL_LIMIT, "what A still holds is not promised twice"
    filled = FillMove(trade_id="t", at_ms=1, reservation_id="a", take_units=500 * QUOTE, used_delta=500 * QUOTE)
    await moved.record_trade(A, 0, [filled], ended=["a"])
    again = await moved.rebalance_if_needed(force=True, reason="manual")
    assert [int(change.after) for change in again.changes] == [500, 500]


async def test_the_highest_committed_sum_restarts_with_the_pool(redis: RedisClient) -> None:
    """Funds lowered from 1000 to 400: what was committed before is not held against the smaller pool."""
    allocator = pot(redis, A, B)
    await allocator.rebalance_if_needed(reason="start")
    await spend(allocator, A, 300)
    sale = FillMove(trade_id="sale", at_ms=2, reservation_id="", used_delta=-200 * QUOTE)
    await allocator.record_trade(A, 0, [sale])
    allocator.total_funds = Decimal(400)
    await allocator.rebalance_if_needed(reason="start")
    status = await allocator.get_global_status_summary()
    assert (status.pool_units, status.max_committed_units) == (400 * QUOTE, 100 * QUOTE)


async def test_allocations_above_a_lowered_pool_come_down_with_the_inventory(redis: RedisClient) -> None:
    """1000 used, funds lowered to 400: 1000 allocated. Sold down to 350, the next look brings the sum below 400."""
    allocator = pot(redis, A, B, strategy="dynamic")
    await allocator.rebalance_if_needed(reason="start")
    await spend(allocator, A, 500)
    await spend(allocator, B, 500)
    allocator.total_funds = Decimal(400)
    lowered = await allocator.rebalance_if_needed(reason="monitor")
    assert [int(change.after) for change in lowered.changes] == [500, 500]
    for name, amount in ((A, 300), (B, 350)):
        sale = FillMove(trade_id=f"sale {name}", at_ms=2, reservation_id="", used_delta=-amount * QUOTE)
        await allocator.record_trade(name, 0, [sale])
    report = await allocator.rebalance_if_needed(reason="monitor")
    assert [int(change.after) for change in report.changes] == [200, 200]
    assert (await allocator.rebalance_if_needed(reason="monitor")).outcome == "not needed"


async def test_two_at_once_one_writes_and_the_other_finds_it_done(redis: RedisClient, redis_url: str) -> None:
    """Twenty rounds of a race: exactly one new version each, and both report it."""
    clients = [connect(redis_url) for _ in range(2)]
    for turn in range(20):
        racers = [pot(client, A, B, A=str(turn + 1), strategy="weighted") for client in clients]
        reports = await asyncio.gather(*(racer.rebalance_if_needed(force=True, reason="race") for racer in racers))
        assert sorted(report.applied for report in reports) == [False, True]
        assert {report.version for report in reports} == {turn + 1}
    texts = await bodies(redis, KEYS, RecordKind.REBALANCE)
    assert [RebalanceReport.model_validate_json(text).version for text in texts] == list(range(1, 21))
    assert (await views.counters(redis, KEYS))[0] == 20
    events = await views.events(redis, KEYS, 100)
    assert [event.type for event in events] == [EventKind.ALLOCATION_UPDATED] * 20
    for client in clients:
        await client.aclose()


async def test_a_symbol_that_leaves_keeps_what_it_committed_until_it_is_sold(redis: RedisClient) -> None:
    """Removed with 200 used: its share shrinks to 200; once sold it is gone. A new one shares at once."""
    first = pot(redis, A, B)
    await first.rebalance_if_needed(reason="start")
    await spend(first, A, 200)
    without = pot(redis, B, C)
    await without.rebalance_if_needed(reason="configuration")
    status = await without.get_global_status_summary()
    assert {name: share.allocated_units // QUOTE for name, share in status.symbols.items()} == {A: 200, B: 400, C: 400}
    sold = FillMove(trade_id="sale", at_ms=2, reservation_id="", used_delta=-200 * QUOTE)
    await without.record_trade(A, 0, [sold])
    await without.rebalance_if_needed(force=True, reason="scheduled")
    status = await without.get_global_status_summary()
    assert status.symbols[A].registered, "its cells and orders are still there"
    await redis.delete(KEYS.cells(A), KEYS.intents(A))
    await without.rebalance_if_needed(reason="symbol left")
    status = await without.get_global_status_summary()
    assert {name for name, share in status.symbols.items() if share.registered} == {B, C}
    assert [status.symbols[name].allocated_units // QUOTE for name in (A, B, C)] == [0, 500, 500]


async def test_a_symbol_leaves_within_the_hour_of_a_step_although_another_has_filled_beyond_its_allocation(
    redis: RedisClient,
) -> None:
    """B's buys of 450 filled after a step had brought it down to 386: A goes all the same, and B gets what it used."""
    now = datetime(2024, 1, 1, tzinfo=UTC)
    first = pot(redis, A, B, C, strategy="dynamic")
    await first.rebalance_if_needed(reason="start")
    await spend(first, A, 100)
    without = pot(redis, B, C, strategy="dynamic")
    without.clock = lambda: now
    await without.rebalance_if_needed(reason="start")
    item = Reservation(id="b", slot="0", sequence=0, units=450 * QUOTE, intent="", cell_key="0", cell="")
    await without.reserve(B, 0, [item])
    facts = {B: SymbolPerformance(return_72h=Decimal("0.01")), C: SymbolPerformance(return_72h=Decimal("0.08"))}
    step = await without.rebalance_if_needed(force=True, reason="scheduled", performance=facts)
    assert [int(change.after) for change in step.changes] == [100, 386, 513]
    filled = FillMove(trade_id="b", at_ms=1, reservation_id="b", take_units=450 * QUOTE, used_delta=450 * QUOTE)
    await without.record_trade(B, 0, [filled], ended=["b"])
    sold = FillMove(trade_id="a", at_ms=2, reservation_id="", used_delta=-100 * QUOTE)
    await without.record_trade(A, 0, [sold])
    await redis.delete(KEYS.cells(A), KEYS.intents(A))
    report = await without.rebalance_if_needed(reason="symbol left", performance=facts)
    assert (report.applied, report.outcome) == (True, "applied")
    status = await without.get_global_status_summary()
    assert not status.symbols[A].registered
    assert [round(status.symbols[name].allocated_units / QUOTE, 6) for name in (B, C)] == [450, 450]


async def test_a_preview_says_what_a_reservation_would_get(redis: RedisClient) -> None:
    """check_trade_allowed names the code; it binds nothing."""
    allocator = pot(redis, A, B)
    assert await allocator.check_trade_allowed(A, "buy", Decimal(1)) == (False, "UNKNOWN_SYMBOL")
    await allocator.rebalance_if_needed(reason="start")
    assert await allocator.check_trade_allowed(A, "buy", Decimal(500)) == (True, "OK")
    assert await allocator.check_trade_allowed(A, "buy", Decimal("500.00000001")) == (False, "SYMBOL_LIMIT")
    await spend(allocator, A, 400)
    assert await allocator.check_trade_allowed(A, "buy", Decimal(101)) == (False, "SYMBOL_LIMIT")
    await redis.hset(KEYS.funds, "paused", "1")
    assert await allocator.check_trade_allowed(B, "buy", Decimal(1)) == (False, "PAUSED")
