"""Sizes that follow the allocation, and resting buys that follow the sizes."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tasks.base.money import units_up
from tasks.exchange.models import Market, Side, Ticker
from tasks.grid.levels import build_cells, build_grid
from tasks.grid.models import Cell, CellState, Grid, Size
from tasks.grid.plan_models import AssumedBuy, GridPlan, IdleReason, Limits
from tasks.grid.planner import plan
from tasks.grid.resizing import MAX_PER_TICK
from tasks.grid.sizing import cell_money, reserve_units
from tasks.market.models import Snapshot
from tasks.settings.grids import StartMode
from tests.support.grids import symbol_settings

BTC = "BTC/USDT"
FEE = Decimal("0.001")


def market(**changes: str) -> Market:
    """Binance's usual BTC filters."""
    base = {"tick_size": "0.01", "lot_step": "0.00001", "min_qty": "0.00001", "min_notional": "5"}
    own = {"symbol": BTC, "base": "BTC", "quote": "USDT", "maker_fee": FEE, "taker_fee": FEE}
    return Market.model_validate(own | base | changes)


def grid_and_cells(cells: int = 10) -> tuple[Grid, list[Cell]]:
    """40000 … 50000 in equal cells, flat."""
    own = symbol_settings(lower="40000", upper="50000", cells=cells)
    grid = build_grid(BTC, own, market(), Decimal(50_000), Decimal(10_000), 0)
    return grid, build_cells(grid, StartMode.FLAT)


def planned(
    cells: Sequence[Cell],
    grid: Grid,
    limits: Limits,
    resting: dict[str, AssumedBuy] | None = None,
    price: str = "50000",
    own: Market | None = None,
) -> GridPlan:
    """The plan at a price above every buy level."""
    value = Decimal(price)
    ticker = Ticker(symbol=BTC, bid=value, ask=value, last=value, at_ms=0)
    return plan(Snapshot(market=own or market(), ticker=ticker), grid, cells, limits, resting or {})


def limits(allocated: int, used: int = 0, reserved: int = 0, **changes: Any) -> Limits:
    """A symbol's money in quote; the pool is not in the way."""
    committed = used + reserved
    own = Limits(
        symbol_free=max(allocated - committed, 0) * 10**8,
        global_free=10**15,
        allocated=allocated * 10**8,
        used=used * 10**8,
        committed=committed * 10**8,
    )
    return replace(own, **changes)


def resting(cells: Sequence[Cell], quote: str) -> tuple[list[Cell], dict[str, AssumedBuy]]:
    """Every cell with a resting buy worth `quote`."""
    held, found = [], {}
    for cell in cells:
        qty = market().qty(Decimal(quote) / cell.buy_price)
        held.append(cell.model_copy(update={"state": CellState.BUYING, "order_id": f"b{cell.index}"}))
        found[f"b{cell.index}"] = AssumedBuy(qty=qty, units_left=reserve_units(cell.buy_price, qty, FEE))
    return held, found


def test_lower_cells_buy_more_by_the_size_factor() -> None:
    """A configured size is that of the highest cell; each one below it is the factor times as large."""
    grid, cells = grid_and_cells(3)
    weights = symbol_settings(lower="40000", upper="50000", cells=3, size_factor="1.5").cell_weights(Decimal(50_000))
    own = limits(10_000, size=Size(quote=Decimal(300)), weights=weights)
    bought = {order.cell_key: order.qty * order.price for order in planned(cells, grid, own).place}
    worth = [bought[cell.key] for cell in cells]
    assert [round(one) for one in worth] == [675, 450, 300]


