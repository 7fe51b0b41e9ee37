"""The archiver: moves records from the outbox to the database. One in each worker; one at a time works.

A batch is inserted in one transaction, and deleted from the outbox after it is committed. An archiver that is killed
in between leaves records that the next one finds in the database already. While the database is away, trading goes on
and records wait in Redis.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

from redis.exceptions import RedisError

from tasks.base import leader
from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.errors import StateError
from tasks.base.events import EventKind, publish_event
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.funds.store import all_symbols
from tasks.history import checkpoints, outbox
from tasks.history.capital import raise_capital
from tasks.history.checkpoints import touched
from tasks.history.database import Database, HistoryUnavailable
from tasks.history.database_watch import DatabaseWatch
from tasks.history.direct import write_now
from tasks.history.lists import delete_lists, records_in_lists
from tasks.history.recovery import recover
from tasks.history.retention import prune
from tasks.history.rows import Row, batch_of
from tasks.history.settings_versions import restore_settings
from tasks.history.store import StaleArchiver, claim, has_lists, set_has_lists, write
from tasks.settings.model import HistorySettings, Settings

log = logging.getLogger(__name__)
_IDLE_SECONDS = 1.0
_WAIT_SECONDS = 2.0  # while another archiver works
_MAX_BACK_OFF_SECONDS = 15.0
_STATE_SECONDS = 5.0
_CHECKPOINT_SECONDS = 10.0  # between two checkpoints of a symbol
_MB = 1024 * 1024


class Archiver:
    """Archives the records of one account in `database`.

    `most_mb`: memory that waiting records may take; there are no new buys beyond it.
    """

    def __init__(
        self, redis: RedisClient, keys: Keys, database: Database, most_mb: int, clock: Clock = utc_now
    ) -> None:
        self._redis, self._keys, self._database = redis, keys, database
        self._most_bytes, self._clock = most_mb * _MB, clock
        self._owner = uuid4().hex
        self._is_open = self._has_deleted_lists = False
        self._stored_at = float("-inf")
        self._changed: set[str] | None = None  # symbols whose books are newer than their checkpoints; None: any
        self._checkpointed: dict[str, float] = {}
        self._gap = _CHECKPOINT_SECONDS
        self._server = ""  # ids of the Redis server at the last step
        self._leads = False  # whether this archiver had the lease at its last step
        self._watch = DatabaseWatch(database, self._store_away)

    @property
    def place(self) -> str:
        """What tells this database from others."""
        return self._database.identity

    async def write_now(self, seconds: float) -> bool:
        """Write the newest flags and actions now; whether the database has them within that time."""
        return await write_now(self._redis, self._keys, self._database, seconds)

    async def check(self) -> None:
        """Raise StateError where the database must not be used.

        It is of a newer version; or another worker of the account archives to another file. A killed worker's lease is
        waited for. A database that does not answer is no reason: it may come back.
        """
        await self._refuse_other_file()
        with suppress(HistoryUnavailable):
            await self._open()

    async def _refuse_other_file(self) -> None:
        deadline = time.monotonic() + outbox.LEASE_MS / 1000 + 1
        while True:
            other = await outbox.leader_place(self._redis, self._keys)
            if other is None or other == self.place:
                return
            if time.monotonic() > deadline:
                raise StateError(
                    f"another worker of account {self._keys.account!r} keeps its history in {other}, this one in "
                    f"{self.place}. Set database_url (GRIDFLOW_DATABASE_URL) to the same PostgreSQL for all workers, "
                    "or the same state folder for workers on one host"
                )
            await asyncio.sleep(0.25)

    async def restore_settings(self, own: Settings) -> int:
        """Put back in force what was in force last; the version, 0 for none. See `settings_versions`.

        Raises StateError where the database does not answer.
        """
        try:
            await self._open()
            return await restore_settings(self._redis, self._database, own)
        except HistoryUnavailable as error:
            raise StateError(
                f"Redis holds no settings, and those in force are not known: {error}. Trading begins when the database "
                "answers"
            ) from error

    async def recover(self, mode: str, new_market: bool = False) -> bool:
        """Write back flags and books that Redis has lost; whether there were books. See `recovery.recover`.

        Raises StateError also where the database does not answer.
        """
        try:
            await self._open()
            return await recover(self._redis, self._keys, self._database, self._clock, mode, new_market)
        except HistoryUnavailable as error:
            raise StateError(
                f"Redis holds no books, and whether an operator stopped trading is not known: {error}. Trading begins "
                "when the database answers"
            ) from error

    async def prune(self, keep: HistorySettings) -> dict[str, int]:
        """Delete what the history keeps no longer; how many rows of each table. Raises HistoryUnavailable."""
        await self._open()
        return await prune(self._database, self._keys.account, keep, to_ms(self._clock()))

    async def run(self) -> None:
        """Archive and watch the database until cancelled. No failure ends it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch.run(lambda: self._leads))
            await self._archive()

    async def _archive(self) -> None:
        pause = _IDLE_SECONDS
        while True:
            try:
                done = await self.step()
                pause = _WAIT_SECONDS if done is None else 0 if done == outbox.MOST_RECORDS else _IDLE_SECONDS
            except RedisError as error:
                log.warning("history: Redis does not answer", extra={"error": str(error)})
                pause = _back_off(pause)
            except StaleArchiver:
                log.warning("history: another archiver has taken over")
                pause = _WAIT_SECONDS
            except Exception as error:  # records wait in Redis, and trading goes on
                if not isinstance(error, HistoryUnavailable | StateError):
                    log.exception("history: records cannot be archived")
                await self._store_away(str(error) or type(error).__name__)
                pause = _back_off(pause)
            await asyncio.sleep(pause)

    async def step(self) -> int | None:
        """Archive the oldest records; how many, or None where another archiver does.

        Raises HistoryUnavailable, StaleArchiver, StateError.
        """
        reading = await outbox.read(self._redis, self._keys, self._owner)
        self._leads = self._is_open and reading is not None
        if reading is None:
            return None
        if reading.records:
            await outbox.relay(self._redis, self._keys)
        await self._open()
        reading, rows = await self._with_checkpoints(reading)
        if reading.records or rows:
            await self._write(reading, rows)
            self._watch.note_answer()
            await self._delete_lists()
            await outbox.delete(self._redis, self._keys, reading)
        await self._follow_server(reading.server)
        await self._store_state(bool(reading.records))
        return len(reading.records)

    async def _follow_server(self, server: str) -> None:
        """Another server than at the last step may have gone back in time: money that was moved still counts."""
        if server != self._server:
            await raise_capital(self._redis, self._keys, self._database)
            self._server = server

    async def drain(self, seconds: float) -> int:
        """Archive all that waits, for at most so long; how many records are left."""
        self._gap = 0.0
        try:
            async with asyncio.timeout(seconds):
                while (await outbox.backlog(self._redis, self._keys)).records:
                    done = await self.step()
                    if done == 0:
                        break
                    if done is None:
                        await asyncio.sleep(0.1)
                if self._changed is None or self._changed:
                    await self.step()  # the newest checkpoints
        except (TimeoutError, HistoryUnavailable, StateError, StaleArchiver) as error:
            log.warning("history: not all records were archived", extra={"error": str(error) or type(error).__name__})
        return (await outbox.backlog(self._redis, self._keys)).records

    async def close(self) -> None:
        """Give up the lease and close the database. The Redis client belongs to the caller."""
        with suppress(RedisError):
            await leader.give_up(self._redis, self._keys.history_lease, self._owner)
        await self._database.close()

    # --- the database ------------------------------------------------------------------------------------
    async def _open(self) -> None:
        if not self._is_open:
            await self._database.open()
            self._is_open = True

    async def _with_checkpoints(self, reading: outbox.Reading) -> tuple[outbox.Reading, list[Row]]:
        """The reading up to this moment, and checkpoints of it; those of a symbol every few seconds.

        None while more waits than one batch takes: checkpoints are of the end of the outbox.
        """
        if self._changed is None:
            self._changed = set(await all_symbols(self._redis, keys=self._keys))
        self._changed |= touched(reading.records)
        now = time.monotonic()
        due = sorted(one for one in self._changed if now - self._checkpointed.get(one, float("-inf")) >= self._gap)
        if len(reading.records) >= outbox.MOST_RECORDS or not due:
            return reading, []
        newest = reading.records[-1].entry_id if reading.records else ""
        entries, rows = await checkpoints.read(self._redis, self._keys, due, newest, outbox.MOST_RECORDS)
        more = outbox.records_of(entries)
        self._changed |= touched(more)
        reading = reading._replace(records=(*reading.records, *more))
        if len(more) >= outbox.MOST_RECORDS:
            return reading, []
        self._checkpointed |= dict.fromkeys(due, now)
        self._changed -= set(due)
        return reading, rows

    async def _write(self, reading: outbox.Reading, rows: Sequence[Row] = ()) -> None:
        account, now_ms = self._keys.account, to_ms(self._clock())
        async with self._database.begin() as connection:
            await claim(connection, account, reading.fence, now_ms)
            if not await has_lists(connection, account):
                await write(connection, account, batch_of(await records_in_lists(self._redis, self._keys)))
                await set_has_lists(connection, account)
            batch = batch_of(reading.records)
            batch.put["checkpoints"] += rows
            await write(connection, account, batch)

    async def _delete_lists(self) -> None:
        """The first batch brings the lists of earlier versions into the history: Redis needs them no more."""
        if not self._has_deleted_lists:
            await delete_lists(self._redis, self._keys)
            self._has_deleted_lists = True

    # --- the state in Redis ------------------------------------------------------------------------------
    async def _store_state(self, archived: bool) -> None:
        """The database answers; every few seconds, what still waits."""
        if archived and await self._redis.hget(self._keys.history, "away_ms") is not None:
            await self._store_back()
        if time.monotonic() - self._stored_at < _STATE_SECONDS:
            return
        self._stored_at = time.monotonic()
        await self._redis.hset(self._keys.history, mapping={"place": self.place, "checked_ms": to_ms(self._clock())})
        await self._store_backlog()

    async def _store_backlog(self) -> outbox.Backlog:
        found = await outbox.backlog(self._redis, self._keys)
        if await outbox.store_backlog(self._redis, self._keys, found, self._most_bytes):
            log.error("history: too many records wait in Redis: no new buys", extra=found._asdict())
            await publish_event(self._redis, self._keys, EventKind.HISTORY_FULL, found._asdict())
        return found

    async def _store_away(self, why: str) -> None:
        """The database is away: since when, why, and how much waits. Another archiver may try."""
        self._leads = False
        redis, keys = self._redis, self._keys
        try:
            now_ms = to_ms(self._clock())
            is_new = await redis.hsetnx(keys.history, "away_ms", str(now_ms))
            await redis.hset(keys.history, "away_why", why)
            found = await self._store_backlog()
            if is_new:
                log.error("history: the database is away; records wait in Redis", extra={"why": why})
                await publish_event(redis, keys, EventKind.HISTORY_AWAY, {"why": why, "waiting": found.records})
            await leader.give_up(redis, keys.history_lease, self._owner)
        except RedisError as error:
            log.warning("history: Redis does not answer", extra={"error": str(error)})

    async def _store_back(self) -> None:
        since = await self._redis.hget(self._keys.history, "away_ms")
        if await self._redis.hdel(self._keys.history, "away_ms", "away_why"):
            log.warning("history: the database is back")
            await publish_event(self._redis, self._keys, EventKind.HISTORY_BACK, {"since_ms": int(since or 0)})


def _back_off(pause: float) -> float:
    return min(max(pause, _IDLE_SECONDS) * 2, _MAX_BACK_OFF_SECONDS)
