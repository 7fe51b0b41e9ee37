"""Levels, cells and the planner."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.errors import ConfigError
from tasks.base.money import floor_to
from tasks.exchange.models import PriceBand, Side, Ticker
from tasks.exchange.order_ids import Purpose
from tasks.exchange.venues.binance import price_bands
from tasks.grid.cells import is_off_level, is_unrounded, settled, with_order
from tasks.grid.levels import build_grid, grid_id, levels, rounded_again, unfit_problems
from tasks.grid.models import Cell, CellState, Grid, Size
from tasks.grid.plan_models import AssumedBuy, GridPlan, IdleReason, Limits
from tasks.grid.planner import client_order_id, plan
from tasks.market.models import Snapshot
from tasks.settings.grids import OneGrid, StartMode, net_profit
from tests.support.grids import BTC, grid_and_cells, market, symbol_settings

SIZE = Size(quote=Decimal(300))
OWN = symbol_settings(lower="39000", upper="48000", cells=9, quote_per_cell="300")
RICH = Limits(symbol_free=10**15, global_free=10**15, size=SIZE)


def snapshot(price: str) -> Snapshot:
    """Bid = ask = last."""
    value = Decimal(price)
    return Snapshot(market=market(), ticker=Ticker(symbol=BTC, bid=value, ask=value, last=value, at_ms=0))


def test_net_profit_agrees_with_a_published_example() -> None:
    """Min 24323.5, max 33444.8, 6 grids, fee 0.1 %: widest 6.0375 %, narrowest 4.5528 % (that exchange cuts levels)."""
    own = symbol_settings(lower="24323.5", upper="33444.8", cells=6)
    levels = [floor_to(level, Decimal("0.1")) for level in own.raw_levels(Decimal(1))]
    fee = Decimal("0.001")
    profits = [net_profit(low, high, fee, fee) for low, high in pairwise(levels)]
    assert abs(max(profits) - Decimal("0.0603752931814911")) < Decimal("1e-15")
    assert abs(min(profits) - Decimal("0.0455275366818586")) < Decimal("1e-15")


@given(
    st.sampled_from(["arithmetic", "geometric"]),
    st.integers(1, 200),
    st.decimals("0.02", "0.5", places=3),
    st.decimals(10, 90_000, places=2),
)
def test_levels_rise_between_the_ends(kind: str, cells: int, reach: Decimal, price: Decimal) -> None:
    """N cells have N+1 levels; the differences or the ratios of neighbours are equal."""
    own = symbol_settings(grid=kind, range_pct=reach, cells=cells)
    levels = own.raw_levels(price)
    assert len(levels) == cells + 1
    assert levels[0] == price * (1 - reach)
    assert abs(levels[-1] - price * (1 + reach)) < Decimal("1e-9")
    assert all(low < high for low, high in pairwise(levels))
    steps = {
        "arithmetic": [high - low for low, high in pairwise(levels)],
        "geometric": [high / low for low, high in pairwise(levels)],
    }
    assert max(steps[kind]) - min(steps[kind]) < Decimal("1e-15") * price


def test_a_grid_that_cannot_start_is_refused() -> None:
    """Too narrow for fees, too small for the exchange: all said at once."""
    own = symbol_settings(lower="41990", upper="42010", cells=20, quote_per_cell="4")
    with pytest.raises(ConfigError) as caught:
        build_grid(BTC, own, market(), Decimal(42000), Decimal(1000), 0)
    fields = [problem.field for problem in caught.value.problems]
    assert fields == ['symbols."BTC/USDT".cells', 'symbols."BTC/USDT".quote_per_cell']


def test_grid_id_is_stable_and_tells_grids_apart() -> None:
    """The same settings give the same id; another range gives another; money does not matter."""
    one = symbol_settings(lower="1", upper="2", cells=3)
    same = symbol_settings(lower="1.0", upper="2.00", cells=3, quote_per_cell="7")
    other = symbol_settings(lower="1", upper="2.1", cells=3)
    assert grid_id(BTC, one) == grid_id(BTC, same) != grid_id(BTC, other)


def test_flat_start_buys_below_the_price_only() -> None:
    """Cells whose buy price is at or above the ask wait."""
    grid, cells = grid_and_cells()
    planned = plan(snapshot("42000"), grid, cells, RICH)
    assert sorted(order.price for order in planned.place) == [39000, 40000, 41000]
    assert all(order.side is Side.BUY and order.post_only for order in planned.place)
    assert set(planned.idle_reasons.values()) == {IdleReason.ABOVE_PRICE}
    assert len(planned.idle_reasons) == 6


def test_balanced_start_buys_the_cells_above_at_the_market() -> None:
    """Each cell at or above the price buys its own base once; money is reserved for the worst price."""
    grid, cells = grid_and_cells(StartMode.BALANCED)
    planned = plan(snapshot("42000"), grid, cells, RICH)
    entries = [order for order in planned.place if not order.post_only]
    assert len(entries) == 6
    assert {order.price for order in entries} == {Decimal("42042")}
    assert not planned.idle_reasons


def test_an_entry_that_happens_to_cost_its_level_may_take() -> None:
    """Its price is above the ask. Post-only, the exchange would refuse it until the price moves."""
    grid, cells = grid_and_cells(StartMode.BALANCED)
    planned = plan(snapshot("41958.041"), grid, cells, RICH)
    (entry,) = [order for order in planned.place if order.price == 42_000 and order.cell_key == cells[3].key]
    assert not entry.post_only


def test_money_goes_to_the_nearest_levels_first() -> None:
    """With money for two, the two nearest are asked first; a refused cell is not asked again unchanged."""
    grid, cells = grid_and_cells()
    two = Limits(symbol_free=61_000_000_000, global_free=10**15, size=SIZE)
    asked = plan(snapshot("42000"), grid, cells, two)
    assert [order.price for order in asked.place] == [41000, 40000, 39000]
    again = plan(snapshot("42000"), grid, cells, replace(two, refused={cells[0].key: "SYMBOL_LIMIT"}))
    assert [order.price for order in again.place] == [41000, 40000]
    assert again.idle_reasons[cells[0].key] is IdleReason.SYMBOL_LIMIT


def test_pause_stops_buys_and_stop_cancels_all() -> None:
    """Paused: a buy is asked for once, sells go on. Stopped: nothing is placed, what rests is cancelled."""
    grid, cells = grid_and_cells()
    holding = cells[5].model_copy(update={"state": CellState.HOLDING, "qty": Decimal("0.01"), "basis": Decimal(400)})
    resting = cells[0].model_copy(update={"state": CellState.BUYING, "order_id": "x"})
    mixed = [resting, holding, cells[2]]
    limits = replace(RICH, paused=True)
    asked = plan(snapshot("42000"), grid, mixed, limits)  # the pot refuses the buy, counts it and says why
    assert [order.side for order in asked.place] == [Side.BUY, Side.SELL]
    paused = plan(snapshot("42000"), grid, mixed, replace(limits, refused={cells[2].key: "PAUSED"}))
    assert [order.side for order in paused.place] == [Side.SELL]
    assert paused.idle_reasons == {cells[2].key: IdleReason.PAUSED}
    stopped = plan(snapshot("42000"), grid, mixed, replace(RICH, stopped=True))
    assert stopped.place == ()
    assert stopped.cancel == ("x",)


def test_cells_of_an_earlier_grid_only_wind_down() -> None:
    """A changed grid: old buys are cancelled, old lots are sold at their own price."""
    grid, cells = grid_and_cells()
    old = [cell.model_copy(update={"grid_id": "gold", "key": f"gold.{cell.index}"}) for cell in cells[:3]]
    buying = old[0].model_copy(update={"state": CellState.BUYING, "order_id": "b"})
    holding = old[1].model_copy(update={"state": CellState.HOLDING, "qty": Decimal("0.01"), "basis": Decimal(1)})
    planned = plan(snapshot("42000"), grid, [buying, holding, old[2]], RICH)
    assert planned.cancel == ("b",)
    assert [order.price for order in planned.place] == [old[1].sell_price]
    assert planned.idle_reasons == {"gold.2": IdleReason.RETIRED}


def partly_bought(qty: str, price: str, filled: str = "0.002", **changes: Any) -> GridPlan:
    """The plan at a price for one cell (39000 to 40000) that bought `qty` base so far and whose buy still rests."""
    grid, cells = grid_and_cells()
    cell = cells[0].model_copy(update={"state": CellState.BUYING, "order_id": "b", "qty": Decimal(qty)})
    buy = AssumedBuy(Decimal("0.007"), units_left=10**10, filled=Decimal(filled), post_only=False)
    return plan(snapshot(price), grid, [cell], replace(RICH, **changes), {"b": buy})


def test_the_rest_of_a_partly_filled_buy_goes_once_the_price_has_left() -> None:
    """Past the middle of its cell, and only where what it got can be sold by itself."""
    assert partly_bought("0.002", "39500.01").cancel == ("b",)
    assert partly_bought("0.002", "39500").cancel == ()
    assert partly_bought("0.0001", "41000").cancel == (), "worth 4, and the exchange's minimum is 5"
    assert partly_bought("0.002", "41000", filled="0").cancel == (), "dust alone: the buy is untouched"
    assert partly_bought("0.002", "41000", stale=True).cancel == (), "nobody knows where the price is"
    assert partly_bought("0.002", "41000", paused=True).cancel == ("b",)
    assert partly_bought("0.002", "41000").place == (), "the sell comes when the buy has ended"


def test_what_a_partly_filled_buy_got_is_sold() -> None:
    """Its order has ended: the cell sells at its level, and the next buy has another id."""
    grid, cells = grid_and_cells()
    cell = cells[0].model_copy(update={"state": CellState.BUYING, "order_id": "b", "qty": Decimal("0.002")})
    after = settled(cell, Side.BUY, Decimal("0.002"), market())
    (sell,) = plan(snapshot("41000"), grid, [after], RICH).place
    assert (sell.side, sell.price, sell.qty) == (Side.SELL, Decimal(40000), Decimal("0.002"))


def test_levels_are_rounded_again_in_place() -> None:
    """Another tick size: the same grid with other levels, and its orders are not off their level by that."""
    grid, cells = grid_and_cells()
    assert rounded_again(grid, OWN, market()) is grid
    coarse = market(tick_size="700")
    now = rounded_again(grid, OWN, coarse)
    assert (now.grid_id, now.first_price, now.created_ms) == (grid.grid_id, grid.first_price, grid.created_ms)
    assert now.levels == tuple(coarse.price(level) for level in grid.levels)
    assert now.slack == max(abs(old - new) for old, new in zip(grid.levels, now.levels, strict=True)) > 0
    assert not any(is_off_level(cell, now) for cell in cells)
    assert any(is_unrounded(cell, now) for cell in cells)
    elsewhere = cells[0].model_copy(update={"buy_price": Decimal(38000)})
    assert is_off_level(elsewhere, now), "from an earlier time that the grid was in force"
    back = rounded_again(now, OWN, market())
    assert back.levels == grid.levels
    assert not any(is_off_level(cell, back) for cell in cells)


def test_a_grid_of_an_earlier_version_is_rounded_once() -> None:
    """Its record has no tick size; levels that are right already stay."""
    grid, _ = grid_and_cells()
    old = Grid.model_validate(grid.model_dump(exclude={"tick_size", "slack"}))
    assert old.tick_size is None
    assert rounded_again(old, OWN, market()) == grid


def test_an_unfit_grid_only_sells() -> None:
    """Buys are cancelled, sells stay and come on the present tick size, and empty cells say why."""
    grid, cells = grid_and_cells()
    buying = cells[0].model_copy(update={"state": CellState.BUYING, "order_id": "b"})
    selling = cells[1].model_copy(update={"state": CellState.SELLING, "order_id": "s", "qty": Decimal("0.007")})
    holding = cells[2].model_copy(update={"state": CellState.HOLDING, "qty": Decimal("0.007")})
    ticker = Ticker(symbol=BTC, bid=Decimal(40500), ask=Decimal(40500), last=Decimal(40500), at_ms=0)
    coarse = Snapshot(market=market(tick_size="5000"), ticker=ticker)
    unfit = replace(RICH, unfit=True)
    planned = plan(coarse, grid, [buying, selling, holding, *cells[3:]], unfit)
    assert planned.cancel == ("b",)
    assert [(order.side, order.price) for order in planned.place] == [(Side.SELL, Decimal(45000))], "42000, rounded up"
    assert planned.idle_reasons == {cell.key: IdleReason.GRID_UNFIT for cell in cells[3:]}


def test_why_a_grid_in_force_is_unfit() -> None:
    """Levels that coincide, cells that do not pay, a configured size below the minimum; never the allocation."""

    def rules(own: OneGrid, **filters: object) -> list[str]:
        found = market(**filters)
        price = Decimal(42000)
        return [problem.rule for problem in unfit_problems(BTC, own, levels(own, price, found), found, price)]

    follows = symbol_settings(lower="39000", upper="48000", cells=9)
    assert rules(OWN) == rules(follows) == []
    assert rules(OWN, tick_size="5000") == ["two levels fall on the same price (tick size 5000)"]
    assert "loses" in rules(OWN, maker_fee="0.02")[0]
    assert "below the exchange's minimum (400 quote)" in rules(OWN, min_notional="400")[0]
    assert rules(follows, min_notional="400") == []


cell_states = st.sampled_from(CellState)


@st.composite
def some_cells(draw: st.DrawFn) -> tuple[list[Cell], Limits, Decimal]:
    """Cells in any state, any limits, any price."""
    _, cells = grid_and_cells(draw(st.sampled_from(StartMode)))
    mixed = []
    for cell in cells:
        state = draw(cell_states)
        held = state in (CellState.HOLDING, CellState.SELLING)
        mixed.append(
            cell.model_copy(
                update={
                    "state": state,
                    "order_id": f"id{cell.index}" if state in (CellState.BUYING, CellState.SELLING) else None,
                    "qty": draw(st.decimals(0, "0.02", places=5)) if held else Decimal(0),
                    "retry_ms": draw(st.sampled_from([0, 0, 100])),
                }
            )
        )
    limits = Limits(
        size=SIZE,
        symbol_free=draw(st.integers(0, 300_000_000_000)),
        global_free=draw(st.integers(0, 300_000_000_000)),
        paused=draw(st.booleans()),
        stopped=draw(st.booleans()),
        stale=draw(st.booleans()),
        refused={cell.key: draw(st.sampled_from(["SYMBOL_LIMIT", "PAUSED"])) for cell in cells if draw(st.booleans())},
        now_ms=50,
    )
    return mixed, limits, draw(st.decimals(38_000, 49_000, places=2))


@given(some_cells(), st.randoms(use_true_random=False))
def test_every_cell_has_an_order_or_a_reason(case: tuple[list[Cell], Limits, Decimal], rng: object) -> None:
    """Each cell: an order it has, an order it gets, or one reason. The order of cells does not matter."""
    cells, limits, price = case
    grid, _ = grid_and_cells()
    planned: GridPlan = plan(snapshot(str(price)), grid, cells, limits)
    placed = {order.cell_key for order in planned.place}
    has = {cell.key for cell in cells if cell.order_id is not None}
    reasons = set(planned.idle_reasons)
    assert placed | has | reasons == {cell.key for cell in cells}
    assert len(placed) + len(has) + len(reasons) == len(cells)
    assert planned == plan(snapshot(str(price)), grid, list(reversed(cells)), limits)
    assert all(market().large_enough(order.price, order.qty) for order in planned.place)
    buys = [order for order in planned.place if order.side is Side.BUY]
    assert not (buys and (limits.stopped or limits.stale))
    assert not any(limits.paused and limits.refused.get(order.cell_key) == "PAUSED" for order in buys)
    assert all(order.price < price for order in buys if order.post_only)


def test_ids_are_never_reused_along_a_life() -> None:
    """Buy, cancel, buy, fill, sell, cancel the sell, sell again, round after round: every id is new and short."""
    grid, cells = grid_and_cells()
    cell, seen = cells[0], set()
    for turn in range(12):
        side = Side.SELL if cell.state is CellState.HOLDING else Side.BUY
        name = client_order_id("3fa", cell, Purpose(side.value))
        assert name not in seen
        assert len(name) <= 36
        seen.add(name)
        planned = plan(snapshot("42000"), grid, [cell], RICH).place[0]
        cell = with_order(cell, planned)
        filled = Decimal(0) if turn % 3 == 2 else planned.qty
        held = cell.qty + (filled if side is Side.BUY else -filled)
        cell = settled(cell.model_copy(update={"qty": held}), side, filled, market())
    assert cell.rounds >= 3


def test_dust_is_carried_to_the_next_lot() -> None:
    """A remainder below the minimum does not block the cell and is not lost."""
    _, cells = grid_and_cells()
    selling = cells[0].model_copy(update={"state": CellState.SELLING, "order_id": "s", "qty": Decimal("0.00003")})
    after = settled(selling, Side.SELL, Decimal("0.007"), market())
    assert after.state is CellState.IDLE
    assert after.qty == Decimal("0.00003")
    assert after.rounds == 1


def listed(**filters: dict[str, str]) -> dict[str, object]:
    """A market's listing with such filters."""
    return {"filters": [{"filterType": name, **held} for name, held in filters.items()]}


