"""Money in and out of a pot on a real server: the pool follows at once, nothing counts twice, nothing is lost."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.runtime.cli import cli
from tasks.base.errors import ConfigError, GridflowError, StateError
from tasks.base.keys import Keys
from tasks.base.money import from_units, units_down
from tasks.base.redis_client import RedisClient, connect
from tasks.control.capital import invest, withdraw_profit
from tasks.funds.allocator import GlobalFundAllocator
from tasks.history.archiver import Archiver
from tasks.history.capital import raise_capital, read_capital, restore_capital
from tasks.history.database import Database
from tasks.history.direct import write_now
from tasks.ledger.store import realised_profit
from tasks.paper.scripts import PaperKeys
from tasks.settings.in_force import publish
from tasks.settings.model import Settings
from tasks.tick.monitor import guard_balance, rebalance
from tasks.views.quick import quick_stats
from tasks.views.steps import read_status
from tests.support.binance.config import Config
from tests.support.binance.desk import join_binance_desk
from tests.support.binance.server import local_exchange
from tests.support.desk import BTC, QUICK, TestDesk, open_desk, settings, walk

KEYS = Keys("main")
ONE = 10**8
FILE = 'allocation_strategy = "equal"\n[symbols."BTC/USDT"]\nrange_pct = "0.04"\ncells = 20\n'
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def own(**changes: object) -> Settings:
    """One symbol, 10,000 quote, 95 % usable."""
    return settings(allocation_strategy="equal", **changes)


async def traded(redis: RedisClient, used: Settings, minutes: int = 60) -> TestDesk:
    """A desk whose symbol has closed rounds with a profit."""
    await publish(redis, used)
    desk = await open_desk(redis, used, {BTC: walk(minutes + 20, seed=4, step_bp=60)})
    trader = await desk.trader()
    for _ in range(minutes):
        await trader.tick()
        await desk.exchange.advance(1)
    await trader.tick()
    await trader.end_lease()
    assert await realised_profit(redis, KEYS) > 10
    return desk


async def test_the_pool_follows_what_is_invested_earned_and_withdrawn(redis: RedisClient) -> None:
    """Invest, reinvest, withdraw: pool, caps, even share, quote guard, equity and PnL agree after each, exactly."""
    zero = Decimal(0)
    desk = await traded(redis, own(reinvest=True))
    allocator, total = desk.desk.allocator, Decimal(10_000)
    start = await read_status(desk.desk.settings, redis)

    async def agrees(invested: Decimal, withdrawn: Decimal, reinvested: Decimal) -> None:
        assert await guard_balance(desk.desk) == 0
        view = await read_status(desk.desk.settings, redis)
        in_force = total + invested - withdrawn + reinvested
        assert view.pool == from_units(units_down(in_force * Decimal("0.95")))
        assert (view.invested, view.withdrawn, view.reinvested) == (invested, withdrawn, reinvested)
        assert view.equity == total + invested - withdrawn + view.equity_change
        assert (view.equity_change, view.identity_error) == (start.equity_change, zero), "moving money earns nothing"
        assert (await quick_stats(desk.desk.settings, redis)).stats.total_value == view.equity
        (symbol,) = view.symbols
        assert symbol.allocated == allocator.even_share == view.pool
        assert symbol.cap == from_units(units_down(in_force))

    await agrees(zero, zero, zero)
    profit = from_units(units_down(await realised_profit(redis, KEYS)))
    entered = await rebalance(desk.desk, force=True, reason="scheduled")
    assert entered.applied
    await agrees(zero, zero, profit)
    again = await rebalance(desk.desk, force=True, reason="scheduled")
    assert again.outcome == "nothing to change"
    done = await invest(redis, desk.desk.settings, Decimal(500))
    assert (done.rebalance, done.capital, done.is_new) == ("applied", Decimal(10_500), True)
    await agrees(Decimal(500), zero, profit)
    await withdraw_profit(redis, desk.desk.settings, Decimal("7.5"))
    await agrees(Decimal(500), Decimal("7.5"), profit)
    assert not (await rebalance(desk.desk, force=True, reason="scheduled")).applied
    await publish(redis, own(reinvest=False))
    off = await rebalance(desk.desk, force=False, reason="monitor")
    assert off.applied
    await agrees(Decimal(500), Decimal("7.5"), zero)
    await desk.close()


async def test_a_tick_trades_by_money_that_another_process_moved(redis: RedisClient) -> None:
    """The next tick reads it: even share and sizes follow; committed stays below the pool."""
    desk = await traded(redis, own())
    trader = await desk.trader()
    await invest(redis, own(), Decimal(5000))
    assert desk.desk.allocator.even_share == 9500
    reports = [await trader.tick() for _ in range(12)]
    assert desk.desk.allocator.even_share == 14_250
    assert sum(report.placed for report in reports) > 0, "buys grow into the larger pool"
    view = await read_status(own(), redis)
    assert 9500 < view.committed <= view.pool == 14_250
    await desk.close()


async def test_what_cannot_be_withdrawn_is_refused_with_the_rule(redis: RedisClient) -> None:
    """More than the realised profit, more than is free, no amount at all, a pot that is not open."""
    with pytest.raises(StateError, match="the pot is not open yet"):
        await invest(redis, own(), Decimal(1))
    desk = await traded(redis, own())
    profit = from_units(units_down(await realised_profit(redis, KEYS)))
    with pytest.raises(ConfigError, match=rf"AMOUNT = 5000: more than the realised profit.*Give at most {profit}"):
        await withdraw_profit(redis, own(), Decimal(5000))
    await withdraw_profit(redis, own(), profit)
    with pytest.raises(ConfigError, match=r"not withdrawn yet: 0 .*Wait until rounds"):
        await withdraw_profit(redis, own(), Decimal("0.00000001"))
    for text, rule in (("0", "above 0"), ("-1", "above 0"), ("1e9", "at most 90000000"), ("0.000000001", "8 decimals")):
        with pytest.raises(ConfigError, match=rule):
            await invest(redis, own(), Decimal(text))
    with pytest.raises(ConfigError, match="Give at most 89990"):
        await invest(redis, own(), Decimal(90_000_000))
    assert (await read_status(own(), redis)).withdrawn == profit
    await desk.close()


async def test_profit_that_is_in_orders_is_not_withdrawn(redis: RedisClient) -> None:
    """The exchange holds less free than was earned."""
    desk = await traded(redis, own())
    await redis.hset(PaperKeys(KEYS).balances, "free:USDT", str(2 * ONE))
    with pytest.raises(ConfigError, match=r"more than the 2 USDT that the exchange holds free.*Give at most 2"):
        await withdraw_profit(redis, own(), Decimal(3))
    assert (await read_status(own(), redis)).withdrawn == 0
    await desk.close()


async def test_a_real_account_must_hold_what_is_invested_and_keeps_what_is_withdrawn(redis: RedisClient) -> None:
    """Through the real client: 10,000 quote on the account. Neither command moves any of it; the guard agrees."""
    candles = {BTC: walk(80, seed=4, step_bp=60)}
    async with local_exchange(candles, Config(weight_limit=60_000, orders_per_10s=10_000)) as server:
        live = own(total_funds="5000", exchange=server.settings(), live=True, trading=QUICK)
        await publish(redis, live)
        desk = await join_binance_desk(redis, live, server)
        assert (await invest(redis, live, Decimal(5000))).pool == 9500
        with pytest.raises(
            ConfigError, match=r"AMOUNT = 1000: the pot would promise 10450 USDT.*holds 10000\. Pay it in"
        ):
            await invest(redis, live, Decimal(1000))
        trader = await desk.trader()
        for _ in range(60):
            await trader.tick()
            await server.advance(1)
        await trader.tick()
        before = (await desk.client.balances())["USDT"]
        done = await withdraw_profit(redis, live, Decimal(2))
        assert (await desk.client.balances())["USDT"] == before
        assert (done.capital, done.pool) == (Decimal(9998), Decimal("9498.1"))
        assert await guard_balance(desk.desk) == 0
        view = await read_status(live, redis)
        assert (view.identity_error, view.equity) == (Decimal(0), 9998 + view.equity_change)
        await trader.end_lease()
        await desk.close()


async def test_two_operators_at_once_take_no_more_than_there_is(redis: RedisClient) -> None:
    """Six ask for a third of the profit each: three get it. All that is invested at once counts; one id counts once."""
    desk = await traded(redis, own())
    third = from_units(units_down(await realised_profit(redis, KEYS)) // 3)

    async def take() -> bool:
        try:
            return (await withdraw_profit(redis, own(), third)).is_new
        except GridflowError:
            return False

    assert sum(await asyncio.gather(*(take() for _ in range(6)))) == 3
    once = await asyncio.gather(*(invest(redis, own(), Decimal(100), once=f"id {number % 3}") for number in range(6)))
    assert sum(done.is_new for done in once) == 3
    view = await read_status(own(), redis)
    assert (view.invested, view.withdrawn) == (Decimal(300), third * 3)
    assert view.pool == from_units(units_down(view.capital * Decimal("0.95"))), "the last rebalance saw every movement"
    await desk.close()


@SQLITE
async def test_moved_money_comes_back_after_redis_lost_everything(redis: RedisClient, database: Database) -> None:
    """From the table that a command writes straight away, also where a checkpoint is older; twice changes nothing."""
    desk = await traded(redis, own(reinvest=True))
    await invest(redis, own(), Decimal("250.5"))
    await redis.set(KEYS.mode, "live:binance")  # a paper market would begin anew, without its books
    archiver = Archiver(redis, KEYS, database, 256)
    assert await archiver.drain(20) == 0
    await redis.set(KEYS.mode, "paper")
    await rebalance(desk.desk, force=True, reason="scheduled")
    await withdraw_profit(redis, own(), Decimal("1.25"))
    before = (await read_status(own(), redis)).moved
    assert await write_now(redis, KEYS, database, 20)
    await redis.flushall()
    assert await archiver.restore_settings(own()) == 1
    assert await archiver.recover("live:binance")
    funds = await redis.hmget(KEYS.funds, ["invested", "withdrawn"])
    assert funds == ["25050000000", "125000000"]
    assert "settings version 1, invested 250.5, withdrawn 1.25" in str(await redis.hget(KEYS.history, "restored"))
    assert before.startswith("Invested 250.50, withdrawn 1.25")
    await archiver.close()
    await desk.close()


@SQLITE
async def test_money_that_was_moved_survives_a_redis_that_went_back(redis: RedisClient, database: Database) -> None:
    """As if a failover had lost the newest writes: the archiver's next step raises the sums, and never lowers them."""
    desk = await traded(redis, own())
    await invest(redis, own(), Decimal(700))
    archiver = Archiver(redis, KEYS, database, 256)
    assert await archiver.drain(20) == 0
    await redis.hset(KEYS.funds, "invested", str(100 * ONE))
    await archiver.close()
    for mode, expected in (("paper", 100), ("live:binance", 700)):
        await redis.set(KEYS.mode, mode)
        other = Archiver(redis, KEYS, database, 256)
        await other.step()
        await other.close()
        assert (await read_status(own(), redis)).invested == expected
    await redis.hset(KEYS.funds, "invested", str(900 * ONE))
    assert not await raise_capital(redis, KEYS, database), "not archived yet: Redis is ahead"
    report = await rebalance(desk.desk, force=False, reason="monitor")
    assert report.pool == Decimal("10355")
    await desk.close()


