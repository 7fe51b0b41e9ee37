"""The scripts' stored texts as records, and the exchange's answers in ccxt's unified shapes. Pure.

`exchange` is the ccxt object that gives number type and date format.
"""

from typing import Any, NamedTuple

from tasks.base.money import plain
from tasks.paper.units import Fees, Filters, text_of

SIDES = {"b": "buy", "s": "sell"}


class OrderRecord(NamedTuple):
    """One order; numbers as text, in units of 1e-8, times in ms."""

    id: str
    client: str
    side: str
    type: str
    tif: str
    price: str
    qty: str
    lock: str
    credit: str
    cost: str
    fee: str
    fee_in: str
    status: str
    created: str
    updated: str
    trade: str
    fill_price: str
    market_time: str


class TradeRecord(NamedTuple):
    """One execution; numbers as text, in units of 1e-8, times in ms."""

    id: str
    order: str
    client: str
    side: str
    price: str
    qty: str
    cost: str
    fee: str
    fee_in: str
    role: str
    at: str
    market_time: str


def order_of(text: str) -> OrderRecord:
    """The order in a stored text."""
    return OrderRecord(*text.split("|"))


def trade_of(text: str) -> TradeRecord:
    """The trade in a stored text."""
    return TradeRecord(*text.split("|"))


HAS = {
    "CORS": None,
    "spot": True,
    "margin": False,
    "swap": False,
    "future": False,
    "option": False,
    "cancelAllOrders": True,
    "cancelOrder": True,
    "cancelOrders": True,
    "createOrder": True,
    "createOrders": True,
    "fetchBalance": True,
    "fetchCanceledOrders": True,
    "fetchClosedOrders": True,
    "fetchCurrencies": False,
    "fetchMarkets": True,
    "fetchMyTrades": True,
    "fetchOHLCV": True,
    "fetchOpenOrders": True,
    "fetchOrder": True,
    "fetchOrderBook": True,
    "fetchOrders": True,
    "fetchOrderTrades": True,
    "fetchStatus": True,
    "fetchTicker": True,
    "fetchTickers": True,
    "fetchTime": True,
    "fetchTrades": False,
    "fetchTradingFee": True,
    "fetchTradingFees": True,
    "ws": False,
}


def market(exchange: Any, symbol: str, filters: Filters, fees: Fees) -> dict[str, Any]:
    """A ccxt market."""
    base, quote = symbol.split("/")

    def number(value: Any) -> Any:
        return exchange.parse_number(plain(value))

    return dict(
        exchange.safe_market_structure(
            {
                "id": base + quote,
                "symbol": symbol,
                "base": base,
                "quote": quote,
                "baseId": base,
                "quoteId": quote,
                "active": True,
                "type": "spot",
                "spot": True,
                "margin": False,
                "swap": False,
                "future": False,
                "option": False,
                "contract": False,
                "maker": number(fees.maker),
                "taker": number(fees.taker),
                "percentage": True,
                "tierBased": False,
                "precision": {"price": number(filters.tick), "amount": number(filters.lot)},
                "limits": {
                    "leverage": {"min": None, "max": None},
                    "amount": {"min": number(filters.min_qty), "max": number(filters.max_qty)},
                    "price": {"min": number(filters.min_price), "max": number(filters.max_price)},
                    "cost": {"min": number(filters.min_notional), "max": None},
                },
                "info": {"symbol": base + quote, "status": "TRADING"},
            }
        )
    )


def ticker(exchange: Any, symbol: str, last: int, now_ms: int, market_ms: int) -> dict[str, Any]:
    """A ccxt ticker: bid = ask = last."""
    price = text_of(last)
    raw = {
        "symbol": symbol,
        "timestamp": now_ms,
        "datetime": exchange.iso8601(now_ms),
        "bid": price,
        "ask": price,
        "last": price,
        "close": price,
        "info": {"price": price, "candleTime": market_ms},
    }
    return dict(exchange.safe_ticker(raw, exchange.market(symbol)))


