"""What `gridflow check` says of each grid, for a terminal of 80 columns. Pure."""

from collections.abc import Iterator
from decimal import Decimal

from tasks.base.money import ZERO, plain
from tasks.grid.preflight import GridPreview

_ROWS = 12


def grid_lines(grid: GridPreview, quote: str) -> list[str]:
    """The figures of one grid, a line each, and its picture."""
    base = grid.symbol.partition("/")[0]
    spacing = f"{_percent(grid.narrowest)} to {_percent(grid.widest)}"
    lines = [
        f"{full_name(grid)}: {grid.cells} cells, {len(grid.levels)} levels, {spacing} apart; "
        f"break-even at {_percent(grid.break_even)}",
        f"  a round earns {_percent(grid.least_profit)} to {_percent(grid.most_profit)} after fees; "
        f"fees take {grid.fee_share * 100:.1f} % of what it earns before them",
        f"  all cells need {_money(grid.quote_needed)} {quote}{_at_once(grid, base)}",
        f"  the allocator would give {_money(grid.allocated)} {quote}: money for {grid.funded} of {grid.cells} cells",
    ]
    if grid.least_kept is not None and grid.most_kept is not None:
        lines += _kept(grid, grid.least_kept, grid.most_kept, base)
    if grid.smallest_order is not None:
        least = "" if grid.minimum is None else f"; the exchange takes {_money(grid.minimum)} or more"
        lines.append(f"  its smallest order is worth {_money(grid.smallest_order)} {quote}{least}")
    return [*lines, *(f"  {row}" for row in picture(grid))]


def full_name(grid: GridPreview) -> str:
    """`BTC/USDT`, or `BTC/USDT near` for one of several grids."""
    return f"{grid.symbol} {grid.name}".rstrip()


def picture(grid: GridPreview) -> list[str]:
    """The ladder, highest level first, the price where it is among them. At most so many levels: every n-th of more."""
    levels, price = grid.levels, grid.price
    step = -(-(len(levels) - 1) // (_ROWS - 1)) if len(levels) > _ROWS else 1
    shown = sorted({*range(0, len(levels), step), len(levels) - 1}, reverse=True)
    texts = dict(zip(shown, _aligned([levels[number] for number in shown]), strict=True))
    rows, marked = [], price is None
    for number in shown:
        if not marked and price is not None and levels[number] <= price:
            rows.append(f"{'':>{len(texts[number])}} ┼── price {price.normalize():,f}")
            marked = True
        rows.append(f"{texts[number]} ┤ {_role(number, grid)}".rstrip())
    if not marked and price is not None:
        rows.append(f"{'':>{len(texts[0])}} ┼── price {price.normalize():,f}")
    if step > 1:
        rows.append(f"(every {step} levels)")
    return rows if price is not None or levels[0] > 10 else [*rows, "(factors of the first price, which is not known)"]


def _role(number: int, grid: GridPreview) -> str:
    """What rests at the level when the grid has begun."""
    if grid.price is None:
        return ""
    if grid.levels[number] < grid.price:
        return "buys" if number < len(grid.levels) - 1 else ""
    return "sells" if number and grid.base_needed else "waits"


def _kept(grid: GridPreview, least: Decimal, most: Decimal, base: str) -> list[str]:
    """What a round earns in base."""
    lines = [f"  a round keeps {plain(round(least, 8))} to {plain(round(most, 8))} {base} and brings back its cost"]
    if not least and grid.lot_step is not None:
        lot = f"{plain(grid.lot_step)} {base}"
        lines.append(f"  where it keeps 0, it earns less than a lot ({lot}): all is sold. Use larger or wider cells")
    return lines


def _at_once(grid: GridPreview, base: str) -> str:
    if not grid.base_needed:
        return ""
    return f", of it {_money(grid.base_cost or ZERO)} at once for {plain(round(grid.base_needed, 8))} {base}"


def _aligned(levels: list[Decimal]) -> list[str]:
    texts = list(_formatted(levels))
    width = max(map(len, texts))
    return [f"{text:>{width}}" for text in texts]


def _formatted(levels: list[Decimal]) -> Iterator[str]:
    digits = min(max((-int(level.normalize().as_tuple().exponent) for level in levels), default=0), 8)
    return (f"{level:,.{max(digits, 0)}f}" for level in levels)


def _percent(share: Decimal) -> str:
    return f"{share * 100:.3f} %"


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"
