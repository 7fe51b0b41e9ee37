"""A resting order in the journal whose cell has no order: left by a Redis that went back while books were compared."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from tasks.exchange.models import Side
from tasks.grid.models import Cell, CellState
from tasks.orders.models import Intent, IntentState
from tasks.tick.models import SymbolState
from tasks.tick.orphans import adopt
from tests.support.grids import market

KEY = "g.0"


def cell(qty: str, order_id: str | None = None) -> Cell:
    """A cell with so much base."""
    return Cell(
        key=KEY,
        grid_id="g",
        index=0,
        buy_price=Decimal(40_000),
        sell_price=Decimal(41_000),
        state=CellState.HOLDING,
        qty=Decimal(qty),
        basis=Decimal(qty) * 40_000,
        order_id=order_id,
        cycle=9,
    )


def state(own: Cell, side: Side) -> SymbolState:
    """A symbol with one resting order of 0.1, cycle 1. Only what `adopt` reads is there."""
    intent = Intent(
        client_id="o1",
        symbol="BTC/USDT",
        cell_key=KEY,
        side=side,
        price=Decimal(41_000),
        qty=Decimal("0.1"),
        cycle=1,
        units=0,
        units_left=0,
        post_only=True,
        created_ms=0,
        state=IntentState.OPEN,
    )
    share = SimpleNamespace(reserved_units=0, model_copy=lambda update: SimpleNamespace(**update))
    fields: dict[str, Any] = {"cells": {KEY: own}, "intents": {"o1": intent}, "share": share, "pool_free_units": 0}
    return SymbolState.model_construct(**fields)


def test_a_sell_that_the_cell_can_fill_is_the_cells_order_again() -> None:
    """The cell gets no second order, and its cycle does not fall."""
    found = adopt(state(cell("0.1"), Side.SELL), {}, [], market())
    assert (found.state.cells[KEY].order_id, found.state.cells[KEY].cycle) == ("o1", 9)
    assert found.state.cells[KEY].state is CellState.SELLING
    assert not found.state.intents["o1"].orphan
    assert [item.id for item in found.items] == found.relinked == ["o1"]


def test_any_other_is_cancelled() -> None:
    """A sell of more than the cell holds, and a buy."""
    for own, side in ((cell("0.05"), Side.SELL), (cell("0.1"), Side.BUY)):
        found = adopt(state(own, side), {}, [], market())
        assert found.state.intents["o1"].orphan
        assert found.state.cells[KEY].order_id is None


def test_a_linked_order_costs_nothing() -> None:
    """In the usual case nothing is journalled."""
    found = adopt(state(cell("0.1", "o1"), Side.SELL), {}, [], market())
    assert found.items == []
