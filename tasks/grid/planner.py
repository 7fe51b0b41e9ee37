"""The planner: which orders should exist now. Pure; the same input gives the same plan."""

from collections.abc import Sequence
from decimal import Decimal

from tasks.base.money import exact, units_up
from tasks.exchange.models import Market, Side
from tasks.grid.models import Cell, CellState, Grid, GridPlan, IdleReason, Limits, PlannedOrder
from tasks.market.models import Snapshot

FEE_ROUNDING_UNITS = 2_000  # 0.00002 quote: the last 1e-8 of a coin worth up to 2000 quote
ENTRY_SLIPPAGE = Decimal("0.001")  # a balanced start pays at most this share above the best ask


def client_order_id(cell: Cell, side: Side) -> str:
    """Deterministic id of the cell's next order: grid, cell, side, cycle; at most 36 of [A-Za-z0-9-]."""
    return f"{cell.grid_id}-{cell.index}-{side.value[0]}-{cell.cycle}"


def plan(snapshot: Snapshot, grid: Grid, cells: Sequence[Cell], limits: Limits) -> GridPlan:
    """Compare what is with what should be; buys nearest to the price ask for money first."""
    desk = _Desk(snapshot, grid, limits)
    for cell in sorted(cells, key=lambda cell: (abs(cell.buy_price - snapshot.price), cell.key)):
        desk.look_at(cell)
    return GridPlan(cancel=tuple(desk.cancel), place=tuple(desk.place), idle_reasons=desk.idle)


class _Desk:
    """Collects one plan; holds the money that earlier orders of the same plan have asked for."""

    def __init__(self, snapshot: Snapshot, grid: Grid, limits: Limits) -> None:
        self.snapshot, self.grid, self.limits = snapshot, grid, limits
        self.market: Market = snapshot.market
        self.symbol_free, self.global_free = limits.symbol_free, limits.global_free
        self.cancel: list[str] = []
        self.place: list[PlannedOrder] = []
        self.idle: dict[str, IdleReason] = {}

    def look_at(self, cell: Cell) -> None:
        """Decide about one cell."""
        retired = cell.grid_id != self.grid.grid_id
        if cell.order_id is not None:
            if self.limits.stopped or (retired and cell.state is CellState.BUYING):
                self.cancel.append(cell.order_id)
            return
        if self.limits.stopped:
            self.idle[cell.key] = IdleReason.STOPPED
        elif cell.retry_ms > self.limits.now_ms:
            self.idle[cell.key] = IdleReason.REJECTED
        elif cell.state is CellState.HOLDING:
            self._sell(cell)
        elif retired:
            self.idle[cell.key] = IdleReason.RETIRED
        else:
            self._buy(cell)

    def _sell(self, cell: Cell) -> None:
        qty = self.market.qty(cell.qty)
        unfit = self._unfit(Side.SELL, cell.sell_price, qty)
        if unfit is not None:
            self.idle[cell.key] = unfit
            return
        self._place(cell, Side.SELL, cell.sell_price, qty, 0)

    def _buy(self, cell: Cell) -> None:
        if self.limits.paused:
            self.idle[cell.key] = IdleReason.PAUSED
            return
        if self.limits.stale:
            self.idle[cell.key] = IdleReason.STALE_PRICE
            return
        price = self._buy_price(cell)
        if price is None:
            self.idle[cell.key] = IdleReason.ABOVE_PRICE
            return
        qty = self.market.qty(self.grid.size.qty(price))
        unfit = self._unfit(Side.BUY, price, qty)
        if unfit is not None:
            self.idle[cell.key] = unfit
            return
        units = reserve_units(price, qty, self.market.taker_fee)
        short = self._short_of(units)
        if short is not None and cell.key in self.limits.refused:
            self.idle[cell.key] = short  # refused before, and nothing has changed for the better
            return
        self.symbol_free -= 0 if short else units
        self.global_free -= 0 if short else units
        self._place(cell, Side.BUY, price, qty, units)

    def _buy_price(self, cell: Cell) -> Decimal | None:
        """The level while a buy there would rest; for an entry, a price that fills at once; else None."""
        if cell.buy_price < self.snapshot.ask:
            return cell.buy_price
        if cell.entry:
            return self.market.price_up(self.snapshot.ask * (1 + ENTRY_SLIPPAGE))
        return None

    def _unfit(self, side: Side, price: Decimal, qty: Decimal) -> IdleReason | None:
        """Which of the exchange's filters would refuse the order: it is not sent to find out."""
        if not self.market.large_enough(price, qty):
            return IdleReason.BELOW_MINIMUM
        if not self.market.small_enough(price, qty):
            return IdleReason.ABOVE_MAXIMUM
        if not self.market.near_enough(side, price, self.snapshot.price):
            return IdleReason.TOO_FAR
        return None

    def _short_of(self, units: int) -> IdleReason | None:
        if units > self.symbol_free:
            return IdleReason.SYMBOL_LIMIT
        return IdleReason.GLOBAL_LIMIT if units > self.global_free else None

    def _place(self, cell: Cell, side: Side, price: Decimal, qty: Decimal, units: int) -> None:
        resting_buy = side is Side.BUY and price == cell.buy_price
        self.place.append(
            PlannedOrder(
                client_id=client_order_id(cell, side),
                cell_key=cell.key,
                side=side,
                price=price,
                qty=qty,
                cycle=cell.cycle,
                units=units,
                post_only=resting_buy,
            )
        )


def reserve_units(price: Decimal, qty: Decimal, fee: Decimal) -> int:
    """Quote units a buy may cost: price × amount plus fee, rounded up, and a hair for fees rounded in a third coin."""
    with exact():
        return units_up(price * qty * (1 + fee)) + FEE_ROUNDING_UNITS
