"""A dark symbol is told: once in the log and as an event, in the status and its exit code, until it is ticked again."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.runtime.commands.stack_commands import EXIT_DARK, status
from tasks.base.redis_client import RedisClient
from tasks.control import steps as control
from tasks.control.dark import LastWatch
from tasks.tick import dark_watch
from tasks.tick.dark_watch import DarkWatch
from tasks.tick.heartbeat import Heartbeat, HeldWindow, beat
from tasks.tick.prefect_record import PrefectRecord, write_record
from tasks.tick.trader import GridTrader
from tasks.views.models import SymbolView
from tasks.views.steps import read_status
from tests.support import real_workers
from tests.support.desk import BTC, TestDesk, open_desk, settings, walk

GRID = settings().symbols[BTC]
ETH = "ETH/USDT"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch need not wait for others to tick."""
    monkeypatch.setattr(dark_watch, "_SETTLE_SECONDS", 0.0)


async def opened(redis: RedisClient) -> tuple[TestDesk, list[GridTrader]]:
    """Two symbols, each ticked once, and one worker that runs both."""
    own = settings(symbols={BTC: GRID, ETH: GRID})
    desk = await open_desk(redis, own, {BTC: walk(60), ETH: walk(60)})
    traders = [await desk.trader(symbol) for symbol in (BTC, ETH)]
    for trader in traders:
        await trader.tick()
    await beat(redis, keys=desk.desk.keys, heartbeat=worker("w", BTC, ETH))
    return desk, traders


def worker(name: str, *symbols: str) -> Heartbeat:
    """A heartbeat with windows of these symbols."""
    windows = tuple(HeldWindow(symbol=symbol, since_ms=1) for symbol in symbols)
    facts = {"version": "9.9", "host": "here", "pid": 42, "started_ms": 1}
    return Heartbeat(worker=name, name="one", guards=True, lag_ms=12, windows=windows, **facts)


async def make_late(desk: TestDesk, symbol: str, seconds: int = 3600) -> None:
    """As if its newest tick were that long ago."""
    key = desk.desk.keys.last_tick(symbol)
    report = json.loads(str(await desk.desk.redis.get(key)))
    await desk.desk.redis.set(key, json.dumps(report | {"at_ms": report["at_ms"] - seconds * 1000}))


async def events(desk: TestDesk) -> list[tuple[str, dict[str, Any]]]:
    """What was told of dark symbols, oldest first."""
    found: Any = await desk.desk.redis.xrange(desk.desk.keys.events)
    told = [(entry["type"], json.loads(entry["body"])) for _, entry in found]
    return [(kind, body) for kind, body in told if kind.startswith("symbol_")]


async def view_of(desk: TestDesk, symbol: str) -> SymbolView:
    """The symbol in the status."""
    view = await read_status(desk.desk.settings, desk.desk.redis)
    return next(one for one in view.symbols if one.symbol == symbol)


async def test_each_change_is_told_once_whoever_sees_it(redis: RedisClient) -> None:
    """Two workers watch; begin and end are one event each, with the time of the last tick and how long it took."""
    desk, traders = await opened(redis)
    watches = [DarkWatch("w"), DarkWatch("x")]
    await beat(redis, keys=desk.desk.keys, heartbeat=worker("x"))

    async def look() -> list[tuple[str, dict[str, Any]]]:
        for watch in watches:
            await watch.look(desk.desk)
        return await events(desk)

    assert await look() == []
    assert not (await view_of(desk, BTC)).dark
    await make_late(desk, BTC)
    assert [(kind, body["symbol"]) for kind, body in await look()] == [("symbol_dark", BTC)]
    view = await view_of(desk, BTC)
    assert view.dark
    assert view.late_seconds > 3590
    assert "no tick for" in view.dark_why
    assert not (await view_of(desk, ETH)).dark
    assert len(await look()) == 1, "told again"
    await traders[0].tick()
    told = await look()
    assert [kind for kind, _ in told] == ["symbol_dark", "symbol_ticks"]
    assert told[1][1]["since_ms"] == told[0][1]["since_ms"]
    assert 3599 < told[1][1]["seconds"] < 3660
    assert len(await look()) == 2
    await desk.close()


async def test_a_symbol_that_is_not_to_be_ticked_is_not_dark(redis: RedisClient) -> None:
    """Paused in Prefect, or stopped by an operator. A pause ends what was told."""
    desk, _ = await opened(redis)
    watch, keys = DarkWatch("w"), desk.desk.keys
    await make_late(desk, BTC)
    await watch.look(desk.desk)
    await write_record(redis, keys, PrefectRecord(at_ms=1, paused=(BTC,)))
    await watch.look(desk.desk)
    assert [kind for kind, _ in await events(desk)] == ["symbol_dark", "symbol_ticks"]
    view = await view_of(desk, BTC)
    assert (view.dark, view.late_seconds, view.paused_in_prefect) == (False, 0, True)
    await write_record(redis, keys, PrefectRecord(at_ms=2))
    await redis.hset(keys.funds, "stopped", 1)
    await watch.look(desk.desk)
    assert not (await view_of(desk, BTC)).dark
    assert len(await events(desk)) == 2
    await desk.close()


