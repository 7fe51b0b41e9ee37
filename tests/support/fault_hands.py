"""Orders that somebody changes by hand in a fault run, and orders of ours that no journal has."""

import random
from collections import Counter
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal

from tasks.exchange.order_ids import OrderId, parse_order_id
from tests.support.binance.book import BookOrder
from tests.support.binance.engine import Engine
from tests.support.binance.errors import BinanceError
from tests.support.fault_swarm import Trouble

_AMOUNTS = (Decimal("0.4"), Decimal("0.8"), Decimal("1.3"))
_PRICES = (Decimal("0.997"), Decimal("1.003"))
_WITH_FEES = Decimal("1.002")


@dataclass
class Hands:
    """`strays`: client ids of orders that no journal had. `raised`: quote that all changes may have cost beyond it."""

    engine: Engine
    rng: random.Random
    done: Counter[str]
    strays: set[str] = field(default_factory=set)
    raised: Decimal = Decimal(0)

    def amend(self, order: BookOrder) -> None:
        """Change the amount or the price of an open order; not so that it fills at once or the account is short."""
        rules, last = self.engine.rules(order.symbol), self.engine.last(order.symbol)
        qty = (order.qty * self.rng.choice(_AMOUNTS) / rules.step).to_integral_value(ROUND_FLOOR) * rules.step
        price = (order.price * self.rng.choice(_PRICES) / rules.tick).to_integral_value(ROUND_HALF_UP) * rules.tick
        if self.rng.random() < 0.5:
            qty = order.qty
        else:
            price = order.price
        crosses = price >= last if order.side == "BUY" else price <= last
        more = (qty * price - order.qty * order.price) * _WITH_FEES
        base, quote = rules.base, rules.quote
        short = more > self.engine.free(quote) if order.side == "BUY" else qty - order.qty > self.engine.free(base)
        if crosses or short or qty < rules.min_qty or qty * price < rules.min_notional:
            return
        self.done[Trouble.AMENDED] += 1
        # A sell beyond its cell takes base from others: there the exchange's record shows it as still held.
        beyond = more if order.side == "BUY" else (qty - order.qty) * price * _WITH_FEES
        self.raised += max(beyond, Decimal(0))
        self.engine.amend(order.order_id, qty, price)

    def stray(self, like: BookOrder) -> None:
        """Place an order as of an earlier cycle of the same cell: its request was declared lost and arrives now."""
        name = parse_order_id(like.client_id)
        if name is None or like.type == "MARKET":
            return
        sent = {order.client_id for order in self.engine.orders.values()}
        cycles = [cycle for cycle in range(max(name.cycle - 5, 0), name.cycle) if str(_of(name, cycle)) not in sent]
        if not cycles:
            return
        client_id = str(_of(name, cycles[-1]))
        ask = {
            "symbol": like.symbol,
            "side": like.side,
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": str(like.qty),
            "price": str(like.price),
            "newClientOrderId": client_id,
        }
        try:
            self.engine.place(ask)
        except BinanceError:
            return
        self.done[Trouble.STRAY] += 1
        self.strays.add(client_id)
        self.raised += like.qty * like.price * _WITH_FEES if like.side == "BUY" else Decimal(0)


def _of(name: OrderId, cycle: int) -> OrderId:
    return name._replace(cycle=cycle)