@SQLITE
async def test_a_new_paper_market_is_paid_what_was_invested(redis: RedisClient, database: Database) -> None:
    """Once, however many workers start; the sums come from the table."""
    desk = await traded(redis, own())
    await invest(redis, own(), Decimal(1000))
    assert await write_now(redis, KEYS, database, 20)
    await desk.close()
    await redis.flushall()
    desk = await open_desk(redis, own(), {BTC: walk(30)}, rebalance=False)
    for _ in range(2):
        assert await restore_capital(redis, KEYS, database, new_market=True) == ["invested 1000"]
    assert (await read_capital(database, "main")).invested_units == 1000 * ONE
    assert (await desk.client.balances())["USDT"].free == 11_000
    allocator = GlobalFundAllocator.from_settings(own(), redis)
    await allocator.rebalance_if_needed(reason="start")
    assert allocator.pool_units == 10_450 * ONE
    await desk.close()


def test_the_commands_move_money_and_say_what_is_left(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`gridflow invest` and `withdraw-profit`: as text and as JSON; they ask; 0 on success, 2 where refused."""

    async def prepare() -> None:
        redis = connect(redis_url)
        desk = await traded(redis, own())
        await desk.close()
        await redis.aclose()

    asyncio.run(prepare())
    (tmp_path / "gridflow.toml").write_text(FILE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDFLOW_REDIS_URL", redis_url)
    asked = CliRunner().invoke(cli, ["invest", "500"], input="n\n")
    assert (asked.exit_code, "work with 500 USDT more?" in asked.output) == (1, True)
    done = CliRunner().invoke(cli, ["invest", "500", "--json", "--yes"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["invested"], found["pool"], found["rebalance"]) == ("500", "9975", "applied")
    taken = CliRunner().invoke(cli, ["withdraw-profit", "1.5"], input="y\n")
    assert taken.exit_code == 0, taken.output
    assert "Taken out of the pot: 1.5 USDT. The pool is 9973.575 USDT (applied)." in taken.output
    shown = CliRunner().invoke(cli, ["status"])
    assert "Invested 500.00, withdrawn 1.50, reinvested 0.00" in shown.output
    refused = CliRunner().invoke(cli, ["withdraw-profit", "5000", "--yes"])
    assert isinstance(refused.exception, ConfigError)
    assert CliRunner().invoke(cli, ["invest", "nothing"]).exit_code == 2
