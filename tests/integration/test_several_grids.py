"""Several grids on one symbol, over the loopback exchange: one lease, one allocation, the grids of the settings."""

from decimal import Decimal
from typing import Any

from tasks.control.change_effects import Effect
from tasks.control.reload import plan_change
from tasks.exchange.models import Side
from tasks.exchange.order_ids import parse_order_id
from tasks.grid.models import Cell, Grid
from tasks.settings.in_force import publish
from tasks.tick.models import TickReport
from tasks.tick.trader import GridTrader
from tests.support.binance.config import SymbolRules
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.record import open_orders
from tests.support.desk import BTC, settings
from tests.support.one_grid import audited, ladder, minutes, play
from tests.support.virtual.desk import VirtualWorld

NEAR: dict[str, Any] = {"lower": "41000", "upper": "43000", "cells": 4, "quote_per_cell": "300"}
WIDE: dict[str, Any] = {"lower": "38000", "upper": "46000", "cells": 4, "quote_per_cell": "400"}
BOTH = {"grids": {"near": NEAR, "wide": WIDE}}
WAVES = ("42100", "41400", "40900", "41600", "42700", "43200", "41800", "39900", "41900", "44200", "42300", "42100")


async def grid_in_force(desk: BinanceDesk) -> Grid:
    """The stored record."""
    return Grid.model_validate_json(await desk.desk.redis.get(desk.desk.keys.grid(BTC)) or "")


async def cells_by_grid(desk: BinanceDesk) -> dict[str, list[Cell]]:
    """The cells of each grid by its name, lowest first; those of none under '-'."""
    grid, found = await grid_in_force(desk), dict[str, list[Cell]]()
    stored = await desk.desk.redis.hvals(desk.desk.keys.cells(BTC))
    for cell in sorted(map(Cell.model_validate_json, stored), key=lambda cell: cell.index):
        own = grid.by_id(cell.grid_id)
        found.setdefault(own.name if own else "-", []).append(cell)
    return found


async def buys_by_grid(desk: BinanceDesk) -> dict[str, list[Decimal]]:
    """What each grid's open buys are worth, by its name, lowest price first."""
    grid, found = await grid_in_force(desk), dict[str, list[Decimal]]()
    for order in sorted(open_orders(await desk.server.record()), key=lambda order: order.price):
        name = parse_order_id(order.client_id)
        own = grid.by_id(name.grid_id) if name else None
        if order.side == "BUY":
            found.setdefault(own.name if own else "-", []).append(order.price * order.qty)
    return found


async def change(desk: BinanceDesk, **own: Any) -> None:
    """Put other settings of the symbol in force."""
    await publish(desk.desk.redis, settings(symbols={BTC: own}))


def test_two_grids_share_a_symbol() -> None:
    """Each has its cells and trades them; one lease, one allocation, one book; the ladder names the grid of a cell."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        assert await buys_by_grid(desk)
        await minutes(desk, trader, len(WAVES) - 1)
        cells = await cells_by_grid(desk)
        assert {name: len(own) for name, own in cells.items()} == {"near": 4, "wide": 4}
        assert all(sum(cell.rounds for cell in own) > 0 for own in cells.values()), "both have earned"
        view = await ladder(desk.desk.redis, desk)
        assert [(one.name, int(one.lower), int(one.upper), one.cells) for one in view.grids] == [
            ("near", 41_000, 43_000, 4),
            ("wide", 38_000, 46_000, 4),
        ]
        assert view.size == 8
        assert {cell.grid for cell in view.cells} == {"near", "wide"}
        status = await desk.desk.allocator.get_global_status_summary()
        assert list(status.symbols) == [BTC]
        assert status.symbols[BTC].used_units == sum(cell.used_units for own in cells.values() for cell in own)

    play(WAVES, work, BOTH)


def test_two_grids_with_the_same_levels_have_their_own_orders() -> None:
    """The name is part of a grid's id, so no order id names two cells."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 2)
        grid = await grid_in_force(desk)
        assert len(grid.ids) == 2
        orders = (await desk.server.record()).orders
        assert len({order.client_id for order in orders}) == len(orders)
        bought = {name: sum(cell.qty for cell in own) for name, own in (await cells_by_grid(desk)).items()}
        assert bought["a"] == bought["b"] > 0

    play(WAVES, work, {"grids": {"a": NEAR, "b": NEAR}})


