"""A grid that earns in base: a sell brings back the cost of its lot, and the cell keeps the rest."""

import random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.runtime.commands.preflight_text import grid_lines
from tasks.base.keys import Keys
from tasks.base.money import ZERO
from tasks.exchange.models import Market, Order, OrderStatus, Side, Ticker, Trade
from tasks.exchange.order_ids import OrderId, Purpose, account_tag, parse_order_id
from tasks.grid.cells import recoup_qty, settled
from tasks.grid.models import Cell, CellState, Size
from tasks.grid.plan_models import GridPlan, Limits
from tasks.grid.planner import plan
from tasks.grid.preflight import preview_grid
from tasks.ledger.booking import book_fill, pay_fee, with_return
from tasks.ledger.models import Book, Fill
from tasks.ledger.rules import return_72h, value
from tasks.market.models import Snapshot
from tasks.settings.model import Settings
from tasks.tick.fold import Folded
from tasks.tick.grid_change import gather_small, move_dust
from tasks.tick.rebuild import rebuild
from tasks.tick.records import writes
from tasks.tick.retiring import gather_dust
from tests.support.binance.record import OrderRow, Record
from tests.support.fault_orders import recouped_too_much
from tests.support.grids import BTC, grid_and_cells, market, symbol_settings
from tests.support.trades import trade

LOW, HIGH = Decimal(40000), Decimal(41000)
QTY = Decimal("0.01")
KEYS = Keys("main")
RICH = Limits(symbol_free=10**15, global_free=10**15, size=Size(quote=Decimal(300)), earns_base=True)
FEE = Decimal("0.001")
BNB = Decimal("312.5")


def order_name(purpose: Purpose, cycle: int = 0, level: int = 1) -> str:
    """A client order id."""
    return str(OrderId("000", "0abcd", level, purpose, cycle))


RECOUP = order_name(Purpose.RECOUP)


def held(qty: str = "0.01", basis: str = "400.4", earned: str = "0", **fields: Any) -> Cell:
    """The cell from 40000 to 41000, which holds a lot."""
    cell = grid_and_cells()[1][1]
    amounts = {"qty": Decimal(qty), "basis": Decimal(basis), "earned": Decimal(earned)}
    return cell.model_copy(update={"state": CellState.HOLDING, **amounts, **fields})


def fee_of(side: Side, qty: Decimal, price: Decimal, coin: str) -> Decimal:
    """0.1 % in quote, in base, or in BNB."""
    worth = {"USDT": price, "BTC": Decimal(1), "BNB": price / BNB}[coin]
    return (qty * worth * FEE).quantize(Decimal("1e-8"))


def sold(book: Book, cell: Cell, parts: Sequence[Decimal], coin: str, price: Decimal = HIGH) -> tuple[Book, Cell, Fill]:
    """The books after a recoup that filled in these parts."""
    left = sum(parts, ZERO)
    for number, qty in enumerate(parts, start=100 + cell.cycle * 10):
        left -= qty
        one = trade(number, Side.SELL, qty, price, coin, fee_of(Side.SELL, qty, price, coin))
        book, cell, fill = book_fill(book, cell, one, RECOUP, market(), BNB, needed=left)
    return book, settled(cell, Side.SELL, sum(parts, ZERO), market()), fill


@pytest.mark.parametrize("coin", ["USDT", "BTC", "BNB"])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_round_brings_back_its_cost_and_keeps_the_rest(coin: str, parts: int) -> None:
    """`used` returns to 0 after each of 40 rounds, and the base grows by what the spacing earns, within one lot.

    The cell is idle after each, with base far above the exchange's minimum in the end.
    """
    book, cell = Book(symbol=BTC), grid_and_cells()[1][1]
    for number in range(40):
        before = cell.earned
        bought = trade(number, Side.BUY, QTY, LOW, coin, fee_of(Side.BUY, QTY, LOW, coin))
        book, cell, _ = book_fill(book, cell, bought, order_name(Purpose.BUY, number), market(), BNB)
        cell = settled(cell, Side.BUY, QTY, market())
        assert cell.state is CellState.HOLDING
        lot, cost = cell.lot, cell.basis
        amount = recoup_qty(cell, HIGH, LOW, market())
        first = (amount / parts).quantize(market().lot_step)
        book, cell, fill = sold(book, cell, [first] * (parts - 1) + [amount - first * (parts - 1)], coin)
        assert (cell.state, cell.basis, cell.used_units, cell.rounds) == (CellState.IDLE, ZERO, 0, number + 1)
        assert cell.qty == cell.earned == book.base
        paid_in_base = fee_of(Side.SELL, amount, HIGH, coin) if coin == "BTC" else ZERO
        expected = lot - cost / (HIGH * (1 - FEE)) - paid_in_base
        assert expected - market().lot_step <= cell.earned - before <= expected + Decimal("1e-8")
        assert 0 <= fill.profit <= (market().lot_step + paid_in_base) * HIGH
        assert value(book, HIGH).identity_error == 0
    assert cell.earned * HIGH > market().min_notional * 10


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, Decimal, Decimal, str]]:
    """(purpose, amount or share of what is held, price, coin of the fee)."""
    step = st.tuples(
        st.sampled_from(["buy", "recoup", "recoup", "sell", "fee"]),
        st.decimals("0.00001", 2, places=5),
        st.decimals("0.01", 100_000, places=2),
        st.sampled_from(["USDT", "BTC", "BNB"]),
    )
    return draw(st.lists(step, max_size=40))


