"""Ordinary change: sizes, grids, symbols and files that differ. No order is left without a keeper, no money is lost."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from tasks.base.errors import ConfigError, LeaseLost, StateError
from tasks.base.events import EventKind
from tasks.base.keys import Keys
from tasks.base.money import from_units
from tasks.base.redis_client import RedisClient
from tasks.control.steps import put_in_force, resume, sell_off
from tasks.exchange.models import Order, Side, Ticker
from tasks.exchange.order_ids import account_tag, parse_order_id
from tasks.funds.store import set_flag
from tasks.grid.levels import grid_id
from tasks.grid.models import Cell, CellState, Grid
from tasks.ledger.models import Book
from tasks.ledger.steps import audit_funds
from tasks.settings.in_force import in_force, publish
from tasks.settings.load import from_values, public_values
from tasks.settings.model import Settings
from tasks.tick.active_symbols import Lifecycle
from tasks.tick.models import TickReport
from tasks.tick.monitor import rebalance
from tasks.tick.store import order_slots
from tasks.tick.trader import GridTrader, SymbolLeft
from tasks.tick.write_off import write_off
from tasks.views import store as views
from tasks.views.steps import read_status
from tests.support.delisted import Delisted
from tests.support.desk import BTC, TestDesk, open_desk, settings, walk

ETH = "ETH/USDT"
KEYS = Keys("main")
GRID: dict[str, Any] = {"grid": "geometric", "range_pct": "0.04", "cells": 10, "start": "balanced"}


def own(symbols: Mapping[str, Mapping[str, Any]], **changes: Any) -> Settings:
    """Settings over these symbols, shared equally."""
    return settings(**({"symbols": symbols, "allocation_strategy": "equal"} | changes))


async def opened(redis: RedisClient, symbols: Mapping[str, Mapping[str, Any]], **changes: Any) -> TestDesk:
    """A desk whose settings are in force, over walking prices."""
    given = own(symbols, **changes)
    candles = {symbol: walk(500, seed=number + 3) for number, symbol in enumerate((BTC, ETH))}
    await publish(redis, given)
    return await open_desk(redis, given, candles)


async def trade(desk: TestDesk, traders: Sequence[GridTrader], rounds: int, candles: int = 2) -> list[TickReport]:
    """Tick every trader and let the market move; the last reports. A symbol that has left is passed over."""
    reports: list[TickReport] = []
    for _ in range(rounds):
        reports = []
        for trader in traders:
            try:
                reports.append(await trader.tick())
            except SymbolLeft:
                continue
        await desk.exchange.advance(candles)
    return reports


async def cells_of(redis: RedisClient, symbol: str) -> list[Cell]:
    """The symbol's cells."""
    return [Cell.model_validate_json(text) for text in await redis.hvals(KEYS.cells(symbol))]


async def check_keepers(desk: TestDesk, redis: RedisClient, *symbols: str) -> None:
    """Each order that rests has a journal entry, and the account holds what the books say, once fills are booked."""
    for symbol in symbols:
        with suppress(SymbolLeft):
            await (await desk.trader(symbol)).tick()
    balances = await desk.client.balances()
    cash = Decimal(0)
    for symbol in symbols:
        resting = {order.client_id for order in await desk.client.open_orders(symbol)}
        assert resting <= set(await redis.hkeys(KEYS.intents(symbol)))
        book = Book.model_validate_json(await redis.get(KEYS.book(symbol)) or "")
        held = balances[symbol.partition("/")[0]]
        assert held.free + held.locked == book.base
        cash += book.cash
    assert balances["USDT"].free + balances["USDT"].locked == Decimal(10_000) + cash
    assert not (await audit_funds(redis, KEYS, symbols)).drift


async def test_a_changed_size_counts_from_the_next_tick(redis: RedisClient) -> None:
    """quote_per_cell 100 → 150: resting buys are replaced, the grid and its lots stay as they are."""
    desk = await opened(redis, {BTC: GRID | {"quote_per_cell": "100"}})
    trader = await desk.trader()
    await trade(desk, [trader], 4)
    before = {cell.grid_id for cell in await cells_of(redis, BTC)}
    await publish(redis, own({BTC: GRID | {"quote_per_cell": "150"}}))
    for _ in range(4):
        await trader.tick()
    buys = [order for order in await desk.client.open_orders(BTC) if order.side is Side.BUY]
    assert buys
    assert all(abs(order.price * order.qty - 150) < 1 for order in buys)
    assert {cell.grid_id for cell in await cells_of(redis, BTC)} == before
    await check_keepers(desk, redis, BTC)
    await desk.close()


