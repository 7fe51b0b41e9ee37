"""Grids that follow the price, over the loopback exchange: orders, books, recovery, and what is carried."""

from decimal import Decimal
from typing import Any

from tasks.exchange.models import Side
from tasks.exchange.order_ids import OrderId, parse_order_id
from tasks.grid.models import CellState
from tasks.settings.in_force import publish
from tasks.tick.trader import GridTrader
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.record import open_orders
from tests.support.desk import BTC, settings
from tests.support.one_grid import audited, ladder, minutes, play
from tests.support.virtual.desk import VirtualWorld

RANGE: dict[str, Any] = {"grid": "arithmetic", "lower": "40000", "upper": "44000", "cells": 4, "quote_per_cell": "500"}
RISE = (
    "42100",
    "43100",
    "44100",
    "45200",
    "46900",
    "46300",
    "45800",
    "48100",
    "47300",
    "46500",
    "48200",
    "46800",
    "48300",
)
FALL = ("42100", "41500", "40500", "39600", "38700", "36900", "38600", "39700", "40800", "42500", "43500", "44500")


async def resting(desk: BinanceDesk) -> list[tuple[OrderId, Side, Decimal]]:
    """Our open orders: the parts of the id, side, price."""
    found = open_orders(await desk.server.record())
    named = [(parse_order_id(order.client_id), Side(order.side.lower()), order.price) for order in found]
    return [(name, side, price) for name, side, price in named if name is not None]


async def reads_of_candles(desk: BinanceDesk) -> int:
    """How many requests for candles the exchange had."""
    return sum(row.path.endswith("/klines") for row in (await desk.server.record()).requests)


def test_a_range_follows_a_rise_and_its_money_moves_up() -> None:
    """The lowest buys are cancelled, cells appear above, each index names one price for ever, and rounds go on."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        before = {price for _, side, price in await resting(desk) if side is Side.BUY}
        assert before == {40_000, 41_000, 42_000}
        await minutes(desk, trader, len(RISE) - 1)
        view = await ladder(desk.desk.redis, desk)
        assert list(view.levels) == [45_000, 46_000, 47_000, 48_000, 49_000]
        assert {cell.index for cell in view.cells if not cell.earlier} == {5, 6, 7, 8}
        assert all(
            price == 40_000 + 1000 * (name.level + (side is Side.SELL)) for name, side, price in await resting(desk)
        )
        assert min(price for _, side, price in await resting(desk) if side is Side.BUY) >= 45_000
        assert (await audited(desk)).sells >= 2, "cells above the first range have traded"
        record = await desk.server.record()
        prices: dict[tuple[int, str], Decimal] = {}
        for order in record.orders:
            name = parse_order_id(order.client_id)
            if name is not None:
                assert prices.setdefault((name.level, order.side), order.price) == order.price
        ids = [order.client_id for order in record.orders]
        assert len(ids) == len(set(ids))

    play(RISE, work, RANGE | {"trail_up_to": "60000"})


def test_a_range_follows_a_fall_and_carries_what_is_held() -> None:
    """Cells above the range sell at their own prices; their empty cells go; no level is lost; sizes stay."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 5)
        view = await ladder(desk.desk.redis, desk)
        assert view.levels[0] == 36_000
        carried = [cell for cell in view.cells if cell.earlier]
        assert [cell.sell_price for cell in carried] == [43_000, 42_000, 41_000]
        assert all(cell.state == CellState.SELLING for cell in carried)
        buys = [order for order in (await desk.server.record()).orders if order.side == "BUY"]
        assert all(Decimal(495) < order.price * order.qty < Decimal(501) for order in buys), "each cell: 500 quote"
        assert (await audited(desk)).base > 0
        await minutes(desk, trader, len(FALL) - 6)
        view = await ladder(desk.desk.redis, desk)
        assert [cell for cell in view.cells if cell.earlier] == [], "all that was carried is sold"
        assert len(view.cells) == RANGE["cells"]
        book = await audited(desk)
        assert book.base == 0
        assert book.grid_profit > 0

    play(FALL, work, RANGE | {"trail_down_to": "30000"})


def test_a_moved_range_comes_back_after_redis_is_lost() -> None:
    """From the exchange alone: books and base are those before, and no id is sent twice."""

    async def work(world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 7)
        before, orders = await audited(desk), sorted(map(str, await resting(desk)))
        await trader.end_lease()
        await desk.desk.redis.flushdb()
        again = world.worker()
        other = await again.trader()
        await other.tick()
        assert (await ladder(again.desk.redis, again)).levels[-1] == 49_000
        after = await audited(again)
        assert (after.base, after.cash, after.grid_profit) == (before.base, before.cash, before.grid_profit)
        assert sorted(map(str, await resting(again))) == orders
        await minutes(again, other, 3)
        ids = [order.client_id for order in (await again.server.record()).orders]
        assert len(ids) == len(set(ids))

    play(RISE, work, RANGE | {"trail_up_to": "60000"})


