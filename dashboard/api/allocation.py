"""How the pot is shared, its rebalances, refused orders, and the ladder of a symbol."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from dashboard.api.amounts import Answer, both, moment
from dashboard.api.problems import Problem
from dashboard.api.security import operator
from dashboard.connection import reader
from tasks.base.money import ZERO
from tasks.base.redis_client import RedisClient
from tasks.funds.models import RebalanceReport
from tasks.views import history, store
from tasks.views.grid import CellView, GridPart, read_grid
from tasks.views.line_models import BlockedView
from tasks.views.models import StatusView
from tasks.views.steps import read_status

router = APIRouter(tags=["allocation"], dependencies=[Depends(operator)])
_Limit = Annotated[int, Query(ge=1, le=500)]


class Share(Answer):
    """A symbol's share of the pot, in quote. `usage`: used / allocated, 0 to 1."""

    symbol: str
    allocated: float
    allocated_exact: str
    used: float
    used_exact: str
    reserved: float
    reserved_exact: str
    free: float
    free_exact: str
    cap: float
    cap_exact: str
    usage: float
    usage_exact: str
    paused: bool
    to_resize: int


class Allocation(Answer):
    """The pot, in quote. `efficiency`: used / allocated of all symbols, 0 to 1."""

    strategy: str
    version: int
    total_funds: float
    total_funds_exact: str
    invested: float
    invested_exact: str
    withdrawn: float
    withdrawn_exact: str
    reinvested: float
    reinvested_exact: str
    pool: float
    pool_exact: str
    allocated: float
    allocated_exact: str
    used: float
    used_exact: str
    reserved: float
    reserved_exact: str
    free: float
    free_exact: str
    efficiency: float
    efficiency_exact: str
    rebalances: int
    symbols: list[Share]


@router.get("/allocation")
def allocation() -> Allocation:
    """How the pot is shared now."""
    source = reader()

    async def ask(redis: RedisClient) -> tuple[StatusView, int]:
        rebalances, _ = await store.counters(redis, source.keys)
        return await read_status(source.settings, redis), rebalances

    view, rebalances = source.read(ask)
    shares = [
        Share(
            symbol=one.symbol,
            paused=one.paused,
            to_resize=one.to_resize,
            **both(
                allocated=one.allocated,
                used=one.used,
                reserved=one.reserved,
                free=one.free,
                cap=one.cap,
                usage=one.usage,
            ),
        )
        for one in view.symbols
    ]
    amounts = both(
        total_funds=view.total_funds,
        invested=view.invested,
        withdrawn=view.withdrawn,
        reinvested=view.reinvested,
        pool=view.pool,
        allocated=view.allocated,
        used=view.used,
        reserved=view.reserved,
        free=view.free,
        efficiency=view.used / view.allocated if view.allocated else ZERO,
    )
    return Allocation(
        strategy=view.strategy, version=view.limits_version, rebalances=rebalances, symbols=shares, **amounts
    )


class Change(Answer):
    """A symbol's allocation before and after, in quote."""

    symbol: str
    before: float
    before_exact: str
    after: float
    after_exact: str


class Rebalance(Answer):
    """One rebalance that was applied."""

    time: datetime
    reason: str
    strategy: str
    version: int
    changes: list[Change]


class Rebalances(Answer):
    """Rebalances, the newest first."""

    items: list[Rebalance]


@router.get("/allocation/history")
def rebalances(limit: _Limit = 50) -> Rebalances:
    """The newest rebalances with what each changed."""
    source = reader()
    none: tuple[RebalanceReport, ...] = ()
    found = source.past(lambda database: history.rebalances(database, source.settings.account, limit), none)
    items = [
        Rebalance(
            time=moment(one.at_ms),
            reason=one.reason,
            strategy=str(one.strategy),
            version=one.version,
            changes=[Change(symbol=each.symbol, **both(before=each.before, after=each.after)) for each in one.changes],
        )
        for one in found
    ]
    return Rebalances(items=items)


class Blocked(Answer):
    """One refused order; `amount` in quote."""

    time: datetime
    symbol: str
    reason: str
    order_id: str
    amount: float
    amount_exact: str

    @classmethod
    def of(cls, one: BlockedView) -> "Blocked":
        """A refusal as the API shows it."""
        time = moment(one.at_ms)
        return cls(time=time, symbol=one.symbol, reason=one.reason, order_id=one.order_id, **both(amount=one.amount))


