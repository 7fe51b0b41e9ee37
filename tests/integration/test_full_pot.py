"""A full pot of three symbols on the paper exchange follows what an operator changes; minutes pass in virtual time.

Each symbol has a worker of its own, which ticks when its last report says so. Settings change as `gridflow deploy`
changes them. Run with -s to see seconds and orders.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import pytest

from tasks.base.money import from_units, units_down
from tasks.base.redis_client import RedisClient
from tasks.control.change_effects import Published
from tasks.control.steps import put_in_force
from tasks.exchange.models import Order, Side
from tasks.funds.models import FundsStatus, TraderAllocation
from tasks.ledger.rules import total
from tasks.settings.model import Settings
from tasks.tick.models import TickReport
from tasks.views.rules import unfollowed
from tasks.views.steps import read_status
from tests.support.desk import walk
from tests.support.funds_model import Claim, fair_shares
from tests.support.virtual.paper import PaperWorld, play_on_paper

PRICES = {"BTC/USDT": "42000", "ETH/USDT": "2280", "BNB/USDT": "312"}
CELLS = 20
FEE = Decimal("0.001")
MINIMUM = Decimal(5)  # notional of an order
TOLERANCE = Decimal("0.1")
AT_MOST = 120  # seconds until everything has followed
QUIET, LIVELY = 20, 40  # most that a price moves in a minute, in 0.01 %


def own(start: str, weights: Sequence[int] = (1, 1, 1), funds: int = 10_000, **more: Any) -> Settings:
    """Three symbols under the weighted strategy. Flat: all cells below the price; balanced: half of them above."""
    symbols: dict[str, Any] = {}
    for (symbol, price), weight in zip(PRICES.items(), weights, strict=True):
        grid: dict[str, Any] = {"range_pct": "0.04"}
        if start == "flat":
            grid = {"lower": Decimal(price) * Decimal("0.92"), "upper": Decimal(price) * Decimal("0.999")}
        symbols[symbol] = {"grid": "geometric", "cells": CELLS, "start": start, "weight": weight} | grid | more
    return Settings.model_validate({"total_funds": funds, "allocation_strategy": "weighted", "symbols": symbols})


def play(settings: Settings, work: Callable[[PaperWorld], Awaitable[None]], step_bp: int = QUIET) -> None:
    """Do `work` while prices walk and the workers tick."""
    candles = {symbol: walk(60, seed, price, step_bp=step_bp) for seed, (symbol, price) in enumerate(PRICES.items())}
    play_on_paper(settings, candles, work)


async def fill_up(world: PaperWorld) -> None:
    """Five minutes on, at least 95 % of the pool is committed."""
    await world.wait(300)
    status = newest_status(world)
    assert status.pool_units * Decimal("0.95") < status.committed_units <= status.pool_units


async def deploy(world: PaperWorld, settings: Settings, operator: RedisClient) -> tuple[Published, list[TickReport]]:
    """Put the settings in force and wait until `gridflow rebalance` would say that all has followed; ticks since."""
    before = len(world.seen)
    published = await put_in_force(operator, settings, clock=world.clock.now)
    took = await world.wait(AT_MOST, partial(has_followed, world, operator, before))
    ticks = [moment.report for moment in world.seen[before:]]
    cancelled, placed, fills = (sum(getattr(tick, name) for tick in ticks) for name in ("cancelled", "placed", "fills"))
    print(f"\n{took:.0f} s, {len(ticks)} ticks: {cancelled} orders cancelled, {placed} placed, {fills} fills")
    assert took < AT_MOST, unfollowed(await read_status(settings, operator))
    return published, ticks


async def has_followed(world: PaperWorld, operator: RedisClient, before: int) -> bool:
    """Whether every symbol has ticked since the first `before` ticks, and nothing differs from what is in force."""
    ticked = {moment.report.symbol for moment in world.seen[before:]}
    return ticked == PRICES.keys() and unfollowed(await read_status(world.settings, operator)) == {}


def newest_status(world: PaperWorld) -> FundsStatus:
    """The pot after the last tick."""
    return world.seen[-1].status


async def resting_buys(world: PaperWorld, symbol: str) -> list[Order]:
    """As the exchange has them."""
    orders = await world.traders[symbol].desk.exchange.open_orders(symbol)
    return [order for order in orders if order.side is Side.BUY]


def check_shares(published: Published, weights: Mapping[str, int]) -> None:
    """The pool is shared by weight, but for what inventory has cost; to a few units of 1e-8."""
    changes, pool = published.rebalance.changes, units_down(published.rebalance.pool)
    claims = {one.symbol: Claim(Fraction(weights[one.symbol]), units_down(one.used), pool) for one in changes}
    exact = fair_shares(pool, claims)
    assert all(abs(units_down(one.after) - exact[one.symbol]) <= len(changes) for one in changes)


async def check_sizes(world: PaperWorld, share: TraderAllocation, size: Decimal | None = None) -> int:
    """Every resting buy is within the tolerance of its size: `size`, or what the allocation gives; how many rest."""
    cells = await world.traders[share.symbol].desk.redis.hvals(world.keys.cells(share.symbol))
    empty = sum('"state":"IDLE"' in str(text) or '"state":"BUYING"' in str(text) for text in cells)
    allocated, used = from_units(share.allocated_units), from_units(share.used_units)
    money = size or min(allocated / CELLS, (allocated - used) / max(empty, 1)) / (1 + FEE)
    buys = await resting_buys(world, share.symbol)
    if money < MINIMUM:
        assert total(order.price * order.qty for order in buys) <= max(allocated - used, Decimal(0))
    else:
        assert all(abs(order.price * order.qty - money) <= money * TOLERANCE for order in buys)
    return len(buys)


@pytest.mark.parametrize(("start", "step_bp"), [("flat", QUIET), ("balanced", QUIET), ("balanced", LIVELY)])
def test_money_moves_to_the_symbol_that_weighs_more(start: str, step_bp: int) -> None:
    """Weights 1:1:1 become 4:1:1. Within two minutes every symbol keeps to its new allocation and orders have the new
    sizes, and at no moment is more committed than the pool has. In the lively market a fill is on its way when the
    weights change, and leaves ETH with more inventory than its allocation: nothing can be given up for that.
    """

    async def work(world: PaperWorld) -> None:
        await fill_up(world)
        published, _ = await deploy(world, own(start, (4, 1, 1)), world.client("operator"))
        check_shares(published, weights={"BTC/USDT": 4, "ETH/USDT": 1, "BNB/USDT": 1})
        status = newest_status(world)
        shares = status.symbols.values()
        counts = [await check_sizes(world, share) for share in shares]
        assert min(counts) >= CELLS - 3 or start == "balanced"
        assert all(share.committed_units <= max(share.allocated_units, share.used_units) for share in shares)
        assert all(moment.status.committed_units <= moment.status.pool_units for moment in world.seen)
        assert status.max_committed_units <= status.pool_units, "between two ticks"
        await world.check_books()

    play(own(start), work, step_bp)


@pytest.mark.parametrize("start", ["flat", "balanced"])
def test_lowered_funds_shrink_resting_buys_until_the_pool_holds(start: str) -> None:
    """6,000 instead of 10,000: the pool in force is 5,700 at once, and within two minutes no more is committed."""

    async def work(world: PaperWorld) -> None:
        await fill_up(world)
        published, ticks = await deploy(world, own(start, funds=6_000), world.client("operator"))
        assert published.rebalance.pool == 5_700
        assert total(one.committed for one in published.rebalance.changes) > 9_000
        status = newest_status(world)
        assert status.committed_units <= status.pool_units == 5_700 * 10**8
        assert sum(tick.cancelled for tick in ticks) > 20
        for share in status.symbols.values():
            await check_sizes(world, share)
        await world.check_books()

    play(own(start), work)


def test_a_changed_cell_size_counts_from_the_next_tick() -> None:
    """155 becomes 100: each symbol's next tick cancels the first ten buys of the old size, and a few ticks later all
    have the new one. Back to 155, they grow again.
    """

    async def work(world: PaperWorld) -> None:
        await fill_up(world)
        operator = world.client("operator")
        for size in (100, 155):
            _, ticks = await deploy(world, own("flat", quote_per_cell=size), operator)
            for symbol in PRICES:
                first = next(tick for tick in ticks if tick.symbol == symbol)
                assert (first.cancelled, first.to_resize > 10) == (10, True)
            for share in newest_status(world).symbols.values():
                assert await check_sizes(world, share, Decimal(size)) > 10
        await world.check_books()

    play(own("flat", quote_per_cell=155), work)
