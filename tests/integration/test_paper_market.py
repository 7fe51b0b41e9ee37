"""One market for all processes: opened once, joined later, set on after a pause, bounded in round trips."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tasks.base.errors import ExchangeUnavailable, MarketDataError, StateError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.paper.opening import open_manual_exchange, open_paper_exchange
from tasks.paper.stored_market import describe_market
from tasks.settings.model import Settings
from tests.support.paper import START_MS, SYMBOL, Wall, candles, manual, settings

KEYS = Keys("main")


def paper(market: str, **values: Any) -> Settings:
    """Settings of one symbol on a market of this kind."""
    base = settings().model_dump(exclude_none=True)
    return Settings.model_validate({**base, "paper": {"market": market, **values}})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five minutes of candles: closes 101 … 105."""
    lines = ["timestamp,open,high,low,close,volume"]
    lines += [f"{START_MS + i * 60_000},{100 + i},{101.5 + i},{99.5 + i},{101 + i},1" for i in range(5)]
    (tmp_path / "BTC-USDT-1m-2024-01.csv").write_text("\n".join(lines))
    return tmp_path


async def price(exchange: Any) -> float:
    """Last price."""
    return float((await exchange.fetch_ticker(SYMBOL))["last"])


async def test_replay_goes_by_the_wall_clock_and_then_stands_still(redis: RedisClient, folder: Path) -> None:
    """Open first, then the close of each complete candle; at the end of the data the last close stays."""
    wall = Wall()
    exchange = await open_paper_exchange(paper("replay", data=folder, speed=60), redis, wall, beat=False)
    assert await price(exchange) == 100
    for seconds, expected in ((0.99, 100), (0.02, 101), (2, 103), (100, 105)):
        wall.turn(seconds)
        assert await price(exchange) == expected
    status = await exchange.fetch_status()
    assert status["info"]["standing_still"] is True
    assert [row[0] for row in await exchange.fetch_ohlcv(SYMBOL, "1m", START_MS + 60_000, 2)] == [
        START_MS + 60_000,
        START_MS + 120_000,
    ]
    told = await describe_market(redis, KEYS)
    assert told["source"] == "replay"
    assert told["spans"][SYMBOL]["candles"] == 5
    assert told["candles_done"] == {SYMBOL: 5}
    await exchange.close()


async def test_fills_of_many_candles_are_spread_over_their_wall_time(redis: RedisClient, folder: Path) -> None:
    """An order filled in the third candle bears a time within that candle's second."""
    wall = Wall()
    exchange = await open_paper_exchange(paper("replay", data=folder, speed=60), redis, wall, beat=False)
    begin = wall.ms
    await exchange.create_order(SYMBOL, "market", "buy", 1)
    await exchange.create_order(SYMBOL, "limit", "sell", 1, 103.2)
    wall.turn(10)
    trade = (await exchange.fetch_my_trades(SYMBOL))[-1]
    # third candle: 102 → low 101.5 → high 103.5 → close 103, a way of 3; the sell is met after 0.5 + 1.7 of it
    assert trade["timestamp"] == begin + 2000 + int(1000 * 2.2 / 3)
    assert trade["info"]["candleTime"] == START_MS + 120_000
    await exchange.close()


async def test_after_a_pause_the_market_goes_on_where_it_was(redis: RedisClient, folder: Path) -> None:
    """Downtime is not market time; a process that slept through it hears of the new clock."""
    wall = Wall()
    config = paper("replay", data=folder, speed=60)
    first = await open_paper_exchange(config, redis, wall, beat=False)
    wall.turn(1.5)
    assert await price(first) == 101
    wall.turn(3600)
    second = await open_paper_exchange(config, redis, wall, beat=False)
    assert await price(second) == 101
    assert await price(first) == 101
    wall.turn(0.6)
    assert (await price(first), await price(second)) == (102, 102)
    await first.close()
    await second.close()


