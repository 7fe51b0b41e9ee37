"""The planner: which orders should exist now. Pure; the same input gives the same plan."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from tasks.base.money import ZERO
from tasks.base.unchecked import unchecked
from tasks.exchange.models import Market, Side
from tasks.exchange.order_ids import OrderId, Purpose
from tasks.grid.amounts import buy_price, cell_amounts
from tasks.grid.cells import has_lot, is_off_level, recoup_qty
from tasks.grid.models import Cell, CellState, Grid
from tasks.grid.order_limit import nearest_orders
from tasks.grid.plan_models import GridPlan, IdleReason, Limits, PlannedOrder, RestingBuy
from tasks.grid.resizing import NO_RESIZING, candidates, resize
from tasks.grid.sizing import filter_violation, reserve_units, smallest_qty
from tasks.market.models import Snapshot
from tasks.settings.grids.placement import is_active

_NONE: Mapping[str, RestingBuy] = {}


def client_order_id(account_tag: str, cell: Cell, purpose: Purpose) -> str:
    """Deterministic id of the cell's next order; see `tasks.exchange.order_ids`."""
    return str(OrderId(account_tag, cell.grid_id, cell.index, purpose, cell.cycle))


def plan(
    snapshot: Snapshot,
    grid: Grid,
    cells: Sequence[Cell],
    limits: Limits,
    resting: Mapping[str, RestingBuy] = _NONE,
    account_tag: str = "000",
) -> GridPlan:
    """The orders to place and to cancel now. Buys nearest to the price are funded first.

    `resting`: buys that rest on the exchange, by client id; only these are resized, or cancelled for want of money.
    """
    planner = _Planner(snapshot, grid, cells, limits, resting, account_tag)
    for cell in planner.cells:
        if cell.order_id is None:
            planner.plan_order(cell)
        elif planner.must_end(cell, cell.order_id):
            planner.cancel.append(cell.order_id)
    return planner.result()


def exit_price(snapshot: Snapshot, slippage: Decimal) -> Decimal:
    """A price at which a sell fills at once: this share below the best bid."""
    market = snapshot.market
    return max(market.price_down(snapshot.ticker.bid * (1 - slippage)), market.tick_size)


