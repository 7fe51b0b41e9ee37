"""Which levels get orders where the exchange allows fewer open orders than the grid wants."""

from decimal import Decimal

from flows.runtime.commands.preflight import order_limit_notes
from tasks.exchange.models import Ticker
from tasks.exchange.order_ids import Purpose
from tasks.exchange.venues.registry import venue_of
from tasks.grid.models import Cell, CellState
from tasks.grid.order_limit import nearest_orders
from tasks.grid.plan_models import IdleReason, Limits, PlannedOrder
from tasks.grid.planner import plan
from tasks.grid.resizing import MAX_PER_TICK
from tasks.market.models import Snapshot
from tasks.settings.model import Settings
from tests.support.grids import BTC, grid_and_cells, market

PRICE = Decimal(100)


def buy(index: int) -> PlannedOrder:
    """A buy at `index`, one quote a level."""
    return PlannedOrder(
        client_id=f"b{index}",
        cell_key=f"g.{index}",
        purpose=Purpose.BUY,
        price=Decimal(index),
        qty=Decimal(1),
        cycle=0,
        units=1,
        post_only=True,
    )


def cell(index: int, state: CellState = CellState.BUYING) -> Cell:
    """A cell with an order: a buy at `index`, or a sell at one more."""
    prices = {"buy_price": Decimal(index), "sell_price": Decimal(index + 1)}
    return Cell(key=f"g.{index}", grid_id="g", index=index, state=state, order_id=f"o{index}", **prices)


def test_within_the_limit_everything_is_placed() -> None:
    """In the planner's order."""
    wanted = [buy(97), buy(99), buy(98)]
    assert nearest_orders(wanted, [cell(96)], PRICE, most=4).place == tuple(wanted)


def test_the_nearest_levels_get_the_orders() -> None:
    """Buys and sells alike; the rest wait."""
    allowed = nearest_orders([buy(97), buy(99), buy(98)], [cell(96)], PRICE, most=3)
    assert [order.client_id for order in allowed.place] == ["b99", "b98"]
    assert [order.client_id for order in allowed.waiting] == ["b97"]
    assert allowed.cancel == (), "an open order that is one cell farther stays: else both would change for ever"


def test_a_far_order_makes_room_for_a_nearer_level() -> None:
    """Two cells nearer is enough; an order that is being cancelled has made room already."""
    far, farther = cell(110, CellState.SELLING), cell(120, CellState.SELLING)
    assert nearest_orders([buy(99)], [far, farther], PRICE, most=2).cancel == ("o120",)
    assert nearest_orders([buy(99)], [far, farther], PRICE, most=2, cancelled=["o110"]).cancel == ()
    assert nearest_orders([buy(99), buy(98)], [far, farther], PRICE, most=2, cancelled=["o110"]).cancel == ("o120",)


def test_no_order_makes_room_for_one_that_the_pot_refuses() -> None:
    """And where there is room, the funded ones come first."""
    assert nearest_orders([buy(99)], [cell(120)], PRICE, most=1, unfunded={"b99"}).cancel == ()
    allowed = nearest_orders([buy(99), buy(98)], [], PRICE, most=1, unfunded={"b99"})
    assert [order.client_id for order in allowed.place] == ["b98"]


def test_orders_of_others_may_leave_no_room_at_all() -> None:
    """None of ours is cancelled for that: the exchange has them already. For one too many, two make room for one."""
    allowed = nearest_orders([buy(99)], [cell(98), cell(97)], PRICE, most=-5)
    assert (allowed.place, allowed.cancel) == ((), ())
    assert nearest_orders([buy(99)], [cell(97), cell(96)], PRICE, most=1).cancel == ("o96", "o97")


def test_a_bounded_number_per_tick() -> None:
    """After a jump of the price the orders follow over several ticks."""
    wanted = [buy(100 - number) for number in range(1, 31)]
    allowed = nearest_orders(wanted, [cell(200 + number) for number in range(30)], PRICE, most=30)
    assert len(allowed.cancel) == MAX_PER_TICK


def test_the_planner_names_the_reason() -> None:
    """The market says how many; open orders of others count."""
    grid, cells = grid_and_cells()
    price = Decimal(47_900)
    ticker = Ticker(symbol=grid.symbol, bid=price, ask=price, last=price, at_ms=0)
    limits = Limits(symbol_free=10**15, global_free=10**15, allocated=10**15, used=0, committed=0, other_orders=2)
    planned = plan(Snapshot(market=market(max_orders=5), ticker=ticker), grid, cells, limits)
    assert [order.cell_key for order in planned.place] == [cells[index].key for index in (8, 7, 6)]
    assert [planned.idle_reasons[one.key] for one in cells[:6]] == [IdleReason.MAX_ORDERS] * 6


def test_what_the_venues_allow() -> None:
    """Binance says it for each market; the others have one number."""
    binance = venue_of("binance")
    assert binance.listed_max_orders({"filters": [{"filterType": "MAX_NUM_ORDERS", "maxNumOrders": "120"}]}) == 120
    assert binance.listed_max_orders({}) is None
    assert [venue_of(name).max_orders for name in ("binance", "okx", "bybit", "paper")] == [200, 500, 500, None]


def test_check_tells_of_grids_with_more_levels_than_orders() -> None:
    """By the exchange's own number; it is no problem, so the settings stay valid."""
    wide = {"grid": "geometric", "range_pct": "0.4", "cells": 250}
    (note,) = order_limit_notes(Settings(symbols={BTC: wide}))
    assert "250 cells, but binance allows 200 open orders" in note
    assert "MAX_ORDERS" in note
    assert order_limit_notes(Settings(symbols={BTC: wide | {"cells": 200}})) == []
    assert order_limit_notes(Settings(symbols={BTC: wide}, exchange={"id": "okx"})) == []
