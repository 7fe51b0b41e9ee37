"""What the journal concludes from what the exchange shows."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tasks.exchange.models import Order, OrderStatus, Side, Trade
from tasks.orders.evidence import gather_evidence
from tasks.orders.models import Evidence, Intent, IntentState
from tasks.orders.rules import (
    FORGOTTEN_AFTER_MS,
    MAX_CLOCK_DIFFERENCE_MS,
    MAX_LOOKUPS,
    advance,
    needs_lookup,
    possible_orders,
    trades_since,
)

QTY = Decimal("0.01")
PROTECTION = 15_000


def intent(**changes: Any) -> Intent:
    """A buy of 0.01 at 40000, journalled at t=1000 ms."""
    base: dict[str, Any] = {
        "client_id": "c",
        "symbol": "BTC/USDT",
        "cell_key": "g.0",
        "side": Side.BUY,
        "price": Decimal(40000),
        "qty": QTY,
        "cycle": 0,
        "units": 1000,
        "units_left": 1000,
        "post_only": True,
        "created_ms": 1000,
    }
    return Intent(**(base | changes))


def order(status: OrderStatus, filled: str = "0") -> Order:
    """The exchange's view of it."""
    return Order(
        exchange_id="7",
        client_id="c",
        symbol="BTC/USDT",
        side=Side.BUY,
        price=Decimal(40000),
        qty=QTY,
        filled=Decimal(filled),
        status=status,
        at_ms=1000,
    )


def trade(number: str, qty: str) -> Trade:
    """An execution of order 7."""
    return Trade(
        trade_id=number,
        exchange_id="7",
        symbol="BTC/USDT",
        side=Side.BUY,
        price=Decimal(40000),
        qty=Decimal(qty),
        fee=Decimal(0),
        fee_currency="USDT",
        maker=True,
        at_ms=2000,
    )


def state_after(own: Intent, evidence: Evidence, now_ms: int = 2000) -> IntentState:
    """Where one step leads."""
    return advance(own, evidence, now_ms, PROTECTION)[0].state


def test_a_resting_order_is_adopted() -> None:
    """A crash after sending: the order is found among the open ones and becomes ours."""
    after, fresh = advance(intent(), Evidence(resting=order(OrderStatus.OPEN)), 2000, PROTECTION)
    assert (after.state, after.exchange_id, fresh) == (IntentState.OPEN, "7", [])


def test_trades_that_fill_it_end_it_without_a_lookup() -> None:
    """The usual fill costs no extra call."""
    known = intent(exchange_id="7", state=IntentState.OPEN)
    trades = (trade("1", "0.004"), trade("2", "0.006"))
    assert not needs_lookup(known, None, trades)
    after, fresh = advance(known, Evidence(trades=trades), 2000, PROTECTION)
    assert after.state is IntentState.FILLED
    assert [one.trade_id for one in fresh] == ["1", "2"]


def test_a_trade_counts_once() -> None:
    """Doubled and repeated reports change nothing."""
    once, fresh = advance(
        intent(exchange_id="7"),
        Evidence(resting=order(OrderStatus.OPEN, "0.004"), trades=(trade("1", "0.004"), trade("1", "0.004"))),
        2000,
        PROTECTION,
    )
    assert once.filled == Decimal("0.004")
    assert len(fresh) == 1
    same = Evidence(resting=order(OrderStatus.OPEN), trades=(trade("1", "0.004"),))
    again, fresh = advance(once, same, 3000, PROTECTION)
    assert again.filled == Decimal("0.004")
    assert fresh == []
    assert again.state is IntentState.PARTIAL


def test_a_cancel_waits_for_every_fill_it_reports() -> None:
    """Cancelled with 0.004 filled: not over until that trade is in hand."""
    known = intent(exchange_id="7", state=IntentState.OPEN)
    cancelled = order(OrderStatus.CANCELLED, "0.004")
    assert not state_after(known, Evidence(looked_up=True, found=cancelled)).ended
    complete = Evidence(looked_up=True, found=cancelled, trades=(trade("1", "0.004"),))
    assert state_after(known, complete) is IntentState.CANCELLED


def test_an_order_the_exchange_has_forgotten_was_cancelled() -> None:
    """Accepted once, unfilled, and for an hour neither resting nor found nor traded."""
    vain, hour, late = Evidence(looked_up=True), FORGOTTEN_AFTER_MS, 10**9
    accepted = intent(exchange_id="7", state=IntentState.OPEN)
    missing, _ = advance(accepted, vain, late, PROTECTION)
    assert (missing.state, missing.missing_ms) == (IntentState.UNKNOWN, late)
    assert advance(missing, vain, late + hour, PROTECTION)[0] == missing, "written once, not at each look"
    assert state_after(missing, vain, now_ms=late + hour + 1) is IntentState.CANCELLED
    seen, _ = advance(missing, Evidence(resting=order(OrderStatus.OPEN)), late + hour + 1, PROTECTION)
    assert (seen.state, seen.missing_ms) == (IntentState.OPEN, None)
    assert state_after(seen, vain, now_ms=late + 2 * hour) is IntentState.UNKNOWN, "counted from the start again"
    traded = Evidence(looked_up=True, trades=(trade("1", "0.004"),))
    assert state_after(missing, traded, now_ms=late + 2 * hour) is IntentState.UNKNOWN, (
        "what it filled says it is known"
    )
    assert state_after(missing, Evidence(), now_ms=late + 2 * hour) is IntentState.UNKNOWN