@given(histories(), st.decimals("0.01", 100_000, places=2))
@settings(max_examples=200)
def test_the_books_are_exact_whatever_is_kept(steps: list[tuple[str, Decimal, Decimal, str]], price: Decimal) -> None:
    """Recoups at any price and of any part, sells of everything and fees among them: the identity's error is 0."""
    book, cell = Book(symbol=BTC), grid_and_cells()[1][1]
    for number, (purpose, amount, at, coin) in enumerate(steps):
        qty = amount if purpose == "buy" else min(amount, cell.qty)
        if purpose == "fee":
            book, cell = pay_fee(book, cell, qty, qty * at)
        elif qty > 0:
            side = Side.BUY if purpose == "buy" else Side.SELL
            fee = min(fee_of(side, qty, at, coin), qty / 2) if coin == "BTC" else fee_of(side, qty, at, coin)
            name = order_name(Purpose(purpose), number)
            book, cell, _ = book_fill(book, cell, trade(number, side, qty, at, coin, fee), name, market(), BNB)
        assert value(book, price).identity_error == 0
        assert (book.base, book.basis) == (cell.qty, cell.basis)
        assert 0 <= cell.earned <= cell.qty
        assert cell.basis >= 0
        assert cell.basis > 0 or cell.earned == cell.qty, "what has no cost is earned"
    if cell.qty:
        book, cell, _ = book_fill(book, cell, trade(999, Side.SELL, cell.qty, price, "", ZERO), "x", market())
    assert (cell.qty, cell.basis, cell.earned, book.basis, book.base) == (ZERO, ZERO, ZERO, ZERO, ZERO)


def test_the_cost_comes_back_first() -> None:
    """A partly filled recoup has no profit and frees as much cost as it brought; one at a loss, in proportion."""
    book, cell = Book(symbol=BTC, base=QTY, basis=Decimal("400.4")), held()
    half = trade(1, Side.SELL, Decimal("0.005"), HIGH, "USDT", Decimal("0.205"))
    book, after, fill = book_fill(book, cell, half, RECOUP, market())
    assert (fill.profit, fill.basis, after.basis) == (ZERO, Decimal("204.795"), Decimal("195.605"))
    assert (after.earned, fill.earned) == (ZERO, ZERO)
    cheap = trade(2, Side.SELL, Decimal("0.005"), Decimal(30000), "USDT", ZERO)
    _, after, fill = book_fill(Book(symbol=BTC), held(), cheap, RECOUP, market())
    assert (fill.profit, after.basis) == (Decimal("-50.2"), Decimal("200.2"))
    everything = trade(3, Side.SELL, QTY, Decimal(30000), "USDT", ZERO)
    _, after, _ = book_fill(Book(symbol=BTC), held("0.012", earned="0.002"), everything, RECOUP, market())
    assert (after.basis, after.qty, after.earned) == (ZERO, Decimal("0.002"), Decimal("0.002")), "kept base is not sold"


