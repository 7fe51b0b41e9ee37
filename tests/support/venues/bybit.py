"""Bybit v5 spot: the part of its REST protocol that Gridflow speaks, as strict as its documentation."""

import hashlib
import hmac
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from tests.support.binance.book import BookOrder
from tests.support.binance.config import SymbolRules
from tests.support.binance.errors import BinanceError
from tests.support.venues.okx import text
from tests.support.venues.venue import DAY_MS, Call, Refusal, Venue

CLIENT_ID = re.compile(r"^[A-Za-z0-9_-]{1,36}$")
FIELDS = {"category", "symbol", "side", "orderType", "qty", "price", "timeInForce", "orderLinkId", "marketUnit"}
STATES = {"NEW": "New", "PARTIALLY_FILLED": "PartiallyFilled", "FILLED": "Filled", "CANCELED": "Cancelled"}
WEEK_MS, RECENT = 7 * DAY_MS, 500
WORDS = {  # Binance's refusal → Bybit's
    "insufficient balance": ("170131", "Insufficient balance."),
    "Duplicate order": ("170141", "Duplicate clientOrderId."),
    "LOT_SIZE": ("170137", "Order volume decimal too long."),
    "NOTIONAL": ("170140", "Order value exceeded lower limit."),
    "PRICE_FILTER": ("170134", "Order price decimal too long."),
    "PERCENT_PRICE": ("170193", "Buy order price cannot be higher than the limit."),
    "MAX_NUM_ORDERS": ("170810", "Cannot exceed maximum of 500 conditional, TP/SL and active orders."),
    "Invalid symbol": ("170121", "Invalid symbol."),
    "Unknown order": ("170213", "Order does not exist."),
}


def state_of(order: BookOrder) -> str:
    """Its status word; an order cancelled after a part had filled has one of its own."""
    if order.now.status == "CANCELED" and order.now.executed:
        return "PartiallyFilledCanceled"
    return STATES[order.now.status]


