"""Reading trades page by page loses none, however many share a millisecond and however long nothing was traded."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks.base.keys import Keys
from tasks.exchange.client import CcxtClient
from tasks.exchange.models import Trade
from tasks.exchange.venues.pages import ByDay, ListCall
from tasks.funds.allocator import GlobalFundAllocator
from tasks.tick.desk import Desk
from tests.support.binance.config import DAY_MS, Config
from tests.support.binance.desk import BinanceDesk, real_ccxt
from tests.support.binance.server import LocalExchange, local_exchange
from tests.support.desk import BTC, settings, walk
from tests.support.fault_check import check_books, settle
from tests.support.virtual.exchange import VirtualExchange, virtual_exchange
from tests.support.virtual.loop import run_virtually
from tests.support.virtual.redis import VirtualRedis, virtual_redis

HOUR_MS = 3_600_000
FAR_MS = 10_000 * DAY_MS  # an exchange that does not cut
RICH = {"USDT": Decimal(10**9)}


class Account:
    """An account whose trades lie at times of the test's choice, and our client before it.

    `now_ms` stands still; `pages` are the trade ids of each answer.
    """

    def __init__(self, server: LocalExchange) -> None:
        self.server, self.exchange = server, real_ccxt(server)
        self.client = CcxtClient(self.exchange)
        self.now_ms = server.binance.now_ms()
        self.exchange.milliseconds = lambda: self.now_ms
        self.pages: list[list[str]] = []
        self._fetch = self.exchange.fetch_my_trades
        self.exchange.fetch_my_trades = self._noted

    async def _noted(self, *arguments: Any) -> Any:
        page = await self._fetch(*arguments)
        self.pages.append([one["id"] for one in page])
        return page

    def read_pages_of(self, size: int) -> None:
        """Ask for so many trades at once instead of the 1000 that the exchange allows."""
        calls = (ListCall("fetch_my_trades", ByDay(size, "fromId")),)
        self.client._venue = replace(self.client._venue, trades=calls)

    def trade(self, ago_ms: int, count: int = 1) -> None:
        """Trade `count` times at one moment. Moments must come in order."""
        engine = self.server.binance.engine
        engine.clock, engine.config = (lambda: self.now_ms - ago_ms), engine.config.changed(fill_parts=count)
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": str(Decimal(count) / 1000)}
        engine.place(order)

    async def read(self, ago_ms: int) -> list[Trade]:
        """What our client reads since then, each trade once on the way and in the answer."""
        self.pages.clear()
        since_ms = self.now_ms - ago_ms
        found = await self.client.trades(BTC, since_ms)
        wanted = [str(one.trade_id) for one in (await self.server.record()).trades if one.at_ms >= since_ms]
        assert [one.trade_id for one in found] == wanted
        assert sorted(one for page in self.pages for one in page) == sorted(wanted)
        return found


@asynccontextmanager
async def open_account(reach_ms: int = DAY_MS) -> AsyncIterator[Account]:
    """On an exchange whose answers by a start alone reach so far."""
    async with local_exchange({BTC: walk(5)}, Config(balances=RICH, time_reaches_ms=reach_ms)) as server:
        account = Account(server)
        try:
            yield account
        finally:
            await account.client.close()


async def test_trades_of_one_millisecond() -> None:
    """2,500 trades at one moment, asked for from the beginning and from their time: all of them, in few calls."""
    async with open_account() as account:
        account.trade(ago_ms=500, count=2500)
        for since in (0, account.now_ms - 1000):
            trades = await account.client.trades(BTC, since)
            assert len({trade.trade_id for trade in trades}) == 2500
            assert sum((trade.qty for trade in trades), Decimal(0)) == Decimal("2.5")
        assert list(map(len, account.pages)) == [1000, 1000, 500] * 2


@pytest.mark.parametrize("ago_ms", [1000, HOUR_MS, 12 * HOUR_MS, DAY_MS - 60_001])
async def test_the_last_day_costs_one_request_a_page(ago_ms: int) -> None:
    """One answer reaches until now; the day ends a minute early, for clocks that are not quite ours."""
    async with open_account() as account:
        await account.read(ago_ms)
        assert len(account.pages) == 1
        account.trade(ago_ms // 2, count=10)
        await account.read(ago_ms)
        assert len(account.pages) == 1
        account.trade(ago_ms // 4, count=1000)
        await account.read(ago_ms)
        assert list(map(len, account.pages)) == [1000, 10]


@pytest.mark.parametrize("reach_ms", [DAY_MS, FAR_MS])
@pytest.mark.parametrize("days", [1, 2, 6])
async def test_quiet_days_are_stepped_over(reach_ms: int, days: int) -> None:
    """One request for each of them, and all that came then, whether or not the exchange cuts after a day."""
    async with open_account(reach_ms) as account:
        account.trade(HOUR_MS, count=3)
        assert len(await account.read(days * DAY_MS + 2 * HOUR_MS)) == 3
        assert len(account.pages) == days + 1


async def test_ids_lead_on_from_the_first_trade_found() -> None:
    """Days after it cost nothing, however many they are."""
    async with open_account() as account:
        for days in (28, 20, 3):
            account.trade(days * DAY_MS + HOUR_MS)
        assert len(await account.read(30 * DAY_MS)) == 3
        assert list(map(len, account.pages)) == [0, 1, 2]


@pytest.mark.parametrize("reach_ms", [DAY_MS, FAR_MS])
@pytest.mark.parametrize("ago_ms", [DAY_MS - 1, DAY_MS, DAY_MS + 1])
async def test_exactly_a_day(reach_ms: int, ago_ms: int) -> None:
    """Trades at both ends of the day and on either side of them: alone, and all together."""
    edges = sorted({one for end in (ago_ms, ago_ms - DAY_MS) for one in (end + 1, end, end - 1) if one >= 0})
    for chosen in [*([one] for one in edges), edges]:
        async with open_account(reach_ms) as account:
            for edge in reversed(chosen):
                account.trade(edge)
            await account.read(ago_ms)


@pytest.mark.parametrize("count", [999, 1000, 1001, 2000, 2001])
async def test_more_than_a_page_inside_a_day_gone_by(count: int) -> None:
    """And some the day after, and now."""
    async with open_account() as account:
        account.trade(50 * HOUR_MS, count)
        account.trade(20 * HOUR_MS)
        account.trade(0)
        assert len(await account.read(60 * HOUR_MS)) == count + 2


edges = st.builds(lambda day, off: max(0, day * DAY_MS + off), st.integers(0, 5), st.integers(-2, 2))
PAGE = 10  # tests above read pages of 1000; here each example would trade and read thousands
counts = st.sampled_from([1, 1, 1, 2, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
moments = st.tuples(edges | st.integers(0, 5 * DAY_MS), counts)


@hypothesis_settings(max_examples=100)
@given(st.sampled_from([DAY_MS, FAR_MS]), st.lists(moments, max_size=6), edges | st.integers(1, 6 * DAY_MS))
async def test_each_trade_exactly_once(reach_ms: int, traded: Sequence[tuple[int, int]], since_ago_ms: int) -> None:
    """Whatever the times of the trades, and from whenever they are asked for."""
    async with open_account(reach_ms) as account:
        account.read_pages_of(PAGE)
        for ago_ms, count in sorted(traded, reverse=True):
            account.trade(ago_ms, count)
        await account.read(since_ago_ms)


async def test_the_exchange_s_own_limit() -> None:
    """A start alone reaches a day; a start and an end further apart are refused."""
    async with open_account() as account:
        account.trade(40 * HOUR_MS)
        account.trade(HOUR_MS)
        started = account.now_ms - 41 * HOUR_MS
        assert len(await account.exchange.fetch_my_trades(BTC, started)) == 1
        assert len(await account.exchange.fetch_my_trades(BTC, started, None, {"endTime": started + DAY_MS})) == 1
        with pytest.raises(ccxt.BadRequest, match="-1127"):
            await account.exchange.fetch_my_trades(BTC, started, None, {"endTime": started + DAY_MS + 1})


def test_fills_after_quiet_hours_are_booked(tmp_path: Path) -> None:
    """A flat grid rests for 30 hours, then the market moves: through whole ticks, in virtual time."""

    async def play(world: VirtualRedis) -> None:
        async with (
            virtual_exchange(tmp_path, {BTC: walk(60, seed=4)}, Config(), random.Random(1)) as exchange,
            virtual_desk(world, exchange) as desk,
        ):
            trader = await desk.trader()
            await settle(trader)
            await asyncio.sleep(30 * 3600)
            assert (await desk.server.record()).trades == ()
            await desk.server.advance(30)
            await settle(trader, pause=2)
            record = await desk.server.record()
            assert len(record.trades) >= 3
            await check_books(desk, record)

    with virtual_redis(tmp_path) as world:
        run_virtually(lambda: play(world), seed=1)


@asynccontextmanager
async def virtual_desk(world: VirtualRedis, exchange: VirtualExchange) -> AsyncIterator[BinanceDesk]:
    """A desk in virtual time, with a flat grid."""
    own = settings(symbols={BTC: {"grid": "geometric", "range_pct": "0.04", "cells": 10, "start": "flat"}})
    redis, raw, clock = world.client(random.Random(2)), exchange.ccxt(), exchange.clock.now
    client, allocator = CcxtClient(raw), GlobalFundAllocator.from_settings(own, redis, clock)
    await allocator.rebalance_if_needed(reason="start")
    desk = Desk(settings=own, redis=redis, exchange=client, allocator=allocator, keys=Keys(own.account), clock=clock)
    try:
        yield BinanceDesk(desk, raw, client, exchange.server)
    finally:
        await client.close()
        await redis.aclose()
