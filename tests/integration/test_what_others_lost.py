"""What users of other bots lost, over the loopback exchange: each has a test here, or is named below.

Reinvested profit shown twice: `test_capital`. A stop that arms itself again after a restart: `test_stops`. A range that
loses levels as it follows the price: `test_moving_grids`.
"""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tasks.base.money import ZERO
from tasks.exchange.models import Side
from tasks.exchange.order_ids import Purpose, parse_order_id
from tasks.risk.models import StopCode
from tasks.tick.trader import GridTrader
from tasks.views.steps import read_status
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.faults import Fault, FaultKind
from tests.support.binance.record import OrderRow, open_orders, sent_twice
from tests.support.desk import BTC
from tests.support.fault_check import settle
from tests.support.one_grid import audited, ladder, minutes, play
from tests.support.virtual.desk import VirtualWorld

GRID: dict[str, Any] = {"grid": "arithmetic", "lower": "40000", "upper": "44000", "cells": 4}
OWN = GRID | {"quote_per_cell": "500"}
LEAST = Decimal(5)  # the exchange's minimum, in quote


async def orders_of(desk: BinanceDesk, *purposes: Purpose) -> list[OrderRow]:
    """All orders of these purposes that were ever accepted."""
    found = [(parse_order_id(order.client_id), order) for order in (await desk.server.record()).orders]
    return [order for name, order in found if name is not None and name.purpose in purposes]


def test_a_trailing_stop_sells_lots_that_fell_below_the_minimum() -> None:
    """Three lots of 5.1 quote lose a twelfth of their worth: each is too small to sell then, together they are not."""
    fall = ("42100", "42900", "43100", "42500", "41500", "40500", "39500", "37000", "36900", "36800")

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 6)
        held = await audited(desk)
        lots = [cell.qty for cell in (await ladder(desk.desk.redis, desk)).cells if cell.qty]
        assert len(lots) == 4
        await minutes(desk, trader, 1)
        status = (await read_status(desk.desk.settings, desk.desk.redis)).symbols[0]
        assert status.stop == StopCode.STOP_LOSS_QUOTE.words
        assert all(qty * 37_000 < LEAST for qty in lots), "the test shows nothing"
        await minutes(desk, trader, 1)
        book, exits = await audited(desk), await orders_of(desk, Purpose.EXIT)
        assert sum(order.executed for order in exits) == held.base
        assert (book.base, book.basis) == (ZERO, ZERO)
        assert len((await ladder(desk.desk.redis, desk)).cells) == GRID["cells"], "its cells are still there"

    play(fall, work, GRID | {"base_per_cell": "0.00013", "stop_loss_quote": "1.5"})


def test_what_a_stop_cannot_sell_is_reported() -> None:
    """One such lot alone: the status says what is held, what it cost, and that the exchange's minimum is the reason."""
    fall = ("42100", "40500", "39500", "37000", "36900", "36800")

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 4)
        status = (await read_status(desk.desk.settings, desk.desk.redis)).symbols[0]
        assert status.stop == StopCode.STOP_LOSS_PRICE.words
        assert (status.base > 0, status.used > 0) == (True, True)
        assert status.idle.get("BELOW_MINIMUM") == 1
        assert any(one.code == "BELOW_MINIMUM" and one.wakes for one in status.reasons)

    play(fall, work, GRID | {"cells": 1, "base_per_cell": "0.00013", "stop_loss_price": "37500"})


def test_a_trailing_range_carries_a_fill_below_the_minimum_and_sells_it() -> None:
    """A buy fills for 3 quote, then the range leaves it. Its rest ends; what it bought is sold with another lot."""
    rise = ("42100", "43100", "44100", "45200", "43500", "45900", "46100", "46200")

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        lowest = min(await orders_of(desk, Purpose.BUY), key=lambda order: order.price)
        await desk.server.fill(lowest.client_id, Decimal("0.00007"))
        await minutes(desk, trader, 3)
        assert lowest.client_id not in {order.client_id for order in open_orders(await desk.server.record())}
        view = await ladder(desk.desk.redis, desk)
        assert view.levels[0] > 40_000
        assert [cell for cell in view.cells if cell.earlier] == [], "nothing is left behind"
        (carrier,) = [cell for cell in view.cells if cell.qty]
        assert (carrier.qty, carrier.cost > Decimal("2.8")) == (Decimal("0.00007"), True)
        await minutes(desk, trader, len(rise) - 4)
        book = await audited(desk)
        assert (book.base, book.basis) == (ZERO, ZERO)
        assert book.sells > 0

    play(rise, work, OWN | {"trail_up_to": "60000"})


