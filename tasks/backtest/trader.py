"""One symbol in a backtest: the tick of `tasks.tick.trader`, with the pot and the fill model in memory.

Every decision is `decide` and `conclude`. This module reads and applies, as the live trader does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tasks.backtest.pot import Pot, Wanted
from tasks.base.errors import RejectReason
from tasks.base.money import from_units
from tasks.base.unchecked import unchecked
from tasks.exchange.models import (
    Accepted,
    Market,
    Order,
    OrderStatus,
    Placement,
    Rejected,
    Side,
    Ticker,
    Trade,
)
from tasks.funds.models import FundCode, Write
from tasks.grid.cells import with_order
from tasks.grid.models import Cell, Grid
from tasks.grid.plan_models import PlannedOrder
from tasks.ledger.models import Book, Fill, QueuedFee
from tasks.orders.models import Evidence, Intent
from tasks.paper.matching import Execution, Matching, PaperAccount, Path, PlaceCode
from tasks.paper.units import Fees, to_units
from tasks.tick.decide import Conclusion, conclude, decide
from tasks.tick.decision import Decision, Readings, Rules
from tasks.tick.grid_in_force import needs_slots, needs_volatility
from tasks.tick.limits import still_refused
from tasks.tick.models import SymbolState, TickReport
from tasks.tick.order_requests import intent_of
from tasks.tick.slots import order_slot

FENCE = 1
_SIDES = {side.value: side for side in Side}
_REFUSALS = {
    PlaceCode.INSUFFICIENT: RejectReason.INSUFFICIENT_FUNDS,
    PlaceCode.WOULD_TAKE: RejectReason.WOULD_TAKE,
}


@dataclass
class Records:
    """What Redis keeps of a symbol."""

    book: Book
    grid: Grid | None = None
    last: TickReport | None = None
    cells: dict[str, Cell] = field(default_factory=dict)
    intents: dict[str, Intent] = field(default_factory=dict)
    fee_queue: dict[str, QueuedFee] = field(default_factory=dict)


def _not_known(_now_ms: int) -> None:
    """The volatility where there are no candles."""


class BacktestTrader:
    """Ticks one symbol. `fills`: all that the books have, in the order of booking.

    `volatility(now_ms)`: annualised, by the candles that have closed; None where they are too few.
    """

    def __init__(self, rules: Rules, pot: Pot, account: PaperAccount, fees: Fees, first: int) -> None:
        self.rules, self.pot, self.fees = rules, pot, fees
        self.market: Market = rules.market
        self.symbol = rules.symbol
        self.exchange = Matching(self.symbol, first, fees, account)
        self.records = Records(Book(symbol=self.symbol))
        self.evidence: dict[str, Evidence] = {}  # of orders that no longer rest
        self.orders: dict[str, Order] = {}  # resting on the exchange, by client id
        self.fills: list[Fill] = []
        self.newly_refused = False  # whether the pot refused an order that the last tick planned
        self.ticks = 0
        self._slots_key, self._flags_key = rules.keys.slots(rules.symbol), rules.keys.funds_symbol(rules.symbol)
        self.volatility: Callable[[int], Decimal | None] = _not_known

    @property
    def price(self) -> Decimal:
        """The last price, in quote."""
        return from_units(self.exchange.last)

    @property
    def all_rest(self) -> bool:
        """Whether every order rests, so that nothing has to be booked."""
        return not self.evidence and len(self.orders) == len(self.records.intents)

    # --- the exchange ----------------------------------------------------------------------------------
    def play(self, path: Path, at_ms: int) -> None:
        """Fill what a candle reaches. `at_ms`: the candle's."""
        for fill in self.exchange.play(path):
            self._traded(fill, at_ms)

    def _traded(self, fill: Execution, at_ms: int) -> None:
        order = fill.order
        trade = unchecked(
            Trade,
            trade_id=str(order.number),
            exchange_id=str(order.number),
            client_id=None,
            symbol=self.symbol,
            side=_SIDES[order.side],
            price=from_units(fill.price),
            qty=from_units(order.qty),
            fee=from_units(fill.amounts.fee),
            fee_currency=self.market.quote if fill.amounts.fee_in == "q" else self.market.base,
            maker=fill.maker,
            at_ms=at_ms,
        )
        self.orders.pop(order.client, None)
        self.evidence[order.client] = Evidence(trades=(trade,))

    def _cancel(self, exchange_ids: Sequence[str]) -> None:
        by_id = {order.exchange_id: client for client, order in self.orders.items()} if exchange_ids else {}
        for exchange_id in exchange_ids:
            client = by_id.get(exchange_id)
            if client is None:
                continue
            self.exchange.cancel(client)
            ended = self.orders.pop(client).model_copy(update={"status": OrderStatus.CANCELLED})
            self.evidence[client] = Evidence(looked_up=True, found=ended)

    def _place(self, intent: Intent, at_ms: int) -> Placement:
        price, qty = to_units(intent.price), to_units(intent.qty)
        code, fill = self.exchange.place(intent.client_id, intent.side, price, qty, post_only=intent.post_only)
        if code is not PlaceCode.OK:
            return Rejected(client_id=intent.client_id, reason=_REFUSALS[code], detail=code.name)
        number = fill.order.number if fill else self.exchange.resting[intent.client_id].number
        order = unchecked(
            Order,
            exchange_id=str(number),
            client_id=intent.client_id,
            symbol=self.symbol,
            side=intent.side,
            price=intent.price,
            qty=intent.qty,
            filled=intent.qty if fill else Decimal(0),
            status=OrderStatus.FILLED if fill else OrderStatus.OPEN,
            at_ms=at_ms,
        )
        if fill:
            self._traded(fill, at_ms)
        else:
            self.orders[intent.client_id] = order
        return unchecked(Accepted, order=order)

    # --- a tick ----------------------------------------------------------------------------------------
    def tick(self, now_ms: int) -> Decision:
        """Read, decide, apply."""
        self.ticks += 1
        decision = decide(self.rules, self.readings(now_ms))
        self._commit(decision)
        if decision.refusal is not None:
            raise decision.refusal
        self._cancel(decision.cancel)
        refused = still_refused(decision.plan)
        intents = self._reserve(decision, decision.plan.place, now_ms, refused)
        answers = [self._place(intent, now_ms) for intent in intents]
        conclusion = conclude(self.rules, decision, intents, answers, refused, now_ms)
        self.pot.release(self.symbol, conclusion.ended)
        self._write(conclusion.changes)
        self._keep(decision, conclusion)
        return decision

    def book(self, now_ms: int) -> None:
        """Book what filled at the last tick, without planning anything."""
        if any(one.trades for one in self.evidence.values()):
            decision = decide(self.rules, self.readings(now_ms))
            self._commit(decision)
            self.records.cells, self.records.intents = decision.folded.cells, decision.folded.intents

    def readings(self, now_ms: int) -> Readings:
        """What a tick reads now."""
        records, pot = self.records, self.pot
        state = unchecked(
            SymbolState,
            fence=FENCE,
            grid=records.grid,
            book=records.book,
            last=records.last,
            cells=records.cells,
            intents=records.intents,
            share=pot.share_of(self.symbol),
            pool_free_units=pot.pool - pot.committed,
            short=False,
            limits_version=pot.version,
            settings_version=0,
            paused=False,
            stopped=False,
            fee_queue=records.fee_queue,
            corrections=(),
            must_check_breakers=False,
        )
        price = self.price
        ticker = unchecked(Ticker, symbol=self.symbol, bid=price, ask=price, last=price, at_ms=now_ms)
        asked = self.rules, state, ticker, now_ms
        slots = pot.shares[self.symbol].slots if needs_slots(*asked) else {}
        volatility = self.volatility(now_ms) if needs_volatility(*asked) else None
        orders = list(self.orders.values())
        return Readings(now_ms, now_ms, now_ms, state, orders, ticker, self.evidence, {}, dict(slots), None, volatility)

    def _commit(self, decision: Decision) -> None:
        folded = decision.folded
        if decision.has_changes:
            ended = [intent.client_id for intent in folded.ended]
            self.pot.record(self.symbol, decision.moves, ended)
            self.fills += folded.fills
            for client_id in ended:
                self.evidence.pop(client_id, None)
            self._write(decision.changes)
        self.records.book = folded.book

    def _write(self, changes: Sequence[Write]) -> None:
        """Follow the writes to order slots and flags. Grid, cells and orders come from the decision itself."""
        share, slots, flags = self.pot.shares[self.symbol], self._slots_key, self._flags_key
        for write in changes:
            if write.key == slots and write.verb == "HDEL":
                share.slots.pop(write.field, None)
            elif write.key == slots:
                share.slots[write.field] = int(write.text)
            elif write.key == flags and write.field == "fired":
                share.fired = int(write.text)
            elif write.key == flags and write.field == "liquidate":
                share.liquidate = bool(int(write.text))

    def _reserve(
        self, decision: Decision, orders: Sequence[PlannedOrder], now_ms: int, refused: dict[str, str]
    ) -> list[Intent]:
        self.newly_refused = False
        if not orders:
            return []
        folded = decision.folded
        items = [
            Wanted(order.client_id, order_slot(order.cell_key, order.purpose), order.cycle, order.units)
            for order in orders
        ]
        granted: list[Intent] = []
        for order, code in zip(orders, self.pot.reserve(self.symbol, items), strict=True):
            if code is FundCode.OK:
                intent = intent_of(order, self.symbol, now_ms)
                folded.cells[order.cell_key] = with_order(folded.cells[order.cell_key], order)
                folded.intents[intent.client_id] = intent
                granted.append(intent)
                continue
            self.newly_refused = True
            if code is not FundCode.ALREADY:
                refused[order.cell_key] = code.name
        return granted

    def _keep(self, decision: Decision, conclusion: Conclusion) -> None:
        records, folded = self.records, decision.folded
        records.grid, records.last = decision.grid, conclusion.report
        records.cells, records.intents = folded.cells, folded.intents
        for client_id in conclusion.ended:
            self.evidence.pop(client_id, None)
