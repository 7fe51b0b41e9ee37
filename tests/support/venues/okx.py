"""OKX v5 spot: the part of its REST protocol that Gridflow speaks, as strict as its documentation."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.support.binance.book import BookOrder, BookTrade
from tests.support.binance.config import SymbolRules
from tests.support.binance.errors import BinanceError
from tests.support.venues.venue import DAY_MS, Call, Refusal, Venue

PASSPHRASE = "test-passphrase"  # of a loopback exchange in a test
LATEST_STAMP_MS = 30_000
PAGE = 100
RECENT_MS, WEEK_MS = 3 * DAY_MS, 7 * DAY_MS
LAG_MS = 60_000  # the lists that reach far back are behind
CLIENT_ID = re.compile(r"^[A-Za-z0-9]{1,32}$")
FIELDS = {"instId", "tdMode", "clOrdId", "tag", "side", "ordType", "sz", "px", "tgtCcy"}
STATES = {"NEW": "live", "PARTIALLY_FILLED": "partially_filled", "FILLED": "filled", "CANCELED": "canceled"}
TYPES = {"limit": "LIMIT", "post_only": "LIMIT", "market": "MARKET"}
WORDS = {  # Binance's refusal → OKX's
    "insufficient balance": ("51008", "Order failed. Insufficient USDT balance in account."),
    "Duplicate order": ("51016", "Client order ID already exists."),
    "LOT_SIZE": ("51121", "Order quantity must be a multiple of the lot size."),
    "NOTIONAL": ("51020", "Your order should meet or exceed the minimum order amount."),
    "PRICE_FILTER": ("51000", "Parameter px error"),
    "PERCENT_PRICE": ("51006", "Order price is not within the price limit."),
    "MAX_NUM_ORDERS": ("51174", "Order failed, number of pending orders exceed the limit."),
    "Invalid symbol": ("51001", "Instrument ID or Spread ID doesn't exist."),
    "Unknown order": ("51400", "Cancellation failed as the order has been filled, canceled or does not exist."),
    "Order does not exist": ("51603", "Order does not exist"),
}


def text(value: Decimal) -> str:
    """Without trailing zeros, as OKX writes amounts."""
    return f"{value:f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else f"{value:f}"


def bill_id(trade: BookTrade) -> str:
    """The bill of a trade; not its trade id."""
    return str(trade.trade_id * 10 + 7)


class Okx(Venue):
    """The exchange. `expired` is what it says to an order request after its `expTime`."""

    prefix = "/api/v5/"
    expired = Refusal("50036", "The expTime can't be earlier than the current system time.")

    def own_id(self, client_id: str) -> str:
        """See Venue."""
        return client_id.replace("Z", "-")

    def wrapped(self, result: Any, call: Call) -> Any:
        """See Venue."""
        return {"code": "0", "msg": "", "data": result}

    def refused(self, refusal: Refusal, call: Call) -> Any:
        """See Venue."""
        if not refusal.of_order:
            return {"code": refusal.code, "msg": refusal.message, "data": []}
        names = {"clOrdId": call.said.get("clOrdId", ""), "ordId": "", "tag": ""}
        data = [{**names, "sCode": refusal.code, "sMsg": refusal.message}]
        return {"code": "1", "msg": "All operations failed", "data": data}

    def translated(self, error: BinanceError) -> Refusal:
        """See Venue."""
        for words, (code, message) in WORDS.items():
            if words in error.message:
                return Refusal(code, message, of_order=code not in ("51001", "51603"))
        return Refusal("51000", f"Parameter error: {error.message}", 400)

    # ---- signature

    def check(self, call: Call) -> None:
        """See Venue."""
        if call.name.split("/")[0] in ("public", "market"):
            return
        headers, config = call.headers, self.engine.config
        for name, code in (("KEY", "50103"), ("PASSPHRASE", "50104"), ("SIGN", "50106"), ("TIMESTAMP", "50107")):
            if not headers.get(f"OK-ACCESS-{name}"):
                raise Refusal(code, f'Request header "OK-ACCESS-{name}" cannot be empty.', 401)
        if headers["OK-ACCESS-KEY"] != config.api_key:
            raise Refusal("50111", "Invalid OK-ACCESS-KEY.", 401)
        if headers["OK-ACCESS-PASSPHRASE"] != PASSPHRASE:
            raise Refusal("50105", 'Request header "OK-ACCESS-PASSPHRASE" incorrect.', 401)
        stamp = headers["OK-ACCESS-TIMESTAMP"]
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp):
            raise Refusal("50112", "Invalid OK-ACCESS-TIMESTAMP.", 401)
        at_ms = round(datetime.fromisoformat(stamp).timestamp() * 1000)
        if abs(call.now_ms - at_ms) > LATEST_STAMP_MS:
            raise Refusal("50102", "Timestamp request expired.", 401)
        signed = f"{stamp}{call.method}{call.target}{call.body}".encode()
        wanted = base64.b64encode(hmac.new(config.secret.encode(), signed, hashlib.sha256).digest()).decode()
        if not hmac.compare_digest(wanted, headers["OK-ACCESS-SIGN"]):
            raise Refusal("50113", "Invalid signature.", 401)
        if call.body and headers.get("Content-Type") != "application/json":
            raise Refusal("50006", 'Invalid Content-Type. Please use "application/JSON".', 400)

    # ---- endpoints

    def answer(self, call: Call) -> Any:
        """See Venue."""
        handlers: dict[tuple[str, str], Callable[[Call], Any]] = {
            ("GET", "public/time"): lambda call: [{"ts": str(call.now_ms)}],
            ("GET", "public/instruments"): self._instruments,
            ("GET", "market/ticker"): lambda call: [self._ticker(self._rules(call), call.now_ms)],
            ("GET", "market/tickers"): self._tickers,
            ("GET", "market/candles"): self._candles_of,
            ("GET", "market/history-candles"): self._candles_of,
            ("GET", "account/balance"): self._balance,
            ("GET", "account/trade-fee"): self._fee_rates,
            ("POST", "trade/order"): self._place,
            ("POST", "trade/cancel-order"): self._cancel,
            ("GET", "trade/order"): self._one_order,
            ("GET", "trade/orders-pending"): self._pending,
            ("GET", "trade/orders-history"): lambda call: self._history(call, WEEK_MS),
            ("GET", "trade/orders-history-archive"): lambda call: self._history(call, 90 * DAY_MS),
            ("GET", "trade/fills"): lambda call: self._fills(call, RECENT_MS),
            ("GET", "trade/fills-history"): lambda call: self._fills(call, 365 * DAY_MS),
        }
        if (call.method, call.name) not in handlers:
            raise Refusal("50115", "Invalid request method.", 405)
        return handlers[call.method, call.name](call)

    def _rules(self, call: Call) -> SymbolRules:
        base, _, quote = str(call.asks.get("instId", "")).partition("-")
        return self.engine.rules(f"{base}{quote}")

    def _named(self, symbol: str) -> str:
        rules = self.engine.rules(symbol)
        return f"{rules.base}-{rules.quote}"

    def _listed(self) -> list[SymbolRules]:
        return [rules for rules in self.engine.config.symbols.values() if rules.id in self.engine.candles]

    def _spot(self, call: Call) -> None:
        if call.query.get("instType") != "SPOT":
            raise Refusal("51000", "Parameter instType error", 400)

    def _instruments(self, call: Call) -> Any:
        self._spot(call)
        return [
            {
                "instType": "SPOT",
                "instId": f"{rules.base}-{rules.quote}",
                "baseCcy": rules.base,
                "quoteCcy": rules.quote,
                "state": "live",
                "tickSz": text(rules.tick),
                "lotSz": text(rules.step),
                "minSz": text(rules.min_qty),
                "maxLmtSz": text(rules.max_qty),
                "maxMktSz": "1000000",
                "lever": "",
                "settleCcy": "",
                "uly": "",
            }
            for rules in self._listed()
        ]

    def _ticker(self, rules: SymbolRules, now_ms: int) -> Any:
        last = text(self.engine.last(rules.id))
        prices = dict.fromkeys(("last", "bidPx", "askPx", "open24h", "high24h", "low24h"), last)
        inst = {"instType": "SPOT", "instId": f"{rules.base}-{rules.quote}"}
        return {**inst, **prices, "bidSz": "1000", "askSz": "1000", "vol24h": "1", "volCcy24h": "1", "ts": str(now_ms)}

    def _tickers(self, call: Call) -> Any:
        self._spot(call)
        return [self._ticker(rules, call.now_ms) for rules in self._listed()]

    def _candles_of(self, call: Call) -> Any:
        rules, limit = self._rules(call), int(call.query.get("limit", 100))
        if limit > 300:
            raise Refusal("51000", "Parameter limit error", 400)
        after, before = int(call.query.get("after", 2**62)), int(call.query.get("before", 0))
        rows = [
            row for row in self.engine.candles[rules.id][: self.engine.done[rules.id]] if before < row.at_ms < after
        ]
        return [
            [
                str(row.at_ms),
                *(text(one) for one in (row.open, row.high, row.low, row.close, row.volume)),
                "0",
                "0",
                "1",
            ]
            for row in rows[::-1][:limit]
        ]

    def _fee_rates(self, call: Call) -> Any:
        """Costs are negative there."""
        self._rules(call)
        config = self.engine.config
        return [
            {"level": "Lv1", "instType": "SPOT", "maker": text(-config.maker_fee), "taker": text(-config.taker_fee)}
        ]

    def _balance(self, call: Call) -> Any:
        details = [
            {
                "ccy": asset,
                "eq": text(free + locked),
                "cashBal": text(free + locked),
                "availBal": text(free),
                "availEq": "",
                "frozenBal": text(locked),
                "ordFrozen": text(locked),
            }
            for asset, (free, locked) in self.engine.balances().items()
        ]
        return [{"uTime": str(call.now_ms), "totalEq": "", "details": details}]

    def _place(self, call: Call) -> Any:
        expires = call.headers.get("expTime")
        if expires is not None and not expires.isdigit():
            raise Refusal("51000", "Parameter expTime error", 400)
        if expires is not None and call.now_ms > int(expires):
            raise self.expired
        said = call.said
        for name in said:
            if name not in FIELDS:
                raise Refusal("51000", f"Parameter {name} error", 400)
        if said.get("tdMode") != "cash" or said.get("ordType") not in TYPES:
            raise Refusal("51000", "Parameter tdMode or ordType error", 400)
        if said.get("clOrdId") and not CLIENT_ID.match(said["clOrdId"]):
            raise Refusal("51000", "Parameter clOrdId error", 400)
        ask = {
            "symbol": self._rules(call).id,
            "side": str(said.get("side")).upper(),
            "type": TYPES[said["ordType"]],
            "quantity": str(said.get("sz", "")),
            "price": str(said.get("px", "")),
            "timeInForce": "POST_ONLY" if said["ordType"] == "post_only" else "GTC",
            "newClientOrderId": str(said.get("clOrdId", "")),
        }
        return [self._ack(self.engine.place(ask))]

    def _ack(self, order: BookOrder) -> Any:
        return {"ordId": str(order.order_id), "clOrdId": order.client_id, "tag": "", "sCode": "0", "sMsg": ""}

    def _name(self, call: Call) -> dict[str, str]:
        if call.asks.get("ordId"):
            return {"orderId": str(call.asks["ordId"])}
        if call.asks.get("clOrdId"):
            return {"origClientOrderId": str(call.asks["clOrdId"])}
        raise Refusal("51003", "Either client order ID or order ID is required.")

    def _cancel(self, call: Call) -> Any:
        return [self._ack(self.engine.cancel(self._rules(call).id, self._name(call)))]

    def _one_order(self, call: Call) -> Any:
        return [self._order(self.engine.find(self._rules(call).id, self._name(call)))]

    def _order(self, order: BookOrder) -> Any:
        trades = [trade for trade in self.engine.trades if trade.order_id == order.order_id]
        now, last = order.now, trades[-1] if trades else None
        return {
            "instType": "SPOT",
            "instId": self._named(order.symbol),
            "ordId": str(order.order_id),
            "clOrdId": order.client_id,
            "tag": "",
            "px": "" if order.type == "MARKET" else text(order.price),
            "sz": text(order.qty),
            "ordType": {"POST_ONLY": "post_only"}.get(order.time_in_force, order.type.lower()),
            "side": order.side.lower(),
            "tdMode": "cash",
            "tgtCcy": "",
            "accFillSz": text(now.executed),
            "avgPx": text(now.spent / now.executed) if now.executed else "",
            "fillPx": text(last.price) if last else "",
            "fillSz": text(last.qty) if last else "0",
            "fillTime": str(last.at_ms) if last else "",
            "tradeId": str(last.trade_id) if last else "",
            "fee": text(-sum((trade.fee for trade in trades), Decimal(0))),
            "feeCcy": trades[0].fee_asset if trades else "",
            "state": STATES[now.status],
            "cTime": str(order.states[0].at_ms),
            "uTime": str(now.at_ms),
        }

    def _paged(self, call: Call, rows: list[Any], key: str, time: str) -> Any:
        """Newest first: the latest rows, those older than id `after`, those newer than id `before`."""
        limit = int(call.query.get("limit", PAGE))
        if not 1 <= limit <= PAGE:
            raise Refusal("51000", "Parameter limit error", 400)
        after, before = int(call.query.get("after", 2**62)), int(call.query.get("before", 0))
        begin, end = int(call.query.get("begin", 0)), int(call.query.get("end", 2**62))
        kept = [row for row in rows if before < int(row[key]) < after and begin <= int(row[time]) <= end]
        return sorted(kept, key=lambda row: -int(row[key]))[:limit]

    def _wanted(self, call: Call, orders: list[BookOrder]) -> list[Any]:
        inst, state = call.query.get("instId"), call.query.get("state")
        rows = [self._order(order) for order in orders]
        return [row for row in rows if inst in (None, row["instId"]) and state in (None, row["state"])]

    def _pending(self, call: Call) -> Any:
        """The whole account's, contracts included, unless it is asked for spot alone."""
        rows = self._wanted(call, list(self.engine.open.values()))
        if "instType" not in call.query:
            foreign = {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "ordId": "1", "sz": "1", "side": "buy"}
            rows.append({**foreign, "px": "1", "state": "live", "cTime": "1", "clOrdId": ""})
        return self._paged(call, rows, "ordId", "cTime")

    def _history(self, call: Call, reach_ms: int) -> Any:
        """Cancelled orders of which nothing was filled are kept for two hours."""
        self._spot(call)
        ended = [
            order
            for order in self.engine.orders.values()
            if not order.now.open
            and order.now.at_ms > call.now_ms - (reach_ms if order.now.executed else 2 * 3600 * 1000)
            and order.now.at_ms <= call.now_ms - (0 if reach_ms == WEEK_MS else LAG_MS)
        ]
        return self._paged(call, self._wanted(call, ended), "ordId", "cTime")

    def _fills(self, call: Call, reach_ms: int) -> Any:
        if call.name == "trade/fills-history":
            self._spot(call)
        rows = [
            {
                "instType": "SPOT",
                "instId": self._named(trade.symbol),
                "tradeId": str(trade.trade_id),
                "ordId": str(trade.order_id),
                "clOrdId": trade.client_id,
                "billId": bill_id(trade),
                "side": trade.side.lower(),
                "fillPx": text(trade.price),
                "fillSz": text(trade.qty),
                "fee": text(-trade.fee),
                "feeCcy": trade.fee_asset,
                "execType": "M" if trade.maker else "T",
                "ts": str(trade.at_ms),
                "fillTime": str(trade.at_ms),
                "posSide": "net",
                "tag": "",
            }
            for trade in self.engine.trades
            if call.now_ms - reach_ms < trade.at_ms <= call.now_ms - (0 if reach_ms == RECENT_MS else LAG_MS)
        ]
        inst = call.query.get("instId")
        return self._paged(call, [row for row in rows if inst in (None, row["instId"])], "billId", "ts")