async def test_lowered_funds_shrink_what_rests(redis: RedisClient) -> None:
    """10,000 → 5,000 in force: at once less is allocated, and within a few ticks no more than that is committed."""
    desk = await opened(redis, {BTC: GRID | {"start": "flat"}, ETH: GRID | {"start": "flat"}})
    traders = [await desk.trader(symbol) for symbol in (BTC, ETH)]
    await trade(desk, traders, 3, candles=0)
    before = await desk.desk.allocator.get_global_status_summary()
    assert before.committed_units > 5_000 * 10**8 // 2
    done = await put_in_force(redis, own({BTC: GRID, ETH: GRID}, total_funds="5000"))
    assert done.rebalance.applied
    assert done.rebalance.pool == 4750
    for _ in range(6):
        for trader in traders:
            await trader.tick()
    after = await desk.desk.allocator.get_global_status_summary()
    assert after.committed_units <= after.pool_units == 4750 * 10**8
    for share in after.symbols.values():
        assert share.committed_units <= share.allocated_units
    reports = [await trader.tick() for trader in traders]
    assert [report.to_resize for report in reports] == [0, 0]
    await desk.close()


async def test_a_rebalance_goes_by_the_settings_in_force(redis: RedisClient) -> None:
    """A worker that has not ticked since the funds were lowered shares the lowered pool, not the one it knew."""
    desk = await opened(redis, {BTC: GRID, ETH: GRID})
    await put_in_force(redis, own({BTC: GRID, ETH: GRID}, total_funds="5000"))
    report = await rebalance(desk.desk, force=True, reason="manual")
    assert report.pool == 4750
    assert report.outcome == "nothing to change"
    await desk.close()


async def test_a_worker_that_stalled_does_not_put_earlier_settings_back(redis: RedisClient) -> None:
    """It read the settings, stood still while the funds were lowered, and shares the pot now: nothing is written."""
    desk = await opened(redis, {BTC: GRID, ETH: GRID})
    await desk.desk.follow_settings()
    await put_in_force(redis, own({BTC: GRID, ETH: GRID}, total_funds="5000"))
    late = await desk.desk.allocator.rebalance_if_needed(force=True, reason="scheduled")
    assert (late.applied, late.outcome) == (False, "another worker wrote first")
    assert (await desk.desk.allocator.get_global_status_summary()).pool == 4750
    await desk.close()


async def test_dust_of_old_grids_moves_and_their_slots_go(redis: RedisClient) -> None:
    """Thirty changes of the grid: old cells stay only while they sell, and one number per old grid is kept."""
    desk = await opened(redis, {BTC: GRID}, paper={"fee_currency": "base"})
    trader = await desk.trader()
    for turn in range(15):
        for count in (9, 10):
            await publish(redis, own({BTC: GRID | {"cells": count, "range_pct": f"0.0{3 + turn % 3}"}}))
            await trade(desk, [trader], 2, candles=4)
    wanted = own({BTC: GRID | {"cells": 10, "range_pct": "0.05"}})
    await publish(redis, wanted)
    await trade(desk, [trader], 3)
    current = grid_id(BTC, wanted.symbols[BTC])
    cells = await cells_of(redis, BTC)
    old = [cell for cell in cells if cell.grid_id != current]
    assert all(cell.state.value in ("HOLDING", "SELLING") for cell in old), "only what can be sold keeps an old cell"
    slots: list[str] = [str(slot) for slot in await order_slots(redis, keys=KEYS, symbol=BTC)]
    assert {slot.partition(":")[0] for slot in slots if ":" in slot} <= {cell.key for cell in cells}
    assert len([slot for slot in slots if ":" not in slot]) <= 6, "one number for each of the six grids"
    orders = await desk.exchange.fetch_orders(BTC, None, 1000)
    ids = [order["clientOrderId"] for order in orders]
    assert len(ids) == len(set(ids)), "a grid that came back repeated an id"
    await check_keepers(desk, redis, BTC)
    await desk.close()


