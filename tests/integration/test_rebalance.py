"""Rebalancing: on demand, when usage drifts apart, by two at once, with symbols that come and go."""

import asyncio
from decimal import Decimal
from typing import Any

from tasks.base.keys import Keys
from tasks.base.redis import RedisClient, connect
from tasks.base.settings import AllocationStrategy
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.models import FillMove, Reservation
from tasks.views import store as views

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


async def test_usage_that_spreads_is_rebalanced_and_a_small_spread_is_not(redis: RedisClient) -> None:
    """0.2 of spread: skipped, with a report that says so. 0.4: applied."""
    allocator = pot(redis, A, B, strategy="dynamic")
    await allocator.rebalance_if_needed(reason="start")
    await spend(allocator, A, 100)
    skipped = await allocator.rebalance_if_needed(reason="usage spread")
    assert (skipped.applied, skipped.outcome) == (False, "not needed")
    await spend(allocator, A, 100, number=2)
    done = await allocator.rebalance_if_needed(reason="usage spread")
    assert done.applied
    (a, b) = done.changes
    assert a.after > a.before
    assert b.after < b.before


async def test_two_at_once_one_writes_and_the_other_finds_it_done(redis: RedisClient, redis_url: str) -> None:
    """Twenty rounds of a race: exactly one new version each, and both report it."""
    clients = [connect(redis_url) for _ in range(2)]
    for turn in range(20):
        racers = [pot(client, A, B, A=str(turn + 1), strategy="weighted") for client in clients]
        reports = await asyncio.gather(*(racer.rebalance_if_needed(force=True, reason="race") for racer in racers))
        assert sorted(report.applied for report in reports) == [False, True]
        assert {report.version for report in reports} == {turn + 1}
    history = await views.rebalances(redis, KEYS, 100)
    assert [report.version for report in history] == list(range(20, 0, -1))
    assert (await views.counters(redis, KEYS))[0] == 20
    events = await views.events(redis, KEYS, 100)
    assert [event.type for event in events] == ["allocation_updated"] * 20
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
    assert {name: share.allocated_units // QUOTE for name, share in status.symbols.items()} == {B: 500, C: 500}


async def test_a_preview_says_what_a_reservation_would_get(redis: RedisClient) -> None:
    """check_trade_allowed names the code; it binds nothing."""
    allocator = pot(redis, A, B)
    assert await allocator.check_trade_allowed(A, Decimal(1)) == (False, "UNKNOWN_SYMBOL")
    await allocator.rebalance_if_needed(reason="start")
    assert await allocator.check_trade_allowed(A, Decimal(500)) == (True, "OK")
    assert await allocator.check_trade_allowed(A, Decimal("500.00000001")) == (False, "SYMBOL_LIMIT")
    await spend(allocator, A, 400)
    assert await allocator.check_trade_allowed(A, Decimal(101)) == (False, "SYMBOL_LIMIT")
    await redis.hset(KEYS.funds, "paused", "1")
    assert await allocator.check_trade_allowed(B, Decimal(1)) == (False, "PAUSED")