async def test_a_beating_process_keeps_the_clock_running(redis: RedisClient, folder: Path) -> None:
    """Activity is what counts, also without calls."""
    wall = Wall()
    config = paper("replay", data=folder, speed=60)
    first = await open_paper_exchange(config, redis, wall, beat=False)
    for _ in range(3):
        wall.turn(4)
        await first.paper.beat()
    second = await open_paper_exchange(config, redis, wall, beat=False)
    assert await price(second) == 105
    await first.close()
    await second.close()


@pytest.mark.parametrize(
    "other", [{"market": "synthetic"}, {"market": "replay", "speed": 120}, {"market": "replay", "data": "elsewhere"}]
)
async def test_another_market_is_refused(redis: RedisClient, folder: Path, other: dict[str, Any]) -> None:
    """The message says what is stored, what was asked, and how to start anew."""
    values: dict[str, Any] = {"market": "replay", "data": folder, "speed": 60}
    first = await open_paper_exchange(paper(**values), redis, beat=False)
    with pytest.raises(StateError, match=r"stored .* settings .* --state DIR"):
        await open_paper_exchange(paper(**{**values, **other}), redis, beat=False)
    await first.close()


async def test_bad_data_open_nothing(redis: RedisClient, tmp_path: Path) -> None:
    """A refused file leaves no market behind."""
    with pytest.raises(MarketDataError, match="no candle file"):
        await open_paper_exchange(paper("replay", data=tmp_path), redis)
    assert await redis.keys("*") == []
    assert await describe_market(redis, KEYS) == {}


async def test_a_symbol_may_join_later(redis: RedisClient) -> None:
    """It starts where the market's clock is."""
    wall = Wall()
    first = await open_paper_exchange(paper("synthetic", speed=60), redis, wall, beat=False)
    wall.turn(3)
    await price(first)
    grid = {"lower": "2000", "upper": "3000", "cells": 10}
    more = {**paper("synthetic", speed=60).model_dump(exclude_none=True)}
    more["symbols"] = {**more["symbols"], "ETH/USDT": grid}
    second = await open_paper_exchange(Settings.model_validate(more), redis, wall, beat=False)
    status = await second.fetch_status()
    assert status["info"]["symbols"]["ETH/USDT"]["candlesDone"] == 3
    assert (await second.fetch_balance())["ETH"]["total"] == 0
    await first.close()
    await second.close()


async def test_a_process_by_settings_joins_a_manual_market(redis: RedisClient) -> None:
    """Whoever attaches sees the same orders and may move the market on."""
    exchange = await manual(redis, [(100, 101, 99, 100)] * 3)
    other = await open_paper_exchange(paper("synthetic"), redis, exchange.paper._clock)
    await exchange.advance()
    order = await exchange.create_order(SYMBOL, "limit", "buy", 1, 99)
    assert [one["id"] for one in await other.fetch_open_orders(SYMBOL)] == [order["id"]]
    await other.advance(5)
    assert (await exchange.fetch_order(order["id"], SYMBOL))["status"] == "closed"
    assert (await exchange.fetch_status())["info"]["symbols"][SYMBOL]["candlesDone"] == 3
    assert len(await other.fetch_ohlcv(SYMBOL)) == 3
    with pytest.raises(StateError, match="holds another paper market"):
        await open_manual_exchange(settings(), redis, {"ETH/USDT": candles((1, 1, 1, 1))})
    await exchange.close()
    await other.close()


async def test_a_wiped_market_is_an_error(redis: RedisClient) -> None:
    """Nobody trades on in a market that is gone."""
    exchange = await manual(redis, [(100, 101, 99, 100)])
    await redis.flushdb()
    with pytest.raises(StateError, match="was deleted"):
        await exchange.fetch_ticker(SYMBOL)
    await exchange.close()


