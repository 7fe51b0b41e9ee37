"""The state machine of the pot, fourth part: what an operator changes, and symbols that leave."""

from collections.abc import Mapping
from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tasks.funds.models import SymbolPerformance
from tasks.funds.rebalancing import SCHEDULED
from tasks.settings.model import AllocationStrategy
from tests.stateful.base import SYMBOLS, symbols
from tests.stateful.orders import parts_held
from tests.stateful.sharing import EDGE, Sharing, every_symbol

strategies = st.sampled_from([AllocationStrategy.DYNAMIC, *AllocationStrategy])
weights = st.sampled_from([None, Decimal(0), Decimal(1), Decimal(5)])
caps = st.sampled_from([Decimal("0.2"), Decimal("0.6"), Decimal(1)])


class Changes(Sharing):
    """Its rules: weights, caps, pool, strategy and symbols change, at once or by the next rebalance."""

    @initialize(strategy=strategies)
    def open_pot(self, strategy: AllocationStrategy) -> None:
        self.strategy = strategy
        self.rebalance(force=False, reason="start", facts={})

    @rule(symbol=symbols, weight=weights, cap=caps, at_once=st.booleans())
    def change_symbol(self, symbol: str, weight: Decimal | None, cap: Decimal, at_once: bool) -> None:
        self.caps[symbol] = cap
        if weight is None and len(self.weights) > 1:
            self.weights.pop(symbol, None)
        elif weight is not None:
            self.weights[symbol] = weight
        self.put_in_force(at_once)

    @precondition(lambda self: len(self.weights) > 1)
    @rule(data=st.data(), what=parts_held, sells=st.booleans())
    def leave(self, data: st.DataObject, what: set[str], sells: bool) -> None:
        """A symbol leaves the settings and gives up some of what it has, or all; nobody may forget the rest."""
        symbol = data.draw(st.sampled_from(sorted(self.weights)))
        if sells:
            self.buy(symbol, 0, fills=False)  # a sale: it needs no money
        del self.weights[symbol]
        self.put_in_force(at_once=True)
        self.wind_down(symbol, what)
        self.put_in_force(at_once=True)

    @precondition(lambda self: len(self.weights) > 1)
    @rule(data=st.data(), facts=every_symbol)
    def leave_while_another_fills(self, data: st.DataObject, facts: Mapping[str, SymbolPerformance]) -> None:
        """A step takes money from a symbol whose buys then fill; within the hour another, which has left, is empty."""
        symbol, other = data.draw(st.permutations(sorted(self.weights)))[:2]
        del self.weights[symbol]
        self.change_strategy(AllocationStrategy.DYNAMIC, at_once=True)
        self.buy(other, self.free(other), fills=False)
        self.time_passes(60)
        self.rebalance(force=True, reason=SCHEDULED, facts=facts)
        for order in sorted(self.pot.shares[other].reservations):
            self.run(self.filled_in_full(other, order))
        self.wind_down(symbol, {"lots", "buys", "sells", "cells"})
        self.put_in_force(at_once=True)

    @rule(share=st.sampled_from([Decimal("0.95"), Decimal("0.5"), Decimal(1)]), at_once=st.booleans())
    def change_pool(self, share: Decimal, at_once: bool) -> None:
        self.max_usage = share
        self.put_in_force(at_once)

    @rule(symbol=symbols, other=symbols)
    def one_gives_way_to_another(self, symbol: str, other: str) -> None:
        """Buys rest for all that a symbol has; it is capped, and another takes all that it gets instead."""
        self.buy(symbol, self.free(symbol), fills=False)
        self.caps |= {other: Decimal(1), symbol: Decimal("0.2")}
        self.put_in_force(at_once=True)
        self.buy(other, self.free(other), fills=False)

    @rule(symbol=symbols)
    def the_pool_falls_below_what_is_used(self, symbol: str) -> None:
        """Everybody fills what it has, the pool is halved, and one sells again."""
        for name in SYMBOLS:
            self.buy(name, self.free(name))
        self.change_pool(Decimal("0.5"), at_once=True)
        self.sell_all(symbol)
        self.put_in_force(at_once=True)

    @rule(strategy=strategies, at_once=st.booleans())
    def change_strategy(self, strategy: AllocationStrategy, at_once: bool) -> None:
        self.strategy = strategy
        self.put_in_force(at_once)

    def put_in_force(self, at_once: bool) -> None:
        """At once, as at a start or a deploy; or else by whatever rebalance comes next."""
        if at_once and self.pot.spread != EDGE:
            self.rebalance(force=False, reason="start", facts={})
