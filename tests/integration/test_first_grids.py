"""What cannot trade says so at the start; what fails later says so in the status, not in a log alone."""

import asyncio
import io

import pytest
from rich.console import Console

from tasks.base.clock import utc_now
from tasks.base.errors import ConfigError, ExchangeUnavailable
from tasks.base.redis_client import RedisClient
from tasks.tick.grid_checks import refuse_impossible_grids
from tasks.tick.trader import GridTrader
from tasks.tick.window import run_window
from tasks.views.render import status_table
from tasks.views.steps import read_status
from tests.support.desk import BTC, TestDesk, open_desk, settings, walk

ETH = "ETH/USDT"
GRID = {"grid": "geometric", "range_pct": "0.04", "cells": 20}


async def open_two(redis: RedisClient, funds: str, **btc: object) -> TestDesk:
    """Two symbols that share `funds`."""
    own = settings(symbols={BTC: GRID | btc, ETH: GRID}, total_funds=funds)
    return await open_desk(redis, own, {BTC: walk(60), ETH: walk(60, seed=2, start="2300")})


async def refused(desk: TestDesk) -> list[str]:
    """Fields of the grids that cannot start."""
    markets = await desk.client.markets(list(desk.desk.settings.symbols))
    try:
        await refuse_impossible_grids(desk.desk, markets)
    except ConfigError as error:
        return [problem.field for problem in error.problems if "minimum" in problem.rule]
    return []


async def test_every_grid_below_the_exchanges_minimum_is_refused_at_once(redis: RedisClient) -> None:
    """100 USDT in 40 cells: field, value, rule and remedy of each, before any order."""
    desk = await open_two(redis, "100")
    assert await refused(desk) == [f'symbols."{BTC}".quote_per_cell', f'symbols."{ETH}".quote_per_cell']
    await desk.close()


async def test_one_bad_grid_does_not_hide_behind_a_good_one(redis: RedisClient) -> None:
    """Only what cannot start is named."""
    desk = await open_two(redis, "10000", quote_per_cell="3")
    assert await refused(desk) == [f'symbols."{BTC}".quote_per_cell']
    await desk.close()


async def test_a_grid_in_force_is_not_looked_at_again(redis: RedisClient) -> None:
    """It trades, whatever it could be set up with today; no price is asked for."""
    desk = await open_two(redis, "10000")
    assert await refused(desk) == []
    for symbol in (BTC, ETH):
        await (await desk.trader(symbol)).tick()
    await desk.exchange.close()
    desk.desk.exchange.ticker = None  # type: ignore[method-assign, assignment]
    assert await refused(desk) == []
    await desk.close()


async def test_a_grid_that_only_sells_already_does_not_stop_a_worker(redis: RedisClient) -> None:
    """Its size was made impossible: refused at a start. Once a running worker has found it, another one may start."""
    desk = await open_two(redis, "10000", quote_per_cell="20")
    trader = await desk.trader(BTC)
    await trader.tick()
    small = settings(symbols={BTC: GRID | {"quote_per_cell": "3"}, ETH: GRID})
    desk.desk.settings = small
    assert await refused(desk) == [f'symbols."{BTC}".quote_per_cell']
    assert (await trader.tick()).unfit
    assert await refused(desk) == []
    await desk.close()


async def test_a_failing_tick_shows_until_one_goes_well(redis: RedisClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why, in the window's report and in the status."""
    desk = await open_two(redis, "10000")
    trader = await desk.trader(BTC)
    tick = GridTrader.tick

    async def fail(*_: object) -> None:
        raise ExchangeUnavailable("no answer from afar")

    monkeypatch.setattr(GridTrader, "tick", fail)
    report = await run_window(trader, utc_now().timestamp() + 0.2, utc_now, lambda: None)
    assert (report.ticks, report.failed_ticks, report.why_failed) == (0, 1, "no answer from afar")
    view = await read_status(desk.desk.settings, redis)
    (btc, eth) = view.symbols
    assert btc.failed_tick_why == "no answer from afar"
    assert eth.failed_tick_ms is None
    page = Console(width=200, record=True, file=io.StringIO())
    page.print(status_table(view))
    assert "no answer from afar" in page.export_text()

    monkeypatch.setattr(GridTrader, "tick", tick)
    await asyncio.sleep(0.002)
    await trader.tick()
    assert (await read_status(desk.desk.settings, redis)).symbols[0].failed_tick_ms is None
    await desk.close()
