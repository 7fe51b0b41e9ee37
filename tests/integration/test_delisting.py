"""The exchange no longer lists one of three symbols: it stops alone, while the others start, trade and cancel."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from flows.runtime.account_work import rebalance
from flows.runtime.trading import TradingService
from tasks.base.errors import ExchangeError, GridflowError, UnknownSymbol
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.control import books
from tasks.exchange.client import CcxtClient
from tasks.exchange.limits.breaker_store import EXCHANGE, Breakers, read_breakers
from tasks.exchange.shared_client import SharedReads
from tasks.funds.allocator import GlobalFundAllocator
from tasks.ledger.audit import Cause
from tasks.settings.model import Settings
from tasks.tick.desk import Desk
from tasks.tick.recover import open_books
from tasks.tick.trader import GridTrader
from tasks.tick.window import guarded_tick
from tasks.views.rules import unfollowed
from tasks.views.steps import read_status
from tests.support.binance.config import API_KEY, SECRET
from tests.support.binance.desk import real_ccxt
from tests.support.binance.server import LocalExchange, local_exchange
from tests.support.desk import BTC, settings, walk

ETH, BNB = "ETH/USDT", "BNB/USDT"
THREE = [BTC, ETH, BNB]
KEYS = Keys("main")
GRID: dict[str, Any] = {"grid": "geometric", "range_pct": "0.04", "cells": 6, "start": "balanced"}


@asynccontextmanager
async def exchange_of_three() -> AsyncIterator[LocalExchange]:
    """Three markets."""
    prices = {BTC: "42000", ETH: "2300", BNB: "310"}
    candles = {symbol: walk(80, seed=number, start=prices[symbol], step_bp=80) for number, symbol in enumerate(THREE)}
    async with local_exchange(candles) as server:
        yield server


def own_settings(**changes: Any) -> Settings:
    """Three grids."""
    return settings(symbols=dict.fromkeys(THREE, GRID), **changes)


async def shared_desk(server: LocalExchange, redis: RedisClient) -> Desk:
    """A live worker's desk: the tickers of all symbols come in one request, read anew at every tick."""
    own = own_settings()
    exchange = SharedReads(real_ccxt(server), redis, KEYS, THREE, max_age_ms=0)
    allocator = GlobalFundAllocator.from_settings(own, redis)
    await allocator.rebalance_if_needed(reason="start")
    desk = Desk(settings=own, redis=redis, exchange=exchange, allocator=allocator, keys=KEYS)
    desk.markets.add(await exchange.markets(THREE))
    return desk


async def bad_requests(server: LocalExchange) -> int:
    """Requests that the exchange refused for a symbol it does not know."""
    return sum(row.outcome.endswith("-1121") for row in (await server.record()).requests)


async def test_the_others_trade_on(redis: RedisClient) -> None:
    """One shared reading finds the bad symbol, and later ones leave it out. The exchange's breaker stays closed."""
    async with exchange_of_three() as server:
        desk = await shared_desk(server, redis)
        traders = [GridTrader(desk, desk.markets.known[symbol], owner=f"worker-{symbol}") for symbol in THREE]
        breakers = Breakers(redis, KEYS)
        for _ in range(3):
            for trader in traders:
                await guarded_tick(trader, breakers)
            await server.advance(1)
        await server.delist(ETH)
        before = len((await server.record()).orders)
        for number in range(20):
            if number < 4:
                with pytest.raises(ExchangeError):
                    await guarded_tick(traders[1], breakers)
            for trader in (traders[0], traders[2]):
                assert (await guarded_tick(trader, breakers)).resolving == 0
            await server.advance(1)
        assert await bad_requests(server) <= 12
        record = await server.record()
        assert {row.symbol for row in record.orders[before:]} == {"BTCUSDT", "BNBUSDT"}
        found = await read_breakers(redis, KEYS)
        assert EXCHANGE not in found, "it never counted a failure"
        assert found[ETH].failing

        await redis.hset(KEYS.funds, "stopped", 1)  # a stop cancels what rests in the others
        for trader in (traders[0], traders[2]):
            await guarded_tick(trader, breakers)
        assert {row.status for row in (await server.record()).orders} <= {"FILLED", "CANCELED"}
        await desk.exchange.close()


async def test_the_markets_are_read_again_without_it(redis: RedisClient) -> None:
    """The others get their new filters; the one that is gone keeps its market, and its orders can be cancelled."""
    async with exchange_of_three() as server:
        client = CcxtClient(real_ccxt(server))
        before = await client.markets(THREE)
        await server.delist(ETH)
        found = await client.refreshed_markets(THREE)
        assert found == {symbol: before[symbol] for symbol in (BTC, BNB)}
        with pytest.raises(ExchangeError, match="does not list ETH/USDT"):
            await client.markets(THREE)
        requests = len((await server.record()).requests)
        await client.cancel(ETH, ["1000001"])
        assert [row.method for row in (await server.record()).requests[requests:]] == ["DELETE"], "it is sent"
        with pytest.raises(UnknownSymbol):
            await client.ticker(ETH)
        await client.close()


async def test_an_empty_list_of_markets_is_no_answer(redis: RedisClient) -> None:
    """The markets that ccxt works with stay as they were."""
    async with exchange_of_three() as server:
        client = CcxtClient(real_ccxt(server))
        before = await client.markets(THREE)
        await server.configure(symbols={})
        with pytest.raises(ExchangeError, match="the list of markets in the answer is empty"):
            await client.refreshed_markets(THREE)
        assert await client.markets(THREE) == before
        await client.close()


