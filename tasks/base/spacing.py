"""Where grid levels lie and what a cell earns: the arithmetic that both settings and planner need. Pure."""

from decimal import Decimal
from typing import TYPE_CHECKING

from tasks.base.money import exact

if TYPE_CHECKING:
    from tasks.base.settings import SymbolSettings


def ends(symbol: "SymbolSettings", first_price: Decimal) -> tuple[Decimal, Decimal]:
    """Lowest and highest level; `range_pct` is taken around `first_price`."""
    if symbol.range_pct is not None:
        return first_price * (1 - symbol.range_pct), first_price * (1 + symbol.range_pct)
    assert symbol.lower is not None
    assert symbol.upper is not None
    return symbol.lower, symbol.upper


def raw_levels(symbol: "SymbolSettings", first_price: Decimal) -> list[Decimal]:
    """The N+1 levels of N cells, lowest first, before rounding to the tick."""
    lower, upper = ends(symbol, first_price)
    cells = symbol.cells
    if symbol.grid == "arithmetic":
        return [lower + (upper - lower) * i / cells for i in range(cells + 1)]
    ratio = (upper / lower) ** (Decimal(1) / cells)
    return [lower * ratio**i for i in range(cells)] + [upper]


def net_profit(buy: Decimal, sell: Decimal, buy_fee: Decimal, sell_fee: Decimal) -> Decimal:
    """Profit of one round trip as a share of what the buy cost: (1−c_buy)(1−c_sell)·sell/buy − 1."""
    with exact():
        return (1 - buy_fee) * (1 - sell_fee) * sell / buy - 1
