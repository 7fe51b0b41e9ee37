"""The REST endpoints: from parameters to a JSON answer, or to Binance's refusal."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.binance import market_data, payloads
from tests.support.binance.config import DAY_MS
from tests.support.binance.engine import Engine
from tests.support.binance.errors import BinanceError, archived, missing, nothing_to_cancel
from tests.support.binance.payloads import Json

PAGE, LONGEST_PAGE = 500, 1000
SIGNED = frozenset(
    {
        "order",
        "openOrders",
        "allOrders",
        "myTrades",
        "account",
        "account/commission",
        "account/apiRestrictions",
        "asset/tradeFee",
    }
)


@dataclass(frozen=True)
class Ask:
    """One request as the endpoints see it; `as_of` is the event number a stale read is answered from."""

    method: str
    name: str
    params: dict[str, str]
    now_ms: int
    as_of: int | None = None

    def symbol(self, engine: Engine) -> str:
        """The symbol, which must be given and listed."""
        symbol = self.params.get("symbol")
        if not symbol:
            raise missing("symbol")
        return engine.rules(symbol).id


def answer(engine: Engine, ask: Ask) -> Json:
    """The exchange's answer; raises BinanceError."""
    handler = _HANDLERS.get((ask.method, ask.name))
    if handler is None:
        raise BinanceError(-1, f"no such endpoint: {ask.method} {ask.name}", 404)
    try:
        return handler(engine, ask)
    except (ArithmeticError, ValueError) as error:
        raise BinanceError(-1100, "Illegal characters found in a parameter.") from error


def _place(engine: Engine, ask: Ask) -> Json:
    order = engine.place(ask.params)
    fills = [trade for trade in engine.trades if trade.order_id == order.order_id]
    default = "FULL" if order.type in ("LIMIT", "MARKET") else "ACK"
    return payloads.placed(order, fills, ask.params.get("newOrderRespType", default))


def _order(engine: Engine, ask: Ask) -> Json:
    order = engine.find(ask.symbol(engine), ask.params, ask.as_of)
    state = order.at(ask.as_of)
    assert state is not None
    if not state.open and not state.executed and ask.now_ms - state.at_ms >= engine.config.archive_ms:
        raise archived()
    return payloads.order(order, state)


def _cancel(engine: Engine, ask: Ask) -> Json:
    return payloads.cancelled(engine.cancel(ask.symbol(engine), ask.params))


def _cancel_all(engine: Engine, ask: Ask) -> Json:
    symbol = ask.symbol(engine)
    ids = [order.order_id for order in engine.open.values() if order.symbol == symbol]
    if not ids:
        raise nothing_to_cancel()
    return [payloads.cancelled(engine.cancel(symbol, {"orderId": str(order_id)})) for order_id in ids]


def _open_orders(engine: Engine, ask: Ask) -> Json:
    symbol = ask.symbol(engine) if "symbol" in ask.params else None
    rows = []
    for order in list(engine.open.values() if ask.as_of is None else engine.orders.values()):
        state = order.at(ask.as_of)
        if state is not None and state.open and order.symbol == (symbol or order.symbol):
            rows.append(payloads.order(order, state))
    return rows


def _all_orders(engine: Engine, ask: Ask) -> Json:
    symbol, first = ask.symbol(engine), int(ask.params.get("orderId", 0))
    start, end = int(ask.params.get("startTime", 0)), int(ask.params.get("endTime", 2**62))
    rows = []
    for order in engine.orders.values():
        state = order.at(ask.as_of)
        wanted = order.symbol == symbol and order.order_id >= first and start <= order.states[0].at_ms <= end
        if state is not None and wanted:
            rows.append(payloads.order(order, state))
    oldest_first = "orderId" in ask.params or "startTime" in ask.params
    return rows[: _page(ask)] if oldest_first else rows[-_page(ask) :]


