"""A symbol's grid: its fields, where its levels lie and what a cell earns. Pure."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tasks.base.money import MAX_QUOTE, exact
from tasks.settings.section import Price, Section, Share


class GridKind(StrEnum):
    """How levels are spaced: by equal differences or by equal ratios."""

    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"


class StartMode(StrEnum):
    """`flat` buys nothing at once; `balanced` first buys the base for the cells above the price."""

    FLAT = "flat"
    BALANCED = "balanced"


class SymbolSettings(Section):
    """One symbol's grid, size and limits."""

    grid: GridKind = Field(GridKind.ARITHMETIC, description="level spacing: arithmetic or geometric")
    lower: Price | None = Field(None, description="lowest level, quote per base, above 0", examples=["39000"])
    upper: Price | None = Field(
        None, description="highest level, quote per base, above 0 and above lower", examples=["48000"]
    )
    range_pct: Annotated[Decimal, Field(gt=0, lt=1)] | None = Field(
        None,
        description="instead of lower and upper: share on either side of the first price, above 0, below 1",
        examples=["0.04"],
    )
    cells: Annotated[int, Field(ge=1, le=500)] = Field(20, description="number of cells between levels, 1 to 500")
    quote_per_cell: Annotated[Decimal, Field(gt=0, le=MAX_QUOTE)] | None = Field(
        None,
        description="quote spent per cell, above 0 to 90000000; absent: the symbol's allocation divided by its cells",
        examples=["150"],
    )
    base_per_cell: Annotated[Decimal, Field(gt=0)] | None = Field(
        None, description="base bought per cell, above 0; instead of quote_per_cell", examples=["0.003"]
    )
    start: StartMode = Field(
        StartMode.FLAT,
        description="flat buys nothing at once; balanced first buys the base for the cells above the price",
    )
    max_usage_pct: Share = Field(Decimal(1), description="cap: share of total_funds, above 0 to 1")
    weight: Annotated[Decimal, Field(ge=0, le=1000)] = Field(
        Decimal(1), description="share under the weighted strategy, 0 to 1000"
    )


def ends(symbol: SymbolSettings, first_price: Decimal) -> tuple[Decimal, Decimal]:
    """Lowest and highest level; `range_pct` is taken around `first_price`."""
    if symbol.range_pct is not None:
        return first_price * (1 - symbol.range_pct), first_price * (1 + symbol.range_pct)
    assert symbol.lower is not None
    assert symbol.upper is not None
    return symbol.lower, symbol.upper


def raw_levels(symbol: SymbolSettings, first_price: Decimal) -> list[Decimal]:
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
