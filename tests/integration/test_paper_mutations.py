"""ccxt's unified tests are worth running: each of six seeded mistakes in the paper exchange makes one of them fail."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tasks.base.redis_client import RedisClient
from tasks.paper.exchange import PaperExchange
from tests.support.ccxt_unified import SYMBOL, shipped, traded_exchange


def total_is_not_free_plus_used(balance: Any) -> Any:
    """One currency's total is off."""
    balance["USDT"]["total"] += 1
    balance["total"]["USDT"] += 1
    return balance


def wrong_status(orders: Any) -> Any:
    """An open order that says it is closed."""
    return [order | {"status": "closed"} for order in orders]


def trade_without_fee(trades: Any) -> Any:
    """A trade whose fee has no cost."""
    return [trade | {"fee": {"currency": "USDT", "cost": None}, "fees": [{"currency": "USDT"}]} for trade in trades]


def wrong_filled_amount(orders: Any) -> Any:
    """More filled than ordered."""
    return [order | {"filled": order["amount"] * 2} for order in orders]


def unsorted_book(book: Any) -> Any:
    """Asks from dear to cheap."""
    book["asks"] = list(reversed([*book["asks"], [book["asks"][0][0] * 2, 1.0]]))
    return book


def time_as_text(ticker: Any) -> Any:
    """A time stamp that is not a number."""
    return ticker | {"timestamp": str(ticker["timestamp"])}


MISTAKES: list[tuple[Callable[[Any], Any], str, str]] = [
    (total_is_not_free_plus_used, "fetch_balance", "fetch_balance"),
    (wrong_status, "fetch_open_orders", "fetch_open_orders"),
    (trade_without_fee, "fetch_my_trades", "fetch_my_trades"),
    (wrong_filled_amount, "fetch_orders", "fetch_orders"),
    (unsorted_book, "fetch_order_book", "fetch_order_book"),
    (time_as_text, "fetch_ticker", "fetch_ticker"),
]


@pytest.fixture
async def exchange(redis: RedisClient) -> AsyncIterator[PaperExchange]:
    """A paper exchange that has traded."""
    async with traded_exchange(redis) as opened:
        yield opened


@pytest.fixture
async def mistaken(exchange: PaperExchange, request: pytest.FixtureRequest) -> PaperExchange:
    """The paper exchange with one method's answer spoiled."""
    spoil, method = request.param
    honest = getattr(exchange, method)

    async def spoiled(*arguments: Any, **named: Any) -> Any:
        return spoil(await honest(*arguments, **named))

    setattr(exchange, method, spoiled)
    return exchange


@pytest.mark.parametrize(
    ("mistaken", "name"),
    [((spoil, method), name) for spoil, method, name in MISTAKES],
    ids=[spoil.__name__ for spoil, _, _ in MISTAKES],
    indirect=["mistaken"],
)
async def test_each_mistake_is_caught(mistaken: PaperExchange, name: str) -> None:
    """The same test passes on the honest exchange (15 of 15) and fails here."""
    arguments = () if name == "fetch_balance" else (SYMBOL,)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - ccxt's tests raise AssertionError or what they trip over
        await shipped(name)(mistaken, {}, *arguments)
    assert not isinstance(caught.value, TimeoutError)