async def test_the_slots_of_dust_go_with_its_cell(redis: RedisClient) -> None:
    """A lot of an earlier grid leaves a remainder; it moves in one step with its cell, one number stays."""
    desk = await opened(redis, {BTC: GRID | {"start": "flat"}})
    trader = await desk.trader()
    await trader.tick()
    dust = next(iter(await cells_of(redis, BTC))).model_copy(
        update={
            "key": "0ffff.3",
            "grid_id": "0ffff",
            "state": CellState.IDLE,
            "order_id": None,
            "qty": Decimal("0.00001"),
        }
    )
    await redis.hset(KEYS.cells(BTC), dust.key, dust.model_dump_json())
    await redis.hset(KEYS.slots(BTC), mapping={"0ffff.3:buy": "7", "0ffff.3:sell": "8", "0ffff": "4"})
    await trader.tick()
    assert dust.key not in {cell.key for cell in await cells_of(redis, BTC)}
    slots = await order_slots(redis, keys=KEYS, symbol=BTC)
    assert {slot: cycle for slot, cycle in slots.items() if slot.startswith("0ffff")} == {"0ffff": 8}
    await desk.close()


async def test_dust_of_a_cell_that_came_back_with_its_cycle_moves_again(redis: RedisClient) -> None:
    """The cell sent no order meanwhile, so its cycle is the same. The symbol must not stop ticking for that."""
    desk = await opened(redis, {BTC: GRID | {"start": "flat"}})
    trader = await desk.trader()
    await trader.tick()
    nothing = {"state": CellState.IDLE, "order_id": None, "key": "0ffff.3", "grid_id": "0ffff", "cycle": 2}
    dust = next(iter(await cells_of(redis, BTC))).model_copy(update=nothing | {"qty": Decimal("0.00001")})
    for _ in range(2):
        await redis.hset(KEYS.cells(BTC), dust.key, dust.model_dump_json())
        await trader.tick()
        assert dust.key not in {cell.key for cell in await cells_of(redis, BTC)}
    await desk.close()


async def test_a_grid_that_comes_back_elsewhere_has_the_levels_of_now(redis: RedisClient) -> None:
    """A lot kept from its last time is sold at its level; then its cell has the prices of the grid in force."""
    desk = await opened(redis, {BTC: GRID | {"range_pct": "0.015"}})
    trader = await desk.trader()
    await trade(desk, [trader], 2)
    held = [cell.key for cell in await cells_of(redis, BTC) if cell.qty]
    assert held
    for shape in ({"cells": 5}, {"range_pct": "0.015"}):
        await publish(redis, own({BTC: GRID | shape}))
        await trade(desk, [trader], 2, candles=15)
    await trade(desk, [trader], 40, candles=5)
    grid = Grid.model_validate_json(await redis.get(KEYS.grid(BTC)) or "")
    cells = [cell for cell in await cells_of(redis, BTC) if cell.grid_id == grid.grid_id]
    assert [cell for cell in cells if cell.key in held and cell.state.value in ("IDLE", "BUYING")], "some were sold"
    for cell in cells:
        if cell.state.value in ("IDLE", "BUYING"):
            assert (cell.buy_price, cell.sell_price) == grid.levels[cell.index : cell.index + 2]
    await desk.close()


async def test_a_symbol_that_leaves_the_file_is_sold_off_and_its_books_count_on(redis: RedisClient) -> None:
    """Buys are cancelled, lots are sold; then its share is gone, and its profit stays in the totals."""
    desk = await opened(redis, {BTC: GRID, ETH: GRID})
    traders = [await desk.trader(symbol) for symbol in (BTC, ETH)]
    await trade(desk, traders, 10)
    without = own({BTC: GRID})
    done = await put_in_force(redis, without)
    assert done.retiring == (ETH,)
    view = await read_status(without, redis)
    states = {symbol.symbol: symbol.state for symbol in view.symbols}
    assert states == {BTC: Lifecycle.TRADING, ETH: Lifecycle.RETIRING}
    await trade(desk, traders, 3)
    assert all(order.side is Side.SELL for order in await desk.client.open_orders(ETH))
    await check_keepers(desk, redis, BTC, ETH)
    await sell_off(redis, without, [ETH])
    await trade(desk, traders, 6)
    assert await desk.client.open_orders(ETH) == []
    assert not await redis.exists(KEYS.cells(ETH))
    view = await read_status(without, redis)
    left = next(symbol for symbol in view.symbols if symbol.symbol == ETH)
    assert left.state is Lifecycle.LEFT
    assert left.allocated == left.used == left.base == 0
    assert left.equity_change == left.grid_profit != 0
    assert view.grid_profit == sum(symbol.grid_profit for symbol in view.symbols)
    with pytest.raises(SymbolLeft):
        await traders[1].tick()
    await check_keepers(desk, redis, BTC, ETH)
    await desk.close()