def test_an_allocation_is_shared_by_the_weights() -> None:
    """All of it is used, and what one cell holds does not change the sizes of the others."""
    grid, cells = grid_and_cells(4)
    weights = symbol_settings(lower="40000", upper="50000", cells=4, size_factor="2").cell_weights(Decimal(50_000))
    assert weights.total == 15
    placed = planned(cells, grid, limits(1500, weights=weights)).place
    assert [round(order.units / 10**8) for order in placed] == [100, 200, 400, 800], "the highest is nearest"
    held = cells[0].model_copy(update={"state": CellState.HOLDING, "qty": Decimal("0.02"), "basis": Decimal(800)})
    again = planned([held, *cells[1:]], grid, limits(1500, used=800, weights=weights)).place
    assert [round(order.units / 10**8) for order in again if order.units] == [100, 200, 400]


def test_a_size_factor_of_one_gives_equal_cells() -> None:
    """No weights are listed then, so that a tick adds nothing up."""
    assert symbol_settings(lower="40000", upper="50000", cells=4).cell_weights(Decimal(50_000)).each == ()


def test_a_cells_money_is_its_part_of_the_allocation() -> None:
    """1000 for 10 cells, fee 0.1 %: 99.90 each. What lots cost more is missing for the cells that hold nothing."""
    assert cell_money(Decimal(1000), Decimal(0), 10, 10, FEE) == Decimal("99.90")
    assert cell_money(Decimal(1000), Decimal(500), 10, 5, FEE) == Decimal("99.90")
    assert cell_money(Decimal(1000), Decimal(600), 10, 5, FEE) == Decimal("79.92"), "lots cost 600: less for the others"
    assert cell_money(Decimal(1000), Decimal(300), 10, 5, FEE) == Decimal("99.90"), "never more than an equal part"
    assert cell_money(Decimal(1000), Decimal(1200), 10, 5, FEE) == 0


def test_without_a_configured_size_orders_follow_the_allocation() -> None:
    """The same grid buys twice as much with twice the money; a configured size is taken as it is."""
    grid, cells = grid_and_cells()
    small = planned(cells, grid, limits(1000))
    large = planned(cells, grid, limits(2000))
    assert len(small.place) == len(large.place) == 10
    for one, two in zip(small.place, large.place, strict=True):
        assert abs(one.price * one.qty - Decimal("99.9")) < 1
        assert abs(two.price * two.qty - Decimal("199.8")) < 1
    fixed = planned(cells, grid, limits(2000, size=Size(quote=Decimal(50))))
    assert all(abs(order.price * order.qty - 50) < 1 for order in fixed.place)


@given(st.integers(50, 100_000), st.integers(0, 100_000), st.integers(0, 9))
def test_all_cells_together_never_need_more_than_the_allocation(allocated: int, used: int, holding: int) -> None:
    """Whatever is allocated, used and held: the buys that are planned fit into what is left."""
    grid, cells = grid_and_cells()
    for index in range(holding):
        lot = {"state": CellState.SELLING, "order_id": f"s{index}", "qty": Decimal("0.01"), "basis": Decimal(1)}
        cells[index] = cells[index].model_copy(update=lot)
    found = planned(cells, grid, limits(allocated, used))
    left = max(allocated - used, 0) * 10**8
    for order in found.place:  # as the pot grants them: what does not fit is refused
        left -= order.units if order.units <= left else 0
    fitting = [order for order in found.place if order.cell_key not in found.idle_reasons]
    assert left >= 0
    if all(order.price * order.qty >= 6 for order in fitting):  # no cell had to take the exchange's minimum
        assert used * 10**8 + sum(order.units for order in fitting) <= max(allocated, used) * 10**8


def test_a_size_below_the_minimum_goes_to_the_nearest_cells() -> None:
    """30 for ten cells is 3 each, below the minimum of 5: five cells get 5.5, the others say why they have none."""
    grid, cells = grid_and_cells()
    asked = planned(cells, grid, limits(30))
    assert len(asked.place) == 10, "the pot refuses the farthest five, counts them and says why"
    refused = {cell.key: "SYMBOL_LIMIT" for cell in cells[:5]}
    found = planned(cells, grid, limits(30, refused=refused))
    assert [order.price for order in found.place] == [49_000, 48_000, 47_000, 46_000, 45_000]
    assert all(5 <= order.price * order.qty < 6 for order in found.place)
    assert set(found.idle_reasons.values()) == {IdleReason.SYMBOL_LIMIT}
    assert sum(order.units for order in found.place) <= 30 * 10**8 < sum(order.units for order in asked.place)