class BlockedCount(Answer):
    """How often a symbol's orders were refused for a reason."""

    symbol: str
    reason: str
    count: int


class BlockedAnswer(Answer):
    """Refusals: counts since the books were opened, and the newest ones."""

    counts: list[BlockedCount]
    items: list[Blocked]


@router.get("/blocked")
def blocked(limit: _Limit = 100) -> BlockedAnswer:
    """Orders that the pot refused."""
    source = reader()
    _, counts = source.read(lambda redis: store.counters(redis, source.keys))
    none: tuple[BlockedView, ...] = ()
    found = source.past(lambda database: history.blocked(database, source.settings.account, limit), none)
    numbers = [
        BlockedCount(symbol=symbol, reason=reason, count=count) for (symbol, reason), count in sorted(counts.items())
    ]
    return BlockedAnswer(counts=numbers, items=[Blocked.of(one) for one in found])


class CellAnswer(Answer):
    """One cell of a ladder. `why` it is idle, and what `wakes` it; both '' where it has an order.

    `grid`: the name of its grid, where the symbol has several; else ''.
    """

    key: str
    index: int
    state: str
    buy_price: float
    buy_price_exact: str
    sell_price: float
    sell_price_exact: str
    qty: float
    qty_exact: str
    earned: float
    earned_exact: str
    cost: float
    cost_exact: str
    profit: float
    profit_exact: str
    rounds: int
    order_id: str | None
    reason: str
    why: str
    wakes: str
    earlier: bool
    grid: str

    @classmethod
    def of(cls, cell: CellView) -> "CellAnswer":
        """A cell as the API shows it."""
        amounts = both(
            buy_price=cell.buy_price, sell_price=cell.sell_price, qty=cell.qty, cost=cell.cost, profit=cell.profit
        ) | both(earned=cell.earned)
        names = {"key", "index", "state", "rounds", "order_id", "reason", "why", "wakes", "earlier", "grid"}
        return cls(**cell.model_dump(include=names), **amounts)


class OneGridAnswer(Answer):
    """One grid of a symbol: its `name` among several, its range and its number of cells."""

    name: str
    grid_id: str
    lower: float
    lower_exact: str
    upper: float
    upper_exact: str
    cells: int

    @classmethod
    def of(cls, part: GridPart) -> "OneGridAnswer":
        """A grid as the API shows it."""
        return cls(**part.model_dump(include={"name", "grid_id", "cells"}), **both(lower=part.lower, upper=part.upper))


class GridAnswer(Answer):
    """A symbol's ladder, the highest cell first. `place` of the price in the range: 0 lowest level, 1 highest.

    `earned`: base that its cells kept at no cost; `earned_value`: its worth at the price.
    """

    symbol: str
    grid_id: str | None
    price: float | None
    price_exact: str | None
    place: float | None
    earned: float
    earned_exact: str
    earned_value: float | None
    earned_value_exact: str | None
    levels: list[float]
    levels_exact: list[str]
    grids: list[OneGridAnswer]
    cells: list[CellAnswer]


@router.get("/grid/{symbol:path}")
def grid(symbol: str) -> GridAnswer:
    """The ladder of a symbol, such as BTC/USDT or btc-usdt."""
    source = reader()
    name = symbol.replace("-", "/").upper()

    async def ask(redis: RedisClient) -> StatusView:
        return await read_status(source.settings, redis)

    if name not in {*source.settings.symbols, *(one.symbol for one in source.read(ask).symbols)}:
        raise Problem(404, f"no such symbol; configured are {', '.join(source.settings.symbols)}")
    found = source.read(lambda redis: read_grid(redis, source.settings.account, name))
    return GridAnswer(
        symbol=name,
        grid_id=found.grid_id,
        place=None if found.place is None else float(found.place),
        levels=[float(level) for level in found.levels],
        levels_exact=[f"{level:f}" for level in found.levels],
        grids=[OneGridAnswer.of(part) for part in found.grids],
        cells=[CellAnswer.of(cell) for cell in found.cells],
        **both(price=found.price, earned=found.earned, earned_value=found.earned_value),
    )
