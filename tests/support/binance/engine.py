"""The matching engine: orders, fills by candle, balances. Deterministic; it knows nothing of HTTP.

A candle reaches every order that rested before it: a buy at or above its low, a sell at or below its high, each at
its own price as maker, in the order in which the path open → nearer extreme → other extreme reaches them. A
marketable order fills at once at the last price as taker. Before the first candle that price is its open.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from tasks.exchange.models import Candle
from tests.support.binance.book import BookOrder, BookTrade, OrderState
from tests.support.binance.config import Config, SymbolRules
from tests.support.binance.errors import (
    BinanceError,
    bad_symbol,
    failed_filter,
    missing,
    no_balance,
    no_such_order,
    nothing_to_cancel,
    rejected,
)
from tests.support.binance.record import Event

CLIENT_ID = re.compile(r"^[a-zA-Z0-9-_]{1,36}$")
FIRST_ORDER, FIRST_TRADE = 1_000_001, 500_001
ZERO = Decimal(0)
EIGHT = Decimal("0.00000001")


class Engine:
    """One account on one exchange. `clock` gives the exchange's time in ms."""

    def __init__(self, config: Config, candles: Mapping[str, Sequence[Candle]], clock: Callable[[], int]) -> None:
        self.config, self.clock = config, clock
        self.candles = {symbol.replace("/", ""): list(rows) for symbol, rows in candles.items()}
        self._delisted: dict[str, SymbolRules] = {}
        self.done = dict.fromkeys(self.candles, 0)
        self.orders: dict[int, BookOrder] = {}
        self.open: dict[int, BookOrder] = {}
        self.trades: list[BookTrade] = []
        self.events: list[Event] = []
        self.totals: list[tuple[int, dict[str, Decimal]]] = [(0, dict(config.balances))]
        self._random = random.Random(config.seed)

    @property
    def seq(self) -> int:
        """Number of the latest event."""
        return len(self.events)

    def rules(self, symbol: str) -> SymbolRules:
        """Filters of a listed symbol with a market."""
        for rules in self.config.symbols.values():
            if rules.id == symbol and symbol in self.candles:
                return rules
        raise bad_symbol()

    def listed(self) -> list[str]:
        """Symbols with a market."""
        return [rules.id for rules in self.config.symbols.values() if rules.id in self.candles]

    def delist(self, symbol: str) -> None:
        """Take `BTC/USDT` off the list and cancel its orders, as Binance does."""
        rules = self.config.symbols[symbol]
        for order in [one for one in self.open.values() if one.symbol == rules.id]:
            self._close(order, "CANCELED")
        self._delisted[rules.id] = rules
        kept = {name: held for name, held in self.config.symbols.items() if name != symbol}
        self.config = self.config.model_copy(update={"symbols": kept})

    def relist(self, symbol: str) -> None:
        """List `BTC/USDT` again, with its last filters."""
        rules = self._delisted.pop(symbol.replace("/", ""))
        self.config = self.config.model_copy(update={"symbols": {**self.config.symbols, symbol: rules}})

    def move(self, asset: str, amount: Decimal) -> None:
        """Deposit free balance, or withdraw it where `amount` is negative."""
        held = dict(self.totals[-1][1])
        held[asset] = held.get(asset, ZERO) + amount
        self.totals.append((self.seq, held))

    def jump(self, symbol: str, price: Decimal) -> None:
        """Play one more candle: from the last price straight to `price`."""
        rows, done, last = self.candles[symbol], self.done[symbol], self.last(symbol)
        at_ms = rows[max(done - 1, 0)].at_ms
        found = {"open": last, "close": price, "high": max(last, price), "low": min(last, price)}
        self._play(symbol, Candle(at_ms=at_ms, volume=Decimal(1), **found))
        rows.insert(done, Candle(at_ms=at_ms, volume=Decimal(1), **found))

    def last(self, symbol: str) -> Decimal:
        """Last price."""
        rows, done = self.candles[symbol], self.done[symbol]
        return rows[done - 1].close if done else rows[0].open

    # ---- balances

    def balances(self, seq: int | None = None) -> dict[str, tuple[Decimal, Decimal]]:
        """(free, locked) by asset, now or after event `seq`."""
        totals = next(held for at, held in reversed(self.totals) if seq is None or at <= seq)
        locked: dict[str, Decimal] = {}
        for order in self.open.values() if seq is None else self.orders.values():
            state = order.at(seq)
            if state is not None and state.open:
                asset, amount = self._lock(order, order.qty - state.executed)
                locked[asset] = locked.get(asset, ZERO) + amount
        return {
            asset: (totals.get(asset, ZERO) - locked.get(asset, ZERO), locked.get(asset, ZERO))
            for asset in sorted({*totals, *locked})
        }

    def free(self, asset: str) -> Decimal:
        """Free amount of one asset."""
        return self.balances().get(asset, (ZERO, ZERO))[0]

    def _lock(self, order: BookOrder, qty: Decimal) -> tuple[str, Decimal]:
        rules = self._delisted.get(order.symbol) or self.rules(order.symbol)
        if order.side == "SELL":
            return rules.base, qty
        rate = max(self.config.maker_fee, self.config.taker_fee) if self.config.fee_currency == "quote" else ZERO
        return rules.quote, (order.price * qty * (1 + rate)).quantize(EIGHT, ROUND_CEILING)

    def transfer(self, asset: str, amount: Decimal) -> None:
        """`move`, but refuses to withdraw more than is free."""
        if self.free(asset) + amount < 0:
            raise ValueError(f"{asset}: {-amount} cannot be withdrawn, {self.free(asset)} is free")
        self.move(asset, amount)

    # ---- orders

    def place(self, ask: Mapping[str, str]) -> BookOrder:
        """Accept a new order, or raise the exchange's refusal. What is marketable is filled on return."""
        order = self._asked(ask)
        last = self.last(order.symbol)
        crosses = order.type == "MARKET" or (order.price >= last if order.side == "BUY" else order.price <= last)
        self._check(order, last, crosses)
        self.orders[order.order_id] = self.open[order.order_id] = order
        self._turn(order, "NEW", "placed")
        if crosses:
            self._execute(order, order.qty, last, maker=False)
        elif order.time_in_force in ("IOC", "FOK"):
            self._close(order, "EXPIRED")
        return order

    def _asked(self, ask: Mapping[str, str]) -> BookOrder:
        rules = self.rules(_needed(ask, "symbol"))
        kind, side, last = _needed(ask, "type"), _needed(ask, "side"), self.last(rules.id)
        if kind not in ("LIMIT", "LIMIT_MAKER", "MARKET"):
            raise BinanceError(-1116, "Invalid orderType.")
        if side not in ("BUY", "SELL"):
            raise BinanceError(-1117, "Invalid side.")
        if kind == "MARKET" and "quoteOrderQty" in ask:
            qty = (Decimal(ask["quoteOrderQty"]) / last / rules.step).to_integral_value(ROUND_FLOOR) * rules.step
        else:
            qty = Decimal(_needed(ask, "quantity"))
        order_id = FIRST_ORDER + len(self.orders)
        client_id = ask.get("newClientOrderId") or f"auto-{order_id}"
        if not CLIENT_ID.match(client_id):
            text = "Illegal characters found in parameter 'newClientOrderId'; legal range is '^[a-zA-Z0-9-_]{1,36}$'."
            raise BinanceError(-1100, text)
        price = last if kind == "MARKET" else Decimal(_needed(ask, "price"))
        in_force = _needed(ask, "timeInForce") if kind == "LIMIT" else "GTC"
        return BookOrder(order_id, client_id, rules.id, side, kind, in_force, price, qty)

    def _check(self, order: BookOrder, last: Decimal, crosses: bool) -> None:
        rules = self.rules(order.symbol)
        if order.type != "MARKET":
            rules.check_price(order.price, last)
        rules.check_qty(order.qty)
        rules.check_notional(order.price, order.qty)
        resting = [other for other in self.open.values() if other.symbol == order.symbol]
        if order.type != "MARKET" and len(resting) >= rules.max_orders:
            raise failed_filter("MAX_NUM_ORDERS")
        if any(other.client_id == order.client_id for other in resting):
            raise rejected("Duplicate order sent.")
        if order.type == "LIMIT_MAKER" and crosses:
            raise rejected("Order would immediately match and take.")
        asset, amount = self._lock(order, order.qty)
        if self.free(asset) < amount:
            raise no_balance()

    def find(self, symbol: str, ask: Mapping[str, str], seq: int | None = None) -> BookOrder:
        """An order by `orderId`, else the last one with `origClientOrderId`."""
        for order in reversed(list(self.orders.values())):
            if order.symbol == symbol and order.at(seq) is not None and _named(order, ask):
                return order
        raise no_such_order()

    def cancel(self, symbol: str, ask: Mapping[str, str]) -> BookOrder:
        """Take an open order out of the book."""
        for order in list(self.open.values()):
            if order.symbol == symbol and _named(order, ask):
                self._close(order, "CANCELED")
                return order
        raise nothing_to_cancel()

    def amend(self, order_id: int, qty: Decimal | None = None, price: Decimal | None = None) -> None:
        """Change an open order by hand; its ids stay. An amount that is filled already ends it."""
        order = self.open[order_id]
        order.qty, order.price = qty or order.qty, price or order.price
        if order.left <= 0:
            self._turn(order, "FILLED", "closed")
        else:
            self._turn(order, order.now.status, "amended")

    def fill(self, order_id: int, qty: Decimal | None = None) -> None:
        """Fill an open order (or `qty` of it) now, at its own price, as maker."""
        order = self.open[order_id]
        self._execute(order, order.left if qty is None else min(qty, order.left), order.price, maker=True)

    def _turn(self, order: BookOrder, status: str, kind: str, trade: BookTrade | None = None) -> None:
        at_ms = trade.at_ms if trade else self.clock()
        executed, spent = (order.now.executed, order.now.spent) if order.states else (ZERO, ZERO)
        if trade:
            executed, spent = executed + trade.qty, spent + trade.qty * trade.price
        self.events.append(
            Event(
                seq=self.seq + 1,
                at_ms=at_ms,
                kind=kind,
                order_id=order.order_id,
                trade_id=trade.trade_id if trade else None,
            )
        )
        order.states.append(OrderState(self.seq, at_ms, status, executed, spent, order.price, order.qty))
        if not order.now.open:
            self.open.pop(order.order_id, None)

    def _close(self, order: BookOrder, status: str) -> None:
        self._turn(order, status, "closed")

    # ---- market and fills

    def advance(self, count: int = 1) -> int:
        """Move every market by `count` candles, as far as there are any; returns how many candles were played."""
        played = 0
        for _ in range(count):
            for symbol, rows in self.candles.items():
                if self.done[symbol] < len(rows):
                    self._play(symbol, rows[self.done[symbol]])
                    played += 1
        return played

    def _play(self, symbol: str, candle: Candle) -> None:
        for order in list(_reached(candle, [one for one in self.open.values() if one.symbol == symbol])):
            self._execute(order, self._part(order), order.price, maker=True)
        self.done[symbol] += 1

    def _part(self, order: BookOrder) -> Decimal:
        if self.config.partial_share >= 1 or self._random.random() >= self.config.partial_chance:
            return order.left
        step = self.rules(order.symbol).step
        part = (order.left * Decimal(str(self.config.partial_share)) / step).to_integral_value(ROUND_FLOOR) * step
        return part or order.left

    def _execute(self, order: BookOrder, qty: Decimal, price: Decimal, *, maker: bool) -> None:
        for part in _split(qty, self.config.fill_parts, self.rules(order.symbol).step):
            fee, fee_asset = self._fee(order, part, price, maker)
            trade = BookTrade(
                seq=self.seq + 1,
                trade_id=FIRST_TRADE + len(self.trades),
                order_id=order.order_id,
                client_id=order.client_id,
                symbol=order.symbol,
                side=order.side,
                price=price,
                qty=part,
                fee=fee,
                fee_asset=fee_asset,
                maker=maker,
                at_ms=self.clock(),
            )
            self.trades.append(trade)
            self._turn(order, "FILLED" if order.left == part else "PARTIALLY_FILLED", "traded", trade)
            self._settle(trade)

    def _settle(self, trade: BookTrade) -> None:
        rules, sign = self.rules(trade.symbol), 1 if trade.side == "BUY" else -1
        held = dict(self.totals[-1][1])
        for asset, amount in (
            (rules.base, sign * trade.qty),
            (rules.quote, -sign * trade.qty * trade.price),
            (trade.fee_asset, -trade.fee),
        ):
            held[asset] = held.get(asset, ZERO) + amount
        self.totals.append((self.seq, held))

    def _fee(self, order: BookOrder, qty: Decimal, price: Decimal, maker: bool) -> tuple[Decimal, str]:
        rules = self.rules(order.symbol)
        rate = self.config.maker_fee if maker else self.config.taker_fee
        in_quote, mode, coin_market = price * qty * rate, self.config.fee_currency, f"BNB{rules.quote}"
        if mode == "BNB" and coin_market in self.candles:
            fee = (in_quote / self.last(coin_market)).quantize(EIGHT)
            if self.free("BNB") >= fee:
                return fee, "BNB"
        if mode == "quote" or order.side == "SELL":
            return in_quote.quantize(EIGHT), rules.quote
        return (qty * rate).quantize(EIGHT), rules.base


def _needed(ask: Mapping[str, str], name: str) -> str:
    if not ask.get(name):
        raise missing(name)
    return ask[name]


def _named(order: BookOrder, ask: Mapping[str, str]) -> bool:
    if "orderId" in ask:
        return str(order.order_id) == ask["orderId"]
    if "origClientOrderId" in ask:
        return order.client_id == ask["origClientOrderId"]
    raise BinanceError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")


def _reached(candle: Candle, resting: Sequence[BookOrder]) -> Iterator[BookOrder]:
    buys = [order for order in resting if order.side == "BUY" and order.price >= candle.low]
    sells = [order for order in resting if order.side == "SELL" and order.price <= candle.high]
    buys.sort(key=lambda order: (-order.price, order.order_id))
    sells.sort(key=lambda order: (order.price, order.order_id))
    low_first = candle.open - candle.low <= candle.high - candle.open
    yield from (*buys, *sells) if low_first else (*sells, *buys)


def _split(qty: Decimal, parts: int, step: Decimal) -> Iterator[Decimal]:
    part = (qty / parts / step).to_integral_value(ROUND_FLOOR) * step
    for _ in range(parts - 1 if part else 0):
        yield part
        qty -= part
    yield qty
