"""The loopback exchange speaks Binance's spot protocol: the real ccxt client trades on it and sees its refusals."""

import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from tests.support.binance.config import Config
from tests.support.binance.desk import real_ccxt
from tests.support.binance.record import by_client_id, most_committed, open_orders, sent_twice, unseen_trades
from tests.support.binance.server import LocalExchange, local_exchange
from tests.support.desk import BTC, walk


@pytest.fixture
async def server() -> AsyncIterator[LocalExchange]:
    """A walk of 60 candles from 42000."""
    async with local_exchange({BTC: walk(60), "BNB/USDT": walk(60, seed=2, start="312")}) as exchange:
        yield exchange


@pytest.fixture
async def binance(server: LocalExchange) -> AsyncIterator[Any]:
    """ccxt.binance on that server, its markets loaded."""
    exchange = real_ccxt(server)
    exchange.options["fetchOpenOrders"] = {"warnWithoutSymbol": False}
    await exchange.load_markets()
    yield exchange
    await exchange.close()


def raw_order(**changes: str) -> dict[str, str]:
    """A new order as Binance wants it, past ccxt's own rounding."""
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
    return order | {"quantity": "0.001", "price": "41000"} | changes


async def rest(binance: Any, price: float, client_id: str | None = None) -> Any:
    """A resting buy of 0.001."""
    params = {} if client_id is None else {"clientOrderId": client_id}
    return await binance.create_order(BTC, "limit", "buy", 0.001, price, params)


async def test_markets_show_filters(binance: Any) -> None:
    """Tick, lot step and minimum notional arrive as ccxt reads them."""
    market = binance.market(BTC)
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.01, 0.00001)
    assert market["limits"]["cost"]["min"] == 5
    assert market["spot"]


async def test_a_market_order_fills_at_once_as_taker(binance: Any) -> None:
    """At the last price, with its trade and fee."""
    order = await binance.create_order(BTC, "market", "buy", 0.001)
    assert (order["status"], order["average"], order["filled"]) == ("closed", 42000, 0.001)
    (trade,) = await binance.fetch_my_trades(BTC)
    assert (trade["takerOrMaker"], trade["fee"]) == ("taker", {"cost": 0.042, "currency": "USDT"})
    assert (await binance.fetch_balance())["BTC"]["free"] == 0.001


async def test_a_limit_order_rests_then_fills_by_a_candle_as_maker(binance: Any, server: LocalExchange) -> None:
    """Its own price; money is locked while it rests, fee included."""
    order = await rest(binance, 41_900, "one")
    assert order["status"] == "open"
    balance = (await binance.fetch_balance())["USDT"]
    assert (balance["free"], balance["used"]) == (9958.0581, 41.9419)
    await server.advance(60)
    assert await binance.fetch_open_orders(BTC) == []
    done = await binance.fetch_order(order["id"], BTC)
    assert (done["status"], done["average"]) == ("closed", 41_900)
    (trade,) = await binance.fetch_my_trades(BTC)
    assert (trade["takerOrMaker"], trade["order"]) == ("maker", order["id"])
    assert (await binance.fetch_balance())["USDT"]["used"] == 0


async def test_a_marketable_limit_takes_the_better_price(binance: Any) -> None:
    """A buy above the market pays the market's price."""
    order = await rest(binance, 43_000)
    assert (order["status"], order["average"]) == ("closed", 42_000)


async def test_cancel_one_and_all(binance: Any) -> None:
    """Cancelled orders free their money; a second cancel is refused as unknown."""
    first = await rest(binance, 41_000)
    await rest(binance, 40_000)
    assert (await binance.cancel_order(first["id"], BTC))["status"] == "canceled"
    assert [order["price"] for order in await binance.fetch_open_orders()] == [40_000]
    await binance.cancel_all_orders(BTC)
    assert await binance.fetch_open_orders(BTC) == []
    assert (await binance.fetch_balance())["USDT"]["free"] == 10_000
    with pytest.raises(ccxt.OrderNotFound):
        await binance.cancel_order(first["id"], BTC)


async def test_an_id_is_unique_among_open_orders_only(binance: Any) -> None:
    """A filled order frees its id; the id then names the last order that had it."""
    first = await binance.create_order(BTC, "limit", "buy", 0.001, 43_000, {"clientOrderId": "same"})
    second = await rest(binance, 41_000, "same")
    assert first["id"] != second["id"]
    with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
        await rest(binance, 40_000, "same")
    found = await binance.fetch_order(None, BTC, {"clientOrderId": "same"})
    assert found["id"] == second["id"]


