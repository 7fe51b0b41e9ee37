"""Settings change while twenty symbols trade: what is announced happens, every worker follows, nothing is lost."""

import asyncio
import json
import random
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flows.runtime.cli import cli
from tasks.base.errors import ConfigError
from tasks.base.keys import Keys
from tasks.base.money import from_units
from tasks.base.redis_client import RedisClient, connect
from tasks.control.change_effects import Effect, SymbolEffect
from tasks.control.reload import plan_change
from tasks.control.steps import put_in_force
from tasks.grid.resizing import MAX_PER_TICK
from tasks.paper.scripts import PaperKeys
from tasks.settings.in_force import in_force, publish
from tasks.settings.model import Settings
from tasks.tick.heartbeat import Heartbeat, beat
from tasks.tick.trader import SymbolLeft
from tests.support.desk import BTC, open_desk, settings, walk
from tests.support.virtual.paper import PaperWorld, play_on_paper

ETH = "ETH/USDT"
KEYS = Keys("main")
MANY = [f"S{number:02}/USDT" for number in range(20)]
GRID: dict[str, Any] = {"grid": "geometric", "range_pct": "0.04", "cells": 24, "start": "flat"}
QUIET = {"tick_min_seconds": 6, "tick_max_seconds": 12}


def many(rng: random.Random, before: Settings | None = None) -> Settings:
    """Twenty symbols; beside `before`, other funds or other cells of a few of them."""
    now = before or Settings.model_validate({"symbols": dict.fromkeys(MANY, GRID), "trading": QUIET})
    values = now.model_dump(mode="json")
    if before is not None and rng.random() < 0.5:
        values["total_funds"] = str(rng.choice([5_000, 7_000, 10_000]))
    else:
        for symbol in rng.sample(MANY, k=5):
            values["symbols"][symbol] |= {"cells": rng.choice([20, 22, 24])}
    return Settings.model_validate(values)


def test_twenty_symbols_follow_ten_changes() -> None:
    """Every worker trades by a change within two ticks; a tick replaces at most ten orders; books are exact."""
    rng = random.Random(13)

    async def work(world: PaperWorld) -> None:
        operator = world.client("operator")
        await publish(operator, world.settings)
        await world.wait(30)
        now = world.settings
        for _ in range(10):
            before, wanted = len(world.seen), many(rng, now)
            plan = await plan_change(operator, wanted, world.clock.now)
            published = await put_in_force(operator, wanted, clock=world.clock.now)
            assert bool(plan.changes) == (wanted != now)
            await world.wait(90, partial(ticked_twice, world, before))
            assert {each.desk.settings_version for each in world.traders.values()} == {published.version}
            reports = [moment.report for moment in world.seen[before:]]
            new_grids = {one.symbol for one in plan.effects if one.effect is Effect.NEW_GRID}
            assert all(report.cancelled <= MAX_PER_TICK for report in reports if report.symbol not in new_grids)
            now = wanted
        assert all(moment.status.committed_units <= 9_500 * 10**8 for moment in world.seen)
        await world.check_books()

    candles = {symbol: walk(60, seed, "100") for seed, symbol in enumerate(MANY)}
    play_on_paper(many(random.Random(1)), candles, work)


async def ticked_twice(world: PaperWorld, before: int) -> bool:
    """Whether every symbol has ended two ticks since."""
    symbols = [moment.report.symbol for moment in world.seen[before:]]
    return all(symbols.count(symbol) >= 2 for symbol in MANY)


def own(*symbols: str, **changes: Any) -> Settings:
    """These symbols, shared equally."""
    return settings(
        **(
            {"symbols": dict.fromkeys(symbols, GRID), "allocation_strategy": "equal", "global_max_usage": "0.5"}
            | changes
        )
    )


@pytest.mark.parametrize(
    "wanted",
    [
        own(BTC, ETH, total_funds="5000"),
        own(BTC, ETH, global_max_usage="0.9"),
        own(BTC, ETH, symbols={BTC: GRID, ETH: GRID | {"cells": 18}}),
        own(BTC, ETH, symbols={BTC: GRID | {"quote_per_cell": "90"}, ETH: GRID}),
        own(BTC),
    ],
    ids=["less", "more", "grid", "size", "leaves"],
)
async def test_what_is_announced_happens(wanted: Settings, redis: RedisClient) -> None:
    """In a market that stands still: as many buys end as announced, and they hold what was announced."""
    first = own(BTC, ETH)
    await publish(redis, first)
    desk = await open_desk(redis, first, {BTC: walk(30), ETH: walk(30, seed=2)})
    traders = [await desk.trader(symbol) for symbol in (BTC, ETH)]
    for trader in [*traders, *traders]:
        await trader.tick()
    units = await buys(redis)
    plan = await plan_change(redis, wanted)
    await put_in_force(redis, wanted)
    gone: set[str] = set()
    for _ in range(8):
        for trader in traders:
            with suppress(SymbolLeft):
                await trader.tick()
        gone |= set(units) - set(await buys(redis))
    effects = [one for one in plan.effects if one.cancelled or one.replaced]
    assert effects
    assert len(gone) == sum(one.cancelled + one.replaced for one in effects)
    freed = from_units(sum(units[name] for name in gone))
    assert freed == sum((one.freed for one in effects), Decimal(0))
    check_taken(effects, from_units(sum((await buys(redis)).values()) - sum(units.values())), freed)
    await desk.close()


