"""A grid that earns in base, over the loopback exchange: rounds, books, recovery, and what ends it."""

from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from tasks.base.money import ZERO, plain
from tasks.control.steps import put_in_force, sell_off
from tasks.exchange.order_ids import Purpose, parse_order_id
from tasks.settings.model import Settings
from tasks.tick.trader import GridTrader
from tasks.views.render_grid import ladder as shown
from tasks.views.steps import read_status
from tests.support.binance.config import Config
from tests.support.binance.desk import BinanceDesk
from tests.support.desk import BTC
from tests.support.one_grid import audited, ladder, minutes, play
from tests.support.virtual.desk import VirtualWorld

GRID: dict[str, Any] = {"grid": "arithmetic", "lower": "40000", "upper": "44000", "cells": 4, "earn": "base"}
OWN = GRID | {"quote_per_cell": "500"}
ROUNDS = ("42100", *["40500", "43000"] * 4, "42900", "42800", "42700")  # the cells at 41000 and 42000 trade
LOT = Decimal("0.00001")


async def purposes(desk: BinanceDesk) -> list[Purpose]:
    """Of all orders that were ever accepted."""
    names = [parse_order_id(order.client_id) for order in (await desk.server.record()).orders]
    return [name.purpose for name in names if name is not None]


@pytest.mark.parametrize("fees", ["quote", "base"])
def test_rounds_return_their_cost_and_keep_the_rest(fees: str) -> None:
    """Nothing is in use after each, the profit is base, and all readers show it."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, len(ROUNDS) - 4)
        book, view = await audited(desk), await ladder(desk.desk.redis, desk)
        status = (await read_status(desk.desk.settings, desk.desk.redis)).symbols[0]
        assert {cell.state for cell in view.cells} <= {"IDLE", "BUYING"}
        assert (status.used, book.basis) == (ZERO, ZERO)
        rounds = status.rounds
        assert rounds >= 8
        assert view.earned == status.earned == book.base > 0
        fee = Decimal("0.001")
        expected = ZERO
        for cell in view.cells:
            bought = Decimal(500) / cell.buy_price
            in_base = fee if fees == "base" else ZERO
            brought_back = bought * cell.buy_price * (1 + fee - in_base) / (cell.sell_price * (1 - fee))
            expected += cell.rounds * (bought * (1 - in_base) - brought_back * (1 + in_base))
        assert abs(book.base - expected) <= rounds * LOT
        assert 0 <= book.grid_profit <= rounds * (LOT * 44_000 + (ZERO if fees == "quote" else Decimal("0.51")))
        assert status.equity_change == status.grid_profit + status.earned_value
        assert max(cell.earned for cell in view.cells) * 42_900 > 10, "an idle cell, far above the least order"
        assert Purpose.SELL not in await purposes(desk)
        console = Console(file=StringIO(), width=80)
        console.print(shown(view, status, "USDT"))
        assert f"earned in base: {plain(view.earned)} BTC, worth " in console.file.getvalue()  # type: ignore[attr-defined]

    play(ROUNDS, work, OWN, Config(fee_currency=fees))


def test_what_was_kept_comes_back_after_redis_is_lost() -> None:
    """From the exchange alone: the base, its cost of 0, and what each cell keeps."""

    async def work(world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, len(ROUNDS) - 6)
        before, cells = await audited(desk), (await ladder(desk.desk.redis, desk)).cells
        await trader.end_lease()
        await desk.desk.redis.flushdb()
        again = world.worker()
        other = await again.trader()
        await other.tick()
        after = await audited(again)
        assert (after.base, after.basis, after.grid_profit) == (before.base, before.basis, before.grid_profit)
        found = (await ladder(again.desk.redis, again)).cells
        assert [(cell.key, cell.earned, cell.state) for cell in found] == [
            (cell.key, cell.earned, cell.state) for cell in cells
        ]
        await minutes(again, other, 3)

    play(ROUNDS, work, OWN)


def test_a_liquidation_sells_what_was_kept() -> None:
    """Of idle cells too, gathered where it is little: the base is gone but for less than the least order."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, len(ROUNDS) - 4)
        before = await audited(desk)
        redis, own = desk.desk.redis, desk.desk.settings
        await sell_off(redis, own, [BTC])
        await minutes(desk, trader, 3)
        book = await audited(desk)
        assert before.base * 42_900 > 20
        assert book.base < LOT
        assert book.grid_profit - before.grid_profit > before.base * 42_900 * Decimal("0.99")
        assert Purpose.EXIT in await purposes(desk)
        view = await ladder(redis, desk)
        assert len(view.cells) == OWN["cells"]

    play(ROUNDS, work, OWN)


def test_back_in_quote_the_next_lots_sell_what_was_kept() -> None:
    """What rests is not touched; the cells that trade again end without any base."""

    async def work(world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 4)
        kept = (await audited(desk)).base
        assert kept * 42_900 > 5
        changed = world.settings.model_dump()
        changed["symbols"][BTC]["earn"] = "quote"
        await put_in_force(desk.desk.redis, Settings.model_validate(changed), clock=desk.desk.clock)
        await desk.desk.follow_settings()
        await minutes(desk, trader, len(ROUNDS) - 8)
        book = await audited(desk)
        assert book.base < LOT
        assert book.grid_profit > kept * 40_000
        assert {Purpose.RECOUP, Purpose.SELL} <= set(await purposes(desk))

    play(ROUNDS, work, OWN)


def test_what_was_kept_follows_a_moving_range() -> None:
    """A range that trails the price upwards leaves no cell behind that keeps base, and sells none of it."""
    rise = ("42100", "40500", "43000", "40500", "44500", "45200", "46900", "46300", "45800", "48100", "47300")

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 4)
        kept = (await audited(desk)).base
        assert kept > 0
        await minutes(desk, trader, len(rise) - 5)
        view = await ladder(desk.desk.redis, desk)
        assert view.levels[0] > 43_000
        assert [cell for cell in view.cells if cell.earlier] == []
        assert view.earned >= kept
        assert Purpose.SELL not in await purposes(desk)

    play(rise, work, OWN | {"trail_up_to": "60000"})