class Bybit(Venue):
    """The exchange, for a unified account."""

    prefix = "/v5/"
    restarted = False  # after a restart only the history knows orders that have ended

    def wrapped(self, result: Any, call: Call) -> Any:
        """See Venue."""
        return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": call.now_ms}

    def refused(self, refusal: Refusal, call: Call) -> Any:
        """See Venue."""
        answer = {"retCode": int(refusal.code), "retMsg": refusal.message, "result": {}, "retExtInfo": {}}
        return {**answer, "time": call.now_ms}

    def translated(self, error: BinanceError) -> Refusal:
        """See Venue."""
        for words, (code, message) in WORDS.items():
            if words in error.message:
                return Refusal(code, message)
        return Refusal("10001", f"Request parameter error: {error.message}")

    # ---- signature

    def check(self, call: Call) -> None:
        """See Venue."""
        if call.name.startswith("market/"):
            return
        headers, config = call.headers, self.engine.config
        key, stamp = headers.get("X-BAPI-API-KEY"), headers.get("X-BAPI-TIMESTAMP", "")
        window = headers.get("X-BAPI-RECV-WINDOW", "5000")
        if key != config.api_key:
            raise Refusal("10003", "API key is invalid.")
        if not stamp.isdigit() or not window.isdigit():
            raise Refusal("10001", "Request parameter error: timestamp or recv_window")
        payload = call.body if call.method == "POST" else call.target.partition("?")[2]
        wanted = hmac.new(config.secret.encode(), f"{stamp}{key}{window}{payload}".encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, headers.get("X-BAPI-SIGN", "")):
            raise Refusal("10004", "Error sign, please check your signature generation algorithm.")
        if not call.now_ms - int(window) <= int(stamp) < call.now_ms + 1000:
            raise Refusal("10002", "The request time exceeds the time window range.")

    # ---- endpoints

    def answer(self, call: Call) -> Any:
        """See Venue."""
        handlers: dict[tuple[str, str], Callable[[Call], Any]] = {
            ("GET", "market/time"): lambda call: {"timeSecond": str(call.now_ms // 1000)},
            ("GET", "market/instruments-info"): self._instruments,
            ("GET", "market/tickers"): self._tickers,
            ("GET", "market/kline"): self._kline,
            ("GET", "user/query-api"): lambda call: {"unified": 0, "uta": 1},
            ("GET", "account/info"): lambda call: {"unifiedMarginStatus": 6},
            ("GET", "account/wallet-balance"): self._balance,
            ("GET", "account/fee-rate"): self._fee_rates,
            ("POST", "order/create"): self._place,
            ("POST", "order/cancel"): self._cancel,
            ("GET", "order/realtime"): self._realtime,
            ("GET", "order/history"): self._history,
            ("GET", "execution/list"): self._executions,
        }
        if (call.method, call.name) not in handlers:
            raise Refusal("10017", "Route not found.", 404)
        if call.name not in ("market/time", "user/query-api", "account/info", "account/wallet-balance"):
            self._spot(call)
        return handlers[call.method, call.name](call)

    def _spot(self, call: Call) -> None:
        if call.asks.get("category") != "spot":
            raise Refusal("10001", "Request parameter error: category")

    def _listed(self, call: Call) -> list[SymbolRules]:
        if "symbol" in call.query:
            return [self.engine.rules(call.query["symbol"])]
        return [rules for rules in self.engine.config.symbols.values() if rules.id in self.engine.candles]

    def _fee_rates(self, call: Call) -> Any:
        config = self.engine.config
        rates = {"makerFeeRate": text(config.maker_fee), "takerFeeRate": text(config.taker_fee)}
        return {"category": "spot", "list": [{"symbol": rules.id, **rates} for rules in self._listed(call)]}

    def _instruments(self, call: Call) -> Any:
        rows = [
            {
                "symbol": rules.id,
                "baseCoin": rules.base,
                "quoteCoin": rules.quote,
                "innovation": "0",
                "status": "Trading",
                "marginTrading": "none",
                "lotSizeFilter": {
                    "basePrecision": text(rules.step),
                    "quotePrecision": "0.00000001",
                    "minOrderQty": text(rules.min_qty),
                    "maxOrderQty": text(rules.max_qty),
                    "minOrderAmt": text(rules.min_notional),
                    "maxOrderAmt": "9000000",
                },
                "priceFilter": {"tickSize": text(rules.tick)},
            }
            for rules in self._listed(call)
        ]
        return {"category": "spot", "list": rows}

    def _tickers(self, call: Call) -> Any:
        rows = []
        for rules in self._listed(call):
            last = text(self.engine.last(rules.id))
            prices = dict.fromkeys(("lastPrice", "bid1Price", "ask1Price", "prevPrice24h", "highPrice24h"), last)
            rows.append({"symbol": rules.id, **prices, "bid1Size": "1000", "ask1Size": "1000", "lowPrice24h": last})
        return {"category": "spot", "list": rows}

    def _kline(self, call: Call) -> Any:
        symbol, limit = self._listed(call)[0].id, int(call.query.get("limit", 200))
        if limit > 1000 or call.query.get("interval") != "1":
            raise Refusal("10001", "Request parameter error: limit or interval")
        start, end = int(call.query.get("start", 0)), int(call.query.get("end", 2**62))
        rows = [row for row in self.engine.candles[symbol][: self.engine.done[symbol]] if start <= row.at_ms <= end]
        found = [
            [str(row.at_ms), *(text(one) for one in (row.open, row.high, row.low, row.close, row.volume)), "0"]
            for row in rows[::-1][:limit]
        ]
        return {"category": "spot", "symbol": symbol, "list": found}

    def _balance(self, call: Call) -> Any:
        if call.query.get("accountType") != "UNIFIED":
            raise Refusal("10001", "Request parameter error: accountType")
        coins = [
            {
                "coin": asset,
                "walletBalance": text(free + locked),
                "locked": text(locked),
                "availableToWithdraw": "",
                "totalOrderIM": "0",
                "totalPositionIM": "0",
                "borrowAmount": "0",
                "accruedInterest": "0",
            }
            for asset, (free, locked) in self.engine.balances().items()
        ]
        return {"list": [{"accountType": "UNIFIED", "coin": coins}]}

    def _place(self, call: Call) -> Any:
        said = call.said
        for name in said:
            if name not in FIELDS:
                raise Refusal("10001", f"Request parameter error: {name}")
        if any(not isinstance(said.get(name, ""), str) for name in FIELDS):
            raise Refusal("10001", "Request parameter error: not text")
        if said.get("orderLinkId") and not CLIENT_ID.match(said["orderLinkId"]):
            raise Refusal("10001", "Request parameter error: orderLinkId")
        ask = {
            "symbol": str(said.get("symbol")),
            "side": str(said.get("side")).upper(),
            "type": str(said.get("orderType")).upper(),
            "quantity": str(said.get("qty", "")),
            "price": str(said.get("price", "")),
            "timeInForce": "POST_ONLY" if said.get("timeInForce") == "PostOnly" else "GTC",
            "newClientOrderId": str(said.get("orderLinkId", "")),
        }
        order = self.engine.place(ask)
        return {"orderId": str(order.order_id), "orderLinkId": order.client_id}

    def _cancel(self, call: Call) -> Any:
        name = {"orderId": str(call.said["orderId"])}
        order = self.engine.cancel(str(call.said.get("symbol")), name)
        return {"orderId": str(order.order_id), "orderLinkId": order.client_id}

    def _order(self, order: BookOrder) -> Any:
        trades = [trade for trade in self.engine.trades if trade.order_id == order.order_id]
        now = order.now
        return {
            "orderId": str(order.order_id),
            "orderLinkId": order.client_id,
            "symbol": order.symbol,
            "price": text(Decimal(0) if order.type == "MARKET" else order.price),
            "qty": text(order.qty),
            "side": order.side.capitalize(),
            "orderType": order.type.capitalize(),
            "marketUnit": "baseCoin",
            "orderStatus": state_of(order),
            "timeInForce": {"POST_ONLY": "PostOnly"}.get(order.time_in_force, "GTC"),
            "avgPrice": text(now.spent / now.executed) if now.executed else "",
            "cumExecQty": text(now.executed),
            "cumExecValue": text(now.spent),
            "cumExecFee": text(sum((trade.fee for trade in trades), Decimal(0))),
            "leavesQty": text(order.left) if now.open else "0",
            "createdTime": str(order.states[0].at_ms),
            "updatedTime": str(now.at_ms),
        }

    def _paged(self, call: Call, rows: list[Any], key: str, most: int) -> Any:
        """Newest first. The cursor of a page is there as long as the page holds anything."""
        limit = int(call.query.get("limit", 20 if most == 50 else 50))
        if not 1 <= limit <= most:
            raise Refusal("10001", "Request parameter error: limit")
        before = int(call.query.get("cursor", f"id:{2**62}").removeprefix("id:"))
        page = [row for row in sorted(rows, key=lambda row: -int(row[key])) if int(row[key]) < before][:limit]
        cursor = quote(f"id:{page[-1][key]}", safe="") if page else ""
        return {"category": "spot", "list": page, "nextPageCursor": cursor}

    def _within(self, call: Call, at_ms: int) -> bool:
        """Whether a moment lies in the week that was asked for."""
        begin, end = call.query.get("startTime"), call.query.get("endTime")
        if begin and end and int(end) - int(begin) > WEEK_MS:
            raise Refusal("10001", "The time range between startTime and endTime cannot exceed 7 days")
        if begin and int(begin) < call.now_ms - 730 * DAY_MS:
            raise Refusal("10001", "Request parameter error: startTime is too early")
        last = int(end) if end else int(begin) + WEEK_MS if begin else call.now_ms
        return (int(begin) if begin else last - WEEK_MS) <= at_ms <= last

    def _is_asked(self, call: Call, order: BookOrder) -> bool:
        query = call.query
        if "orderId" in query:
            return str(order.order_id) == query["orderId"]
        if "orderLinkId" in query:
            return order.client_id == query["orderLinkId"]
        return query.get("symbol", order.symbol) == order.symbol

    def _realtime(self, call: Call) -> Any:
        by_id = "orderId" in call.query or "orderLinkId" in call.query
        found = list(self.engine.open.values())
        if by_id and not self.restarted:
            found += [order for order in self.engine.orders.values() if not order.now.open][-RECENT:]
        rows = [self._order(order) for order in found if self._is_asked(call, order)]
        return self._paged(call, rows, "orderId", 50)

    def _history(self, call: Call) -> Any:
        """Orders that have ended; those of which nothing was filled are kept for a day."""
        by_id = "orderId" in call.query or "orderLinkId" in call.query
        rows = [
            self._order(order)
            for order in self.engine.orders.values()
            if not order.now.open
            and self._is_asked(call, order)
            and (by_id or self._within(call, order.states[0].at_ms))
            and (order.now.executed or order.now.at_ms > call.now_ms - DAY_MS)
        ]
        return self._paged(call, rows, "orderId", 50)

    def _executions(self, call: Call) -> Any:
        rows = [
            {
                "symbol": trade.symbol,
                "orderId": str(trade.order_id),
                "orderLinkId": trade.client_id,
                "side": trade.side.capitalize(),
                "execId": str(trade.trade_id),
                "execPrice": text(trade.price),
                "execQty": text(trade.qty),
                "execValue": text(trade.price * trade.qty),
                "execFee": text(trade.fee),
                "feeCurrency": trade.fee_asset,
                "execType": "Trade",
                "execTime": str(trade.at_ms),
                "isMaker": trade.maker,
                "orderType": "Limit",
            }
            for trade in self.engine.trades
            if trade.symbol == call.query.get("symbol", trade.symbol) and self._within(call, trade.at_ms)
        ]
        return self._paged(call, rows, "execId", 100)