def _my_trades(engine: Engine, ask: Ask) -> Json:
    symbol, params = ask.symbol(engine), ask.params
    if "fromId" in params and ("startTime" in params or "endTime" in params):
        raise BinanceError(-1128, "Combination of optional parameters invalid.")
    start, end = _span(params, engine.config.time_reaches_ms)
    rows = [
        trade
        for trade in engine.trades
        if trade.symbol == symbol
        and (ask.as_of is None or trade.seq <= ask.as_of)
        and start <= trade.at_ms <= end
        and trade.trade_id >= int(params.get("fromId", 0))
        and params.get("orderId", str(trade.order_id)) == str(trade.order_id)
    ]
    oldest_first = "fromId" in params or "startTime" in params
    rows = rows[: _page(ask)] if oldest_first else rows[-_page(ask) :]
    return [payloads.trade(row) for row in rows]


def _span(params: dict[str, str], reach_ms: int) -> tuple[int, int]:
    """First and last ms that trades are asked for."""
    start = int(params.get("startTime", 0))
    end = int(params.get("endTime", start + reach_ms if "startTime" in params else 2**62))
    if "startTime" in params and "endTime" in params and end - start > DAY_MS:
        raise BinanceError(-1127, "More than 24 hours between startTime and endTime.")
    return start, end


def _page(ask: Ask) -> int:
    limit = int(ask.params.get("limit", PAGE))
    if not 1 <= limit <= LONGEST_PAGE:
        raise BinanceError(-1130, "Data sent for parameter 'limit' is not valid.")
    return limit


def _account(engine: Engine, ask: Ask) -> Json:
    return payloads.account(engine.balances(ask.as_of), engine.config, ask.now_ms)


def _commission(engine: Engine, ask: Ask) -> Json:
    rates = payloads.commission(engine.config)
    return {"symbol": ask.symbol(engine), "standardCommission": rates, "taxCommission": rates}


def _trade_fee(engine: Engine, ask: Ask) -> Json:
    maker, taker = str(engine.config.maker_fee), str(engine.config.taker_fee)
    wanted = [ask.symbol(engine)] if "symbol" in ask.params else list(engine.candles)
    return [{"symbol": symbol, "makerCommission": maker, "takerCommission": taker} for symbol in wanted]


def _each(engine: Engine, ask: Ask) -> tuple[list[str], bool]:
    """Symbols asked for, and whether it is one."""
    if "symbol" in ask.params:
        return [ask.symbol(engine)], True
    asked: list[str] = json.loads(ask.params.get("symbols", "[]"))
    return [engine.rules(symbol).id for symbol in asked] or engine.listed(), False


def _ticker(engine: Engine, ask: Ask) -> Json:
    symbols, single = _each(engine, ask)
    rows: list[Json] = []
    for symbol in symbols:
        if ask.name == "ticker/24hr":
            rows.append(market_data.day(engine, symbol, ask.now_ms))
        elif ask.name == "ticker/bookTicker":
            rows.append(market_data.book_ticker(engine, symbol))
        else:
            rows.append({"symbol": symbol, "price": payloads.amount(engine.last(symbol))})
    return rows[0] if single else rows


_HANDLERS: dict[tuple[str, str], Callable[[Engine, Ask], Json]] = {
    ("GET", "ping"): lambda engine, ask: {},
    ("GET", "time"): lambda engine, ask: {"serverTime": ask.now_ms},
    ("GET", "exchangeInfo"): lambda engine, ask: payloads.exchange_info(engine, ask.now_ms),
    ("GET", "ticker/24hr"): _ticker,
    ("GET", "ticker/price"): _ticker,
    ("GET", "ticker/bookTicker"): _ticker,
    ("GET", "depth"): lambda engine, ask: market_data.depth(engine, ask.symbol(engine)),
    ("GET", "klines"): lambda engine, ask: market_data.klines(engine, ask.symbol(engine), ask.params),
    ("POST", "order"): _place,
    ("GET", "order"): _order,
    ("DELETE", "order"): _cancel,
    ("GET", "openOrders"): _open_orders,
    ("DELETE", "openOrders"): _cancel_all,
    ("GET", "allOrders"): _all_orders,
    ("GET", "myTrades"): _my_trades,
    ("GET", "account"): _account,
    ("GET", "account/commission"): _commission,
    ("GET", "account/apiRestrictions"): lambda engine, ask: {"enableWithdrawals": engine.config.may_withdraw},
    ("GET", "asset/tradeFee"): _trade_fee,
    ("GET", "system/status"): lambda engine, ask: {"status": 0, "msg": "normal"},
}