def test_no_trace_is_unknown_until_the_protection_window_is_over() -> None:
    """Only then is the order declared never placed."""
    nothing = Evidence(looked_up=True)
    assert state_after(intent(), nothing, now_ms=1000 + PROTECTION) is IntentState.UNKNOWN
    assert state_after(intent(), nothing, now_ms=1001 + PROTECTION) is IntentState.NEVER_PLACED


def test_an_order_that_was_seen_is_never_declared_never_placed() -> None:
    """An exchange that does not know an accepted order for a while leaves it unknown, not free."""
    seen = intent(exchange_id="7", state=IntentState.OPEN)
    assert state_after(seen, Evidence(looked_up=True), now_ms=10**9) is IntentState.UNKNOWN


def test_without_evidence_nothing_changes() -> None:
    """No look, no conclusion."""
    assert advance(intent(), Evidence(), 10**9, PROTECTION)[0] == intent()


def test_trades_are_read_from_the_cursor_with_an_overlap() -> None:
    """A fresh order reads from its birth, an old one from shortly before the newest booked trade."""
    known = intent(created_ms=500_000, exchange_id="7", state=IntentState.OPEN)
    assert trades_since([known], 0) == 440_000
    assert trades_since([known], 900_000) == 840_000
    assert trades_since([known, intent(created_ms=700_000)], 900_000) == 640_000, "its trades could not be told yet"


def test_an_order_with_unread_fills_reads_from_its_birth_again() -> None:
    """The list of trades was behind the order, and others' trades have moved the cursor on since."""
    known = intent(exchange_id="7", state=IntentState.OPEN)
    for shown in (
        Evidence(resting=order(OrderStatus.OPEN, "0.004")),
        Evidence(found=order(OrderStatus.FILLED, "0.01")),
    ):
        behind, _ = advance(known, shown, 2000, PROTECTION)
        assert behind.behind
        assert not behind.state.ended
        assert trades_since([behind], 10**9) == 1000 - 60_000
        unseen, _ = advance(behind, Evidence(looked_up=True), 2500, PROTECTION)
        assert unseen.behind, "that nothing shows it now does not bring its fills in"
    caught_up, _ = advance(behind, replace(shown, trades=(trade("1", "0.01"),)), 3000, PROTECTION)
    assert (caught_up.state, caught_up.behind) == (IntentState.FILLED, False)


def test_an_order_whose_id_was_freed_is_sought_through_trades() -> None:
    """Only orders that could be it: side, price, amount, time, and not known as another's."""
    own = intent()
    fits = trade("1", "0.004")
    dear = trade("2", "0.004").model_copy(update={"exchange_id": "8", "price": Decimal(40001)})
    early = trade("3", "0.004").model_copy(update={"exchange_id": "9", "at_ms": -MAX_CLOCK_DIFFERENCE_MS - 1})
    sold = trade("4", "0.004").model_copy(update={"exchange_id": "10", "side": Side.SELL})
    assert possible_orders(own, [fits, fits, dear, early, sold], {"11"}) == ["7"]
    assert possible_orders(own, [fits], {"7"}) == []


def some_order(number: int) -> Trade:
    """A fill of some order that might be the intent's, `number` ms after its birth."""
    return trade(str(number), "0.004").model_copy(update={"exchange_id": str(number), "at_ms": 1000 + number})


class Shelf:
    """An exchange that finds no id, has many trades, and knows whose orders they were."""

    def __init__(self, mine: str | None) -> None:
        self.mine, self.asked = mine, 0

    async def trades(self, symbol: str, since_ms: int) -> list[Trade]:
        return [some_order(number) for number in range(60, 0, -1)]

    async def order(self, symbol: str, client_id: str, exchange_id: str | None = None) -> Order | None:
        if exchange_id is None:
            return None
        self.asked += 1
        whose = client_id if exchange_id == self.mine else "other"
        found = order(OrderStatus.FILLED, "0.01")
        return found.model_copy(update={"exchange_id": exchange_id, "client_id": whose})


async def evidence_from(shelf: Any, booked: Collection[str] = ()) -> Evidence:
    """What the shelf shows of one doubtful intent."""
    own = intent(state=IntentState.UNKNOWN)

    async def in_books(trade_ids: Sequence[str]) -> Collection[str]:
        return [one for one in trade_ids if one in booked]

    return (await gather_evidence(shelf, own.symbol, [own], [], 0, in_books))[own.client_id]


async def test_candidates_that_were_not_looked_at_prove_nothing() -> None:
    """The nearest in time are tried first; where not all could be, the order is not called missing."""
    near = Shelf("3")
    found = await evidence_from(near)
    assert (found.found is not None, near.asked) == (True, 3)
    far = Shelf("59")
    cut = await evidence_from(far)
    assert (cut.looked_up, cut.found, far.asked) == (False, None, MAX_LOOKUPS)
    assert state_after(intent(state=IntentState.UNKNOWN), cut, now_ms=10**9) is IntentState.UNKNOWN


async def test_orders_whose_trades_are_booked_are_not_looked_at() -> None:
    """They are others; with them left out the rest can be looked at, and that nothing was found counts."""
    booked = [str(number) for number in range(1, 45)]
    shelf = Shelf("50")
    found = await evidence_from(shelf, booked)
    assert (found.found is not None, shelf.asked) == (True, 6)
    none = await evidence_from(Shelf(None), booked)
    assert (none.looked_up, none.found) == (True, None)
