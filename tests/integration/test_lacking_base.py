"""The account holds less base than a cell: the cell sells what is free, and waits with its reason for the rest."""

import asyncio
from decimal import Decimal

import pytest

from tasks.base.keys import Keys
from tasks.exchange.models import Order, Side
from tasks.grid.models import Cell, CellState
from tasks.grid.plan_models import IdleReason
from tasks.tick.trader import GridTrader
from tests.support.binance.config import SymbolRules
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.record import sent_twice
from tests.support.desk import BTC, settings, walk
from tests.support.virtual.desk import VirtualWorld, play_in_world

KEYS = Keys("main")


async def sells(desk: BinanceDesk) -> list[Order]:
    """The resting sells, lowest price first."""
    orders = [order for order in await desk.client.open_orders(BTC) if order.side is Side.SELL]
    return sorted(orders, key=lambda order: order.price)


async def holding(desk: BinanceDesk) -> Cell:
    """The only cell that holds base and has no order."""
    cells = [Cell.model_validate_json(text) for text in await desk.desk.redis.hvals(KEYS.cells(BTC))]
    (found,) = [cell for cell in cells if cell.state is CellState.HOLDING]
    return found


async def freed(desk: BinanceDesk, trader: GridTrader) -> Order:
    """Somebody cancels the nearest sell by hand; its base is free now."""
    order = (await sells(desk))[0]
    await desk.exchange.cancel_order(order.exchange_id, BTC)
    return order


async def posts(desk: BinanceDesk) -> list[str]:
    """The outcome of every order request."""
    return [row.outcome for row in (await desk.server.record()).requests if row.method == "POST"]


async def working_desk(world: VirtualWorld) -> tuple[BinanceDesk, GridTrader]:
    """A balanced grid that has bought its base and rests its orders."""
    desk = world.worker()
    await desk.desk.allocator.rebalance_if_needed(reason="start")
    trader = await desk.trader()
    await trader.tick()
    await trader.tick()
    return desk, trader


@pytest.mark.parametrize("share", ["0.5", "0"])
def test_the_cell_sells_what_is_free(share: str) -> None:
    """A part of the lot is withdrawn: one refusal, then the rest is sold. What is missing is not tried on and on."""

    async def work(world: VirtualWorld) -> None:
        desk, trader = await working_desk(world)
        order = await freed(desk, trader)
        left = (order.qty * Decimal(share)).quantize(Decimal("0.00001"))
        await desk.server.transfer("BTC", left - order.qty)
        sent = len(await posts(desk))
        for _ in range(10):
            report = await trader.tick()
        tried = (await posts(desk))[sent:]
        assert "-2010" in tried[0], "it wanted to sell all"
        if left:
            assert (await sells(desk))[0].qty == left, "sold with what is free, at the next tick"
            assert len(tried) == 2
        else:
            cell = await holding(desk)
            assert report.idle[cell.key] == IdleReason.NO_BASE
            assert len(tried) == 1
            asked = [row for row in (await desk.server.record()).requests if row.path.endswith("/account")]
            assert len(asked) == 1, "the balance is not read at every tick"
        await desk.server.transfer("BTC", order.qty - left)
        if left:
            await desk.server.fill((await sells(desk))[0].client_id)
        await asyncio.sleep(31)
        await trader.tick()
        assert (await sells(desk))[0].qty == order.qty - left, "what came back is sold"
        assert sent_twice(await desk.server.record()) == {}

    play_in_world(settings(), {BTC: walk(20)}, work)


def test_a_filter_refusal_is_planned_anew_with_the_new_filters() -> None:
    """The lot step changed: the tick after the refusal reads the markets again and sells at once."""

    async def work(world: VirtualWorld) -> None:
        desk, trader = await working_desk(world)
        order = await freed(desk, trader)
        rules = SymbolRules(symbol=BTC, step=Decimal("0.001"), min_qty=Decimal("0.001"))
        await desk.server.configure(symbols={BTC: rules})
        await trader.tick()
        assert (await holding(desk)).refusals == 1
        await trader.tick()
        assert (await sells(desk))[0].qty == order.qty // Decimal("0.001") * Decimal("0.001")

    play_in_world(settings(), {BTC: walk(20)}, work)


def test_a_lot_below_a_raised_minimum_waits_with_its_reason() -> None:
    """One refusal; after it the cell keeps its lot and says why, and sells once the minimum allows it."""

    async def work(world: VirtualWorld) -> None:
        desk, trader = await working_desk(world)
        order = await freed(desk, trader)
        sent = len(await posts(desk))
        rules = SymbolRules(symbol=BTC, min_notional=order.qty * order.price + 1)
        await desk.server.configure(symbols={BTC: rules})
        for _ in range(30):
            report = await trader.tick()
            await asyncio.sleep(10)
        cell = await holding(desk)
        assert report.idle[cell.key] == IdleReason.BELOW_MINIMUM
        assert cell.qty == order.qty
        assert len([outcome for outcome in (await posts(desk))[sent:] if "-1013" in outcome]) == 1
        await desk.server.configure(symbols={BTC: SymbolRules(symbol=BTC)})
        desk.desk.markets.read_soon()
        await trader.tick()
        assert (await sells(desk))[0].qty == order.qty

    play_in_world(settings(), {BTC: walk(20)}, work)