async def test_a_symbol_that_comes_back_starts_above_every_cycle(redis: RedisClient) -> None:
    """Gone and back: a new grid at today's price, no id used twice, and the books go on."""
    desk = await opened(redis, {BTC: GRID, ETH: GRID})
    traders = [await desk.trader(symbol) for symbol in (BTC, ETH)]
    await trade(desk, traders, 6)
    both, one = own({BTC: GRID, ETH: GRID}), own({BTC: GRID})
    await put_in_force(redis, one, liquidate=True)
    await trade(desk, traders, 6)
    await put_in_force(redis, both)
    await trade(desk, traders, 6)
    assert len(await cells_of(redis, ETH)) == 10
    orders = await desk.exchange.fetch_orders(ETH, None, 1000)
    ids = [order["clientOrderId"] for order in orders]
    assert len(ids) == len(set(ids))
    await check_keepers(desk, redis, BTC, ETH)
    await desk.close()


async def test_back_while_it_still_holds_it_goes_on_with_its_lots(redis: RedisClient) -> None:
    """Removed for two ticks only: lots keep their cells, and the cells that were idle buy again."""
    desk = await opened(redis, {BTC: GRID, ETH: GRID})
    traders = [await desk.trader(symbol) for symbol in (BTC, ETH)]
    await trade(desk, traders, 5)
    lots = {cell.key: cell.qty for cell in await cells_of(redis, ETH) if cell.qty}
    await put_in_force(redis, own({BTC: GRID}))
    await trade(desk, traders, 2, candles=0)
    await put_in_force(redis, own({BTC: GRID, ETH: GRID}))
    await trade(desk, traders, 3, candles=0)
    again = {cell.key: cell.qty for cell in await cells_of(redis, ETH) if cell.qty}
    assert again == lots
    assert any(order.side is Side.BUY for order in await desk.client.open_orders(ETH))
    await check_keepers(desk, redis, BTC, ETH)
    await desk.close()


async def test_a_new_grid_that_cannot_start_leaves_the_old_one_selling(redis: RedisClient) -> None:
    """Its cells are too small: ticks go on, buys of the old grid go, its lots are sold, and its cells say why."""
    desk = await opened(redis, {BTC: GRID})
    trader = await desk.trader()
    await trade(desk, [trader], 3)
    assert [cell for cell in await cells_of(redis, BTC) if cell.qty], "it holds"
    grid = await redis.get(KEYS.grid(BTC))
    await put_in_force(redis, own({BTC: GRID | {"range_pct": "0.02", "quote_per_cell": "3"}}))
    (report,) = await trade(desk, [trader], 3, candles=0)
    assert "is below the exchange's minimum" in report.unfit
    assert set(report.idle.values()) == {"GRID_UNFIT"}
    assert {order.side for order in await desk.client.open_orders(BTC)} == {Side.SELL}
    assert await redis.get(KEYS.grid(BTC)) == grid
    await check_keepers(desk, redis, BTC)
    await put_in_force(redis, own({BTC: GRID | {"range_pct": "0.02"}}))
    (report,) = await trade(desk, [trader], 2, candles=0)
    assert report.unfit == ""
    assert {order.side for order in await desk.client.open_orders(BTC)} == {Side.BUY, Side.SELL}
    await check_keepers(desk, redis, BTC)
    await desk.close()


