"""Records made without validation are as those that are validated."""

from decimal import Decimal

from tasks.base.unchecked import changed, unchecked
from tasks.grid.models import Cell, CellState

VALUES = {"key": "a.1", "grid_id": "a", "index": 1, "sell_price": Decimal(2), "buy_price": Decimal(1)}


def test_a_record_is_as_a_validated_one() -> None:
    """Equal, with the same text and defaults."""
    found, wanted = unchecked(Cell, **VALUES), Cell.model_validate(VALUES)
    assert found == wanted
    assert found.model_dump_json() == wanted.model_dump_json()
    assert found.model_copy(update={"cycle": 1}) == wanted.model_copy(update={"cycle": 1})


def test_a_changed_record_is_as_a_copy() -> None:
    """The record itself stays."""
    cell = Cell.model_validate(VALUES)
    wanted = cell.model_copy(update={"state": CellState.BUYING, "order_id": "x"})
    found = changed(cell, state=CellState.BUYING, order_id="x")
    assert found == wanted
    assert found.model_dump_json() == wanted.model_dump_json()
    assert cell.state is CellState.IDLE
