"""What the journal concludes from what the exchange shows."""

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

import pytest

from tasks.base.errors import ExchangeUnavailable, OrderArchived
from tasks.exchange.models import Order, OrderStatus, Side, Trade
from tasks.grid.sizing import reserve_units
from tasks.orders import evidence as evidence_module
from tasks.orders.evidence import Gathered, gather_evidence
from tasks.orders.models import Evidence, Intent, IntentState
from tasks.orders.rules import (
    FORGOTTEN_AFTER_MS,
    MAX_CLOCK_DIFFERENCE_MS,
    MAX_LOOKUPS,
    TRADE_REACH_MS,
    advance,
    amended,
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
    assert trades_since([known], 500_000) == 440_000
    assert trades_since([known], 900_000) == 840_000
    assert trades_since([known, intent(created_ms=700_000)], 900_000) == 640_000, "its trades could not be told yet"
    assert trades_since([known], 0) == -60_000, "since the cursor, in case an order of ours was missed"
    late = intent(created_ms=10**9, exchange_id="7", state=IntentState.OPEN)
    assert trades_since([late], 0) == 10**9 - TRADE_REACH_MS - 60_000, "but not for ever"


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
    caught_up, _ = advance(behind, shown._replace(trades=(trade("1", "0.01"),)), 3000, PROTECTION)
    assert (caught_up.state, caught_up.behind) == (IntentState.FILLED, False)


def test_an_order_whose_id_was_freed_is_sought_through_trades() -> None:
    """Only orders that could be it: side, price, amount, and a time within its validity."""
    own = intent()
    fits = trade("1", "0.004")
    dear = trade("2", "0.004").model_copy(update={"exchange_id": "8", "price": Decimal(40001)})
    early = trade("3", "0.004").model_copy(update={"exchange_id": "9", "at_ms": -MAX_CLOCK_DIFFERENCE_MS - 1})
    sold = trade("4", "0.004").model_copy(update={"exchange_id": "10", "side": Side.SELL})
    late = trade("5", "0.004").model_copy(update={"exchange_id": "11", "at_ms": 6001 + MAX_CLOCK_DIFFERENCE_MS})
    assert possible_orders(own, [fits, fits, dear, early, sold, late], valid_ms=5000) == ["7"]


def some_order(number: int) -> Trade:
    """A fill of some order that might be the intent's, `number` ms after its birth."""
    return trade(str(number), "0.004").model_copy(update={"exchange_id": str(number), "at_ms": 1000 + number})


class Shelf:
    """An exchange that finds no id, has many trades, and knows whose orders they were."""

    def __init__(self, mine: str | None, broken: Collection[str] = (), named: str = "other") -> None:
        self.mine, self.broken, self.named = mine, broken, named
        self.asked: list[str] = []

    async def trades(self, symbol: str, since_ms: int) -> list[Trade]:
        return [some_order(number) for number in range(60, 0, -1)]

    async def order(self, symbol: str, client_id: str, exchange_id: str | None = None) -> Order | None:
        if exchange_id is None:
            if client_id in self.broken:
                raise ExchangeUnavailable("not now")
            return None
        self.asked.append(exchange_id)
        if exchange_id in self.broken:
            raise ExchangeUnavailable("not now")
        whose = "c" if exchange_id == self.mine else self.named
        found = order(OrderStatus.FILLED, "0.01")
        return found.model_copy(update={"exchange_id": exchange_id, "client_id": whose})


class Memory:
    """Trades in the books, and orders that were found to be of others."""

    def __init__(self, booked: Collection[str] = ()) -> None:
        self.booked, self.others = set(booked), set[str]()

    async def unknown(self, trades: Sequence[Trade]) -> list[Trade]:
        return [one for one in trades if one.trade_id not in self.booked and one.exchange_id not in self.others]

    async def note_others(self, exchange_ids: Collection[str]) -> None:
        self.others |= set(exchange_ids)


async def gather(shelf: Any, memory: Memory, *intents: Intent) -> Gathered:
    """What the shelf shows of the intents; by itself of one in doubt."""
    own = list(intents) or [intent(state=IntentState.UNKNOWN)]
    return await gather_evidence(shelf, "BTC/USDT", own, [], 0, memory, "main", 5000)


@pytest.fixture(autouse=True)
def named_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of our orders are short here: `c`, `d`, `e`."""
    monkeypatch.setattr(evidence_module, "own_order_id", lambda text, account: text if len(text) == 1 else None)


async def test_candidates_that_were_not_looked_at_prove_nothing() -> None:
    """The nearest in time are tried first; where not all could be, the order is not called missing."""
    near = (await gather(Shelf("3"), Memory())).evidence["c"]
    assert near.found is not None
    far = Shelf("59")
    cut = (await gather(far, Memory())).evidence["c"]
    assert (cut.looked_up, cut.found, len(far.asked)) == (False, None, MAX_LOOKUPS)
    assert far.asked == [str(number) for number in range(1, MAX_LOOKUPS + 1)]
    assert state_after(intent(state=IntentState.UNKNOWN), cut, now_ms=10**9) is IntentState.UNKNOWN


async def test_an_order_is_looked_at_once() -> None:
    """Ids that were found to be of others are remembered: the search ends, and then costs nothing more."""
    shelf, memory = Shelf(None), Memory()
    looked_up = [(await gather(shelf, memory)).evidence["c"].looked_up for _ in range(5)]
    assert looked_up == [False, False, True, True, True]
    assert len(shelf.asked) == len(set(shelf.asked)) == 60


async def test_two_in_doubt_share_the_lookups() -> None:
    """One lookup settles whichever order it belongs to."""
    shelf, other = Shelf("2"), intent(client_id="d", state=IntentState.UNKNOWN)
    found = (await gather(shelf, Memory(), intent(state=IntentState.UNKNOWN), other)).evidence
    assert found["c"].found is not None
    assert (found["d"].looked_up, found["d"].found) == (False, None)
    assert len(shelf.asked) == MAX_LOOKUPS


async def test_orders_whose_trades_are_booked_are_not_looked_at() -> None:
    """They are others; with them left out the rest can be looked at, and that nothing was found counts."""
    booked = [str(number) for number in range(1, 45)]
    shelf = Shelf("50")
    assert (await gather(shelf, Memory(booked))).evidence["c"].found is not None
    assert len(shelf.asked) == 16
    none = (await gather(Shelf(None), Memory(booked))).evidence["c"]
    assert (none.looked_up, none.found) == (True, None)


async def test_one_failed_lookup_does_not_fail_the_tick() -> None:
    """Its order stays as it is; the others are settled."""
    first, second = intent(state=IntentState.UNKNOWN), intent(client_id="d", state=IntentState.UNKNOWN)
    booked = Memory([str(number) for number in range(1, 61)])
    found = (await gather(Shelf(None, broken=["c"]), booked, first, second)).evidence
    assert (found["c"].looked_up, found["d"].looked_up) == (False, True)
    assert advance(first, found["c"], 10**9, PROTECTION)[0] == first
    candidate = (await gather(Shelf(None, broken=["3"]), Memory())).evidence["c"]
    assert not candidate.looked_up, "an order that could not be read may be it"


async def test_trades_lead_to_orders_of_ours_that_the_journal_does_not_have() -> None:
    """Also where no order is in doubt: `e` is one of our names."""
    filled = intent(exchange_id="60", state=IntentState.OPEN, qty=Decimal("0.004"))
    found = await gather(Shelf(None, named="e"), Memory([str(number) for number in range(1, 59)]), filled)
    assert [(one.client_id, one.exchange_id) for one in found.orphans] == [("e", "59")]


async def test_an_archived_order_has_ended() -> None:
    """The exchange says that it ended without a fill: that is an answer."""

    class Archive(Shelf):
        async def order(self, symbol: str, client_id: str, exchange_id: str | None = None) -> Order | None:
            raise OrderArchived("long ago")

    accepted = intent(exchange_id="99", state=IntentState.OPEN)
    found = (await gather(Archive(None), Memory([str(number) for number in range(1, 61)]), accepted)).evidence["c"]
    assert state_after(accepted, found) is IntentState.CANCELLED


def changed_order(qty: str, price: str = "40000", filled: str = "0", status: OrderStatus = OrderStatus.OPEN) -> Order:
    """The order after somebody changed it by hand."""
    return order(status, filled).model_copy(update={"qty": Decimal(qty), "price": Decimal(price)})


FEE = Decimal("0.001")


def test_an_order_made_smaller_by_hand_ends_when_it_is_filled() -> None:
    """Filled as it is now; before, its trades never added up to what was sent."""
    known = intent(exchange_id="7", state=IntentState.OPEN)
    shown = Evidence(
        looked_up=True,
        found=changed_order("0.006", filled="0.006", status=OrderStatus.FILLED),
        trades=(trade("1", "0.006"),),
    )
    assert needs_lookup(known, None, shown.trades)
    assert state_after(amended(known, shown.found, FEE), shown) is IntentState.FILLED
    assert state_after(known, shown) is not IntentState.FILLED


def test_an_order_made_larger_by_hand_does_not_end_early() -> None:
    """What was sent is filled, the rest is still open: and it can cost more than was reserved."""
    known = intent(exchange_id="7", state=IntentState.PARTIAL, filled=Decimal("0.004"), units_left=600)
    shown = Evidence(resting=changed_order("0.02", "41000", "0.01"), trades=(trade("2", "0.006"),))
    after = amended(known, shown.resting, FEE)
    assert (after.qty, after.price) == (Decimal("0.02"), Decimal(41000))
    assert after.units_left == reserve_units(Decimal(41000), Decimal("0.016"), FEE)
    assert advance(after, shown, 2000, PROTECTION)[0].state is IntentState.PARTIAL
    assert advance(known, shown, 2000, PROTECTION)[0].state is IntentState.FILLED


def test_only_an_open_buy_changes_what_is_reserved() -> None:
    """A sell costs nothing; an order that has ended costs what its trades say; an unchanged one stays itself."""
    known = intent(exchange_id="7", state=IntentState.OPEN)
    assert amended(known, changed_order("0.01"), FEE) is known
    assert amended(known, None, FEE) is known
    ended = amended(known, changed_order("0.02", status=OrderStatus.CANCELLED), FEE)
    assert (ended.qty, ended.units, ended.units_left) == (Decimal("0.02"), known.units, known.units_left)
    sell = intent(side=Side.SELL, units=0, units_left=0)
    assert amended(sell, changed_order("0.02"), FEE).units_left == 0
