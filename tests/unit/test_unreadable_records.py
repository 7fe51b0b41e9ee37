"""What somebody else did on the account never hides our own orders and trades."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import SecretStr

from tasks.base.errors import ExchangeUnavailable
from tasks.exchange.client import CcxtClient
from tasks.exchange.connect import ccxt_exchange
from tasks.settings.model import ExchangeSettings

BTC, OURS, FOREIGN = "BTC/USDT", "g1a2b3c4d-12-b-7", "x-TKT5PX2F-1"
NOW_MS = 1_795_000_000_000
LISTS = {
    "binance": ("fetch_orders", "fetch_my_trades", "orderId"),
    "okx": ("fetch_closed_orders", "fetch_recent_trades", "ordId"),
    "bybit": ("fetch_canceled_and_closed_orders", "fetch_my_trades", ""),
}


def order(number: int, client_id: str | None, amount: float | None = 0.001) -> dict[str, Any]:
    """A cancelled order as ccxt gives it; one of a quote amount has no amount."""
    state = {"symbol": BTC, "side": "buy", "price": None, "amount": amount, "filled": 0.0, "status": "canceled"}
    info = {"ordId": str(number), "billId": str(number)}
    return {"id": str(number), "clientOrderId": client_id, "timestamp": NOW_MS + number, "info": info, **state}


def trade(number: int, client_id: str | None, amount: float | None = 0.001) -> dict[str, Any]:
    """An execution as ccxt gives it."""
    return {**order(number, client_id, amount), "order": "1", "price": 42_000.0}


class Lists:
    """One of ccxt's exchanges, whose list calls answer `held`, page by page where they are asked so."""

    def __init__(self, name: str, held: Sequence[dict[str, Any]]) -> None:
        settings = ExchangeSettings(id=name, api_key=SecretStr("k"), secret=SecretStr("s"), password=SecretStr("p"))
        self.ccxt, self.held = ccxt_exchange(settings), list(held)
        for method in {"fetch_open_orders", "fetch_my_trades", *LISTS[name][:2]}:
            setattr(self.ccxt, method, self._page)

    async def _page(self, symbol: str | None, since: int | None, limit: int | None, params: dict[str, Any]) -> Any:
        low, high = int(params.get("orderId", params.get("fromId", 0))), int(params.get("after", 2**62))
        found = [one for one in self.held if low <= int(one["id"]) < high]
        newest_first = self.ccxt.id == "okx"
        return sorted(found, key=lambda one: int(one["id"]), reverse=newest_first)[:limit]


async def ids(name: str, held: Sequence[dict[str, Any]], what: str = "orders") -> list[str]:
    """Ids of what the client reads out of `held`."""
    lists = Lists(name, held)
    client = CcxtClient(lists.ccxt)
    try:
        if what == "trades":
            return [one.trade_id for one in await client.trades(BTC, NOW_MS)]
        asked = {"orders": client.orders, "open": client.open_orders}
        found = await (client.all_open_orders() if what == "all open" else asked[what](BTC))
        return [one.exchange_id for one in found]
    finally:
        await client.close()


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("what", ["orders", "open", "all open"])
async def test_an_unreadable_order_of_somebody_else_is_left_out(name: str, what: str) -> None:
    """In every list of orders; a client id that is not ours, or none."""
    ours = OURS.replace("-", "Z") if name == "okx" else OURS
    kinds = [(client_id, amount) for client_id in (FOREIGN, None, "") for amount in (None, 0.0)]
    others = [order(number, *kind) for number, kind in enumerate(kinds, 2)]
    assert await ids(name, [order(1, ours), *others, order(9, FOREIGN)], what) == ["1", "9"]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("what", ["orders", "open", "all open"])
async def test_an_unreadable_order_of_ours_is_never_left_out(name: str, what: str) -> None:
    """Nothing may be decided on a list without it."""
    ours = OURS.replace("-", "Z") if name == "okx" else OURS
    with pytest.raises(ExchangeUnavailable, match="an order in the answer is unreadable"):
        await ids(name, [order(1, ours, None), order(2, FOREIGN)], what)


@pytest.mark.parametrize("name", LISTS)
async def test_an_unreadable_trade_is_left_out_only_when_it_is_surely_not_ours(name: str) -> None:
    """Trades without a client id may be ours."""
    ours = OURS.replace("-", "Z") if name == "okx" else OURS
    assert await ids(name, [trade(1, None), trade(2, FOREIGN, None), trade(3, ours)], "trades") == ["1", "3"]
    for client_id in (ours, None, ""):
        with pytest.raises(ExchangeUnavailable, match="a trade in the answer is unreadable"):
            await ids(name, [trade(1, None), trade(2, client_id, 0.0)], "trades")


@pytest.mark.parametrize(("name", "size"), [("binance", 1000), ("okx", 100)])
async def test_a_whole_page_of_them_does_not_end_the_list(name: str, size: int) -> None:
    """Ours lie behind it."""
    ours = OURS.replace("-", "Z") if name == "okx" else OURS
    number, others = (1, range(2, size + 2)) if name == "okx" else (size + 1, range(1, size + 1))
    held = [order(number, ours), *(order(one, None, None) for one in others)]
    assert await ids(name, held) == [str(number)]
    held = [one | {"timestamp": None} if one["amount"] is None else one for one in held]
    assert await ids(name, held) == [str(number)]


async def test_each_of_them_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """However often the list is read."""
    with caplog.at_level(logging.WARNING, "tasks.exchange.parsing"):
        for _ in range(3):
            await ids("okx", [order(7001, FOREIGN, None), order(7002, None, None)])
    said = sorted(record.__dict__["record"] for record in caplog.records if "left out" in record.message)
    assert said == ["7001", "7002"]


async def test_what_okx_says_of_a_cancelled_order_of_a_quote_amount() -> None:
    """Read by ccxt itself, it has no amount."""
    lists = Lists("okx", [])
    raw = {"instType": "SPOT", "instId": "BTC-USDT", "ordId": "9", "clOrdId": "", "px": "", "sz": "100", "fillSz": "0"}
    raw |= {"ordType": "market", "side": "buy", "tgtCcy": "quote_ccy", "accFillSz": "0", "avgPx": ""}
    raw |= {"state": "canceled", "cTime": str(NOW_MS), "uTime": str(NOW_MS), "fee": "0", "feeCcy": "BTC"}
    parsed = lists.ccxt.parse_order(raw)
    await lists.ccxt.close()
    assert not parsed["amount"]
    assert await ids("okx", [parsed, order(10, FOREIGN)]) == ["10"]
