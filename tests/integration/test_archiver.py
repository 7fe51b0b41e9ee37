"""The archiver: every record reaches the database exactly once, and nothing that happens to it stops trading."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, event, func, insert, make_url, select

from flows.runtime.stack.record import write as write_record
from flows.runtime.trading import TradingService
from tasks.base.errors import ConfigError, StateError
from tasks.base.keys import Keys
from tasks.base.outbox import RecordKind, fields_of
from tasks.base.redis_client import RedisClient
from tasks.control import steps as control
from tasks.control.actions import Actor
from tasks.exchange.models import Side
from tasks.funds import store as funds_store
from tasks.history import database_watch, outbox, tables
from tasks.history.archiver import Archiver
from tasks.history.database import Database
from tasks.history.direct import write_now
from tasks.history.recovery import allow_new_market
from tasks.history.store import StaleArchiver
from tasks.ledger.models import Book, Fill
from tasks.risk.models import StopCode
from tasks.settings.environment import state_dir
from tasks.settings.model import Settings
from tasks.settings.running import Identity, record_path
from tasks.tick.models import TickReport
from tasks.views import history
from tasks.views.steps import read_status
from tests.support.alert_servers import BOT_TOKEN, CHAT, BotApi, bot_api
from tests.support.archive_worker import start_archiver
from tests.support.desk import BTC, candle, open_desk, settings, walk
from tests.support.history import file_database, postgres_server
from tests.support.stale_stack import stack_record
from tests.support.waiting import until_so

KEYS = Keys("main")


def fill(number: int) -> Fill:
    """A buy of a cell of its own."""
    one, nothing = Decimal(1), Decimal(0)
    amounts = {"price": one, "qty": one, "quote": one, "fee": nothing, "fee_quote": nothing, "basis": one}
    names = {"trade_id": f"{number}", "client_id": f"o{number}", "cell_key": f"g.{number}", "fee_currency": "USDT"}
    return Fill(symbol=BTC, side=Side.BUY, maker=True, at_ms=number, profit=nothing, **amounts, **names)


async def append(redis: RedisClient, *numbers: int) -> None:
    """Put fills into the outbox."""
    for number in numbers:
        await redis.xadd(KEYS.outbox, fields_of(RecordKind.FILL, fill(number).model_dump_json()))


async def archived(database: Database) -> tuple[list[int], int]:
    """The numbers of the fills in the table, and how many the totals of the days count."""
    async with database.connection() as connection:
        found = (await connection.execute(select(tables.FILLS.c.trade_id))).scalars().all()
        counted = (await connection.execute(select(func.sum(tables.DAYS.c.fills)))).scalar()
    return sorted(map(int, found)), int(counted or 0)


@pytest.fixture
async def archiver(redis: RedisClient, database_url: URL) -> AsyncIterator[Archiver]:
    """An archiver on a new database."""
    found = Archiver(redis, KEYS, Database(database_url), 256)
    yield found
    await found.close()


@pytest.mark.parametrize("first", [1, 2])
async def test_killed_at_every_wait(redis: RedisClient, redis_url: str, database_url: URL, first: int) -> None:
    """SIGKILL in each wait of an archiver, with two new fills before each: every fill is in the table once.

    Every other wait from the first one, and from the second one.
    """
    url = database_url.render_as_string(hide_password=False)
    database = Database(database_url)
    await database.open()
    await append(redis, *range(1000, 1050))
    for life in count(first, 2):
        await append(redis, 2 * life, 2 * life + 1)
        process = start_archiver(redis_url, url, life)
        await asyncio.to_thread(process.join, 30)
        await redis.delete(KEYS.history_lease)  # as if it had run out
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert life > 20, "it was killed in many places"
    lives = range(first, life + 1, 2)
    wanted = [number for each in lives for number in (2 * each, 2 * each + 1)] + [*range(1000, 1050)]
    assert await archived(database) == (wanted, len(wanted))
    assert await redis.xlen(KEYS.outbox) == 0
    await database.close()


async def test_of_two_archivers_one_writes(redis: RedisClient, archiver: Archiver, database_url: URL) -> None:
    """The other waits for the lease; one whose lease ran out in the middle is refused by the database."""
    other = Archiver(redis, KEYS, Database(database_url), 256)
    await append(redis, 1, 2)
    assert await archiver.step() == 2
    await append(redis, 3)
    assert await other.step() is None
    reading = await outbox.read(redis, KEYS, archiver._owner)
    assert reading is not None
    await redis.delete(KEYS.history_lease)
    assert await other.step() == 1
    with pytest.raises(StaleArchiver):
        await archiver._write(reading)
    database = Database(database_url)
    assert await archived(database) == ([1, 2, 3], 3)
    await other.close()
    await database.close()


async def test_records_of_another_redis_are_not_deleted(redis: RedisClient, archiver: Archiver) -> None:
    """After a failover an entry may have the id of one that was read, and other contents."""
    await append(redis, 1)
    reading = await outbox.read(redis, KEYS, archiver._owner)
    assert reading is not None
    await outbox.delete(redis, KEYS, reading._replace(server="another one"))
    assert await redis.xlen(KEYS.outbox) == 1
    await outbox.delete(redis, KEYS, reading)
    assert await redis.xlen(KEYS.outbox) == 0


async def test_what_trading_commits_reaches_the_tables(
    redis: RedisClient, archiver: Archiver, database_url: URL
) -> None:
    """Fills, orders, the grid, the rebalance, a pause, a refusal, an event and settings; once, with equal sums."""
    desk = await open_desk(redis, settings(), {BTC: walk(80)})
    trader = await desk.trader()
    fills = 0
    for _ in range(20):
        fills += (await trader.tick()).fills
        await desk.exchange.advance(4)
        await archiver.step()
    await funds_store.set_operator_flag(redis, keys=KEYS, symbols=[BTC], flag="paused", value=True)
    await archiver.drain(20)
    assert fills > 5
    database = Database(database_url)
    async with database.connection() as connection:

        async def all_of(table: Any) -> list[dict[str, Any]]:
            return [dict(row) for row in (await connection.execute(select(table))).mappings()]

        booked = {str(name) for name in await redis.zrange(KEYS.seen(BTC), 0, -1)}
        assert {row["trade_id"] for row in await all_of(tables.FILLS)} == booked
        assert len(booked) == fills
        rounds, days = await all_of(tables.ROUNDS), await all_of(tables.DAYS)
        book = (await desk.desk.redis.get(KEYS.book(BTC))) or ""
        profit = sum(row["profit"] for row in days)
        assert Book.model_validate_json(book).grid_profit == profit
        assert sum(row["profit"] for row in rounds) == profit
        assert all(row["held_ms"] > 0 for row in rounds)
        orders = {row["client_id"]: row for row in await all_of(tables.ORDERS)}
        assert {name for name, row in orders.items() if row["ended_ms"] is None} == set(
            await redis.hkeys(KEYS.intents(BTC))
        )
        assert len(await all_of(tables.GRIDS)) == len(await all_of(tables.REBALANCES)) == 1
        (flag,) = await all_of(tables.FLAGS)
        assert (flag["scope"], flag["flag"], flag["value"]) == (BTC, "paused", 1)
        assert await all_of(tables.UNREADABLE) == []
    await database.close()
    await desk.close()


async def test_lists_of_an_earlier_version_are_taken_over_once(
    redis: RedisClient, archiver: Archiver, database_url: URL
) -> None:
    """Those fills count although no outbox had them; later ones are not doubled."""
    await redis.sadd(KEYS.symbols, BTC)
    await redis.rpush(KEYS.old_fills(BTC), *(fill(number).model_dump_json() for number in (3, 2, 1)))
    await append(redis, 3, 4)
    await archiver.step()
    database = Database(database_url)
    assert await archived(database) == ([1, 2, 3, 4], 4)
    assert await redis.lrange(KEYS.old_fills(BTC), 0, -1) == [fill(3).model_dump_json()], (
        "the audit looks at the newest"
    )
    await database.close()


async def test_while_the_database_is_away_trading_goes_on(redis: RedisClient, tmp_path: Path) -> None:
    """The status says since when and how much waits; when it is back, it catches up by itself."""
    desk = await open_desk(redis, settings(), {BTC: walk(60)})
    trader = await desk.trader()
    with postgres_server(tmp_path / "first", keep=True) as url:
        archiver = Archiver(redis, KEYS, Database(url), 256)
        await archiver.check()
        running = asyncio.create_task(archiver.run())
        await trader.tick()
        await until_so(lambda: _is_empty(redis))
    for _ in range(5):
        await desk.exchange.advance(4)
        assert (await trader.tick()).not_placed == 0
    await until_so(lambda: _has_event(redis, "history_away"))
    least = await redis.xlen(KEYS.outbox)  # it only grows: the archiver may add an event at any moment
    view = await read_status(settings(), redis)
    assert 5 < least <= view.history.waiting <= await redis.xlen(KEYS.outbox)
    assert view.history.away_ms is not None
    with postgres_server(tmp_path / "first") as url:
        await until_so(lambda: _has_event(redis, "history_back"))
        await until_so(lambda: _is_empty(redis))
        database = Database(url)
        booked = await redis.zcard(KEYS.seen(BTC))
        assert len((await archived(database))[0]) == booked > 0
        await database.close()
        assert (await read_status(settings(), redis)).history.away_ms is None
        running.cancel()
        await archiver.close()
    await desk.close()


async def test_an_outage_is_seen_while_nothing_is_written(
    redis: RedisClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quiet account: nothing waits for the database, whose file another process holds. Then it is back."""
    monkeypatch.setattr(database_watch, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(database_watch, "ANSWER_SECONDS", 0.3)
    database = Database(file_database(tmp_path), 0.5)
    archiver = Archiver(redis, KEYS, database, 256)
    await append(redis, 1)
    running = asyncio.create_task(archiver.run())
    await until_so(lambda: _is_empty(redis))
    held = sqlite3.connect(str(database.url.database), timeout=0, isolation_level=None)
    try:
        held.execute("PRAGMA locking_mode = EXCLUSIVE")
        await until_so(lambda: _has_the_file(held))
        await until_so(lambda: _says_why(redis), 3)
        assert (await read_status(settings(), redis)).history.away_ms is not None
    finally:
        held.close()
    await until_so(lambda: _has_event(redis, "history_back"))
    assert (await read_status(settings(), redis)).history.away_ms is None
    running.cancel()
    await archiver.close()


async def _has_the_file(connection: sqlite3.Connection) -> bool:
    """Whether no other connection uses the file; the archiver may ask it at this moment."""
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True


async def _is_empty(redis: RedisClient) -> bool:
    return await redis.xlen(KEYS.outbox) == 0


async def _says_why(redis: RedisClient) -> bool:
    return await redis.hget(KEYS.history, "away_why") is not None


async def _has_event(redis: RedisClient, kind: str) -> bool:
    return kind in await _event_kinds(redis)


async def _event_kinds(redis: RedisClient) -> list[str]:
    entries: Any = await redis.xrange(KEYS.events)
    return [str(entry["type"]) for _, entry in entries]


async def test_a_full_disk_is_said_and_stops_no_trade(redis: RedisClient, tmp_path: Path) -> None:
    """SQLite's own error reaches the status; nothing is deleted from Redis, and nothing half-written."""
    database = Database(file_database(tmp_path))
    await database.open()
    event.listen(database.engine.sync_engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count = 1"))
    archiver = Archiver(redis, KEYS, database, 256)
    await append(redis, *range(500))
    running = asyncio.create_task(archiver.run())
    await until_so(lambda: _says_why(redis))
    assert "full" in (await read_status(settings(), redis)).history.away_why
    assert await redis.xlen(KEYS.outbox) >= 500
    assert await archived(database) == ([], 0)
    running.cancel()
    await archiver.close()


async def test_beyond_its_bound_in_memory_there_are_no_new_buys(redis: RedisClient, tmp_path: Path) -> None:
    """Buys are refused as PAUSED and the status says `history full`; sells go on; it ends by itself."""
    desk = await open_desk(redis, settings(), {BTC: [candle(n, "42000", "42001", "41999", "42000") for n in range(20)]})
    trader = await desk.trader()
    await redis.xadd(KEYS.outbox, {"kind": "event", "body": "x|" + "y" * 1_200_000})
    archiver = Archiver(redis, KEYS, Database(file_database(tmp_path)), 1)
    await archiver._store_backlog()
    report: TickReport = await trader.tick()
    assert (await read_status(settings(), redis)).history.full
    assert "history_full" in await _event_kinds(redis)
    assert report.placed == 0
    assert set(report.idle.values()) <= {"PAUSED", "ABOVE_PRICE"}
    assert await archiver.drain(20) == 0
    archiver._stored_at = float("-inf")
    await archiver.step()
    assert not (await read_status(settings(), redis)).history.full
    assert (await trader.tick()).placed > 0
    await archiver.close()
    await desk.close()


async def test_a_second_file_for_one_account_is_refused(
    redis: RedisClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker on another host, or with another state folder, would split the history in two."""
    first = Archiver(redis, KEYS, Database(file_database(tmp_path)), 256)
    await first.step()
    await redis.persist(KEYS.history_lease)
    monkeypatch.setattr(outbox, "LEASE_MS", 300)  # how long the other waits for a killed worker's lease
    second = Archiver(redis, KEYS, Database(file_database(tmp_path)), 256)
    with pytest.raises(StateError, match=r"keeps its history in .*, this one in .*GRIDFLOW_DATABASE_URL"):
        await second.check()
    await first.close()
    await second.check()
    await second.close()


async def test_a_worker_archives_what_it_trades_and_tells_of_its_start_and_stop(
    redis: RedisClient, redis_url: str
) -> None:
    """The trading service of every worker moves its records to the file in the state folder, and delivers alerts."""
    async with bot_api() as bot:
        alerts = {"telegram": {"token": BOT_TOKEN, "chat_id": str(CHAT), "api_url": bot.url, "commands": False}}
        own = settings(redis_url=redis_url, paper={"market": "synthetic", "speed": "600"}, alerts=alerts)
        async with trading(own) as service:
            report = await asyncio.to_thread(service.run_window, BTC, None, lambda: True)
            assert report.placed > 0
            await until_so(lambda: _is_empty(redis))
            await until_so(lambda: _has_told(bot, "System started"))
            await asyncio.to_thread(service.graceful_stop)
        assert [text.splitlines()[0] for text in bot.texts] == ["[INFO] System started", "[INFO] System stopped"]
        assert await redis.exists(KEYS.alerts_lease) == 0, "given back"
    database = Database(URL.create("sqlite+aiosqlite", database=str(state_dir() / "history.db")))
    async with database.connection() as connection:
        orders = (await connection.execute(select(func.count()).select_from(tables.ORDERS))).scalar()
    assert orders == report.placed
    await database.close()
    assert await redis.get(KEYS.history_lease) is None, "given back"


async def _has_told(bot: BotApi, title: str) -> bool:
    return any(title in text for text in bot.texts)


@asynccontextmanager
async def trading(own: Settings) -> AsyncIterator[TradingService]:
    """A worker's trading service, closed at the end: a lease to archive that stays held would stop other tests."""
    service = TradingService(own)
    try:
        yield service
    finally:
        await asyncio.to_thread(service.close)


async def test_a_stop_and_a_pause_outlive_the_loss_of_redis(redis: RedisClient, redis_url: str) -> None:
    """FLUSHALL, then a start: still stopped before anything trades, and the status says why."""
    own = settings(redis_url=redis_url, paper={"market": "synthetic"})
    async with trading(own) as first:
        await asyncio.to_thread(first.open)
        await control.stop(redis, own)
        await control.pause(redis, own, [BTC])
        await redis.xadd(KEYS.outbox, fields_of(RecordKind.FLAG, f"fired|{StopCode.STOP_LOSS_QUOTE}|{BTC}"))  # a tick's
        await until_so(lambda: _is_empty(redis))
    await redis.flushall()
    found = Identity.of(os.getpid())
    assert found is not None
    write_record(state_dir(), replace(stack_record(state_dir(), found), redis=redis_url))
    async with trading(own) as refused:
        with pytest.raises(StateError, match=r"paper market .* ended when Redis lost it.*gridflow up --new-market"):
            await asyncio.to_thread(refused.open)
    await allow_new_market(redis, KEYS)
    async with trading(own) as second:
        report = await asyncio.to_thread(second.run_window, BTC, None, lambda: True)
        assert report.placed == 0
        view = await read_status(own, redis)
        assert view.stopped
        assert view.symbols[0].paused
        assert view.symbols[0].stop == "stop loss quote"
        assert (
            view.history.restored
            == f"stopped, {BTC} fired, {BTC} paused; the paper market was lost, and a new one began"
        )
        assert "flags_restored" in await _event_kinds(redis)
        await control.resume_everything(redis, own)
        await until_so(lambda: _is_empty(redis))
    await redis.flushall()
    record_path(state_dir()).unlink()
    async with trading(own) as outside_a_stack:
        assert (await asyncio.to_thread(outside_a_stack.run_window, BTC, None, lambda: True)).placed > 0


async def test_without_an_answer_about_flags_lost_books_are_not_opened(redis: RedisClient, tmp_path: Path) -> None:
    """It is not known whether an operator stopped trading."""
    archiver = Archiver(redis, KEYS, Database(make_url("postgresql+asyncpg://u:pw@127.0.0.1:9/x")), 256)
    with pytest.raises(StateError, match="whether an operator stopped trading is not known"):
        await archiver.recover("paper")
    await archiver.close()


async def test_a_flag_is_durable_when_its_command_answers(
    redis: RedisClient, archiver: Archiver, database_url: URL
) -> None:
    """Flag and action go straight to the database, though nobody archives; the archiver counts them once."""
    database = Database(database_url)
    await control.stop(redis, settings())
    with pytest.raises(ConfigError):
        await control.pause(redis, settings(), ["NO/SUCH"], by=Actor.DASHBOARD)
    assert await write_now(redis, KEYS, database, 20)
    assert await redis.xlen(KEYS.outbox) == 3, "they wait for the archiver all the same"
    for _ in range(2):
        async with database.connection() as connection:
            flags = (await connection.execute(select(tables.FLAGS.c.flag, tables.FLAGS.c.value))).all()
        failed, stopped = sorted(await history.actions(database, "main", 10), key=lambda one: one.action)
        assert flags == [("stopped", 1)]
        assert (stopped.actor, stopped.action, stopped.subject, stopped.result) == ("cli", "stop", "", "done")
        assert (failed.actor, failed.action, failed.subject) == ("dashboard", "pause", "NO/SUCH")
        assert failed.result.startswith("failed: ")
        assert await archiver.drain(20) == 0
    assert await write_now(redis, KEYS, database, 20), "all is there"
    await database.close()


async def test_without_a_database_a_flag_is_in_force_and_not_durable(redis: RedisClient, tmp_path: Path) -> None:
    """The database is away, its file is locked, or another host's worker keeps the history and does not answer."""
    away = Database(make_url("postgresql+asyncpg://u:pw@127.0.0.1:9/x"))
    await control.pause(redis, settings(), [BTC])
    assert not await write_now(redis, KEYS, away, 20)
    assert (await read_status(settings(), redis)).symbols[0].paused
    url = file_database(tmp_path)
    locked, other = Database(url, busy_seconds=0.1), Database(url)
    await other.open()
    async with other.begin() as connection:
        await connection.execute(insert(tables.ARCHIVES).values(account="x", fence=1, archived_ms=1, has_lists=True))
        assert not await write_now(redis, KEYS, locked, 20)
    assert await write_now(redis, KEYS, locked, 20)
    await other.close()
    await redis.hset(KEYS.history, "place", "another-host:/history.db")
    own = Database(file_database(tmp_path))
    assert not await write_now(redis, KEYS, own, 5)
    assert not own.exists(), "no second history begins here"
    await away.close()
