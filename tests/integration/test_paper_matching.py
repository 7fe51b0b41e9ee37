"""The fill model, held against a small model in plain Decimals over random candles and orders."""

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks.base.redis_client import RedisClient
from tasks.paper.exchange import PaperExchange
from tests.support.paper import SYMBOL, Numbers, Wall, manual

SHARE = Decimal("0.001")
UNIT = Decimal("1e-8")
FUNDS = Decimal(1000)


def up(value: Decimal) -> Decimal:
    """To 1e-8, up."""
    return value.quantize(UNIT, ROUND_CEILING)


def down(value: Decimal) -> Decimal:
    """To 1e-8, down."""
    return value.quantize(UNIT, ROUND_FLOOR)


@dataclass
class Model:
    """What the exchange should hold: free and used money, resting orders, fills in order."""

    base_fee: bool
    last: Decimal
    free: dict[str, Decimal] = field(default_factory=lambda: {"USDT": FUNDS, "BTC": Decimal(0)})
    used: dict[str, Decimal] = field(default_factory=lambda: {"USDT": Decimal(0), "BTC": Decimal(0)})
    resting: dict[str, tuple[str, Decimal, Decimal]] = field(default_factory=dict)
    fills: list[tuple[str, Decimal, Decimal]] = field(default_factory=list)

    def price_of(self, side: str, price: Decimal, qty: Decimal) -> tuple[str, Decimal, str, Decimal, Decimal]:
        """Currency and amount paid, currency and amount got, fee."""
        fee = up(price * qty * SHARE)
        if side == "sell":
            return "BTC", qty, "USDT", down(price * qty) - fee, fee
        if self.base_fee:
            fee = up(qty * SHARE)
            return "USDT", up(price * qty), "BTC", qty - fee, fee
        return "USDT", up(price * qty) + fee, "BTC", qty, fee

    def place(self, client: str, side: str, price: Decimal, qty: Decimal) -> str:
        matches = price >= self.last if side == "buy" else price <= self.last
        at = self.last if matches else price
        if price * qty < 5:
            return "InvalidOrder"
        pays, amount, gets, got, fee = self.price_of(side, at, qty)
        if self.free[pays] < amount:
            return "InsufficientFunds"
        self.free[pays] -= amount
        if matches:
            self.free[gets] += got
            self.fills.append((client, at, fee))
            return "closed"
        self.used[pays] += amount
        self.resting[client] = (side, price, qty)
        return "open"

    def cancel(self, client: str) -> bool:
        if client not in self.resting:
            return False
        pays, amount, *_ = self.price_of(*self.resting.pop(client))
        self.used[pays] -= amount
        self.free[pays] += amount
        return True

    def candle(self, row: Numbers) -> None:
        opened, high, low, close = (Decimal(str(number)) for number in row)
        turns = [opened, low, high, close] if opened - low <= high - opened else [opened, high, low, close]
        hits = []
        for number, (client, (side, price, _)) in enumerate(self.resting.items()):
            if low <= price if side == "buy" else price <= high:
                hits.append((self.way(turns, side, price), number, client))
        for _, _, client in sorted(hits):
            side, price, qty = self.resting.pop(client)
            pays, amount, gets, got, fee = self.price_of(side, price, qty)
            self.used[pays] -= amount
            self.free[gets] += got
            self.fills.append((client, price, fee))
        self.last = close

    @staticmethod
    def way(turns: list[Decimal], side: str, price: Decimal) -> Decimal:
        """Length of the path before the price is first touched."""
        gone = Decimal(0)
        for begin, end in pairwise(turns):
            if price >= begin if side == "buy" else price <= begin:
                return gone
            if price >= end if side == "buy" else price <= end:
                return gone + abs(begin - price)
            gone += abs(begin - end)
        raise AssertionError("not touched")


prices = st.integers(95, 105).map(lambda whole: Decimal(whole) + Decimal("0.01"))  # few, so that they often meet
amounts = st.integers(4_000, 60_000).map(lambda lots: Decimal(lots) / 100_000)
orders = st.tuples(st.just("order"), st.sampled_from(["buy", "sell"]), prices, amounts)
cancels = st.tuples(st.just("cancel"), st.integers(0, 30))


@st.composite
def rows(draw: st.DrawFn) -> tuple[str, Numbers]:
    """A random candle, possibly with open or close at an extreme."""
    four = sorted(draw(st.lists(prices, min_size=4, max_size=4)))
    first, last = draw(st.sampled_from([(1, 2), (2, 1), (0, 3), (3, 0)]))
    return "candle", (four[first], four[3], four[0], four[last])


@pytest.mark.parametrize("fee_currency", ["quote", "base"])
@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=st.lists(st.one_of(orders, orders, orders, cancels, rows()), min_size=5, max_size=40))
async def test_matches_like_the_model(redis: RedisClient, fee_currency: str, steps: list[Any]) -> None:
    """Same fills in the same order at the same price and fee, same balances, and nothing ever negative."""
    await redis.flushdb()
    wall = Wall()
    path = [step[1] for step in steps if step[0] == "candle"]
    first = (100, 100, 100, 100.01)
    exchange = await manual(redis, [first, *path], wall, funds="1000", fee_currency=fee_currency)
    await exchange.advance()
    model = Model(fee_currency == "base", Decimal("100.01"))
    steps = [("order", "buy", Decimal(101), Decimal(4)), *steps]
    for number, step in enumerate(steps):
        wall.turn(1)
        await take(exchange, model, f"c-{number}", step)
        await check(exchange, model)
    await exchange.close()


async def take(exchange: PaperExchange, model: Model, client: str, step: Any) -> None:
    """One step in both worlds; their answers must agree."""
    if step[0] == "candle":
        model.candle(step[1])
        await exchange.advance()
    elif step[0] == "cancel":
        expected = model.cancel(f"c-{step[1]}")
        answer = await exchange.cancel_orders([], SYMBOL, {"clientOrderIds": [f"c-{step[1]}"]})
        assert (answer[0]["status"] == "canceled") is expected
    else:
        _, side, price, qty = step
        expected_status = model.place(client, side, price, qty)
        wanted = {"symbol": SYMBOL, "type": "limit", "side": side, "amount": qty, "price": price}
        order = (await exchange.create_orders([{**wanted, "params": {"clientOrderId": client}}]))[0]
        codes = {-2010: "InsufficientFunds", -1013: "InvalidOrder"}
        assert (codes.get(order["info"].get("code")) or order["status"]) == expected_status


async def check(exchange: PaperExchange, model: Model) -> None:
    """Balances and trades agree with the model; time and ids of trades only go up."""
    balance = (await exchange.fetch_balance())["info"]
    for currency in ("USDT", "BTC"):
        free, used, total = (Decimal(balance[currency][name]) for name in ("free", "used", "total"))
        assert (free, used) == (model.free[currency], model.used[currency])
        assert free >= 0
        assert used >= 0
        assert total == free + used
    trades = await exchange.fetch_my_trades(SYMBOL)
    seen = [(one["info"]["client"], Decimal(one["info"]["price"]), Decimal(one["info"]["fee"])) for one in trades]
    assert seen == model.fills
    stamps = [(one["timestamp"], int(one["id"])) for one in trades]
    assert stamps == sorted(stamps)
    resting = {order["clientOrderId"] for order in await exchange.fetch_open_orders(SYMBOL)}
    assert resting == set(model.resting)