async def test_a_symbol_that_never_ticked_is_dark_after_a_minute(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first tick may have to rebuild it. The status knows from the watch how long it has waited."""
    desk, traders = await opened(redis)
    await redis.delete(desk.desk.keys.last_tick(BTC))
    watch = DarkWatch("w")
    await watch.look(desk.desk)
    assert await events(desk) == []
    assert not (await view_of(desk, BTC)).dark
    monkeypatch.setattr(dark_watch, "_FIRST_TICK_SECONDS", 0.0)
    await watch.look(desk.desk)
    ((kind, body),) = await events(desk)
    assert (kind, body["why"]) == ("symbol_dark", "it has never been ticked")
    assert (await view_of(desk, BTC)).dark
    await traders[0].tick()
    await watch.look(desk.desk)
    assert [each for each, _ in await events(desk)] == ["symbol_dark", "symbol_ticks"]
    await desk.close()


async def test_a_process_that_has_just_started_lets_the_others_tick_first(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart of the whole machine every symbol is late for a moment."""
    monkeypatch.setattr(dark_watch, "_SETTLE_SECONDS", 3600.0)
    desk, _ = await opened(redis)
    await make_late(desk, BTC)
    await DarkWatch("w").look(desk.desk)
    assert await events(desk) == []
    assert (await view_of(desk, BTC)).dark, "the status tells what is"
    await desk.close()


async def test_the_status_command(redis: RedisClient, redis_url: str, tmp_path: Path) -> None:
    """Table, JSON and exit code; the workers with host, version, loop lag and symbols."""
    desk, _ = await opened(redis)
    await make_late(desk, BTC)
    config = tmp_path / "gridflow.toml"
    config.write_text(real_workers.SETTINGS, encoding="utf-8")
    arguments = ["--config", str(config), "--state", str(tmp_path / "none")]
    environment = {"GRIDFLOW_REDIS_URL": redis_url, "COLUMNS": "200"}

    def asked(*more: str) -> Any:
        return CliRunner().invoke(status, [*arguments, *more], env=environment)

    table = await asyncio.to_thread(asked)
    assert table.exit_code == EXIT_DARK == 4, table.output
    assert "1 of 2 symbols dark" in table.output
    assert "BTC/USDT is dark: no tick for" in table.output
    assert "BTC/USDT (DARK)" in table.output
    told = json.loads((await asyncio.to_thread(asked, "--json")).stdout)
    assert {one["symbol"]: one["dark"] for one in told["symbols"]} == {BTC: True, ETH: False}
    assert told["symbols"][0]["late_seconds"] > 3590
    (one,) = told["workers"]
    assert (one["host"], one["version"], one["lag_ms"], one["symbols"]) == ("here", "9.9", 12, [BTC, ETH])
    assert one["alive"] is True
    await desk.close()


async def test_a_dashboard_tells_where_every_worker_is_dead(redis: RedisClient) -> None:
    """Once for two dashboards; not while a worker lives; a worker that comes back ends it."""
    desk, traders = await opened(redis)
    keys, watches = desk.desk.keys, [LastWatch(desk.desk.settings, f"dashboard {number}") for number in range(2)]

    async def look() -> list[tuple[str, dict[str, Any]]]:
        for watch in watches:
            await watch.look(redis)
        return await events(desk)

    await make_late(desk, BTC)
    assert await look() == [], "a worker lives: it tells of it"
    await redis.delete(keys.workers)
    ((kind, told),) = await look()
    assert (kind, told["symbol"]) == ("symbol_dark", BTC)
    assert "no worker is alive" in told["why"]
    assert len(await look()) == 1
    await control.stop(redis, desk.desk.settings)
    assert [one for one, _ in await look()] == ["symbol_dark", "symbol_ticks"], "nobody should tick it any more"
    await control.resume(redis, desk.desk.settings)
    assert len(await look()) == 3
    await beat(redis, keys=keys, heartbeat=worker("w", BTC, ETH))
    await traders[0].tick()
    assert len(await look()) == 3
    await DarkWatch("w").look(desk.desk)
    assert [one for one, _ in await events(desk)][-1] == "symbol_ticks"
    await redis.flushall()
    assert await look() == [], "nothing trades there"
    await desk.close()