async def test_a_lot_step_that_is_not_known_is_said(redis: RedisClient) -> None:
    """Prices of a real exchange, which was never asked here. With its filters: as it trades."""
    first, wanted = own(BTC), own(BTC, symbols={BTC: GRID | {"quote_per_cell": "90"}})
    await publish(redis, first)
    desk = await open_desk(redis, first, {BTC: walk(5)})
    trader = await desk.trader()
    for _ in range(2):
        await trader.tick()
    exact = (await plan_change(redis, wanted)).effects
    market = trader.market
    await redis.delete(PaperKeys(KEYS).market)
    unknown = await plan_change(redis, wanted)
    assert unknown.unrounded == (BTC,)
    assert "The lot steps of BTC/USDT are not known here" in unknown.lines()[-1]
    assert unknown.effects[0].taken > exact[0].taken
    asked = await plan_change(redis, wanted, markets={BTC: market})
    assert (asked.effects, asked.unrounded) == (exact, ())
    await desk.close()


def check_taken(effects: list[SymbolEffect], grown: Decimal, freed: Decimal) -> None:
    """What the buys hold afterwards, to the last unit. New grids buy again: that is not announced."""
    if all(one.effect is Effect.FOLLOWS for one in effects):
        taken = sum((one.taken for one in effects), Decimal(0))
        assert grown == taken - freed


async def buys(redis: RedisClient) -> dict[str, int]:
    """Units of each resting buy, by client id."""
    journals = [json.loads(text) for symbol in (BTC, ETH) for text in await redis.hvals(KEYS.intents(symbol))]
    return {one["client_id"]: one["units_left"] for one in journals if one["side"] == "buy"}


async def test_what_money_hangs_on_cannot_change(redis: RedisClient) -> None:
    """Quote, exchange and test net stay while anything is committed, and `live` while a worker runs; each says why."""
    first = own(BTC)
    await publish(redis, first)
    assert (await plan_change(redis, own(BTC, exchange={"id": "okx"}))).changes, "nothing is committed yet"
    desk = await open_desk(redis, first, {BTC: walk(30)})
    await (await desk.trader()).tick()
    other = own(BTC, exchange={"id": "okx", "sandbox": True})
    for change in (plan_change, put_in_force):
        with pytest.raises(ConfigError) as caught:
            await change(redis, other)
        assert [problem.field for problem in caught.value.problems] == ["exchange.id", "exchange.sandbox"]
        assert '"binance" → "okx": cannot change while' in str(caught.value)
        assert "orders are open: they belong to the value in force" in str(caught.value)
    live = own(BTC, exchange={"live": True, "api_key": "KEYKEY", "secret": "SECRETSECRET"})
    assert [change.field for change in (await plan_change(redis, live)).changes] == ["exchange.live"]
    await beat(redis, keys=KEYS, heartbeat=Heartbeat(worker="w", version="1", host="here", pid=7, started_ms=1))
    with pytest.raises(ConfigError, match=r"cannot change while workers run \(pid 7 on here\)"):
        await plan_change(redis, live)
    assert (await in_force(redis, first)).version == 1
    await desk.close()


@pytest.fixture
def account(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """BTC and ETH at work, and the file that they trade by."""

    async def prepare() -> None:
        redis = connect(redis_url)
        both = own(BTC, ETH)
        await publish(redis, both)
        desk = await open_desk(redis, both, {BTC: walk(30), ETH: walk(30, seed=2)})
        for symbol in (BTC, ETH):
            await (await desk.trader(symbol)).tick()
        await desk.close()
        await redis.aclose()

    asyncio.run(prepare())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDFLOW_REDIS_URL", redis_url)
    return tmp_path / "gridflow.toml"


def file_of(wanted: Settings) -> str:
    """The settings as a file."""
    lines = [
        f'allocation_strategy = "equal"\nglobal_max_usage = 0.5\ntotal_funds = "{wanted.total_funds}"',
        "[trading]",
    ]
    lines += [f'{name} = "{value}"' for name, value in settings().trading.model_dump(exclude_unset=True).items()]
    for symbol in wanted.symbols:
        lines += [f'[symbols."{symbol}"]', *(f"{name} = {json.dumps(value)}" for name, value in GRID.items())]
    return "\n".join(lines)


def reload(*words: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["reload", *words])


def test_reload_tells_and_does(account: Path) -> None:
    """A dry run changes nothing; then the same is announced and in force; a third time nothing changes."""
    account.write_text(file_of(own(BTC, total_funds="8000")), encoding="utf-8")
    dry = reload("--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "total_funds: 10000 → 8000" in dry.output
    assert "ETH/USDT: leaves: it buys nothing and sells what it holds, which cost 0.00" in dry.output
    assert dry.output.endswith("Nothing was changed.\n")
    done = reload("--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["version"], told["retiring"]) == (2, [ETH])
    assert {"field": "total_funds", "before": "10000", "after": "8000"} in told["changes"]
    (leaves,) = [one for one in told["effects"] if one["symbol"] == ETH]
    assert leaves["effect"] == "retires"
    assert leaves["cancelled"] > 0
    assert Decimal(leaves["freed"]) > 500
    again = reload()
    assert again.output.endswith("Nothing changes: the file's settings are in force.\n")


def test_reload_refuses_a_wrong_file(account: Path) -> None:
    """The field, its value, the rule; nothing is put in force."""
    account.write_text('total_funds = "-1"\n', encoding="utf-8")
    refused = reload("--json")
    assert isinstance(refused.exception, ConfigError)
    assert "total_funds = -1: must be above 0" in str(refused.exception)
    account.write_text('quote = "EUR"\n[symbols."BTC/EUR"]\nrange_pct = "0.04"\n', encoding="utf-8")
    refused = reload()
    assert isinstance(refused.exception, ConfigError)
    assert "quote" in str(refused.exception)