@pytest.mark.parametrize(
    ("cell", "bid", "qty"),
    [
        (held(), "40500", "0.00978"),  # 400.4 / (41000 × 0.999) = 0.0097757…
        (held("0.0137", earned="0.0037"), "40500", "0.00978"),  # of the lot alone
        (held(), "42000", "0.00955"),  # it fills at once, at the bid
        (held(basis="404"), "40500", "0.00987"),
        (held(basis="500"), "40500", "0.01"),  # it lost: the lot, no more
        (held("0.0137", "500", "0.0037"), "40500", "0.01"),
        (held("0.0137", "0.3", "0.0117"), "40500", "0.00013"),  # as much as the exchange takes at least
        (held("0.0001", "4"), "40500", "0.0001"),  # the whole holding
    ],
)
def test_how_much_a_recoup_sells(cell: Cell, bid: str, qty: str) -> None:
    """Whole lots, the least that brings back the cost and the fee."""
    assert recoup_qty(cell, HIGH, Decimal(bid), market()) == Decimal(qty)


def planned(cells: Sequence[Cell], limits: Limits = RICH, price: str = "40500") -> GridPlan:
    """The plan for these cells at this price."""
    value = Decimal(price)
    now = Snapshot(market=market(), ticker=Ticker(symbol=BTC, bid=value, ask=value, last=value, at_ms=0))
    return plan(now, grid_and_cells()[0], cells, limits)


def orders_of(found: GridPlan) -> list[tuple[str, Decimal, Decimal]]:
    """Purpose, price and amount of the orders to place."""
    return [(one.purpose.value, one.price, one.qty) for one in found.place]


def test_the_planner_sells_the_cost_and_buys_again() -> None:
    """What is kept does not stop the next buy, and a retiring symbol or a grid in quote sells everything."""
    whole = held("0.0137", earned="0.0037")
    assert orders_of(planned([whole])) == [("recoup", HIGH, Decimal("0.00978"))]
    assert orders_of(planned([whole], replace(RICH, earns_base=False))) == [("sell", HIGH, Decimal("0.0137"))]
    kept = held("0.0037", "0", "0.0037", state=CellState.IDLE)
    (buy,) = planned([kept]).place
    assert (buy.purpose, buy.qty) == (Purpose.BUY, Decimal("0.0075"))
    assert parse_order_id(planned([whole]).place[0].client_id) == OrderId(
        "000", whole.grid_id, whole.index, Purpose.RECOUP, 0
    )


def test_a_lot_without_a_cost_is_sold_as_any_other() -> None:
    """It was given up when its symbol left: there is nothing to bring back, and the order's id says so."""
    assert orders_of(planned([held("0.0137", "0")])) == [("sell", HIGH, Decimal("0.0137"))]


def test_a_sale_of_everything_sells_what_was_kept() -> None:
    """Of an idle cell too, at the market. What is too small for an order stays, as dust does."""
    limits = replace(RICH, liquidate=True, stop_fired=True)
    kept = held("0.0037", "0", "0.0037", state=CellState.IDLE)
    small = held("0.0001", "0", "0.0001", state=CellState.IDLE)
    (exit_order,) = planned([kept], limits).place
    assert (exit_order.purpose, exit_order.qty) == (Purpose.EXIT, Decimal("0.0037"))
    assert orders_of(planned([held("0.0137", earned="0.0037")], limits))[0][2] == Decimal("0.0137")
    assert planned([small], limits).place == ()
    assert planned([kept], replace(limits, liquidate=False)).place == (), "a stop that keeps"


def folded(*cells: Cell) -> Folded:
    """The records of these cells."""
    book = Book(symbol=BTC, base=sum((one.qty for one in cells), ZERO), basis=sum((one.basis for one in cells), ZERO))
    return Folded(book=book, cells={one.key: one for one in cells}, intents={})


def test_a_sale_of_everything_gathers_what_was_kept() -> None:
    """Small amounts in many cells go into one, which can sell them; the cells of the grid stay, empty."""
    grid, cells = grid_and_cells()
    amount = {"qty": Decimal("0.0001"), "earned": Decimal("0.0001")}
    state = folded(*(cell.model_copy(update=amount) for cell in cells))
    found = gather_small(state, grid, HIGH, market(), KEYS, 7)
    assert found is not None
    assert len(found.moves) == len(found.writes) - 1 == 8
    assert len(state.cells) == 9
    (one,) = [cell for cell in state.cells.values() if cell.qty]
    assert (one.qty, one.earned, one.state) == (Decimal("0.0009"), Decimal("0.0009"), CellState.IDLE)
    assert gather_small(state, grid, HIGH, market(), KEYS, 8) is None
    assert gather_small(folded(*cells), grid, HIGH, market(), KEYS, 8) is None
    little = folded(*(cell.model_copy(update=amount) for cell in cells[:1]), *cells[1:])
    assert gather_small(little, grid, HIGH, market(), KEYS, 8) is None