def test_the_size_of_a_cell_after_a_move() -> None:
    """Without a configured size, cells share what the carried ones leave: (allocation − used) ÷ empty cells."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 5)
        await trader.tick()
        share = (await desk.desk.allocator.get_global_status_summary()).symbols[BTC]
        view = await ladder(desk.desk.redis, desk)
        empty = sum(not cell.qty for cell in view.cells if not cell.earlier)
        most = Decimal(share.allocated_units - share.used_units) / 10**8 / empty
        newest = [order for order in open_orders(await desk.server.record()) if order.side == "BUY"]
        assert newest
        assert all(most * Decimal("0.9") < order.price * order.qty <= most for order in newest)

    own = {name: value for name, value in RANGE.items() if name != "quote_per_cell"}
    play(FALL, work, own | {"trail_down_to": "30000"})


def test_an_adaptive_grid_starts_anew_around_the_price() -> None:
    """Spacing by the exchange's candles, read when a grid starts and never else; lots of the old grid are carried."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        redis = desk.desk.redis
        first = await ladder(redis, desk)
        await minutes(desk, trader, 5)
        view = await ladder(redis, desk)
        assert first.grid_id != view.grid_id
        assert view.levels[0] < 36_900 < view.levels[-1]
        assert any(cell.earlier and cell.state == CellState.SELLING for cell in view.cells)
        grids = {(name.grid_id, name.level, side): price for name, side, price in await resting(desk)}
        assert len(grids) == len(await resting(desk))
        asked = await reads_of_candles(desk)
        assert 2 <= asked <= 6, "one for each grid"
        await trader.tick()
        assert await reads_of_candles(desk) == asked

    play(FALL, work, {"grid": "adaptive", "cells": 4, "quote_per_cell": "400"})


def test_a_paused_symbol_and_a_price_that_jumps_move_nothing() -> None:
    """A range moves where buys may follow; a price that nothing confirms yet is no price to follow."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        for _ in range(len(RISE) - 1):
            await desk.server.advance(1)
        await trader.tick()
        assert (await ladder(desk.desk.redis, desk)).levels[0] == 40_000, "13 % since the last tick"
        await trader.tick()
        assert (await ladder(desk.desk.redis, desk)).levels[0] > 40_000

    play(RISE, work, RANGE | {"trail_up_to": "60000", "max_price_jump_pct": "0.05"})


INFINITY: dict[str, Any] = {
    "grid": "infinity",
    "lower": "38000",
    "spacing_pct": "0.01",
    "cells": 6,
    "quote_per_cell": "40",
    "start": "balanced",
}
WORTH = Decimal(40) * Decimal("1.01") / Decimal("0.01")  # that an infinity grid with cells of 40 holds at every price


async def reserve_of(desk: BinanceDesk) -> tuple[Decimal, str]:
    """Base and state of the cell that holds the base of all levels above the range."""
    cells = (await ladder(desk.desk.redis, desk)).cells
    top = max(cells, key=lambda cell: cell.index)
    assert top.order_id is None
    return top.qty, top.state


def test_an_infinity_grid_sells_the_rise_and_buys_the_fall() -> None:
    """It has no highest price; what it holds keeps its worth; only cells near the price have orders."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 1)
        for price in RISE[2:8]:
            await minutes(desk, trader, 1)
            assert abs((await audited(desk)).base * Decimal(price) / WORTH - 1) < Decimal("0.03"), price
        assert (await reserve_of(desk))[0] * 46_500 > WORTH * Decimal("0.8")
        assert len(await resting(desk)) <= 6
        view = await ladder(desk.desk.redis, desk)
        assert view.levels[0] < 46_500 < view.levels[-1]
        assert [cell.reason for cell in view.cells if cell.order_id is None and cell.qty] == ["RESERVE"]

    play(RISE, work, INFINITY)


def test_the_reserve_is_found_again_after_redis_is_lost() -> None:
    """The exchange only knows the order that bought it, in a cell that the range has long left; it is not sold."""

    async def work(world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 7)
        before = await audited(desk)
        await trader.end_lease()
        await desk.desk.redis.flushdb()
        again = world.worker()
        other = await again.trader()
        for _ in range(3):
            await other.tick()
        after = await audited(again)
        assert (after.base, after.cash) == (before.base, before.cash), "nothing was sold or bought"
        assert (await reserve_of(again))[0] * 46_300 > WORTH * Decimal("0.8")
        await minutes(again, other, 3)
        assert abs((await audited(again)).base * 48_200 / WORTH - 1) < Decimal("0.04")
        ids = [order.client_id for order in (await again.server.record()).orders]
        assert len(ids) == len(set(ids))

    play(RISE, work, INFINITY)


def test_a_stop_sells_the_reserve_too() -> None:
    """A stop that sells leaves nothing behind."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 6)
        assert (await audited(desk)).base == 0
        assert await resting(desk) == []

    play(RISE, work, INFINITY | {"take_profit_price": "46000", "stop_exit": "sell"})


def test_another_number_of_cells_keeps_an_infinity_grid() -> None:
    """More or fewer cells have orders; what is held stays, the reserve too, and nothing is bought for it again."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 1)
        for cells, price in ((12, "44100"), (5, "45200"), (8, "46900")):
            own = settings(symbols={BTC: INFINITY | {"cells": cells}})
            await publish(desk.desk.redis, own)
            await minutes(desk, trader, 1)
            view = await ladder(desk.desk.redis, desk)
            assert len(view.levels) == cells + 1
            assert abs((await audited(desk)).base * Decimal(price) / WORTH - 1) < Decimal("0.04"), price
            assert (await reserve_of(desk))[0] > 0
        assert len({name.grid_id for name, _, _ in await resting(desk)}) == 1

    play(RISE, work, INFINITY)
