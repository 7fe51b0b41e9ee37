"""One symbol's ladder for a terminal: the highest cell first, the price where it is among them. Fits 80 columns."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from tasks.base.money import plain
from tasks.views.grid import CellView, GridView
from tasks.views.models import SymbolView
from tasks.views.price_range import place_text

_NAMES = ("buys at", "sells at", "state", "holds", "cost", "rounds", "profit", "code")


def ladder(view: GridView, symbol: SymbolView | None, quote: str) -> RenderableType:
    """Range, place and reasons, then a row for each cell, in a table for each grid.

    `symbol`: its status; None before its first tick.
    """
    base = view.symbol.partition("/")[0]
    parts: list[RenderableType] = [_head(view)]
    parts += [str(reason) for reason in symbol.reasons] if symbol else []
    if view.earned:
        worth = "" if view.earned_value is None else f", worth {view.earned_value:,.2f} {quote}"
        parts.append(f"earned in base: {plain(view.earned)} {base}{worth}")
    if len(view.grids) > 1:
        for one in view.grids:
            own = [cell for cell in view.cells if cell.grid == one.name and not cell.earlier]
            parts.append(_table(f"{one.name}: {one.lower:,f} to {one.upper:,f}, {one.cells} cells", own, view.price))
        earlier = [cell for cell in view.cells if cell.earlier]
        parts += [_table("Earlier grids and ranges", earlier, view.price)] if earlier else []
        parts.append(f"Holds in {base}, the rest in {quote}.")
    else:
        parts.append(_table(f"Cells (holds in {base}, the rest in {quote})", view.cells, view.price))
    return Group(*parts, *_codes(view.cells))


def _table(title: str, cells: Sequence[CellView], price: Decimal | None) -> Table:
    """The cells, with the price where it is among them."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.box, table.pad_edge, table.padding = box.SIMPLE_HEAD, False, (0, 1, 0, 0)
    for name in _NAMES:
        table.add_column(name, justify="left" if name in ("state", "code") else "right", no_wrap=True)
    shown = price is None
    for cell in cells:
        if not shown and price is not None and cell.buy_price < price:
            table.add_row(f"{price:,f}", "← price", style="bold")
            shown = True
        table.add_row(*_row(cell))
    if not shown:
        table.add_row(f"{price:,f}", "← price", style="bold")
    return table


def _head(view: GridView) -> str:
    if not view.levels:
        return f"{view.symbol}: no grid yet. The first tick makes it."
    price = "–" if view.price is None else f"{view.price:,f}"
    place = place_text(view.place)
    where = f"{place} of the range" if "%" in place else f"{place} the range"
    ends = f"{view.levels[0]:,f} to {view.levels[-1]:,f}"
    return f"{view.symbol}: price {price}, {where} {ends}, {view.size} cells"


def _row(cell: CellView) -> list[str]:
    state = f"{cell.state.lower()}{' (earlier grid)' if cell.earlier else ''}"
    held, cost = (plain(cell.qty), f"{cell.cost:,.2f}") if cell.qty else ("–", "–")
    profit = f"{cell.profit:,.4f}" if cell.profit != Decimal(0) else "–"
    prices = f"{cell.buy_price:,f}", f"{cell.sell_price:,f}"
    return [*prices, state, held, cost, str(cell.rounds), profit, cell.reason]


def _codes(cells: tuple[CellView, ...]) -> list[str]:
    """Each code among the cells once, in words."""
    words = {cell.reason: cell for cell in cells if cell.reason}
    count = Counter(cell.reason for cell in cells if cell.reason)
    return [f"{code} ({count[code]}): {cell.why}; waits for: {cell.wakes}" for code, cell in sorted(words.items())]