def test_a_symbol_that_leaves_sells_what_was_kept() -> None:
    """It is never written off while it is large enough to sell, alone in its cell or gathered from several."""
    alone = folded(held("0.0037", "0", "0.0037", state=CellState.IDLE))
    assert gather_dust(alone, market(), KEYS, 7) is not None
    (cell,) = alone.cells.values()
    assert (cell.state, cell.lot, alone.fills) == (CellState.HOLDING, Decimal("0.0037"), [])
    cells = grid_and_cells()[1]
    amount = {"qty": Decimal("0.0001"), "earned": Decimal("0.0001")}
    several = folded(*(one.model_copy(update=amount) for one in cells))
    assert gather_dust(several, market(), KEYS, 7) is not None
    (cell,) = several.cells.values()
    assert (cell.state, cell.lot) == (CellState.HOLDING, Decimal("0.0009"))
    tiny = folded(held("0.00001", "0", "0.00001", state=CellState.IDLE))
    moved = gather_dust(tiny, market(), KEYS, 7)
    assert moved is not None
    assert [fill.qty for fill in tiny.fills] == [Decimal("0.00001")]
    assert tiny.book.base == 0
    listed = [write for write in (*writes(tiny, KEYS, BTC), *moved.writes) if write.verb == "LPUSH"]
    assert len(listed) == 1, "the fill is recorded once"


def test_what_was_kept_moves_with_the_grid() -> None:
    """From a cell of an earlier grid to one of the grid in force, where it is still kept and is no lot."""
    grid, cells = grid_and_cells()
    earlier = held("0.0037", "0", "0.0037", state=CellState.IDLE).model_copy(update={"key": "old.3", "grid_id": "old"})
    state = folded(earlier, *cells)
    assert move_dust(state, grid, HIGH, market(), KEYS, 7) is not None
    (cell,) = [one for one in state.cells.values() if one.qty]
    assert grid.has(cell)
    assert (cell.state, cell.earned, cell.lot) == (CellState.IDLE, Decimal("0.0037"), ZERO)


def test_fees_of_other_trades_take_what_was_kept_first() -> None:
    """The lot stays whole, and its cost too."""
    book, cell = pay_fee(Book(symbol=BTC), held("0.0137", earned="0.0037"), Decimal("0.001"), Decimal(41))
    assert (cell.lot, cell.earned, cell.basis) == (QTY, Decimal("0.0027"), Decimal("400.4"))
    assert book.grid_profit == 41


def test_back_in_quote_the_next_lot_sells_what_was_kept() -> None:
    """With a fill of every part the books end at 0, and what was kept is profit then."""
    cell = held("0.0137", earned="0.0037")
    book = Book(symbol=BTC, base=cell.qty, basis=cell.basis)
    name = order_name(Purpose.SELL)
    for number, qty in enumerate(("0.003", "0.0107")):
        one = trade(number, Side.SELL, Decimal(qty), HIGH, "USDT", ZERO)
        book, cell, fill = book_fill(book, cell, one, name, market())
        assert fill.earned < 0
    assert (cell.qty, cell.earned, cell.basis) == (ZERO, ZERO, ZERO)
    assert book.grid_profit == Decimal("0.0137") * HIGH - Decimal("400.4")


def test_what_a_round_keeps_counts_as_its_return() -> None:
    """So that the dynamic strategy sees a grid in base earn what it earns in quote; sold later, it counts no more."""
    book, cell = Book(symbol=BTC, base=QTY, basis=Decimal("400.4")), held()
    _, after, fill = sold(book, cell, [Decimal("0.00978")], "USDT")
    _, _, whole = book_fill(book, cell, trade(1, Side.SELL, QTY, HIGH, "USDT", Decimal("0.41")), "s", market())
    returned = return_72h(with_return(book, fill, Decimal(100)), fill.at_ms)
    assert abs(returned - return_72h(with_return(book, whole, Decimal(100)), whole.at_ms)) < Decimal("0.001")
    _, _, later = book_fill(book, after, trade(2, Side.SELL, after.qty, HIGH, "", ZERO), "s", market())
    assert with_return(book, later, Decimal(100)).hourly_returns[0] == 0


