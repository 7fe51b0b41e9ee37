"""The audit names every difference and its cause; the repair mends the money, while workers go on."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.runtime.cli import cli
from tasks.base.events import EventKind
from tasks.base.keys import Keys
from tasks.base.money import from_units
from tasks.base.redis_client import RedisClient, connect
from tasks.exchange.models import Side
from tasks.funds.models import FundCode
from tasks.funds.store import repair
from tasks.ledger import quote_guard
from tasks.ledger.audit import Cause
from tasks.ledger.steps import audit_funds, repair_funds, watch_drift
from tasks.tick.monitor import guard_balance, run_monitor
from tasks.views import store as views
from tasks.views.steps import read_status
from tests.support.books import check_books, settle
from tests.support.desk import BTC, TestDesk, candle, open_desk, settings, walk

KEYS = Keys("main")


async def trading_desk(redis: RedisClient) -> TestDesk:
    """A desk that holds lots, rests orders and has closed rounds."""
    desk = await open_desk(redis, settings(), {BTC: walk(200)})
    trader = await desk.trader()
    for _ in range(40):
        await trader.tick()
        await desk.exchange.advance(2)
    await settle(trader, redis)
    await trader.end_lease()
    return desk


async def test_a_healthy_pot_has_no_difference(redis: RedisClient) -> None:
    """Journal, cells, fills, open orders and money agree."""
    desk = await trading_desk(redis)
    report = await audit_funds(redis, KEYS, [BTC], desk.client)
    assert report.differences == ()
    _, code = await repair_funds(redis, KEYS, [BTC])
    assert code is FundCode.ALREADY
    await desk.close()


async def test_every_kind_of_drift_is_named_and_mended(redis: RedisClient) -> None:
    """Break the money in every way; the audit finds each, the repair leaves none, trading goes on."""
    desk = await trading_desk(redis)
    buys = [name for name in await redis.hkeys(KEYS.reservations(BTC)) if "-b-" in str(name)]
    await redis.hset(KEYS.reservations(BTC), "leaked", "12345")
    await redis.hdel(KEYS.reservations(BTC), str(buys[0]))
    await redis.hincrby(KEYS.reservations(BTC), str(buys[1]), 7)
    await redis.hincrby(KEYS.funds_symbol(BTC), "used", -100)
    await redis.hincrby(KEYS.funds, "used", 55)
    await redis.hincrby(KEYS.funds, "reserved", 66)
    report = await audit_funds(redis, KEYS, [BTC], desk.client)
    assert {one.cause for one in report.drift} == {
        Cause.LEAKED_RESERVATION,
        Cause.MISSING_RESERVATION,
        Cause.WRONG_RESERVATION,
        Cause.RESERVED_SUM,
        Cause.USED_SUM,
        Cause.POT_USED,
        Cause.POT_RESERVED,
    }
    (leak,) = [one for one in report.drift if one.cause is Cause.LEAKED_RESERVATION]
    assert (leak.subject, leak.found) == ("leaked", Decimal("0.00012345"))
    _, code = await repair_funds(redis, KEYS, [BTC])
    assert code is FundCode.OK
    assert (await audit_funds(redis, KEYS, [BTC], desk.client)).differences == ()
    trader = await desk.trader()
    await desk.exchange.advance(20)
    await settle(trader, redis)
    await check_books(desk, redis)
    await desk.close()


async def test_a_repair_computed_from_old_records_is_refused(redis: RedisClient) -> None:
    """A tick in between changes journal or cells: CONFLICT, and nothing is written."""
    desk = await trading_desk(redis)
    await redis.hincrby(KEYS.funds, "used", 55)
    old = await audit_funds(redis, KEYS, [BTC])
    trader = await desk.trader()
    await desk.exchange.advance(60)
    report = await trader.tick()
    assert report.fills
    before = await redis.hgetall(KEYS.funds)
    assert await repair(redis, keys=KEYS, symbols=old.repairs) is FundCode.CONFLICT
    assert await redis.hgetall(KEYS.funds) == before
    await desk.close()


async def test_orders_and_books_that_do_not_match_are_reported(redis: RedisClient) -> None:
    """A stray order of ours, a lost one, a ledger that disagrees: named, not touched."""
    desk = await trading_desk(redis)
    (first, *_) = [order for order in await desk.client.open_orders(BTC) if order.side.value == "buy"]
    await redis.hdel(KEYS.intents(BTC), first.client_id)
    await redis.hdel(KEYS.reservations(BTC), first.client_id)
    (other, *_) = [order for order in await desk.client.open_orders(BTC) if order.client_id != first.client_id]
    await desk.client.cancel(BTC, [other.exchange_id])
    book = json.loads(str(await redis.get(KEYS.book(BTC))))
    await redis.set(KEYS.book(BTC), json.dumps(book | {"basis": "1"}))
    report = await audit_funds(redis, KEYS, [BTC], desk.client)
    causes = {one.cause for one in report.differences}
    assert {Cause.ORPHAN_ORDER, Cause.LOST_ORDER, Cause.BOOK, Cause.FILLS} <= causes
    assert Cause.LOST_ORDER not in {one.cause for one in report.drift}
    await desk.close()


async def test_scheduled_audit_publishes_drift(redis: RedisClient) -> None:
    """An event with every difference, and none when all is right."""
    desk = await trading_desk(redis)
    await watch_drift(redis, KEYS, [BTC])
    await redis.hincrby(KEYS.funds, "used", 55)
    await watch_drift(redis, KEYS, [BTC])
    told = await views.events(redis, KEYS, 10)
    assert [one.type for one in told if one.type == EventKind.FUNDS_DRIFT] == [EventKind.FUNDS_DRIFT]
    assert "POT_USED" in told[0].body or "pot's used money" in told[0].body
    await desk.close()


async def test_the_real_balance_guard(redis: RedisClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than promised by two looks: no new grants, status says by how much; enough again by one: they go on."""
    monkeypatch.setattr(quote_guard, "CLOCK_MARGIN_MS", 0)
    own = settings()
    desk = await open_desk(redis, own, {BTC: walk(10)})
    assert await guard_balance(desk.desk) == 0
    trader = await desk.trader()
    assert (await trader.tick()).placed > 0
    poorer = settings(total_funds="20000")  # promises 19000 where the account holds 10000
    richer_pot = await open_desk(redis, poorer)
    for _ in range(3):
        await run_monitor(richer_pot.desk)
        assert (await read_status(poorer, redis)).short == 0, "no tick in between, so a fill might be unread"
    await trader.tick()
    await run_monitor(richer_pot.desk)
    view = await read_status(poorer, redis)
    assert view.short == 9000
    buys = [order for order in await desk.client.open_orders(BTC) if order.side is Side.BUY]
    await desk.client.cancel(BTC, [order.exchange_id for order in buys])
    report = await trader.tick()
    assert set(report.refused.values()) == {"GLOBAL_LIMIT"}
    assert report.placed == 0
    await desk.desk.allocator.rebalance_if_needed(force=True, reason="back")
    await run_monitor(desk.desk)
    assert (await read_status(own, redis)).short == 0
    assert (await trader.tick()).placed > 0
    kinds = [one.type for one in await views.events(redis, KEYS, 20)]
    assert kinds.count(EventKind.FUNDS_SHORT) == kinds.count(EventKind.FUNDS_RESTORED) == 1
    assert EventKind.ALLOCATION_UPDATED in kinds
    await desk.close()
    await richer_pot.close()


