"""The Grid screen: a symbol's cells as a ladder, with why each idle one is idle and what would wake it. Pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from dashboard.present.html import Column, Content, Html, Row, badge, el, gain, html, number, table, tile, tiles
from dashboard.present.numbers import digits_of, exact, money, step_digits, whole
from tasks.base.money import ZERO
from tasks.views.grid import CellView, GridView
from tasks.views.models import StatusView, SymbolView
from tasks.views.price_range import place_text

_STATES: Mapping[str, tuple[str, str]] = {
    "IDLE": ("idle", "plain"),
    "BUYING": ("buying", "good"),
    "HOLDING": ("holding", "info"),
    "SELLING": ("selling", "bad"),
}
_COLUMNS = (
    number("Cell", "number of the cell, the lowest is 0"),
    number("Buys at"),
    number("Sells at"),
    Column("State"),
    number("Holds", "in base"),
    number("Cost", "of what it holds, fees included"),
    number("Grid profit"),
    number("Rounds"),
    Column("Why idle", wraps=True),
    Column("What would wake it", wraps=True),
)


def grid_digits(view: GridView) -> int:
    """The decimals of the symbol's prices."""
    return step_digits(view.tick_size) if view.tick_size else digits_of([*view.levels, view.price])


def grid_tiles(status: StatusView, symbol: SymbolView, view: GridView) -> Html:
    """The symbol's price, range, profit and money."""
    digits, coin = grid_digits(view), symbol.symbol.partition("/")[0]
    ends = f"{exact(view.levels[0], digits)} – {exact(view.levels[-1], digits)}" if view.levels else "no grid yet"
    next_orders = f"next buy {exact(symbol.next_buy, digits)}, next sell {exact(symbol.next_sell, digits)}"
    base_digits = digits_of([symbol.base])
    worth = "" if view.earned_value is None else f"worth {money(view.earned_value)} {status.quote}"
    earned = (
        [tile(f"Earned in base, {coin}", exact(view.earned, digits_of([view.earned])), worth)] if view.earned else []
    )
    return tiles(
        [
            tile(f"Price, {status.quote}", exact(view.price, digits), f"{place_text(view.place)} of the range"),
            tile("Range", ends, f"{whole(view.size)} cells{_names(view)}"),
            tile("Open orders", whole(symbol.open_orders), next_orders),
            tile(
                "Profit",
                gain(symbol.equity_change),
                html(["grid ", gain(symbol.grid_profit), ", floating ", gain(symbol.floating)]),
            ),
            tile(
                f"Holds, {coin}",
                exact(symbol.base, base_digits),
                f"worth {money(symbol.inventory_value)} {status.quote}",
            ),
            *earned,
            tile(
                "Used / allocated",
                f"{money(symbol.used)} / {money(symbol.allocated)}",
                f"reserved {money(symbol.reserved)}",
            ),
        ]
    )


def _names(view: GridView) -> str:
    """`: near 8, wide 20`, where the symbol has several grids."""
    names = [f"{one.name} {whole(one.cells)}" for one in view.grids if one.name]
    return f": {', '.join(names)}" if names else ""


def symbol_whys(symbol: SymbolView) -> Html:
    """Why the symbol, or some of its cells, do nothing."""
    lines = [
        el(
            "li",
            [
                el("strong", one.who),
                one.why,
                el("span", f" Wakes: {one.wakes}." if one.wakes else "", class_="gf-below"),
            ],
        )
        for one in symbol.reasons
    ]
    return el("ul", lines, class_="gf-whys") if lines else el("p", "Every cell has an order.", class_="gf-none")


def ladder(view: GridView) -> Html:
    """The cells, the highest price first, with the market's price between them."""
    digits, base_digits = grid_digits(view), digits_of(cell.qty for cell in view.cells)
    rows: list[Row] = []
    is_placed = view.price is None
    for cell in view.cells:
        if not is_placed and view.price is not None and cell.sell_price <= view.price:
            rows.append(_price_row(view.price, digits))
            is_placed = True
        rows.append(_cell_row(cell, digits, base_digits))
        if not is_placed and view.price is not None and cell.buy_price <= view.price:
            rows.append(_price_row(view.price, digits))
            is_placed = True
    if not is_placed and view.price is not None and rows:
        rows.append(_price_row(view.price, digits))
    return table(f"Cells of {view.symbol}", _COLUMNS, rows, "No cells before the first tick.", tall=True)


def _price_row(price: Decimal, digits: int) -> Row:
    cells: Sequence[Content] = (el("span", "price"), "", exact(price, digits), *[""] * (len(_COLUMNS) - 3))
    return Row(cells, "gf-price-row")


def _cell_row(cell: CellView, digits: int, base_digits: int) -> Row:
    name, kind = _STATES.get(cell.state, (cell.state.lower(), "plain"))
    cells: Sequence[Content] = (
        f"{cell.grid} {cell.index}".lstrip() + (" (earlier grid)" if cell.earlier else ""),
        exact(cell.buy_price, digits),
        exact(cell.sell_price, digits),
        badge(name, kind),
        exact(cell.qty, base_digits) if cell.qty else "",
        money(cell.cost) if cell.cost else "",
        gain(cell.profit, digits=4) if cell.profit != ZERO else "",
        whole(cell.rounds) if cell.rounds else "",
        cell.why,
        cell.wakes,
    )
    return Row(cells)