class _Planner:
    """Builds one plan; counts the money that earlier orders of the same plan take."""

    def __init__(
        self,
        snapshot: Snapshot,
        grid: Grid,
        cells: Sequence[Cell],
        limits: Limits,
        resting: Mapping[str, RestingBuy],
        account_tag: str,
    ) -> None:
        self.snapshot, self.grid, self.limits = snapshot, grid, limits
        self.resting, self.account_tag = resting, account_tag
        self.market: Market = snapshot.market
        self.price, self.ask = snapshot.price, snapshot.ask
        price = self.price
        self.cells = sorted(cells, key=lambda cell: (abs(cell.buy_price - price), cell.key))
        self.symbol_free, self.global_free = limits.symbol_free, limits.global_free
        self.free_base = limits.free_base
        self.cancel: list[str] = []
        self.place: list[PlannedOrder] = []
        self.idle: dict[str, IdleReason] = {}
        self.making_room: tuple[str, ...] = ()  # client ids of orders that leave their place to nearer ones
        self.unfunded: set[str] = set()  # client ids of buys that the pot will hardly grant
        self.missing = 0  # units that cells without an order lack because of the symbol's allocation
        self.in_range = grid.ends_by_key
        # Every resting order is cancelled: for a stop, or to sell at the market.
        all_end = limits.stopped or limits.stop_fired or (limits.liquidate and not limits.stale)
        self.buys_end = all_end or limits.cancel_buys or limits.retiring
        self.sells_end = all_end or (limits.no_sells is not None and not limits.liquidate)
        self.has_reach = limits.activation is not None
        self.has_unfit = limits.unfit or any(other.unfit for other in limits.others.values())
        self.amounts = cell_amounts(snapshot, grid, self.cells, limits)

    def plan_order(self, cell: Cell) -> None:
        """Place an order of a cell that has none, or note why it gets none."""
        halted = self._halted(cell)
        if halted is not None:
            self.idle[cell.key] = halted
        elif self._waits(cell):
            self.idle[cell.key] = IdleReason.NO_BASE if cell.lacks_base else IdleReason.REJECTED
        elif self._is_reserve(cell):
            self.idle[cell.key] = IdleReason.RESERVE
        elif cell.state is CellState.HOLDING or self._gives_up_rest(cell):
            self._sell(cell)
        elif self._is_retired(cell):
            self.idle[cell.key] = IdleReason.RETIRED
        elif self.limits.of(cell.grid_id).unfit:
            self.idle[cell.key] = IdleReason.GRID_UNFIT
        elif self.limits.no_buys is not None:
            self.idle[cell.key] = self.limits.no_buys
        elif not self._in_reach(cell, cell.buy_price):
            self.idle[cell.key] = IdleReason.OUT_OF_REACH
        else:
            self._buy(cell)

    def _halted(self, cell: Cell) -> IdleReason | None:
        """Why the cell gets no order of either side. After a stop that sells, what is held is still sold."""
        if self.limits.stopped:
            return IdleReason.STOPPED
        sells = self.limits.liquidate and (cell.state is CellState.HOLDING or self._gives_up_rest(cell))
        return IdleReason.STOP_FIRED if self.limits.stop_fired and not sells else None

    def _is_reserve(self, cell: Cell) -> bool:
        """Whether the cell keeps base for levels above the range. It buys it at the start, and sells it at an exit."""
        if not self.limits.of(cell.grid_id).keeps_reserve or self.limits.liquidate or cell.entry:
            return False
        grid = self.grid.by_id(cell.grid_id)
        return grid is not None and cell.index == grid.top_index

    def _gives_up_rest(self, cell: Cell) -> bool:
        """Whether a cell without a lot sells what it has kept: everything is sold, and it is enough for an order."""
        if not self.limits.liquidate or cell.state is not CellState.IDLE or not cell.qty:
            return False
        return self.market.large_enough(self._exit_at(), self.market.qty(cell.qty))

    def _exit_at(self) -> Decimal:
        return exit_price(self.snapshot, self.limits.exit_slippage)

    def _in_reach(self, cell: Cell, level: Decimal) -> bool:
        """Whether the level is near enough to the price to have an order."""
        share = self.limits.activation
        return share is None or is_active(level, self.price, share, has_order=cell.order_id is not None)

    def _waits(self, cell: Cell) -> bool:
        """Whether the cell still waits after a refusal."""
        return cell.retry_ms > self.limits.now_ms

    def must_end(self, cell: Cell, order_id: str) -> bool:
        """Whether this cell's order must be cancelled, whatever its size."""
        if cell.state is not CellState.BUYING:
            return self.sells_end or (self.has_reach and not self._in_reach(cell, cell.sell_price))
        ends = self.in_range.get(cell.key)
        if self.buys_end or ends is None:
            return True
        if ends != (cell.buy_price, cell.sell_price) and is_off_level(cell, self.grid):
            return True
        if self.has_unfit and self.limits.of(cell.grid_id).unfit:
            return True
        if self.has_reach and not self._in_reach(cell, cell.buy_price):
            return True
        buy = self.resting.get(order_id)
        return buy is not None and bool(buy.filled) and self._is_left_behind(cell)

    def _is_retired(self, cell: Cell) -> bool:
        """Whether the cell only sells: its symbol left the settings, or the range has no such cell now."""
        return self.limits.retiring or cell.key not in self.in_range

    def _is_left_behind(self, cell: Cell) -> bool:
        """Whether the price has left a partly filled buy: past the middle of the cell, with enough filled to sell.

        The rest of the buy is cancelled. Once the exchange confirms its end, the cell sells what it got.
        """
        middle = (cell.buy_price + cell.sell_price) / 2
        return not self.limits.stale and self.ask > middle and has_lot(cell, self.market)

    def _sell(self, cell: Cell) -> None:
        exit_now = self.limits.liquidate
        barred = self._sell_barred(cell, exit_now)
        if barred is not None:
            self.idle[cell.key] = barred
            return
        earns_base = self.limits.of(cell.grid_id).earns_base
        recoups = earns_base and cell.basis > 0 and not exit_now  # a lot without a cost was given up
        purpose = Purpose.EXIT if exit_now else Purpose.RECOUP if recoups else Purpose.SELL
        price = self._exit_at() if exit_now else self.market.price_up(cell.sell_price)
        bid = self.snapshot.ticker.bid
        held = recoup_qty(cell, price, bid, self.market) if recoups else self.market.qty(cell.qty)
        qty = held if self.free_base is None else min(held, self.market.qty(max(self.free_base, ZERO)))
        violation = filter_violation(self.market, Side.SELL, price, qty, self.price)
        if violation is not None:
            of_all = filter_violation(self.market, Side.SELL, price, held, self.price)
            lacks = violation is IdleReason.BELOW_MINIMUM and of_all is not IdleReason.BELOW_MINIMUM
            self.idle[cell.key] = IdleReason.NO_BASE if lacks else violation
            return
        if self.free_base is not None:
            self.free_base -= qty
        self._place(cell, purpose, price, qty, 0)

    def _sell_barred(self, cell: Cell, exit_now: bool) -> IdleReason | None:
        """Why the cell does not sell what it holds now."""
        if exit_now:
            return IdleReason.STALE_PRICE if self.limits.stale else None
        if self.limits.no_sells is not None:
            return self.limits.no_sells
        return None if self._in_reach(cell, cell.sell_price) else IdleReason.OUT_OF_REACH

    def _buy(self, cell: Cell) -> None:
        if self.limits.stale:
            self.idle[cell.key] = IdleReason.STALE_PRICE
            return
        price = buy_price(cell, self.ask, self.market)
        if price is None:
            self.idle[cell.key] = IdleReason.ABOVE_PRICE
            return
        funded = self.amounts.get(cell.key)
        qty = smallest_qty(self.market, price) if funded is None else funded
        violation = filter_violation(self.market, Side.BUY, price, qty, self.price)
        if violation is not None:
            self.idle[cell.key] = violation
            return
        units = reserve_units(price, qty, self.market.taker_fee)
        if funded is None and units <= self.symbol_free:
            # The pot would grant it, but what is free belongs to other grids, or to a buy that is smaller than its size
            # now. The next tick would cancel it.
            self.idle[cell.key] = IdleReason.GRID_LIMIT if self.grid.others else IdleReason.SYMBOL_LIMIT
            return
        reason = self._pot_refusal(units, funded is not None)
        self.missing += units if funded and reason is IdleReason.SYMBOL_LIMIT else 0
        if reason is not None and self.limits.refused.get(cell.key) == reason:
            self.idle[cell.key] = reason  # refused for this before: asked again only when the reason changes
            return
        if reason is None:
            self.symbol_free -= units
            self.global_free -= units
        else:
            self.unfunded.add(client_order_id(self.account_tag, cell, Purpose.BUY))
        self._place(cell, Purpose.BUY, price, qty, units)

    def _pot_refusal(self, units: int, funded: bool) -> IdleReason | None:
        """Why the pot would refuse a buy of `units` now; None where it would not. The reserve script decides."""
        if self.limits.paused:
            return IdleReason.PAUSED
        if not funded or units > self.symbol_free:
            return IdleReason.SYMBOL_LIMIT
        return IdleReason.GLOBAL_LIMIT if units > self.global_free else None

    def _place(self, cell: Cell, purpose: Purpose, price: Decimal, qty: Decimal, units: int) -> None:
        self.place.append(
            unchecked(
                PlannedOrder,
                client_id=client_order_id(self.account_tag, cell, purpose),
                cell_key=cell.key,
                purpose=purpose,
                price=price,
                qty=qty,
                cycle=cell.cycle,
                units=units,
                post_only=purpose is Purpose.BUY and price < self.ask,
            )
        )

    def result(self) -> GridPlan:
        """The plan, with the resting buys to resize or to cancel."""
        chosen = NO_RESIZING
        if not (self.limits.stopped or self.limits.retiring or self.limits.stale):
            free = self.symbol_free, self.global_free
            missing = max(self.missing - max(self.symbol_free, 0), 0)
            gives_back = bool(missing or self.limits.over or self.limits.paused)
            own = [cell for cell in self.cells if cell.key in self.in_range and cell.order_id not in self.cancel]
            found = candidates(own, self.resting, self.amounts, self.snapshot, only_off=not gives_back)
            chosen = resize(found.sizeable, self.limits, *free, missing=missing, fixed=found.fixed)
        cancel = (*self.cancel, *chosen.cancel)
        self._keep_to_order_limit(cancel)
        return unchecked(
            GridPlan,
            cancel=(*cancel, *self.making_room),
            resized=chosen.resized,
            to_resize=chosen.waiting,
            place=tuple(self.place),
            idle_reasons=self.idle,
        )

    def _keep_to_order_limit(self, cancelled: Sequence[str]) -> None:
        """Keep to the number of open orders that exchange and settings allow: the nearest levels get them."""
        most = self._most_orders()
        if most is None:
            return
        allowed = nearest_orders(self.place, self.cells, self.price, most, cancelled, self.unfunded)
        self.place, self.making_room = list(allowed.place), allowed.cancel
        self.idle |= {order.cell_key: IdleReason.MAX_ORDERS for order in allowed.waiting}

    def _most_orders(self) -> int | None:
        """Open orders that the cells may have; None for any number. A sale at the market is not held up by settings."""
        own = None if self.limits.liquidate else self.limits.max_open_orders
        bounds = [bound for bound in (self.market.max_orders, own) if bound is not None]
        return min(bounds) - self.limits.other_orders if bounds else None
