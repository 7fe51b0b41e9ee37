"""Placing, cancelling and looking up orders, and how the paper exchange refuses."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from ccxt.base import errors

from tasks.base.redis_client import RedisClient
from tasks.paper.exchange import PaperExchange
from tasks.paper.market import writing
from tests.support.paper import SYMBOL, Wall, manual

ROWS = [(100, 100, 100, 100), (100, 106, 95, 104), (104, 104, 90, 92), (92, 120, 92, 118)]


@pytest.fixture
def wall() -> Wall:
    """The clock of exchange and test."""
    return Wall()


@pytest.fixture
async def exchange(redis: RedisClient, wall: Wall) -> AsyncIterator[PaperExchange]:
    """A market at 100 with 10,000 USDT."""
    exchange = await manual(redis, ROWS, wall)
    await exchange.advance()
    yield exchange
    await exchange.close()


def limit(side: str, price: float, client: str, qty: float = 1, **params: Any) -> dict[str, Any]:
    """One order of a batch."""
    wanted = {"symbol": SYMBOL, "type": "limit", "side": side, "amount": qty, "price": price}
    return {**wanted, "params": {"clientOrderId": client, **params}}


async def free(exchange: PaperExchange, currency: str = "USDT") -> tuple[float, float]:
    """Free and used amount."""
    balance = await exchange.fetch_balance()
    return balance[currency]["free"], balance[currency]["used"]


async def test_a_resting_buy_locks_cost_and_fee(exchange: PaperExchange) -> None:
    """Cancelling gives all of it back."""
    order = await exchange.create_order(SYMBOL, "limit", "buy", 2, 95)
    assert (order["status"], order["filled"], order["remaining"]) == ("open", 0, 2)
    assert await free(exchange) == (10_000 - 190.19, 190.19)
    cancelled = await exchange.cancel_order(order["id"], SYMBOL)
    assert cancelled["status"] == "canceled"
    assert await free(exchange) == (10_000, 0)


async def test_a_marketable_order_takes_at_the_last_price(exchange: PaperExchange) -> None:
    """It fills at once, whole, at 100 although it would pay 110, with the taker fee."""
    order = await exchange.create_order(SYMBOL, "limit", "buy", 2, 110)
    assert (order["status"], order["average"], order["cost"]) == ("closed", 100, 200)
    assert order["fee"] == {"cost": 0.2, "currency": "USDT"}
    assert await free(exchange) == (9799.8, 0)
    assert (await exchange.fetch_my_trades(SYMBOL))[0]["takerOrMaker"] == "taker"


async def test_an_order_rests_from_the_next_candle_on(exchange: PaperExchange) -> None:
    """The candle after it fills it, both sides at their own price; low comes first where it is nearer."""
    await exchange.create_order(SYMBOL, "market", "buy", 1)
    await exchange.create_orders([limit("sell", 106, "s"), limit("buy", 95, "b"), limit("buy", 94.99, "c")])
    await exchange.advance()
    trades = (await exchange.fetch_my_trades(SYMBOL))[1:]
    assert [(one["info"]["client"], one["price"], one["takerOrMaker"]) for one in trades] == [
        ("b", 95, "maker"),
        ("s", 106, "maker"),
    ]
    assert trades[0]["info"]["candleTime"] == 1_704_067_260_000
    assert [order["clientOrderId"] for order in await exchange.fetch_open_orders(SYMBOL)] == ["c"]


@pytest.mark.parametrize(
    ("candle", "order"),
    [
        ((100, 105, 95, 100), ["buy", "sell"]),  # a tie: low first
        ((100, 104, 95, 100), ["sell", "buy"]),
        ((100, 105, 96, 100), ["buy", "sell"]),
        ((103.5, 104, 95, 95), ["sell", "buy"]),  # opens above the sell: touched at once
    ],
)
async def test_the_nearer_extreme_comes_first(redis: RedisClient, candle: Any, order: list[str]) -> None:
    """Which extreme lies nearer to the open decides the order of the fills."""
    exchange = await manual(redis, [(100, 100, 100, 100), candle])
    await exchange.advance()
    await exchange.create_order(SYMBOL, "market", "buy", 1)
    await exchange.create_orders([limit("sell", 103, "s"), limit("buy", 97, "b")])
    await exchange.advance()
    assert [trade["side"] for trade in (await exchange.fetch_my_trades(SYMBOL))[1:]] == order
    await exchange.close()


async def test_a_batch_answers_each_order(exchange: PaperExchange) -> None:
    """A refusal refuses one order, not the batch; answers keep the order of the requests."""
    orders = await exchange.create_orders(
        [
            limit("buy", 99, "a"),
            limit("buy", 99, "a"),
            limit("buy", 1, "b"),
            limit("sell", 120, "c"),
            limit("buy", 98, "d"),
        ]
    )
    assert [order["status"] for order in orders] == ["open", "rejected", "rejected", "rejected", "open"]
    assert [order["info"].get("code") for order in orders] == [None, -2010, -1013, -2010, None]
    assert [order["clientOrderId"] for order in orders] == ["a", "a", "b", "c", "d"]
    assert orders[3]["info"]["msg"] == "Account has insufficient balance for requested action."


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("limit", "buy", 200, 99), errors.InsufficientFunds),
        (("limit", "sell", 1, 101), errors.InsufficientFunds),
        (("limit", "buy", 0.04, 99), errors.InvalidOrder),
        (("limit", "buy", 0.000001, 99), errors.InvalidOrder),
        (("limit", "buy", 1, 2_000_000), errors.InvalidOrder),
        (("limit", "buy", 1, 100, {"postOnly": True}), errors.OrderImmediatelyFillable),
        (("limit", "buy", 1, 99, {"clientOrderId": "x" * 37}), errors.BadRequest),
        (("limit", "buy", 1, 99, {"stopPrice": 3}), errors.BadRequest),
        (("limit", "buy", "much", 99), errors.BadRequest),
        (("stop", "buy", 1, 99), errors.BadRequest),
        (("limit", "hold", 1, 99), errors.BadRequest),
        (("limit", "buy", 1, 99, {"timestamp": 1, "recvWindow": 70_000}), errors.BadRequest),
    ],
)
async def test_refusals_are_ccxt_errors(exchange: PaperExchange, args: Any, error: type[Exception]) -> None:
    """Nothing is placed and no money moves."""
    with pytest.raises(error):
        await exchange.create_order(SYMBOL, *args)
    assert await exchange.fetch_orders(SYMBOL) == []
    assert await free(exchange) == (10_000, 0)


async def test_unknown_names(exchange: PaperExchange) -> None:
    """Symbols and orders that do not exist."""
    with pytest.raises(errors.BadSymbol):
        await exchange.fetch_ticker("NO/SUCH")
    with pytest.raises(errors.OrderNotFound):
        await exchange.fetch_order("1", SYMBOL)
    with pytest.raises(errors.OrderNotFound):
        await exchange.fetch_order(None, SYMBOL, {"clientOrderId": "never"})
    with pytest.raises(errors.OrderNotFound):
        await exchange.cancel_order("1", SYMBOL)
    assert (await exchange.cancel_orders(["1"], SYMBOL))[0]["info"]["code"] == -2011


async def test_a_client_id_is_taken_while_its_order_is_open(exchange: PaperExchange) -> None:
    """Once filled or cancelled, the id is free again, as on Binance; a lookup finds the newest."""
    first = await exchange.create_order(SYMBOL, "limit", "buy", 1, 99, {"clientOrderId": "a"})
    with pytest.raises(errors.DuplicateOrderId):
        await exchange.create_order(SYMBOL, "limit", "buy", 1, 98, {"clientOrderId": "a"})
    await exchange.cancel_order(None, SYMBOL, {"clientOrderId": "a"})
    second = await exchange.create_order(SYMBOL, "limit", "buy", 1, 98, {"clientOrderId": "a"})
    assert first["id"] != second["id"] == (await exchange.fetch_order(None, SYMBOL, {"clientOrderId": "a"}))["id"]
    assert (await exchange.fetch_order(first["id"], SYMBOL))["status"] == "canceled"


@pytest.mark.parametrize(
    ("age_ms", "refused"), [(0, False), (5000, False), (5001, True), (-1000, False), (-1001, True)]
)
async def test_a_stale_or_early_request_is_refused(
    exchange: PaperExchange, wall: Wall, age_ms: int, refused: bool
) -> None:
    """A request signed too long ago, or in the future, places nothing."""
    params = {"clientOrderId": "a", "timestamp": wall.ms - age_ms, "recvWindow": 5000}
    if not refused:
        assert (await exchange.create_order(SYMBOL, "limit", "buy", 1, 99, params))["status"] == "open"
        return
    with pytest.raises(errors.InvalidNonce):
        await exchange.create_order(SYMBOL, "limit", "buy", 1, 99, params)
    assert await exchange.fetch_open_orders(SYMBOL) == []


async def test_a_repeated_call_does_not_act_twice(exchange: PaperExchange) -> None:
    """A client that resends a call after a broken connection gets the first answer again."""
    args = [
        "a",
        "b",
        "limit",
        "GTC",
        "9900000000",
        "100000000",
        "rest",
        "9909900000",
        "100000000",
        "1",
        "1",
        "q",
        "",
        "",
    ]
    operation = writing(SYMBOL, "place", args)
    once, again = (await exchange.paper.run(operation))[0], (await exchange.paper.run(operation))[0]
    assert once.texts == again.texts
    assert len(await exchange.fetch_orders(SYMBOL)) == 1
    cancel = writing(SYMBOL, "cancel", ["c:a"])
    assert (await exchange.paper.run(cancel))[0].texts == (await exchange.paper.run(cancel))[0].texts


async def test_trades_page_by_time_and_by_id(exchange: PaperExchange, wall: Wall) -> None:
    """`since` gives the earliest from there, `fromId` goes on, neither gives the newest."""
    for _ in range(5):
        wall.turn(1)
        await exchange.create_order(SYMBOL, "market", "buy", 0.1)
    everything = await exchange.fetch_my_trades(SYMBOL)
    ids = [trade["id"] for trade in everything]
    assert [one["id"] for one in await exchange.fetch_my_trades(SYMBOL, limit=2)] == ids[-2:]
    page = await exchange.fetch_my_trades(SYMBOL, everything[1]["timestamp"], 2)
    assert [one["id"] for one in page] == ids[1:3]
    rest = await exchange.fetch_my_trades(SYMBOL, None, None, {"fromId": int(page[-1]["id"]) + 1})
    assert [one["id"] for one in rest] == ids[3:]
    assert await exchange.fetch_my_trades(SYMBOL, wall.ms + 1) == []
    assert [one["id"] for one in await exchange.fetch_order_trades(everything[2]["order"], SYMBOL)] == [ids[2]]


async def test_a_trade_never_bears_a_time_already_reported_empty(redis: RedisClient) -> None:
    """Who asks for trades since his last question misses none, though a candle fills backwards in time."""
    wall = Wall()
    exchange = await manual(redis, ROWS, wall)
    await exchange.advance()
    await exchange.create_order(SYMBOL, "limit", "buy", 1, 99)
    wall.turn(30)
    asked = wall.ms
    assert await exchange.fetch_my_trades(SYMBOL, asked) == []
    wall.turn(30)
    await exchange.advance()
    assert len(await exchange.fetch_my_trades(SYMBOL, asked)) == 1
    await exchange.close()


async def test_fetching_orders_by_fate(exchange: PaperExchange, wall: Wall) -> None:
    """All, filled, cancelled, open; oldest first; since and limit."""
    await exchange.create_orders([limit("buy", 96, "fills"), limit("buy", 50, "goes"), limit("buy", 60, "stays")])
    await exchange.cancel_order(None, SYMBOL, {"clientOrderId": "goes"})
    await exchange.advance()

    async def names(method: Any, *args: Any) -> list[str]:
        return [order["clientOrderId"] for order in await method(SYMBOL, *args)]

    assert await names(exchange.fetch_orders) == ["fills", "goes", "stays"]
    assert await names(exchange.fetch_orders, None, 1) == ["stays"]
    assert await names(exchange.fetch_closed_orders) == ["fills"]
    assert await names(exchange.fetch_canceled_orders) == ["goes"]
    assert await names(exchange.fetch_open_orders) == ["stays"]
    assert await names(exchange.fetch_orders, wall.ms + 1) == []
    assert [order["status"] for order in await exchange.cancel_all_orders(SYMBOL)] == ["canceled"]
