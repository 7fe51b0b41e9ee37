"""The fill model in Python, held against the paper exchange's scripts over random candles and orders."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks.base.money import from_units
from tasks.base.redis_client import RedisClient
from tasks.paper.exchange import PaperExchange
from tasks.paper.matching import Execution, Matching, PaperAccount, Path, PlaceCode
from tasks.paper.orders import REFUSALS, filter_refusal
from tasks.paper.units import UNITS, Fees, to_units
from tests.support.paper import SYMBOL, Numbers, Wall, manual

SHARE = Decimal("0.001")
FUNDS = 1000


def units(number: Decimal | float | int | str) -> int:
    """To 1e-8."""
    return to_units(Decimal(str(number)))


class Model:
    """The fill model, and its fills in order: client id, price and fee."""

    def __init__(self, base_fee: bool, last: Decimal) -> None:
        self.account = PaperAccount()
        self.account.open("USDT", FUNDS * UNITS)
        self.market = Matching(SYMBOL, units(last), Fees(SHARE, SHARE, base_fee), self.account)
        self.fills: list[tuple[str, Decimal, Decimal]] = []

    def note(self, fill: Execution) -> None:
        self.fills.append((fill.order.client, from_units(fill.price), from_units(fill.amounts.fee)))

    def place(self, client: str, side: str, price: Decimal, qty: Decimal, post_only: bool) -> str:
        """The order's status, or why it is refused."""
        if price * qty < 5:
            return filter_refusal("NOTIONAL").message
        code, fill = self.market.place(client, side, units(price), units(qty), post_only=post_only)
        if fill:
            self.note(fill)
        return REFUSALS[code].message if code is not PlaceCode.OK else "closed" if fill else "open"

    def candle(self, row: Numbers) -> None:
        for fill in self.market.play(Path(*map(units, row))):
            self.note(fill)


prices = st.integers(95, 105).map(lambda whole: Decimal(whole) + Decimal("0.01"))  # few, so that they often meet
amounts = st.integers(4_000, 60_000).map(lambda lots: Decimal(lots) / 100_000)
orders = st.tuples(st.just("order"), st.sampled_from(["buy", "sell"]), prices, amounts, st.booleans())
cancels = st.tuples(st.just("cancel"), st.integers(0, 30))


@st.composite
def rows(draw: st.DrawFn) -> tuple[str, Numbers]:
    """A random candle, possibly with open or close at an extreme, or with an open as far from both extremes."""
    four = sorted(draw(st.lists(prices, min_size=4, max_size=4)))
    first, last = draw(st.sampled_from([(1, 2), (2, 1), (0, 3), (3, 0)]))
    opened = (four[0] + four[3]) / 2 if draw(st.booleans()) else four[first]
    return "candle", (opened, four[3], four[0], four[last])


@pytest.mark.parametrize("fee_currency", ["quote", "base"])
@hypothesis_settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
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
    steps = [("order", "buy", Decimal(101), Decimal(4), False), *steps]
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
        expected = model.market.cancel(f"c-{step[1]}") is not None
        answer = await exchange.cancel_orders([], SYMBOL, {"clientOrderIds": [f"c-{step[1]}"]})
        assert (answer[0]["status"] == "canceled") is expected
    else:
        _, side, price, qty, post_only = step
        expected_status = model.place(client, side, price, qty, post_only)
        params = {"clientOrderId": client, "postOnly": post_only}
        wanted = {"symbol": SYMBOL, "type": "limit", "side": side, "amount": qty, "price": price, "params": params}
        order = (await exchange.create_orders([wanted]))[0]
        assert (order["info"].get("msg") or order["status"]) == expected_status


async def check(exchange: PaperExchange, model: Model) -> None:
    """Balances and trades agree with the model; time and ids of trades only go up."""
    balance = (await exchange.fetch_balance())["info"]
    for currency in ("USDT", "BTC"):
        free, used, total = (Decimal(balance[currency][name]) for name in ("free", "used", "total"))
        own = model.account
        assert (free, used) == (from_units(own.free[currency]), from_units(own.used[currency]))
        assert free >= 0
        assert used >= 0
        assert total == free + used
    trades = await exchange.fetch_my_trades(SYMBOL)
    seen = [(one["info"]["client"], Decimal(one["info"]["price"]), Decimal(one["info"]["fee"])) for one in trades]
    assert seen == model.fills
    stamps = [(one["timestamp"], int(one["id"])) for one in trades]
    assert stamps == sorted(stamps)
    resting = {order["clientOrderId"] for order in await exchange.fetch_open_orders(SYMBOL)}
    assert resting == set(model.market.resting)