def test_lost_records_are_rebuilt_with_what_was_kept() -> None:
    """From the exchange's orders and trades: an order's id says that it was a recoup, whatever the settings say now."""
    rng, own = random.Random(3), symbol_settings(lower="39000", upper="48000", cells=9, quote_per_cell="300")
    book, cell = Book(symbol=BTC), grid_and_cells()[1][1]
    orders: list[Order] = []
    trades: list[Trade] = []
    for cycle in range(6):
        for purpose in (Purpose.BUY, Purpose.RECOUP):
            price = LOW if purpose is Purpose.BUY else HIGH
            qty = Decimal("0.0075") if purpose is Purpose.BUY else recoup_qty(cell, HIGH, LOW, market())
            name = str(OrderId(account_tag("main"), cell.grid_id, cell.index, purpose, cycle))
            coin = rng.choice(["USDT", "BTC"])
            at = len(orders) + 1
            one = trade(at, purpose.side, qty, price, coin, fee_of(purpose.side, qty, price, coin))
            trades.append(one.model_copy(update={"exchange_id": str(at), "client_id": name}))
            orders.append(
                Order(
                    exchange_id=str(at),
                    client_id=name,
                    symbol=BTC,
                    side=purpose.side,
                    price=price,
                    qty=qty,
                    filled=qty,
                    status=OrderStatus.FILLED,
                    at_ms=at,
                )
            )
            book, cell, _ = book_fill(book, cell, one, name, market())
            cell = settled(cell, purpose.side, qty, market())
    assert cell.earned > 0
    found = rebuild(BTC, own, market(), orders, trades, Decimal(9500), {}, "main")
    assert found is not None
    again = found.cells[cell.key]
    assert (again.qty, again.basis, again.earned, again.state) == (cell.qty, ZERO, cell.earned, CellState.IDLE)
    assert (found.book.grid_profit, found.book.basis) == (book.grid_profit, ZERO)
    assert sum(fill.earned for fill in found.fills) == cell.earned


def test_records_of_before_hold_nothing_that_was_kept() -> None:
    """A cell and a fill without the field."""
    old = held().model_dump_json(exclude={"earned"})
    assert Cell.model_validate_json(old) == held()
    assert Cell.model_validate_json(old).lot == QTY


def preview(lots: Market | None, **fields: Any) -> list[str]:
    """What the preflight says of the base that rounds keep."""
    values = {"lower": "40000", "upper": "44000", "cells": 4, "quote_per_cell": "400"} | fields
    own = Settings.model_validate({"symbols": {BTC: values}})
    found = preview_grid(BTC, own.symbols[BTC].each_grid[""], own, Decimal(9500), lots, Decimal(42000))
    return [line for line in grid_lines(found, "USDT") if "keeps" in line]


def test_the_preflight_tells_what_a_round_keeps() -> None:
    """In base, by the rule that sells; and where a lot is too coarse for it. A grid in quote says nothing of it."""
    assert preview(market()) == []
    assert preview(market(), earn="base") == ["  a round keeps 0.00019 to 0.00022 BTC and brings back its cost"]
    assert preview(None, earn="base")[0].startswith("  a round keeps 0.00019321")
    coarse = preview(market(lot_step="0.001"), earn="base")
    assert coarse[0].startswith("  a round keeps 0 to 0 BTC")
    assert "less than a lot (0.001 BTC)" in coarse[1]


def test_the_fault_runs_find_a_sell_of_far_more_than_the_cost() -> None:
    """No more is let pass than fees of other symbols took from lots after their sells were placed."""
    order = {"order_id": 1, "client_id": RECOUP, "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "price": HIGH}
    filled = {"qty": QTY, "status": "FILLED", "executed": QTY, "spent": HIGH * QTY, "placed_ms": 0, "updated_ms": 0}
    none: dict[str, Any] = {"trades": (), "events": (), "requests": (), "faults": (), "totals": {}, "locked": {}}
    rows = (OrderRow.model_validate(order | filled | {"trade_ids": ()}),)
    record = Record(orders=rows, highest_weight=0, played={}, **none)
    sell = trade(1, Side.SELL, QTY, HIGH, "USDT", ZERO)
    _, _, right = book_fill(Book(symbol=BTC), held(basis="409.9"), sell, RECOUP, market())
    _, _, fill = book_fill(Book(symbol=BTC), held(basis="400"), sell, RECOUP, market())
    step = market().lot_step
    assert recouped_too_much([right], record, step) == []
    assert recouped_too_much([fill], record, step, Decimal(8)) == [f"{RECOUP}: 410.00 for a cost of 400"]
    assert recouped_too_much([fill], record, step, Decimal(10)) == []