def test_price_bands_as_listed() -> None:
    """By side, for both sides, or none."""
    by_side = {"bidMultiplierUp": "1.2", "bidMultiplierDown": "0.9", "askMultiplierUp": "5", "askMultiplierDown": "0.8"}
    found = price_bands(listed(PERCENT_PRICE_BY_SIDE=by_side, LOT_SIZE={"minQty": "1"}))
    assert found[Side.BUY] == PriceBand(least=Decimal("0.9"), most=Decimal("1.2"))
    assert found[Side.SELL] == PriceBand(least=Decimal("0.8"), most=Decimal(5))
    both = price_bands(listed(PERCENT_PRICE={"multiplierUp": "1.5", "multiplierDown": "0.5"}))
    assert both[Side.BUY] == both[Side.SELL] == PriceBand(least=Decimal("0.5"), most=Decimal("1.5"))
    assert price_bands({})[Side.BUY].holds(Decimal("0.01"), Decimal(10**6))


def test_no_order_outside_the_exchanges_band() -> None:
    """A buy too far below the price, a sell too far above it: each waits with its reason, and comes when it may."""
    grid, cells = grid_and_cells()
    band = market(buy_band=PriceBand(least=Decimal("0.95")), sell_band=PriceBand(most=Decimal("1.05")))
    cells[0] = cells[0].model_copy(update={"state": CellState.HOLDING, "qty": Decimal("0.007")})  # sells at 40000
    cells[8] = cells[8].model_copy(update={"state": CellState.HOLDING, "qty": Decimal("0.007")})  # sells at 48000
    near = Ticker(symbol=BTC, bid=Decimal(42000), ask=Decimal(42000), last=Decimal(42000), at_ms=0)
    planned = plan(Snapshot(market=band, ticker=near), grid, cells, RICH)
    assert [order.price for order in planned.place if order.side is Side.BUY] == [Decimal(41000), Decimal(40000)]
    assert [order.price for order in planned.place if order.side is Side.SELL] == [Decimal(40000)]
    assert planned.idle_reasons[cells[8].key] is IdleReason.TOO_FAR
    far = near.model_copy(update={"bid": Decimal(46000), "ask": Decimal(46000), "last": Decimal(46000)})
    later = plan(Snapshot(market=band, ticker=far), grid, cells, RICH)
    assert Decimal(48000) in [order.price for order in later.place]
    assert later.idle_reasons[cells[1].key] is IdleReason.TOO_FAR


def test_orders_above_the_maximum_are_not_sent() -> None:
    """Neither amount nor worth; and a grid of such cells does not start."""
    grid, cells = grid_and_cells()
    for bound in ({"max_qty": "0.005"}, {"max_notional": "200"}):
        ticker = Ticker(symbol=BTC, bid=Decimal(42000), ask=Decimal(42000), last=Decimal(42000), at_ms=0)
        planned = plan(Snapshot(market=market(**bound), ticker=ticker), grid, cells, RICH)
        assert planned.place == ()
        assert planned.idle_reasons[cells[0].key] is IdleReason.ABOVE_MAXIMUM
        own = symbol_settings(lower="39000", upper="48000", cells=9, quote_per_cell="300")
        with pytest.raises(ConfigError, match="above the exchange's maximum"):
            build_grid(BTC, own, market(**bound), Decimal(42000), Decimal(9500), 0)
