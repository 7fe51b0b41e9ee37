"""Live prices: polled through ccxt's public API at most once a second, over all processes; here from a local server."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.paper.opening import open_paper_exchange
from tasks.paper.stored_market import describe_market
from tasks.settings.model import Settings
from tests.support.paper import SYMBOL, Wall

LISTING = {
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "orderTypes": ["LIMIT", "MARKET"],
            "isSpotTradingAllowed": True,
            "permissions": ["SPOT"],
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.10", "maxPrice": "900000.00", "tickSize": "0.10"},
                {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "90.0", "stepSize": "0.001"},
                {"filterType": "NOTIONAL", "minNotional": "7.0"},
            ],
        }
    ]
}


class Venue(ThreadingHTTPServer):
    """A listing and one price."""

    price, polls = "42000.0", 0


class Handler(BaseHTTPRequestHandler):
    """Answers as Binance does."""

    server: Venue

    def do_GET(self) -> None:
        """Listing or ticker."""
        if "exchangeInfo" in self.path:
            body: Any = LISTING
        else:
            self.server.polls += 1
            body = {"symbol": "BTCUSDT", "lastPrice": self.server.price, "closeTime": 1}
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet."""


@pytest.fixture
def venue() -> Iterator[Venue]:
    """A small exchange on a loopback port."""
    server = Venue(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def test_polled_prices_fill_resting_orders(redis: RedisClient, venue: Venue) -> None:
    """Each poll is a small candle from the last price to the new one; many calls in a second are one poll."""
    wall = Wall()
    config = Settings.model_validate(
        {
            "exchange": {"api_url": f"http://127.0.0.1:{venue.server_port}"},
            "paper": {"market": "auto"},
            "symbols": {SYMBOL: {"lower": "30000", "upper": "50000", "cells": 10}},
        }
    )
    exchange = await open_paper_exchange(config, redis, wall)
    other = await open_paper_exchange(config, redis, wall)
    assert (await describe_market(redis, Keys("main")))["source"] == "live"
    market = exchange.market(SYMBOL)
    assert (market["precision"], market["limits"]["cost"]["min"]) == ({"price": 0.1, "amount": 0.001}, 7.0)
    order = await exchange.create_order(SYMBOL, "limit", "buy", 0.1, 41_900)
    polls = venue.polls
    for _ in range(5):
        assert (await other.fetch_ticker(SYMBOL))["last"] == 42_000
    assert venue.polls <= polls + 1
    venue.price = "41850.5"
    wall.turn(2)
    await redis.delete(Keys("main").paper("poll"))  # a second of real time, as the server counts it
    assert (await other.fetch_ticker(SYMBOL))["last"] == 41_850.5
    filled = await exchange.fetch_order(order["id"], SYMBOL)
    assert (filled["status"], filled["average"]) == ("closed", 41_900)
    taken = await exchange.create_order(SYMBOL, "market", "sell", 0.1)
    assert taken["average"] == 41_850.5
    await exchange.close()
    await other.close()
