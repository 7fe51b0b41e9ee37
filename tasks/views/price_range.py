"""Where the price is in a grid's range, and the next orders on either side. Pure. Prices in quote per base."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from tasks.grid.models import Cell, CellState


def place_in_range(price: Decimal | None, levels: Sequence[Decimal]) -> Decimal | None:
    """Where `price` is in the grid's range: 0 at its lowest level, 1 at its highest, outside below 0 or above 1."""
    if price is None or len(levels) < 2:
        return None
    return (price - levels[0]) / (levels[-1] - levels[0])


def next_orders(cells: Iterable[Cell]) -> tuple[Decimal | None, Decimal | None]:
    """The highest price of a resting buy and the lowest price of a resting sell, in quote; None where there is none."""
    all_cells = tuple(cells)
    buys = [cell.buy_price for cell in all_cells if cell.state is CellState.BUYING]
    sells = [cell.sell_price for cell in all_cells if cell.state is CellState.SELLING]
    return max(buys, default=None), min(sells, default=None)


def place_text(place: Decimal | None) -> str:
    """`47 %` of the way from the lowest to the highest level, `above`, `below`, or a dash before the first tick."""
    if place is None:
        return "–"
    if place > 1:
        return "above"
    return "below" if place < 0 else f"{place * 100:.0f} %"