def order(exchange: Any, symbol: str, record: OrderRecord) -> dict[str, Any]:
    """A ccxt order; amounts are all or nothing, because orders fill once and whole."""
    number = exchange.parse_number
    filled = record.status == "closed"
    fee = _fee(exchange, symbol, record.fee, record.fee_in) if filled else None
    qty, at = text_of(record.qty), int(record.created)
    average = number(text_of(record.fill_price)) if filled else None
    return {
        "id": record.id,
        "clientOrderId": record.client,
        "timestamp": at,
        "datetime": exchange.iso8601(at),
        "lastTradeTimestamp": int(record.updated) if filled else None,
        "lastUpdateTimestamp": int(record.updated),
        "symbol": symbol,
        "type": record.type,
        "timeInForce": record.tif,
        "postOnly": record.tif == "PO",
        "reduceOnly": None,
        "side": SIDES[record.side],
        "price": number(text_of(record.price)) if record.type == "limit" else average,
        "stopPrice": None,
        "triggerPrice": None,
        "takeProfitPrice": None,
        "stopLossPrice": None,
        "amount": number(qty),
        "cost": number(text_of(record.cost) if filled else "0"),
        "average": average,
        "filled": number(qty if filled else "0"),
        "remaining": number("0" if filled else qty),
        "status": record.status,
        "fee": fee,
        "fees": [fee] if fee else [],
        "trades": [],
        "info": _info(record),
    }


def refused_order(exchange: Any, symbol: str, client: str | None, code: int, message: str) -> dict[str, Any]:
    """How a batch answers for an order it refused: status `rejected`, the reason in `info` {"code", "msg"}."""
    raw = {"id": None, "clientOrderId": client, "symbol": symbol, "status": "rejected"}
    return dict(exchange.safe_order({**raw, "info": {"code": code, "msg": message}}))


def trade(exchange: Any, symbol: str, record: TradeRecord) -> dict[str, Any]:
    """A ccxt trade of the account."""
    number, at = exchange.parse_number, int(record.at)
    fee = _fee(exchange, symbol, record.fee, record.fee_in)
    return {
        "id": record.id,
        "order": record.order,
        "timestamp": at,
        "datetime": exchange.iso8601(at),
        "symbol": symbol,
        "type": None,
        "side": SIDES[record.side],
        "takerOrMaker": "maker" if record.role == "m" else "taker",
        "price": number(text_of(record.price)),
        "amount": number(text_of(record.qty)),
        "cost": number(text_of(record.cost)),
        "fee": fee,
        "fees": [fee],
        "info": _info(record),
    }


_UNITS = {"price", "qty", "lock", "credit", "cost", "fee", "fill_price"}


def _info(record: OrderRecord | TradeRecord) -> dict[str, Any]:
    """The stored record with plain decimal texts; `candleTime` is the market time in ms."""
    fields = {name: text_of(value) if name in _UNITS and value else value for name, value in record._asdict().items()}
    return {**fields, "clientOrderId": record.client, "candleTime": int(fields.pop("market_time"))}


def _fee(exchange: Any, symbol: str, units: str, where: str) -> dict[str, Any]:
    base, quote = symbol.split("/")
    return {"cost": exchange.parse_number(text_of(units)), "currency": base if where == "b" else quote}


def balance(exchange: Any, flat: list[str], now_ms: int) -> dict[str, Any]:
    """A ccxt balance from the fields of the balances hash."""
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    names = sorted({name.split(":", 1)[1] for name in fields})
    raw: dict[str, Any] = {"timestamp": now_ms, "datetime": exchange.iso8601(now_ms)}
    info = {}
    for name in names:
        free, used = int(fields.get(f"free:{name}", 0)), int(fields.get(f"used:{name}", 0))
        raw[name] = {"free": text_of(free), "used": text_of(used), "total": text_of(free + used)}
        info[name] = dict(raw[name])
    return dict(exchange.safe_balance({**raw, "info": info}))


def trading_fee(exchange: Any, symbol: str, fees: Fees) -> dict[str, Any]:
    """A ccxt trading fee."""
    return {
        "info": {"in_base": fees.in_base},
        "symbol": symbol,
        "maker": exchange.parse_number(plain(fees.maker)),
        "taker": exchange.parse_number(plain(fees.taker)),
        "percentage": True,
        "tierBased": False,
    }


def order_book(exchange: Any, symbol: str, filters: Filters, last: int, now_ms: int, depth: int) -> dict[str, Any]:
    """A ccxt order book with `depth` levels a side: asks from the last price up, bids from one tick below it down."""
    tick, lot = int(filters.tick.scaleb(8)), exchange.parse_number(plain(filters.lot * 1000))

    def level(units: int) -> list[Any]:
        return [exchange.parse_number(text_of(units)), lot]

    return {
        "symbol": symbol,
        "bids": [level(last - tick * step) for step in range(1, depth + 1) if last > tick * step],
        "asks": [level(last + tick * step) for step in range(depth)],
        "timestamp": now_ms,
        "datetime": exchange.iso8601(now_ms),
        "nonce": None,
    }