def test_a_cell_without_money_does_not_take_what_a_nearer_buy_lacks() -> None:
    """30 is enough for five cells. One of their buys is partly filled and reserves 1, so the pot would grant a sixth.

    The next tick would cancel that one, and the one after would place it again.
    """
    grid, cells = grid_and_cells()
    held, found = resting(cells, "5.5")
    near, orders = held[5:], {f"b{index}": found[f"b{index}"] for index in range(5, 10)}
    orders["b9"] = AssumedBuy(Decimal("0.00012"), units_left=10**8, filled=Decimal("0.0001"))
    planned_now = planned([*cells[:5], *near], grid, limits(30, reserved=23), orders)
    assert (planned_now.place, planned_now.cancel) == ((), ())
    assert {planned_now.idle_reasons[cell.key] for cell in cells[:5]} == {IdleReason.SYMBOL_LIMIT}


def test_resting_buys_within_the_tolerance_stay() -> None:
    """Off by 9 %: nothing is replaced. Off by 12 %: replaced, nearest first, a bounded number at once."""
    grid, cells = grid_and_cells(20)
    held, found = resting(cells, "100")
    near = planned(held, grid, limits(2160, reserved=2002), found)
    assert (near.cancel, near.to_resize) == ((), 0)
    larger = planned(held, grid, limits(2300, reserved=2002), found)
    assert larger.cancel == larger.resized == tuple(f"b{index}" for index in range(19, 19 - MAX_PER_TICK, -1))
    assert larger.to_resize == 20 - MAX_PER_TICK
    assert larger.place == ()


def test_a_buy_grows_only_when_symbol_and_pool_can_grant_the_difference() -> None:
    """250 more per cell are wanted; the pool has 600: two grow now."""
    grid, cells = grid_and_cells()
    held, found = resting(cells, "100")
    poor = planned(held, grid, limits(3500, reserved=1001, global_free=600 * 10**8), found)
    assert poor.cancel == ("b9", "b8")
    assert poor.to_resize == 8
    paused = planned(held, grid, limits(3500, reserved=1001, paused=True), found)
    assert paused.cancel == (), "nothing could be placed anew"


def test_buys_grow_where_what_is_free_is_too_little_for_a_whole_cell() -> None:
    """A cell without an order lacks money, and no buy is too large: the nearest buys grow by what is free."""
    grid, cells = grid_and_cells()
    held, found = resting(cells[1:], "100")
    some = planned([cells[0], *held], grid, limits(962, reserved=901, size=Size(quote=Decimal(130))), found)
    assert some.place == () or all(order.cell_key == cells[0].key for order in some.place)
    assert some.cancel == some.resized == ("b9", "b8")


def test_shrinking_comes_before_growing() -> None:
    """One buy is too large and nine are too small: first the large one goes."""
    grid, cells = grid_and_cells()
    held, found = resting(cells, "100")
    found["b0"] = AssumedBuy(qty=Decimal("0.02"), units_left=units_up(Decimal(801)))
    first = planned(held, grid, limits(2000, reserved=1702), found)
    assert first.cancel == ("b0",)


def test_over_its_allocation_a_symbol_shrinks_and_gets_nothing_new() -> None:
    """Allocation halved: every resting buy is replaced by one of the new size, ten a tick."""
    grid, cells = grid_and_cells()
    held, found = resting(cells, "100")
    found_plan = planned(held, grid, limits(500, reserved=1001), found)
    assert len(found_plan.cancel) == 10
    assert found_plan.resized == found_plan.cancel
    half = planned(
        [*held[:5], *cells[5:]], grid, limits(500, reserved=501), {f"b{i}": found[f"b{i}"] for i in range(5)}
    )
    assert len(half.resized) == 5
    assert {half.idle_reasons.get(cell.key) for cell in cells[5:]} <= {IdleReason.SYMBOL_LIMIT, None}