def test_sizes_follow_the_grids_shares_of_the_allocation() -> None:
    """Without configured sizes, each grid has its part by weight, less what its own cells hold."""
    near, wide = ({name: value for name, value in own.items() if name != "quote_per_cell"} for own in (NEAR, WIDE))

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        share = (await desk.desk.allocator.get_global_status_summary()).symbols[BTC]
        allocated = Decimal(share.allocated_units) / 10**8
        buys = await buys_by_grid(desk)
        for name, part in (("near", 3), ("wide", 1)):
            most = allocated * part / 4 / 4
            assert all(most * Decimal("0.97") < one <= most for one in buys[name]), (name, most, buys)
        await minutes(desk, trader, 3)
        cells = await cells_by_grid(desk)
        assert sum(cell.basis for cell in cells["near"]) > 0
        for own, part in ((cells["near"], 3), (cells["wide"], 1)):
            assert sum(cell.basis for cell in own) <= allocated * part / 4

    play(WAVES, work, {"grids": {"near": near | {"weight": 3}, "wide": wide}})


def test_all_grids_come_back_after_redis_is_lost() -> None:
    """From the exchange alone: the same grids, cells, books and orders, and no id is sent twice."""

    async def work(world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 7)
        before, orders = await audited(desk), {one.client_id for one in open_orders(await desk.server.record())}
        grid, held = await grid_in_force(desk), await cells_by_grid(desk)
        await trader.end_lease()
        await desk.desk.redis.flushdb()
        again = world.worker()
        other = await again.trader()
        await other.tick()
        after = await audited(again)
        assert (after.base, after.cash, after.grid_profit) == (before.base, before.cash, before.grid_profit)
        found = await grid_in_force(again)
        assert [(one.name, one.grid_id, one.levels) for one in found.each] == [
            (one.name, one.grid_id, one.levels) for one in grid.each
        ]
        now = await cells_by_grid(again)
        assert {name: [(cell.key, cell.qty) for cell in own] for name, own in now.items()} == {
            name: [(cell.key, cell.qty) for cell in own] for name, own in held.items()
        }
        assert {one.client_id for one in open_orders(await again.server.record())} == orders
        await minutes(again, other, 3)
        ids = [order.client_id for order in (await again.server.record()).orders]
        assert len(ids) == len(set(ids))

    play(WAVES, work, BOTH)


def test_a_grid_that_changes_leaves_the_others_alone() -> None:
    """The orders of the other rest as they are; what the changed one held is sold at its levels, then its cells go."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await change(desk, **BOTH)
        await minutes(desk, trader, 2)
        first, before = await grid_in_force(desk), open_orders(await desk.server.record())
        wide_id = first.others[0].grid_id
        of_wide = {
            one.client_id for one in before if (name := parse_order_id(one.client_id)) and name.grid_id == wide_id
        }
        assert of_wide
        assert sum(cell.qty for cell in (await cells_by_grid(desk))["near"]) > 0
        wanted = {"near": NEAR | {"cells": 5}, "wide": WIDE}
        of_near = [one for one in before if one.client_id not in of_wide and one.side == "BUY"]
        (told,) = (await plan_change(desk.desk.redis, settings(symbols={BTC: {"grids": wanted}}))).effects
        assert (told.effect, told.cancelled, told.replaced) == (Effect.SOME_GRIDS, len(of_near), 0)
        assert told.inventory == sum(cell.basis for cell in (await cells_by_grid(desk))["near"])
        await change(desk, grids=wanted)
        await trader.tick()
        await trader.tick()
        now = await grid_in_force(desk)
        assert now.grid_id != first.grid_id
        assert now.others == first.others
        assert of_wide <= {one.client_id for one in open_orders(await desk.server.record())}
        kept = (await cells_by_grid(desk))["-"]
        assert all(cell.qty > 0 for cell in kept)
        sells = {cell.key for cell in kept}
        await minutes(desk, trader, len(WAVES) - 4)
        cells = await cells_by_grid(desk)
        assert "-" not in cells, f"{sells} are sold"
        assert {name: len(own) for name, own in cells.items()} == {"near": 5, "wide": 4}

    play(WAVES, work, BOTH)


def test_grids_come_and_go() -> None:
    """From one grid without a name to two, to one of these, and back: base is carried, slots of what has gone go."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 3)
        for own, names in (
            (BOTH, ["near", "wide"]),
            ({"grids": {"wide": WIDE}}, ["wide"]),
            (BOTH, ["near", "wide"]),
            (NEAR, [""]),
        ):
            await change(desk, **own)
            await minutes(desk, trader, 2)
            grid = await grid_in_force(desk)
            assert [one.name for one in grid.each] == names
            book = await audited(desk)
            cells = await cells_by_grid(desk)
            assert sum(cell.qty for own_cells in cells.values() for cell in own_cells) == book.base
            assert all(cell.qty > 0 for cell in cells.get("-", []))
        ids = [order.client_id for order in (await desk.server.record()).orders]
        assert len(ids) == len(set(ids))

    play(WAVES, work, NEAR)


