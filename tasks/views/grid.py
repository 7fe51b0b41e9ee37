"""One symbol's grid now: its cells as a ladder, with money, profit, and why each idle one is idle."""

from decimal import Decimal

from tasks.base.keys import Keys
from tasks.base.money import ZERO
from tasks.base.redis_client import RedisClient
from tasks.grid.models import Cell, Grid
from tasks.ledger.rules import earned_of
from tasks.tick.models import TickReport
from tasks.views.models import View
from tasks.views.price_range import place_in_range
from tasks.views.reasons import reason_of


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


class GridView(View):
    """A symbol's ladder, the highest price first. `place`: of the price in the range, 0 lowest, 1 highest.

    `earned`: base that its cells kept at no cost; `earned_value`: its worth at the price, None without a price.
    """

    symbol: str
    grid_id: str | None
    price: Decimal | None
    levels: tuple[Decimal, ...]
    place: Decimal | None = None
    tick_size: Decimal | None = None  # of its prices, where the grid knows it
    earned: Decimal = ZERO
    earned_value: Decimal | None = None
    cells: tuple[CellView, ...] = ()


def grid_view(symbol: str, grid: Grid | None, cells: list[Cell], last: TickReport | None) -> GridView:
    """The ladder of these records."""
    levels, earned = tuple(grid.levels) if grid else (), earned_of(cells)
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
        place=place_in_range(price, levels),
        earned=earned,
        earned_value=None if price is None else earned * price,
        cells=rows,
    )


def _cell_view(cell: Cell, code: str, grid: Grid | None) -> CellView:
    words = reason_of(code) if code else None
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