async def test_a_configured_symbol_sells_off_and_waits(redis: RedisClient) -> None:
    """It sells at the market through the journal and buys nothing, also after a rebalance; `resume` lets it trade."""
    desk = await opened(redis, {BTC: GRID, ETH: GRID})
    trader = await desk.trader()
    await trade(desk, [trader], 4)
    own_settings = desk.desk.settings
    with pytest.raises(ConfigError, match=r"XRP/USDT: holds nothing"):
        await sell_off(redis, own_settings, [BTC, "XRP/USDT"])
    assert not (await desk.desk.allocator.get_allocation_status(BTC)).paused, "nothing changes where one is refused"
    await sell_off(redis, own_settings, [BTC])
    await rebalance(desk.desk, force=True, reason="manual")
    await trade(desk, [trader], 4, candles=0)
    assert [cell for cell in await cells_of(redis, BTC) if cell.qty] == []
    assert await desk.client.open_orders(BTC) == []
    await check_keepers(desk, redis, BTC)
    await resume(redis, own_settings, [BTC])
    await trade(desk, [trader], 2)
    assert {order.side for order in await desk.client.open_orders(BTC)} >= {Side.BUY}
    await check_keepers(desk, redis, BTC)
    await desk.close()


async def test_a_symbol_that_comes_back_is_no_longer_sold_off(redis: RedisClient) -> None:
    """Sold off, back before its next tick, removed again: this time it sells at its levels."""
    desk = await opened(redis, {BTC: GRID, ETH: GRID})
    trader = await desk.trader(ETH)
    await trade(desk, [trader], 2)
    assert [cell for cell in await cells_of(redis, ETH) if cell.qty], "it holds"
    await put_in_force(redis, own({BTC: GRID}), liquidate=True)
    await put_in_force(redis, own({BTC: GRID, ETH: GRID}))
    await put_in_force(redis, own({BTC: GRID}))
    await trader.tick()
    await trader.tick()
    sells = [parse_order_id(order.client_id) for order in await desk.client.open_orders(ETH)]
    assert {one.purpose.value for one in sells if one} == {"sell"}
    await desk.close()