async def test_old_orders_and_trades_fall_out(redis: RedisClient) -> None:
    """Only the newest are kept; open orders always."""
    exchange = await open_manual_exchange(settings(), redis, {SYMBOL: candles((100, 100, 100, 100))}, Wall(), keep=5)
    for number in range(9):
        await exchange.create_order(SYMBOL, "market", "buy", 0.1, None, {"clientOrderId": f"m-{number}"})
    assert [order["clientOrderId"] for order in await exchange.fetch_closed_orders(SYMBOL)] == [
        f"m-{number}" for number in range(4, 9)
    ]
    assert len(await exchange.fetch_my_trades(SYMBOL)) == 5
    sizes = [await redis.zcard(KEYS.paper(name, "btc-usdt")) for name in ("trades", "times", "filled")]
    assert sizes == [5, 5, 5]
    assert [await redis.hlen(KEYS.paper(name, "btc-usdt")) for name in ("clients", "orders")] == [5, 5]
    later = await open_manual_exchange(settings(), redis, {SYMBOL: candles((100, 100, 100, 100))}, Wall(), keep=2)
    for number in range(2):
        await later.create_order(SYMBOL, "market", "buy", 0.1, None, {"clientOrderId": f"later-{number}"})
    sizes = [await redis.zcard(KEYS.paper(name, "btc-usdt")) for name in ("trades", "times", "filled")]
    assert sizes == [2, 2, 2], "what an earlier version kept is forgotten, a few at each order"
    await later.close()
    await exchange.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts requests to Redis: a command or a whole pipeline is one."""
    from redis.asyncio.client import Pipeline, Redis

    trips: list[int] = []
    for kind, method in ((Redis, "execute_command"), (Pipeline, "execute")):
        original = getattr(kind, method)

        def counted(self: Any, *args: Any, _original: Any = original, **kwargs: Any) -> Any:
            trips.append(1)
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(kind, method, counted)
    monkeypatch.setattr(Pipeline, "execute_command", Pipeline.pipeline_execute_command)
    return trips


@pytest.mark.parametrize("new_candles", [0, 3])
async def test_every_call_is_one_round_trip(
    redis: RedisClient, folder: Path, sent: list[int], new_candles: int
) -> None:
    """Also where candles have to be replayed first."""
    wall = Wall()
    exchange = await open_paper_exchange(paper("replay", data=folder, speed=60), redis, wall, beat=False)
    order = {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 1, "price": 50}
    for _ in range(2):  # the first round loads the scripts
        calls = [
            exchange.fetch_ticker(SYMBOL),
            exchange.fetch_tickers(),
            exchange.create_orders([order, order, order]),
            exchange.fetch_open_orders(SYMBOL),
            exchange.fetch_open_orders(),
            exchange.fetch_balance(),
            exchange.fetch_my_trades(SYMBOL),
            exchange.fetch_ohlcv(SYMBOL),
            exchange.cancel_all_orders(SYMBOL),
        ]
        trips = []
        for call in calls:
            sent.clear()
            wall.turn(new_candles / 9)
            await call
            trips.append(len(sent))
    assert trips == [1] * 9
    await exchange.close()


async def test_auto_falls_back_to_synthetic_and_says_why(redis: RedisClient) -> None:
    """The choice is made once and kept."""
    values = {**paper("auto").model_dump(exclude_none=True), "exchange": {"api_url": "http://127.0.0.1:9"}}
    config = Settings.model_validate(values)
    exchange = await open_paper_exchange(config, redis, beat=False)
    told = await describe_market(redis, KEYS)
    assert (told["source"], told["market"]) == ("synthetic", "auto")
    assert "not reachable" in told["why"]
    assert json.loads(str(await redis.hget(KEYS.paper("market"), "asked")))["market"] == "auto"
    again = await open_paper_exchange(config, redis, beat=False)
    assert Decimal(str(await price(again))) > 0
    await exchange.close()
    await again.close()
    await redis.flushdb()
    live = Settings.model_validate({**values, "paper": {"market": "live"}})
    with pytest.raises(ExchangeUnavailable):
        await open_paper_exchange(live, redis)