REFUSALS: list[tuple[dict[str, str], type[Exception], str]] = [
    ({"price": "41000.001"}, ccxt.InvalidOrder, "PRICE_FILTER|price is invalid"),
    ({"quantity": "0.0010001"}, ccxt.InvalidOrder, "lot size"),
    ({"price": "1000"}, ccxt.InvalidOrder, "PERCENT_PRICE_BY_SIDE"),
    ({"quantity": "0.0001"}, ccxt.BadRequest, "NOTIONAL"),
    ({"quantity": "5"}, ccxt.InsufficientFunds, "insufficient balance"),
    ({"type": "LIMIT_MAKER", "price": "42000"}, ccxt.OrderImmediatelyFillable, "immediately match and take"),
    ({"symbol": "DOGEUSDT"}, ccxt.BadSymbol, "Invalid symbol"),
    ({"newClientOrderId": "no/slash"}, ccxt.ExchangeError, "Illegal characters"),
]


@pytest.mark.parametrize(("changes", "kind", "said"), REFUSALS)
async def test_refused_orders(
    binance: Any, server: LocalExchange, changes: dict[str, str], kind: type[Exception], said: str
) -> None:
    """Each refusal reaches the caller as ccxt's exception; nothing is placed."""
    with pytest.raises(kind, match=said):
        await binance.private_post_order(raw_order(**changes))
    assert (await server.record()).orders == ()


async def test_too_many_open_orders(binance: Any, server: LocalExchange) -> None:
    """MAX_NUM_ORDERS counts what rests in the symbol."""
    few = server.binance.engine.config.symbols[BTC].model_copy(update={"max_orders": 2})
    await server.configure(symbols={BTC: few})
    for price in (41_000, 40_000):
        await rest(binance, price)
    with pytest.raises(ccxt.BadRequest, match="MAX_NUM_ORDERS"):
        await rest(binance, 39_000)


async def test_unknown_orders_and_bad_keys(binance: Any, server: LocalExchange) -> None:
    """A query for nothing, a wrong secret, a wrong key."""
    with pytest.raises(ccxt.OrderNotFound):
        await binance.fetch_order("1", BTC)
    binance.secret = "other"
    with pytest.raises(ccxt.AuthenticationError, match="-1022"):
        await binance.fetch_balance()
    binance.apiKey = "other"
    with pytest.raises(ccxt.AuthenticationError, match="-2015"):
        await binance.fetch_balance()


@pytest.mark.parametrize(("age_ms", "valid_ms", "taken"), [(400, 500, True), (600, 500, False), (-2000, 500, False)])
async def test_an_old_request_is_refused(binance: Any, age_ms: int, valid_ms: int, taken: bool) -> None:
    """`timestamp` and `recvWindow` in ccxt's params decide, not the moment of sending."""
    params = {"timestamp": int(time.time() * 1000) - age_ms, "recvWindow": valid_ms}
    if taken:
        assert (await binance.create_order(BTC, "limit", "buy", 0.001, 41_000, params))["id"]
        return
    with pytest.raises(ccxt.InvalidNonce):
        await binance.create_order(BTC, "limit", "buy", 0.001, 41_000, params)


async def test_trades_page_by_time_and_by_id(binance: Any, server: LocalExchange) -> None:
    """Oldest first from `startTime` or `fromId`, the newest without; both together are refused."""
    started = server.binance.now_ms()
    for _ in range(5):
        await binance.create_order(BTC, "market", "buy", 0.001)
    ids = [trade["id"] for trade in await binance.fetch_my_trades(BTC)]
    assert [trade["id"] for trade in await binance.fetch_my_trades(BTC, started, 2)] == ids[:2]
    assert [trade["id"] for trade in await binance.fetch_my_trades(BTC, None, 2)] == ids[-2:]
    page = await binance.fetch_my_trades(BTC, None, 2, {"fromId": ids[2]})
    assert [trade["id"] for trade in page] == ids[2:4]
    with pytest.raises(ccxt.BadRequest, match="-1128"):
        await binance.fetch_my_trades(BTC, started, 2, {"fromId": ids[2]})
    with pytest.raises(ccxt.BadRequest, match="-1130"):
        await binance.fetch_my_trades(BTC, started, 1001)


async def test_prices_and_bars(binance: Any, server: LocalExchange) -> None:
    """Ticker, book and bars tell of the same market."""
    await server.advance(30)
    candle = server.binance.engine.candles["BTCUSDT"][29]
    ticker = await binance.fetch_ticker(BTC)
    assert ticker["bid"] == ticker["ask"] == ticker["last"] == float(candle.close)
    assert set(await binance.fetch_tickers([BTC])) == {BTC}
    assert (await binance.fetch_order_book(BTC))["asks"][0][0] == ticker["last"]
    bars = await binance.fetch_ohlcv(BTC, "1m")
    assert (len(bars), bars[-1][0], bars[-1][4]) == (30, candle.at_ms, ticker["last"])
    assert (await binance.fetch_trading_fee(BTC))["maker"] == 0.001
    assert (await binance.fetch_time()) == pytest.approx(time.time() * 1000, abs=1000)