def test_a_configured_size_does_not_shrink_so_the_farthest_go() -> None:
    """Ten buys of 100 and 650 allocated: the four farthest are cancelled, the others stay as they are."""
    grid, cells = grid_and_cells()
    held, found = resting(cells, "100")
    gone = planned(held, grid, limits(650, reserved=1001, size=Size(quote=Decimal(100))), found)
    assert gone.cancel == ("b0", "b1", "b2", "b3")
    assert gone.resized == ()


def test_a_partly_filled_buy_goes_only_where_nothing_else_helps() -> None:
    """The nearest of ten buys is half filled. Untouched ones go first; with nothing but the lot allocated, it goes."""
    grid, cells = grid_and_cells()
    held, found = resting(cells, "100")
    found["b9"] = found["b9"]._replace(units_left=found["b9"].units_left // 2, filled=Decimal("0.001"))
    size = Size(quote=Decimal(100))
    some = planned(held, grid, limits(650, used=50, reserved=951, size=size), found)
    assert some.cancel == ("b0", "b1", "b2", "b3")
    alone = {"b9": found["b9"]}
    assert planned(held[9:], grid, limits(120, used=50, reserved=50, size=size), alone).cancel == ()
    assert planned(held[9:], grid, limits(50, used=50, reserved=50, size=size), alone).cancel == ("b9",)


def test_a_little_over_costs_a_little() -> None:
    """Committed 3 above the allocation, every size within the tolerance: only as many shrink as give back 3."""
    grid, cells = grid_and_cells()
    held, found = resting(cells, "100")
    gone = planned(held, grid, limits(998, reserved=1001), found)
    assert 0 < len(gone.cancel) == len(gone.resized) <= 10
    given_back = sum(found[name].units_left for name in gone.cancel) - len(gone.cancel) * units_up(Decimal("99.7"))
    assert given_back >= 0


def test_an_untouched_buy_alone_is_resized() -> None:
    """Partly filled buys, sells and buys about to fill are left alone."""
    grid, cells = grid_and_cells()
    held, found = resting(cells, "100")
    del found["b9"]  # partly filled, or not yet seen on the exchange
    wanted = planned(held, grid, limits(3000, reserved=1001), found)
    assert "b9" not in wanted.cancel
    below = planned(held, grid, limits(3000, reserved=1001), found, price="45000")
    assert not {"b5", "b6", "b7", "b8"} & set(below.cancel), "at or above the price they may fill any moment"


def test_a_symbol_that_left_the_settings_only_sells() -> None:
    """Buys end, lots are sold at their levels; with `liquidate` at once, a little below the best bid."""
    grid, cells = grid_and_cells()
    lot = {"state": CellState.HOLDING, "qty": Decimal("0.01"), "basis": Decimal(480)}
    cells[9] = cells[9].model_copy(update=lot)
    cells[0] = cells[0].model_copy(update={"state": CellState.BUYING, "order_id": "b0"})
    retiring = planned(cells, grid, limits(1000, retiring=True))
    assert retiring.cancel == ("b0",)
    assert [(order.side, order.price) for order in retiring.place] == [(Side.SELL, Decimal(50_000))]
    assert set(retiring.idle_reasons.values()) == {IdleReason.RETIRED}
    at_once = planned(cells, grid, limits(1000, retiring=True, liquidate=True), price="45000")
    (exit_order,) = at_once.place
    assert (exit_order.price, exit_order.purpose.value) == (Decimal("44955"), "exit")
    assert exit_order.client_id.split("-")[3] == "x"
    cells[9] = cells[9].model_copy(update={"state": CellState.SELLING, "order_id": "s9"})
    waiting = planned(cells, grid, limits(1000, retiring=True, liquidate=True))
    assert set(waiting.cancel) == {"b0", "s9"}
