"""What happens on the exchange in a fault run, whoever trades there: filters, listings, balances, hands, the price."""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal

from tests.support.binance.book import BookOrder
from tests.support.binance.config import SymbolRules
from tests.support.binance.engine import Engine
from tests.support.binance.faults import Fault, FaultKind
from tests.support.fault_draw import SYMBOLS
from tests.support.fault_hands import Hands
from tests.support.fault_swarm import Swarm, Trouble
from tests.support.virtual.exchange import VirtualExchange

EIGHT = Decimal("1e-8")
_TICKS = {
    "BTC/USDT": ("0.01", "0.1", "1", "10", "500"),
    "ETH/USDT": ("0.01", "0.1", "1", "20"),
    "BNB/USDT": ("0.001", "0.01", "0.1", "3"),
}  # with the last one of each, levels fall on the same price
_STEPS = {
    "BTC/USDT": ("0.00001", "0.0001"),
    "ETH/USDT": ("0.0001", "0.001"),
    "BNB/USDT": ("0.001", "0.01"),
}
_LEAST = ("5", "10")
_MOST_ORDERS = (2, 4, 6, 200)


@dataclass
class Hazards:
    """Does what the swarm draws, once a step. `gone`: symbols that were delisted for good."""

    exchange: VirtualExchange
    swarm: Swarm
    rng: random.Random
    done: Counter[str]
    gone: set[str] = field(default_factory=set)
    hands: Hands = field(init=False)
    _suspended: set[str] = field(default_factory=set)
    taken: dict[str, Decimal] = field(default_factory=dict)  # by asset: everything that was withdrawn
    _withdrawn: list[tuple[str, Decimal]] = field(default_factory=list)
    _jumps: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.hands = Hands(self.engine, self.rng, self.done)

    @property
    def engine(self) -> Engine:
        """Of the exchange."""
        return self.exchange.server.binance.engine

    @property
    def played(self) -> int:
        """The number of drawn candles that every symbol has played."""
        return min(done - self._jumps[symbol] for symbol, done in self.engine.done.items())

    async def act(self, configured: Iterable[str]) -> None:
        """One step's hazards. `configured`: symbols of the settings in force."""
        comes = self.swarm.comes
        if comes(Trouble.CANCELLED):
            await self._cancel_by_hand()
        if comes(Trouble.AMENDED) and (order := self._some_order()):
            self.hands.amend(order)
        if comes(Trouble.STRAY) and (order := self._some_order()):
            self.hands.stray(order)
        if comes(Trouble.FILTERS):
            self._change_filters(self.rng.choice(SYMBOLS), self.rng.random() < 0.15)
        if comes(Trouble.FEW_ORDERS):
            self._allow_orders(self.rng.choice(SYMBOLS), self.rng.choice(_MOST_ORDERS))
        if comes(Trouble.LEFT_BEHIND):
            self._leave_behind()
        if self._withdrawn and self.rng.random() < 0.4:
            self._return_base()
        if comes(Trouble.WITHDRAWN):
            self._withdraw_base()
        if self._suspended and self.rng.random() < 0.4:
            self.list_again()
        if comes(Trouble.SUSPENDED):
            self._delist(self.rng.choice(SYMBOLS), Trouble.SUSPENDED)
        others = sorted(set(configured) - self.gone - self._suspended)
        if len(others) > 1 and not self.gone and comes(Trouble.DELISTED):
            self._delist(self.rng.choice(others), Trouble.DELISTED)

    def end(self) -> None:
        """List again what was suspended, return what was withdrawn, and let every grid fit its market."""
        self.list_again()
        self._return_base()
        for symbol in sorted(set(SYMBOLS) - self.gone):
            if self.engine.config.symbols[symbol].tick == Decimal(_TICKS[symbol][-1]):
                self._change_filters(symbol, unfit=False)

    def tighten_filters(self) -> None:
        """The coarsest filters that fit, for every symbol: a worker that does not read them is refused."""
        for symbol in sorted(set(SYMBOLS) - self.gone):
            before, step = self.engine.config.symbols[symbol], Decimal(_STEPS[symbol][-1])
            tight = {"tick": Decimal(_TICKS[symbol][-2]), "step": step, "min_qty": step}
            self._set_rules(before, before.model_copy(update=tight), Trouble.FILTERS)

    def _change_filters(self, symbol: str, unfit: bool) -> None:
        rules = self.engine.config.symbols.get(symbol)
        if rules is None:
            return
        tick = _TICKS[symbol][-1] if unfit else self.rng.choice(_TICKS[symbol][:-1])
        step = Decimal(self.rng.choice(_STEPS[symbol]))
        changed = SymbolRules(
            symbol=symbol,
            tick=Decimal(tick),
            step=step,
            min_qty=step,
            min_notional=Decimal(self.rng.choice(_LEAST)),
            max_orders=rules.max_orders,
        )
        self._set_rules(rules, changed, Trouble.FILTERS)

    def _allow_orders(self, symbol: str, most: int) -> None:
        rules = self.engine.config.symbols.get(symbol)
        if rules is not None:
            self._set_rules(rules, rules.model_copy(update={"max_orders": most}), Trouble.FEW_ORDERS)

    def _set_rules(self, before: SymbolRules, changed: SymbolRules, kind: Trouble) -> None:
        self.done[kind] += changed != before
        symbols = {**self.engine.config.symbols, changed.symbol: changed}
        self.engine.config = self.engine.config.model_copy(update={"symbols": symbols})

    async def _cancel_by_hand(self) -> None:
        """Cancel an order before its last fill was seen. The list of trades may be stale then."""
        order = self._some_order()
        if order is None:
            return
        self.done[Trouble.CANCELLED] += 1
        if self.rng.random() < 0.5:
            half = (order.left / 2).quantize(Decimal("0.00001"))
            self.engine.fill(order.order_id, half or order.left)
            await self.exchange.server.inject(Fault(kind=FaultKind.STALE, path="myTrades", requests=6))
        if order.now.open:
            self.engine.cancel(order.symbol, {"orderId": str(order.order_id)})

    def _leave_behind(self) -> None:
        """Fill most of a buy; the price then jumps beyond its cell, and comes back with the next candle."""
        order = self._some_order("BUY")
        if order is None:
            return
        step = self.engine.rules(order.symbol).step
        part = (order.left * Decimal("0.6") / step).to_integral_value(ROUND_FLOOR) * step
        if not part:
            return
        self.done[Trouble.LEFT_BEHIND] += 1
        self.engine.fill(order.order_id, part)
        self._jumps[order.symbol] += 1
        self.engine.jump(order.symbol, (order.price * Decimal("1.01")).quantize(Decimal("0.01")))

    def fill_buys(self) -> None:
        """Fill some buys, so that there is base to sell."""
        buys = [order for _, order in sorted(self.engine.open.items()) if order.side == "BUY"]
        for order in self.rng.sample(buys, min(3, len(buys))):
            self.engine.fill(order.order_id)

    def withdraw_for_long(self) -> None:
        """Somebody cancels some of our sells by hand and takes their base out of the account."""
        sells = [order for _, order in sorted(self.engine.open.items()) if order.side == "SELL"]
        for order in self.rng.sample(sells, min(2, len(sells))):
            self.engine.cancel(order.symbol, {"orderId": str(order.order_id)})
            self._withdraw_base(self.engine.rules(order.symbol).base)
        self.done[Trouble.GONE] += bool(sells)

    def _withdraw_base(self, asset: str = "") -> None:
        """Take some of the free base of one symbol out of the account."""
        asset = asset or self.rng.choice(SYMBOLS).partition("/")[0]
        amount = (self.engine.free(asset) * self.rng.choice([Decimal("0.3"), Decimal(1)])).quantize(EIGHT, ROUND_FLOOR)
        if amount > 0:
            self.done[Trouble.WITHDRAWN] += 1
            self.engine.move(asset, -amount)
            self._withdrawn.append((asset, amount))
            self.taken[asset] = self.taken.get(asset, Decimal(0)) + amount

    def _return_base(self) -> None:
        for asset, amount in self._withdrawn:
            self.engine.move(asset, amount)
        self._withdrawn.clear()

    def _delist(self, symbol: str, kind: Trouble) -> None:
        if symbol not in self.engine.config.symbols:
            return
        self.done[kind] += 1
        self.engine.delist(symbol)
        (self.gone if kind is Trouble.DELISTED else self._suspended).add(symbol)

    def list_again(self) -> None:
        """List again what was suspended."""
        for symbol in sorted(self._suspended):
            self.engine.relist(symbol)
        self._suspended.clear()

    def _some_order(self, side: str = "") -> BookOrder | None:
        orders = [order for _, order in sorted(self.engine.open.items()) if side in ("", order.side)]
        return self.rng.choice(orders) if orders else None