async def test_a_worker_starts_the_others(redis: RedisClient, redis_url: str) -> None:
    """Its windows of the missing symbol end with the reason and the remedy; the others place their orders."""
    async with exchange_of_three() as server:
        exchange = {"id": "binance", "live": True, "api_url": server.url, "api_key": API_KEY, "secret": SECRET}
        own = own_settings(exchange=exchange, live=True, redis_url=redis_url, redis_risk="accepted")
        await trade_once(own, ETH)
        before = len((await server.record()).orders)
        await server.delist(ETH)
        service = TradingService(own)
        try:
            await asyncio.to_thread(service.open)
            for symbol in (BTC, BNB):
                report = await asyncio.to_thread(service.run_window, symbol, None, lambda: True)
                assert (report.ticks, report.failed_ticks) == (1, 0)
            with pytest.raises(GridflowError, match=r"does not list ETH/USDT.*funds write-off ETH/USDT"):
                await asyncio.to_thread(service.run_window, ETH, None, lambda: True)
        finally:
            await asyncio.to_thread(service.close)
        assert {row.symbol for row in (await server.record()).orders[before:]} == {"BTCUSDT", "BNBUSDT"}


async def trade_once(own: Settings, symbol: str) -> None:
    """A worker ticks the symbol once and ends."""
    service = TradingService(own)
    try:
        await asyncio.to_thread(service.run_window, symbol, None, lambda: True)
    finally:
        await asyncio.to_thread(service.close)


async def test_a_wrong_name_is_refused_at_the_start(redis: RedisClient, redis_url: str) -> None:
    """One of three symbols was never listed and never traded: nothing starts, and nothing is placed."""
    async with exchange_of_three() as server:
        await server.delist(ETH)
        exchange = {"id": "binance", "live": True, "api_url": server.url, "api_key": API_KEY, "secret": SECRET}
        service = TradingService(own_settings(exchange=exchange, live=True, redis_url=redis_url, redis_risk="accepted"))
        try:
            with pytest.raises(ExchangeError, match="does not list ETH/USDT; check the symbols' names"):
                await asyncio.to_thread(service.open)
        finally:
            await asyncio.to_thread(service.close)
        assert (await server.record()).orders == ()


async def test_a_worker_with_no_listed_symbol_does_not_start(redis_url: str) -> None:
    """The names are wrong, or the exchange is."""
    async with exchange_of_three() as server:
        exchange = {"id": "binance", "live": True, "api_url": server.url, "api_key": API_KEY, "secret": SECRET}
        own = settings(
            symbols={"XRP/USDT": GRID}, exchange=exchange, live=True, redis_url=redis_url, redis_risk="accepted"
        )
        service = TradingService(own)
        try:
            with pytest.raises(ExchangeError, match="does not list XRP/USDT"):
                await asyncio.to_thread(service.open)
        finally:
            await asyncio.to_thread(service.close)


async def test_lost_books_are_rebuilt_without_it(redis: RedisClient) -> None:
    """Redis is lost after the delisting: the others come back with their orders and lots."""
    async with exchange_of_three() as server:
        desk = await shared_desk(server, redis)
        for symbol in THREE:
            trader = GridTrader(desk, desk.markets.known[symbol], owner=f"worker-{symbol}")
            await trader.tick()
            await trader.end_lease()
        await server.delist(ETH)
        resting = {order.client_id for symbol in (BTC, BNB) for order in await desk.exchange.open_orders(symbol)}
        await redis.flushall()
        await open_books(desk, await desk.exchange.refreshed_markets(THREE), "later")
        trader = GridTrader(desk, desk.markets.known[BTC], owner="later")
        await trader.tick()
        journal = {name for symbol in (BTC, BNB) for name in await redis.hkeys(KEYS.intents(symbol))}
        assert resting <= journal
        await desk.exchange.close()


async def test_a_stop_a_rebalance_an_audit_and_the_status_go_on_without_it(redis: RedisClient, redis_url: str) -> None:
    """The others' orders are cancelled within seconds; what waits for orders does not wait for the missing symbol."""
    async with exchange_of_three() as server:
        exchange = {"id": "binance", "live": True, "api_url": server.url, "api_key": API_KEY, "secret": SECRET}
        own = own_settings(exchange=exchange, live=True, redis_url=redis_url, redis_risk="accepted")
        for symbol in THREE:
            await trade_once(own, symbol)
        await server.delist(ETH)
        service = TradingService(own)
        try:
            await asyncio.to_thread(service.open)
            with pytest.raises(GridflowError, match="does not list ETH/USDT"):
                await asyncio.to_thread(service.run_window, ETH, None, lambda: True)
            view = await read_status(own, redis)
            missing = {symbol.symbol: symbol for symbol in view.symbols}[ETH]
            assert missing.unlisted
            assert "gridflow funds write-off ETH/USDT" in missing.failed_tick_why
            await asyncio.to_thread(service.ask, partial(rebalance, force=True, reason="manual"))
            for symbol in (BTC, BNB):
                await asyncio.to_thread(service.run_window, symbol, None, lambda: True)
            assert ETH not in unfollowed(await read_status(own, redis))
            report = await books.audit(redis, own, with_exchange=True)
            assert [(one.subject, one.cause) for one in report.differences] == [(ETH, Cause.UNLISTED)]
            assert report.drift == ()
            began = time.monotonic()
            left = await asyncio.to_thread(service.graceful_stop)
            assert time.monotonic() - began < 20
            assert {order.symbol for order in left.orders_open} == {ETH}
        finally:
            await asyncio.to_thread(service.close)
        assert {row.status for row in (await server.record()).orders} <= {"FILLED", "CANCELED"}