def test_one_unfit_grid_only_sells_and_the_other_goes_on() -> None:
    """The exchange raises its minimum above the size of one of them."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await desk.server.configure(symbols={BTC: SymbolRules(symbol=BTC, min_notional=Decimal(350))})
        desk.desk.markets.read_soon()
        await desk.server.advance(1)
        report: TickReport | None = None
        for _ in range(3):
            report = await trader.tick()
        assert report is not None
        assert "grids.near.quote_per_cell" in report.unfit
        buys = await buys_by_grid(desk)
        assert "near" not in buys
        assert len(buys["wide"]) >= 2
        view = await ladder(desk.desk.redis, desk)
        assert {cell.grid for cell in view.cells if cell.reason == "GRID_UNFIT"} == {"near"}

    play(WAVES, work, BOTH)


def test_a_grid_that_cannot_start_does_not_hold_up_the_others() -> None:
    """It is left out and told; it starts once the settings let it."""
    useless = NEAR | {"quote_per_cell": "2"}

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await change(desk, grids={"near": NEAR, "wide": WIDE, "tiny": useless})
        report = await trader.tick()
        assert "grids.tiny.quote_per_cell" in report.unfit
        assert [one.name for one in (await grid_in_force(desk)).each] == ["near", "wide"]
        assert (await buys_by_grid(desk)).keys() == {"near", "wide"}
        await change(desk, grids={"near": NEAR, "wide": WIDE, "tiny": useless | {"quote_per_cell": "200"}})
        report = await trader.tick()
        assert report.unfit == ""
        assert [one.name for one in (await grid_in_force(desk)).each] == ["near", "wide", "tiny"]

    play(WAVES, work, BOTH)


def test_each_grid_keeps_its_kind() -> None:
    """One trails up, one is infinite and keeps its reserve, one earns in base: each does so beside the others."""
    own = {
        "trail": {"lower": "41000", "upper": "43000", "cells": 2, "quote_per_cell": "300", "trail_up_to": "60000"},
        "rise": {"grid": "infinity", "lower": "38000", "cells": 6, "quote_per_cell": "30", "start": "balanced"},
        "base": NEAR | {"earn": "base", "quote_per_cell": "500"},
    }
    rise = ("42100", "41400", "42300", "43600", "44700", "45800", "45100", "46200")

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, len(rise) - 1)
        grid = {one.name: one for one in (await grid_in_force(desk)).each}
        assert grid["trail"].levels[0] > 41_000
        assert grid["base"].levels[0] == 41_000
        cells = await cells_by_grid(desk)
        assert sum(cell.earned for cell in cells["base"]) > 0
        assert all(cell.earned == 0 for name in ("trail", "rise") for cell in cells[name])
        reserve = cells["rise"][-1]
        assert reserve.order_id is None
        assert reserve.qty * 46_200 > 2000
        buys = [one for one in open_orders(await desk.server.record()) if Side(one.side.lower()) is Side.BUY]
        assert all(one.price < 46_200 for one in buys)

    play(rise, work, {"grids": own})