async def test_a_tick_that_outlives_its_symbol_writes_nothing(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The symbol leaves, with nothing, in the middle of its first tick: no cells are left that nobody looks after."""
    desk = await opened(redis, {BTC: GRID, ETH: GRID})
    trader, read = await desk.trader(ETH), desk.client.orders_and_ticker

    async def slowly(symbol: str, not_before_ms: int = 0) -> tuple[list[Order], Ticker]:
        await put_in_force(redis, own({BTC: GRID}))
        return await read(symbol, not_before_ms)

    monkeypatch.setattr(desk.client, "orders_and_ticker", slowly)
    with pytest.raises(LeaseLost):
        await trader.tick()
    assert not await redis.exists(KEYS.cells(ETH), KEYS.grid(ETH))
    await desk.close()


async def test_a_delisted_symbol_is_written_off_at_cost(redis: RedisClient) -> None:
    """What it holds leaves base, cost and `used`; the cost is booked as a loss, so the identity stays exact."""
    desk = await opened(redis, {BTC: GRID, ETH: GRID})
    traders = [await desk.trader(symbol) for symbol in (BTC, ETH)]
    await trade(desk, traders, 6)
    for trader in traders:
        await trader.end_lease()
    with pytest.raises(StateError, match="is listed and configured"):
        await write_off(desk.desk, ETH, "operator")
    before = Book.model_validate_json(await redis.get(KEYS.book(ETH)) or "")
    assert before.basis > 0
    await put_in_force(redis, own({BTC: GRID}))
    desk.desk.exchange = Delisted(desk.client, ETH)
    done = await write_off(desk.desk, ETH, "operator")
    assert (done.qty, done.cost) == (before.base, before.basis)
    after = Book.model_validate_json(await redis.get(KEYS.book(ETH)) or "")
    assert after.base == after.basis == 0
    assert after.cash == before.cash
    assert after.grid_profit == before.grid_profit - before.basis
    status = await desk.desk.allocator.get_global_status_summary()
    assert not status.symbols[ETH].registered
    assert status.symbols[ETH].committed_units == 0
    assert not await redis.exists(KEYS.intents(ETH), KEYS.cells(ETH))
    assert (await read_status(own({BTC: GRID}), redis)).identity_error == 0
    assert not (await audit_funds(redis, KEYS, [BTC])).drift
    events = [event for event in await views.events(redis, KEYS, 50) if event.type == EventKind.WRITTEN_OFF]
    assert json.loads(events[0].body)["symbol"] == ETH
    await desk.close()


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_delisted_symbol_without_inventory_gives_its_money_back(redis: RedisClient, stopped: bool) -> None:
    """Its buys can be neither read nor cancelled, and no tick deletes its cells: the write-off does both."""
    desk = await opened(redis, {BTC: GRID, ETH: GRID | {"start": "flat"}})
    trader = await desk.trader(ETH)
    await set_flag(redis, hashes=[KEYS.funds], flag="stopped", value=stopped)
    await trader.tick()
    await trader.end_lease()
    assert await redis.hlen(KEYS.cells(ETH))
    assert bool((await desk.desk.allocator.get_global_status_summary()).symbols[ETH].reserved_units) is not stopped
    await put_in_force(redis, own({BTC: GRID}))
    with pytest.raises(StateError, match="holds nothing"):
        await write_off(desk.desk, ETH, "operator")
    desk.desk.exchange = Delisted(desk.client, ETH)
    done = await write_off(desk.desk, ETH, "operator")
    assert done.qty == done.cost == 0
    share = (await desk.desk.allocator.get_global_status_summary()).symbols[ETH]
    assert (share.registered, share.committed_units) == (False, 0)
    assert not await redis.exists(KEYS.intents(ETH), KEYS.cells(ETH))
    await desk.close()


async def test_workers_with_different_files_trade_one_grid(redis: RedisClient) -> None:
    """The second worker's file names other cells: it trades by those in force. Twenty turns, no order is replaced."""
    desk = await opened(redis, {BTC: GRID | {"start": "flat"}})
    first = await desk.trader(owner="one")
    await trade(desk, [first], 2, candles=0)
    await first.end_lease()
    other = own({BTC: GRID | {"start": "flat", "cells": 7, "quote_per_cell": "60"}}, total_funds="9000")
    assert await publish(redis, other, only_first=True) == 1, "a starting worker does not publish over others"
    found = await in_force(redis, other)
    assert found.settings.symbols[BTC].each_grid[""].cells == 10
    assert set(found.differing) == {
        'symbols."BTC/USDT".cells',
        'symbols."BTC/USDT".quote_per_cell',
        "total_funds",
    }
    second_desk = await open_desk(redis, other, rebalance=False)
    second = await second_desk.trader(owner="two")
    sent = len(await desk.exchange.fetch_orders(BTC, None, 1000))
    for _ in range(10):
        for trader in (second, first):
            await trader.tick()
            await trader.end_lease()
    assert len(await desk.exchange.fetch_orders(BTC, None, 1000)) == sent
    assert second_desk.desk.settings.total_funds == 10_000
    await second_desk.close()
    await desk.close()


@pytest.mark.parametrize("changes", [{"quote": "USDC", "symbols": {"BTC/USDC": GRID}}, {"exchange": {"id": "okx"}}])
async def test_what_must_agree_is_refused(redis: RedisClient, changes: dict[str, Any]) -> None:
    """Another quote currency or exchange is no difference to be passed over."""
    await publish(redis, own({BTC: GRID}))
    with pytest.raises(StateError, match="trades with other settings for"):
        await in_force(redis, settings(**({"symbols": {BTC: GRID}} | changes)))


async def test_a_worker_without_keys_is_refused_real_orders(redis: RedisClient) -> None:
    """The rules between fields hold for the settings in force with the worker's own keys; looking needs no keys."""
    with_keys = own({BTC: GRID}, exchange={"live": True, "api_key": "KEYKEY", "secret": "SECRETSECRET"})
    await publish(redis, with_keys)
    without = from_values(public_values(with_keys))
    with pytest.raises(ConfigError) as caught:
        await in_force(redis, without)
    assert [problem.field for problem in caught.value.problems] == ["exchange.api_key", "exchange.secret"]
    assert caught.value.problems[0].remedy == "Set GRIDFLOW_EXCHANGE__API_KEY"
    assert "version 1 of the settings in force" in caught.value.source
    assert (await in_force(redis, without, only_look=True)).settings.exchange.live
    assert (await in_force(redis, with_keys)).settings == with_keys


async def test_settings_in_force_of_another_version_are_refused(redis: Redis) -> None:
    """By field, value and rule, and with what to do."""
    await publish(redis, own({BTC: GRID}))
    body = json.loads(await redis.hget(KEYS.settings, "body") or "")
    body["symbols"][BTC] |= {"grid": "hexagonal"}
    body["dynamic_step"] = "7"
    await redis.hset(KEYS.settings, "body", json.dumps(body))
    with pytest.raises(StateError) as caught:
        await in_force(redis, own({BTC: GRID}))
    assert "symbols.\"BTC/USDT\".grid = hexagonal: must be 'arithmetic', 'geometric', 'adaptive' or 'infinity'" in str(
        caught.value
    )
    assert "dynamic_step = 7: must be at most 1" in str(caught.value)
    assert "gridflow deploy" in str(caught.value)


async def test_published_settings_hold_no_secret_and_no_place(redis: Redis) -> None:
    """Keys, URLs and paths stay with the process that has them."""
    secret = settings(
        exchange={"id": "binance", "api_key": "KEYKEY", "secret": "SECRETSECRET", "api_url": "http://127.0.0.1:9"},
        redis_url="redis://:hunter22@127.0.0.1:1/0",
        paper={"data": "/somewhere/else"},
    )
    assert await publish(redis, secret) == 1
    assert await publish(redis, secret) == 1, "the same settings again change nothing"
    text = json.dumps(await redis.hgetall(KEYS.settings))
    for hidden in ("KEYKEY", "SECRETSECRET", "hunter22", "127.0.0.1", "somewhere"):
        assert hidden not in text
    found = await in_force(redis, secret)
    assert found.settings == secret


async def test_order_ids_of_two_accounts_differ_on_one_exchange_account(redis: RedisClient) -> None:
    """The same grid under two account names: neither takes the other's orders for its own."""
    desk = await opened(redis, {BTC: GRID})
    await trade(desk, [await desk.trader()], 2)
    for order in await desk.client.open_orders(BTC):
        said = parse_order_id(order.client_id)
        assert said is not None
        assert said.account == account_tag("main") != account_tag("second")
        assert said.grid_id == grid_id(BTC, desk.desk.settings.symbols[BTC])
        assert len(order.client_id) <= 36
    assert (await audit_funds(redis, Keys("second"), [BTC], desk.client)).differences == ()
    await desk.close()


async def test_a_pause_is_counted_and_told_once(redis: RedisClient, caplog: pytest.LogCaptureFixture) -> None:
    """Every buy that a pause holds back is counted and logged once, however many ticks it lasts."""
    desk = await opened(redis, {BTC: GRID | {"start": "flat"}})
    trader = await desk.trader()
    await redis.hset(KEYS.funds, "paused", "1")
    caplog.set_level("INFO", "tasks.tick.placing")
    for _ in range(4):
        await trader.tick()
    told = [record for record in caplog.records if record.message == "Trade blocked"]
    _, blocked = await views.counters(redis, KEYS)
    below = sum(cell.buy_price < 42_000 for cell in await cells_of(redis, BTC))
    assert blocked == {(BTC, "PAUSED"): below}
    assert len(told) == below
    await redis.hset(KEYS.funds, "paused", "0")
    report = await trader.tick()
    assert report.placed == below
    share = await desk.desk.allocator.get_allocation_status(BTC)
    assert from_units(share.reserved_units) > 0
    await desk.close()


async def test_the_paper_exchange_keeps_the_market_of_a_symbol_that_left(redis: RedisClient) -> None:
    """After a start with a file that no longer names it, its orders still rest, and it can be sold."""
    both = own({BTC: GRID, ETH: GRID}, paper={"market": "synthetic", "speed": "60"})
    await publish(redis, both)
    first = await open_desk(redis, both)
    await trade_by_itself(first, [await first.trader(symbol) for symbol in (BTC, ETH)])
    await first.close()
    without = own({BTC: GRID}, paper={"market": "synthetic", "speed": "60"})
    await put_in_force(redis, without, liquidate=True)
    second = await open_desk(redis, without)
    trader = await second.trader(ETH)
    for _ in range(6):
        with suppress(SymbolLeft):
            await trader.tick()
    assert await second.client.open_orders(ETH) == []
    assert not (await second.desk.allocator.get_allocation_status(ETH)).registered
    await second.close()


async def trade_by_itself(desk: TestDesk, traders: Sequence[GridTrader]) -> None:
    """A few ticks on a market that nobody moves by hand."""
    for _ in range(4):
        for trader in traders:
            await trader.tick()
    for trader in traders:
        await trader.end_lease()
