"""Amounts and prices reach the exchange exactly as they were asked for: they are never a float on the way."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from tasks.base.errors import RejectReason
from tasks.base.redis_client import RedisClient
from tasks.exchange.client import CcxtClient
from tasks.exchange.models import Accepted, Grant, OrderRequest, Rejected, Side
from tasks.paper.opening import open_manual_exchange
from tests.support.binance.config import Config, SymbolRules
from tests.support.binance.desk import real_ccxt
from tests.support.binance.server import LocalExchange, local_exchange
from tests.support.desk import BTC, settings, walk
from tests.support.venues.desk import open_venue, venue_ccxt

FIELDS = {"binance": ("quantity", "price"), "okx": ("sz", "px"), "bybit": ("qty", "price")}
LONG = (Decimal("0.123456789012345678"), Decimal("41000.123456789"))
CASES = {
    "18 digits": LONG,
    "no exponent": (Decimal("1E-7"), Decimal("4.1E+4")),
    "no trailing zeros": (Decimal("0.5000"), Decimal("41000.10")),
    "as large as any": (Decimal("8999.000000000000000001"), Decimal("41000.000000001")),
}


def request(qty: Decimal, price: Decimal, cycle: int = 7) -> OrderRequest:
    """A buy, signed now."""
    name = f"gf1a2-b3c4d-12-b-{cycle}"
    return OrderRequest(
        grant=Grant(client_id=name, units=0, fence=1),
        client_id=name,
        symbol=BTC,
        side=Side.BUY,
        price=price,
        qty=qty,
        signed_at_ms=time.time_ns() // 1_000_000,
        valid_ms=5000,
    )


@asynccontextmanager
async def opened(name: str) -> AsyncIterator[tuple[LocalExchange, Any]]:
    """The exchange with steps of 1e-18 and 1e-9, and ccxt's client of it."""
    rules = SymbolRules(symbol=BTC, tick=Decimal("1E-9"), step=Decimal("1E-18"), min_qty=Decimal("1E-18"))
    config = Config(symbols={BTC: rules}, balances={"USDT": Decimal(10**9)})
    if name == "binance":
        async with local_exchange({BTC: walk(5)}, config) as server:
            yield server, real_ccxt(server)
    else:
        async with open_venue(name, {BTC: walk(5)}, config) as (_, server):
            yield server, venue_ccxt(name, server.url)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FIELDS)
async def test_the_body_of_an_order_request_holds_every_digit(name: str, case: str) -> None:
    """As plain decimal text, whatever steps the market has."""
    qty, price = CASES[case]
    async with opened(name) as (server, exchange):
        client = CcxtClient(exchange)
        await exchange.load_markets()
        exchange.markets[BTC]["precision"] = {"amount": 1e-18, "price": 1e-9}
        await client.place([request(qty, price)])
        sent = [row.params for row in (await server.record()).requests if row.method == "POST"][-1]
        await client.close()
    texts = [sent[field] for field in FIELDS[name]]
    assert [Decimal(text) for text in texts] == [qty, price]
    assert texts == [f"{value.normalize():f}" for value in (qty, price)]


@pytest.mark.parametrize("name", FIELDS)
async def test_what_the_present_steps_would_round_is_not_sent(name: str) -> None:
    """The steps grew after the order was journalled. The others of its batch are sent, and the answers keep order."""
    async with opened(name) as (server, exchange):
        client = CcxtClient(exchange)
        await exchange.load_markets()
        exchange.markets[BTC]["precision"] = {"amount": 1e-4, "price": 0.5}
        wanted = [("0.12345", "41000"), ("0.1234", "41000.5"), ("0.1234", "41000.25")]
        asked = [request(Decimal(qty), Decimal(price), 7 + place) for place, (qty, price) in enumerate(wanted)]
        answers = await client.place(asked)
        sent = [row for row in (await server.record()).requests if row.method == "POST"]
        await client.close()
    assert isinstance(answers[1], Accepted)
    assert answers[1].order.client_id == asked[1].client_id
    for answer in (answers[0], answers[2]):
        assert isinstance(answer, Rejected)
        assert answer.reason is RejectReason.FILTER, "the markets are read again before the next tick"
        assert "does not fit the market's present lot step 0.0001, tick size 0.5" in answer.detail
    assert len(sent) == 1


async def test_paper_orders_are_as_exact_as_their_lots(redis: RedisClient) -> None:
    """The paper market's smallest lot is 1e-8."""
    exchange = await open_manual_exchange(settings(), redis, {BTC: walk(5)})
    asked: list[tuple[Any, Any]] = []
    place_many, place_one = exchange.create_orders, exchange.create_order

    async def noted_many(orders: list[dict[str, Any]]) -> Any:
        asked.extend((order["amount"], order["price"]) for order in orders)
        return await place_many(orders)

    async def noted_one(symbol: str, kind: str, side: str, amount: Any, price: Any, params: Any) -> Any:
        asked.append((amount, price))
        return await place_one(symbol, kind, side, amount, price, params)

    exchange.create_orders, exchange.create_order = noted_many, noted_one  # type: ignore[method-assign, assignment]
    client = CcxtClient(exchange)
    await client.markets([BTC])
    exchange.markets[BTC]["precision"] = {"amount": 1e-18, "price": 1e-9}
    await client.place([request(*LONG)])
    await client.place([request(*LONG)] * 2)
    assert asked == [("0.123456789012345678", "41000.123456789")] * 3
    await client.close()