WEIGHTS = [
    ("fetch_open_orders", [BTC], 6),
    ("fetch_open_orders", [], 80),
    ("fetch_my_trades", [BTC], 20),
    ("fetch_ticker", [BTC], 2),
    ("fetch_tickers", [], 80),
    ("fetch_balance", [], 20),
    ("fetch_order_book", [BTC], 5),
    ("fetch_ohlcv", [BTC], 2),
]


@pytest.mark.parametrize(("call", "arguments", "weight"), WEIGHTS)
async def test_weights(binance: Any, server: LocalExchange, call: str, arguments: list[str], weight: int) -> None:
    """Every answer says how much of the minute is used."""
    server.binance.limits.lift()
    await getattr(binance, call)(*arguments)
    assert binance.last_response_headers["X-MBX-USED-WEIGHT-1M"] == str(weight)
    assert (await server.record()).requests[-1].weight == weight


async def test_over_the_limit_then_banned(binance: Any, server: LocalExchange) -> None:
    """429 with Retry-After first; who goes on gets 418 and the end of the ban, until it is over."""
    await server.configure(weight_limit=110, strikes=2, ban_seconds=0.3)
    await binance.fetch_open_orders()
    for _ in range(2):
        with pytest.raises(ccxt.DDoSProtection, match="429"):
            await binance.fetch_balance()
        assert 1 <= int(binance.last_response_headers["Retry-After"]) <= 60
    with pytest.raises(ccxt.DDoSProtection, match="418") as banned:
        await binance.fetch_balance()
    assert str(server.binance.limits.banned_until) in str(banned.value)
    outcomes = [row.outcome for row in (await server.record()).requests]
    assert outcomes[-3:] == ["429 -1003", "429 -1003", "418 -1003"]
    assert (await server.record()).highest_weight > 110
    await server.clear_faults()
    await binance.fetch_balance()


@pytest.mark.parametrize(("mode", "coin"), [("quote", "USDT"), ("base", "BTC"), ("BNB", "BNB")])
async def test_fee_currencies(mode: str, coin: str) -> None:
    """A buy's fee in quote, in what is received, or in BNB."""
    held = {"USDT": Decimal(1000), "BNB": Decimal(1)}
    markets = {BTC: walk(3), "BNB/USDT": walk(3, start="312")}
    config = Config(balances=held).changed(fee_currency=mode)
    async with local_exchange(markets, config) as server:
        exchange = real_ccxt(server)
        order = await exchange.create_order(BTC, "market", "buy", 0.001)
        await exchange.close()
        assert order["fee"]["currency"] == coin
        totals = (await server.record()).totals
    fee = Decimal(str(order["fee"]["cost"]))
    assert fee > 0
    assert totals[coin] == {"USDT": Decimal(958) - fee, "BTC": Decimal("0.001") - fee, "BNB": 1 - fee}[coin]


async def test_split_and_partial_fills(binance: Any, server: LocalExchange) -> None:
    """One fill may be several trades, and may leave a part resting."""
    await server.configure(fill_parts=3)
    order = await binance.create_order(BTC, "market", "buy", 0.001)
    assert [trade["amount"] for trade in order["trades"]] == [0.00033, 0.00033, 0.00034]
    await server.configure(fill_parts=1, partial_share=0.5)
    await rest(binance, 41_990, "half")
    while not (await server.record()).orders[1].executed:
        await server.advance(1)
    (row,) = await binance.fetch_open_orders(BTC)
    assert (row["filled"], row["remaining"]) == (0.0005, 0.0005)
    await server.fill("half")
    assert await binance.fetch_open_orders(BTC) == []


async def test_the_record_answers_questions(binance: Any, server: LocalExchange) -> None:
    """Orders by id, ids sent twice, trades not seen, and the most money that was ever bound."""
    await binance.create_order(BTC, "limit", "buy", 0.001, 43_000, {"clientOrderId": "a"})
    await rest(binance, 41_000, "a")
    await rest(binance, 40_000, "b")
    await binance.cancel_all_orders(BTC)
    await binance.create_order(BTC, "market", "sell", 0.001)
    record = await server.record()
    assert list(sent_twice(record)) == ["a"]
    assert [order.status for order in by_client_id(record)["b"]] == ["CANCELED"]
    assert open_orders(record) == []
    assert [trade.side for trade in unseen_trades(record, [record.trades[0].trade_id], BTC)] == ["SELL"]
    assert most_committed(record) == Decimal("42.042") + 41 + 40
