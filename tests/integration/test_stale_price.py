"""No buy on a price that is too old; what is held is sold all the same."""

import pytest

from tasks.base.clock import to_ms, utc_now
from tasks.base.redis_client import RedisClient
from tasks.exchange.client import CcxtClient
from tasks.exchange.models import Order, Side, Ticker
from tests.support.desk import BTC, TestDesk, candle, open_desk, settings

# One cell from 100 to 110; the price falls from 105 through 100.
GRID = settings(
    total_funds="1000",
    symbols={BTC: {"lower": "100", "upper": "110", "cells": 1, "quote_per_cell": "50", "start": "flat"}},
    trading={"stale_price_seconds": 60},
)
PATH = [candle(0, "105", "105", "99", "104"), candle(1, "104", "104", "104", "104")]


def see_prices_as(seconds: float, desk: TestDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the newest price is so many seconds old."""

    async def aged(symbol: str, not_before_ms: int = 0) -> tuple[list[Order], Ticker]:
        orders, ticker = await CcxtClient.orders_and_ticker(desk.client, symbol, not_before_ms)
        return orders, ticker.model_copy(update={"at_ms": to_ms(utc_now()) - int(seconds * 1000)})

    monkeypatch.setattr(desk.client, "orders_and_ticker", aged)


@pytest.mark.parametrize(("seconds", "placed"), [(50, 1), (70, 0)])
async def test_a_buy_needs_a_fresh_price(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch, seconds: float, placed: int
) -> None:
    """The limit is 60 seconds; the cell says why it waits, and buys when the price is fresh again."""
    desk = await open_desk(redis, GRID, {BTC: PATH})
    trader = await desk.trader()
    see_prices_as(seconds, desk, monkeypatch)
    report = await trader.tick()
    assert report.placed == placed
    assert set(report.idle.values()) == (set() if placed else {"STALE_PRICE"})
    see_prices_as(0, desk, monkeypatch)
    assert (await trader.tick()).placed == 1 - placed
    await desk.close()


async def test_a_sell_needs_none(redis: RedisClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its price is the level's, whatever the market does."""
    desk = await open_desk(redis, GRID, {BTC: PATH})
    trader = await desk.trader()
    await trader.tick()
    await desk.exchange.advance()
    see_prices_as(70, desk, monkeypatch)
    report = await trader.tick()
    assert (report.fills, report.placed) == (1, 1)
    assert [order.side for order in await desk.client.open_orders(BTC)] == [Side.SELL]
    await desk.close()
