"""Orders that a Redis which went back in time has lost: which they are, and which cycles come after them."""

from collections.abc import Mapping
from decimal import Decimal

import pytest

from tasks.base.keys import Keys
from tasks.exchange.models import Order, OrderStatus, Side, Trade
from tasks.exchange.order_ids import account_tag, parse_order_id
from tasks.grid.models import Cell
from tasks.tick.lost_orders import (
    cycle_writes,
    ended_by_the_books,
    journalled_cycle,
    lost_orders,
    orders_to_look_up,
    orphan_orders,
)
from tasks.tick.slots import EVERY_SLOT, compacted, first_cycle
from tests.support.desk import BTC

TAG = account_tag("main")
NOW_MS = 1_795_000_000_000


def order(client_id: str, exchange_id: str = "1") -> Order:
    """A resting order."""
    return Order(
        exchange_id=exchange_id,
        client_id=client_id,
        symbol=BTC,
        side=Side.BUY,
        price=Decimal(40_000),
        qty=Decimal("0.01"),
        filled=Decimal(0),
        status=OrderStatus.OPEN,
        at_ms=1,
    )


def trade_of(exchange_id: str, trade_id: str = "1") -> Trade:
    """A trade of an order."""
    return Trade(
        trade_id=trade_id,
        exchange_id=exchange_id,
        symbol=BTC,
        side=Side.BUY,
        price=Decimal(1),
        qty=Decimal(1),
        fee=Decimal(0),
        fee_currency="USDT",
        maker=True,
        at_ms=1,
    )


@pytest.mark.parametrize(
    ("slots", "lost"),
    [
        ({}, True),  # a cell that these books do not know
        ({"9c01b.12:buy": 6}, True),
        ({"9c01b.12:buy": 7}, False),  # it was journalled, and has ended
        ({"9c01b.12:buy": 8}, False),
        ({"9c01b.12:sell": 8}, True),  # another slot
        ({"9c01b": 7}, False),  # its grid has gone since; one number stands for all its slots
    ],
)
def test_an_order_above_its_slot_is_lost(slots: Mapping[str, int], lost: bool) -> None:
    """An order is sent only once its slot holds its cycle."""
    assert bool(lost_orders([order(f"gf{TAG}-9c01b-12-b-7")], (), slots, "main")) is lost


def test_a_late_order_below_its_slot_has_not_ended_by_the_books() -> None:
    """It is booked as an orphan. At its slot, the books have ended it without its trades: they lack something."""
    late, ended, lost = (order(f"gf{TAG}-9c01b-12-b-{cycle}", str(cycle)) for cycle in (6, 7, 8))
    trades = [trade_of(one.exchange_id) for one in (late, ended, lost)]
    orphans = orphan_orders(trades, [late, ended, lost, order("by-hand", "9")], (), [lost], "main")
    assert orphans == [late, ended]
    assert orphan_orders(trades[:1], [late, ended], {late.client_id}, [], "main") == [], "in the journal, or no trade"
    assert ended_by_the_books(orphans, {"9c01b.12:buy": 7}, "main") == [ended]


def test_orders_of_others_and_journalled_ones_are_not_lost() -> None:
    """Ids by hand, of another account, of the earlier form; and what the journal has."""
    mine = f"gf{TAG}-9c01b-12-b-7"
    ids = ["by-hand", "gf000-9c01b-12-b-7", "g0123abcd-17-s-42", mine]
    assert lost_orders([order(one, one) for one in ids], {mine}, {}, "main") == []


def test_lost_orders_of_a_cell_come_one_after_another() -> None:
    """By cycle, the buy before the sell, however they were listed; each once."""
    ids = [f"gf{TAG}-9c01b-12-{rest}" for rest in ("b-9", "s-8", "b-8", "b-9")]
    found = lost_orders([order(one, one) for one in ids], (), {}, "main")
    assert [one.client_id[-3:] for _, one in found] == ["b-8", "s-8", "b-9"]


def test_only_trades_of_unlisted_unknown_orders_lead_to_a_look_up() -> None:
    """One for each order."""
    trades = [trade_of(one, str(number)) for number, one in enumerate(["listed", "journalled", "unknown", "unknown"])]
    found = orders_to_look_up(trades, [order("x", "listed")], {"journalled", None})
    assert [trade.trade_id for trade in found] == ["2"]


def test_cycles_start_above_all_that_may_have_been_used() -> None:
    """Cells without an order, and grids to come; a cell with an order goes on from it; the id stays valid."""
    cell = Cell(key="9c01b.1", grid_id="9c01b", index=1, buy_price=Decimal(1), sell_price=Decimal(2), cycle=3)
    cells = {"9c01b.1": cell, "9c01b.2": cell.model_copy(update={"key": "9c01b.2", "order_id": "resting"})}
    raised, floor = cycle_writes(cells, NOW_MS, Keys("main"), BTC)
    after = Cell.model_validate_json(raised.text)
    assert (after.key, after.cycle) == ("9c01b.1", (NOW_MS - 1_577_836_800_000) // 1000)
    assert first_cycle({floor.field: int(floor.text)}, "any") == after.cycle
    assert parse_order_id(f"gf{TAG}-9c01b-1-b-{after.cycle}")
    assert compacted({EVERY_SLOT: 5}, [], "") == ([], {}), "no clean-up forgets it"


def test_the_slot_of_every_grid_does_not_hide_lost_orders() -> None:
    """It says where cycles start, not which orders were journalled."""
    name = parse_order_id(f"gf{TAG}-9c01b-12-b-7")
    assert name is not None
    assert journalled_cycle({EVERY_SLOT: 9}, name) == -1