async def test_fills_of_a_crash_that_are_not_booked_yet_do_not_stop_buys(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account is poorer by what they cost, and the pot still promises it. Look after look: nothing is short."""
    monkeypatch.setattr(quote_guard, "CLOCK_MARGIN_MS", 0)
    crash = [candle(0, "42000", "42000", "42000", "42000"), candle(1, "42000", "42000", "39600", "39700")]
    crash += [candle(2, "39700", "39700", "38700", "38800"), candle(3, "38800", "38800", "38800", "38800")]
    desk = await open_desk(redis, settings(), {BTC: crash})
    trader = await desk.trader()
    await trader.tick()
    for _ in range(3):
        await desk.exchange.advance(1)
        pot = await desk.desk.allocator.get_global_status_summary()
        quote = (await desk.client.balances())["USDT"]
        is_unread = quote.free + quote.locked < from_units(pot.pool_units - pot.used_units)
        for _ in range(3):
            assert await guard_balance(desk.desk) == 0
        report = await trader.tick()
        assert not report.refused, "buys were refused"
        assert bool(report.fills) == is_unread
        assert await guard_balance(desk.desk) == 0
    assert (await read_status(settings(), redis)).symbols[0].fills > 5
    assert EventKind.FUNDS_SHORT not in [one.type for one in await views.events(redis, KEYS, 50)]
    await desk.close()


def test_the_command(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`gridflow funds audit` shows differences and fails; `--repair` mends them and succeeds."""
    import asyncio

    async def prepare() -> None:
        redis = connect(redis_url)
        await redis.hset(KEYS.funds, mapping={"pool": 0, "used": 5, "reserved": 0})
        await redis.aclose()

    asyncio.run(prepare())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDFLOW_REDIS_URL", redis_url)
    runner = CliRunner()
    found = runner.invoke(cli, ["funds", "audit", "--no-exchange", "--json"])
    assert found.exit_code == 1
    assert json.loads(found.stdout)["found"][0]["cause"] == "POT_USED"
    mended = runner.invoke(cli, ["funds", "audit", "--no-exchange", "--repair"])
    assert mended.exit_code == 0, mended.output
    assert "Repaired" in mended.output
    again = runner.invoke(cli, ["funds", "audit", "--no-exchange"])
    assert again.exit_code == 0
    assert "The pot is right" in again.output
