"""One symbol's grid now: its cells as a ladder, with money, profit, and why each idle one is idle."""

from decimal import Decimal

from tasks.base.keys import Keys
from tasks.base.money import ZERO
from tasks.base.redis_client import RedisClient
from tasks.grid.models import Cell, Grid
from tasks.ledger.rules import earned_of
from tasks.tick.models import TickReport
from tasks.views.price_range import place_in_range
from tasks.views.reasons import reason_of
from tasks.views.view import View


class GridPart(View):
    """One grid of a symbol: its name among several, its range and its number of cells."""

    name: str
    grid_id: str
    lower: Decimal
    upper: Decimal
    cells: int


class CellView(View):
    """One cell. Prices in quote, `qty` in base; `reason`: a code, with its words in `why` and `wakes`."""

    key: str
    index: int
    buy_price: Decimal
    sell_price: Decimal
    state: str
    qty: Decimal
    earned: Decimal = ZERO  # the part of `qty` that cost nothing
    cost: Decimal
    profit: Decimal
    rounds: int
    order_id: str | None
    reason: str = ""
    why: str = ""
    wakes: str = ""
    earlier: bool = False  # of an earlier grid or range: it only sells
    grid: str = ""  # the name of its grid, where the symbol has several


class GridView(View):
    """A symbol's ladder, the highest price first. `place`: of the price in the range, 0 lowest, 1 highest.

    `levels`, `cells`: of all its grids. `grid_id`: of the first.
    `earned`: base that its cells kept at no cost; `earned_value`: its worth at the price, None without a price.
    """

    symbol: str
    grid_id: str | None
    price: Decimal | None
    levels: tuple[Decimal, ...]
    grids: tuple[GridPart, ...] = ()
    place: Decimal | None = None
    tick_size: Decimal | None = None  # of its prices, where the grid knows it
    earned: Decimal = ZERO
    earned_value: Decimal | None = None
    cells: tuple[CellView, ...] = ()

    @property
    def size(self) -> int:
        """How many cells its grids have."""
        return sum(grid.cells for grid in self.grids)


def grid_view(symbol: str, grid: Grid | None, cells: list[Cell], last: TickReport | None) -> GridView:
    """The ladder of these records."""
    levels, earned = grid.all_levels if grid else (), earned_of(cells)
    price = last.price if last else None
    idle = dict(last.idle) if last else {}
    ordered = sorted(cells, key=lambda cell: (cell.buy_price, cell.key), reverse=True)
    rows = tuple(_cell_view(cell, str(idle.get(cell.key, "")), grid) for cell in ordered)
    return GridView(
        symbol=symbol,
        grid_id=grid.grid_id if grid else None,
        price=price,
        tick_size=grid.tick_size if grid else None,
        levels=levels,
        grids=tuple(map(_part, grid.each)) if grid else (),
        place=place_in_range(price, levels),
        earned=earned,
        earned_value=None if price is None else earned * price,
        cells=rows,
    )


def _part(grid: Grid) -> GridPart:
    ends = grid.levels[0], grid.levels[-1]
    return GridPart(name=grid.name, grid_id=grid.grid_id, lower=ends[0], upper=ends[1], cells=len(grid.levels) - 1)


def _cell_view(cell: Cell, code: str, grid: Grid | None) -> CellView:
    words, own = reason_of(code) if code else None, grid.by_id(cell.grid_id) if grid else None
    return CellView(
        key=cell.key,
        index=cell.index,
        buy_price=cell.buy_price,
        sell_price=cell.sell_price,
        state=cell.state.value,
        qty=cell.qty,
        earned=cell.earned,
        cost=cell.basis if cell.qty else ZERO,
        profit=cell.profit,
        rounds=cell.rounds,
        order_id=cell.order_id,
        reason=code,
        why=words.why if words else "",
        wakes=words.wakes if words else "",
        earlier=grid is not None and not grid.has(cell),
        grid=own.name if own else "",
    )


async def read_grid(redis: RedisClient, account: str, symbol: str) -> GridView:
    """The symbol's ladder; without cells before its first tick. One round trip."""
    keys = Keys(account)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.get(keys.grid(symbol))
        pipe.hvals(keys.cells(symbol))
        pipe.get(keys.last_tick(symbol))
        grid, cells, last = await pipe.execute()
    return grid_view(
        symbol,
        Grid.model_validate_json(grid) if grid else None,
        [Cell.model_validate_json(text) for text in cells],
        TickReport.model_validate_json(last) if last else None,
    )