@pytest.mark.parametrize("times", [3, 9])
def test_refused_post_only_buys_come_back(times: int) -> None:
    """The price falls below the buys just before they arrive, tick after tick. Once it allows them, all are there."""
    prices = ["42100", *["39000", "42100"] * times, "42100", "42100", "42100"]

    async def work(world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        before = set(await resting(desk))
        assert len(before) == 3
        for order in open_orders(await desk.server.record()):
            await desk.exchange.cancel_order(None, BTC, {"origClientOrderId": order.client_id})
        await trader.end_lease()

        def falling(step: str) -> None:
            if step == "reserved":  # the request leaves after this
                world.exchange.server.binance.engine.advance(1)

        hasty = await desk.trader(owner="hasty", checkpoint=falling)
        for _ in range(times):
            await hasty.tick()
            await desk.server.advance(1)  # the price is back before the next tick
            await asyncio.sleep(31)
        requests = (await desk.server.record()).requests
        refused = [row for row in requests if row.method == "POST" and "-2010" in row.outcome]
        assert len(refused) == 3 * times, "the exchange refused them all, each time"
        assert await resting(desk) == []
        await hasty.end_lease()
        again = await desk.trader(owner="goes on")
        await again.tick()
        assert set(await resting(desk)) == before

    play(prices, work, OWN)


async def resting(desk: BinanceDesk) -> list[tuple[Side, Decimal]]:
    """Side and price of our open orders."""
    return [(Side(order.side.lower()), order.price) for order in open_orders(await desk.server.record())]


@pytest.mark.parametrize("at_once", [True, False], ids=["fills at once", "fills later"])
@pytest.mark.parametrize("kind", [FaultKind.DROP_AFTER, FaultKind.TRUNCATED])
def test_a_filled_close_that_nobody_saw_is_not_sold_again(kind: FaultKind, at_once: bool) -> None:
    """The sell's answer is lost, the order fills and the exchange frees its id; lookups and lists are late as well."""
    prices = ("42100", "40900", "43100", "43200") if at_once else ("42100", "40900", "41500", "43100", "43200")

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        server = desk.server
        await server.transfer("BTC", Decimal(1))  # the owner's: a second sale would not lack base
        await server.advance(1)
        if at_once:
            await server.advance(1)
        await server.inject(Fault(kind=kind, method="POST", path="order", match={"side": "SELL"}), count=9)
        await trader.tick()
        for path in ("order", "openOrders", "myTrades"):  # as before the sells: nothing of them is there
            await server.inject(Fault(kind=FaultKind.STALE, method="GET", path=path, seconds=5), count=6)
        if not at_once:
            await server.advance(2)
        sent = await orders_of(desk, Purpose.SELL)
        assert len(sent) == 2
        assert all(order.status == "FILLED" for order in sent), "both are closed, and nobody has seen it"
        bought = sum(order.executed for order in await orders_of(desk, Purpose.BUY))
        assert bought > 0
        for _ in range(20):
            await trader.tick()
            await asyncio.sleep(2)
        await settle(trader, pause=2)
        sells = await orders_of(desk, Purpose.SELL)
        assert sum(order.executed for order in sells) == bought, "each lot is sold once"
        assert sent_twice(await server.record()) == {}
        await server.transfer("BTC", Decimal(-1))
        book = await audited(desk)
        assert (book.base, book.basis, book.sells) == (ZERO, ZERO, len(sells))
        assert {order.side for order in open_orders(await server.record())} == {"BUY"}

    play(prices, work, OWN)
