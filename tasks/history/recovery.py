"""Recovery from the history: what comes back into Redis where Redis has lost it, before anything trades.

The flags first, then cells, positions and profit as the newest checkpoints hold them. The comparison with the exchange
that follows asks only for what is newer (`tasks.tick.comparing`). Refusals, events and equity points that no archiver
had read are lost; the status says since when.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import WatchError
from sqlalchemy import delete, select, tuple_

from tasks.base.clock import Clock, to_ms
from tasks.base.errors import StateError
from tasks.base.events import EventKind, publish_event
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.history import tables
from tasks.history.capital import fields_of, in_words, read_capital, restore_capital
from tasks.history.checkpoints import ACCOUNT, Body, unpacked, write_back
from tasks.history.database import Database
from tasks.history.flags import Flag, read_flags, restore_flags
from tasks.paper.scripts import PaperKeys
from tasks.tick.lost_orders import cycle_of_time
from tasks.tick.slots import EVERY_SLOT

log = logging.getLogger(__name__)
_IDS = 5000  # trade ids in one command
_PAPER = "paper"
_NEW_MARKET = "the paper market was lost, and a new one began"
_NOT_IN_FUNDS = ("holds", "history_full")  # of processes that are gone


async def recover(
    redis: RedisClient, keys: Keys, database: Database, clock: Clock, mode: str, new_market: bool = False
) -> bool:
    """Write flags and books back; whether there were books. `mode`: of this process (`trading_mode`).

    `new_market`: where a paper market is lost, begin a new one without leave.

    Safe to run twice at the same time: one call writes. Raises HistoryUnavailable where the database does not answer,
    and StateError where the history holds the books of another mode, or of a paper market, which Redis lost with the
    books.
    """
    found = await _checkpoints(database, keys.account)
    account = found.pop(ACCOUNT, None)
    if account is None:
        await restore_flags(redis, keys, database, clock)
        await restore_capital(redis, keys, database, new_market=mode == _PAPER)
        return False
    held = str(account[1].get("mode", mode))
    if held != mode:
        raise StateError(
            f"the history of account {keys.account!r} ({database.place}) holds the books of {held!r}, and this would "
            f"be {mode!r}. Use another `account`, or another database_url (GRIDFLOW_DATABASE_URL)"
        )
    if mode == _PAPER:
        await _begin_new_market(redis, keys, database, clock, sorted(found), new_market)
        return False
    return await _write_books(redis, keys, database, clock, account, found)


async def ended_market(redis: RedisClient, keys: Keys, database: Database) -> str:
    """Why a paper account must not start by itself: its market was lost with Redis. '' where it may."""
    if await redis.hexists(keys.funds, "version") or await redis.hexists(keys.history, "new_market"):
        return ""
    if not database.exists():
        return ""
    await database.open()
    found = await _checkpoints(database, keys.account)
    if ACCOUNT not in found or found[ACCOUNT][1].get("mode") != _PAPER:
        return ""
    return (
        f"the paper market of account {keys.account!r} ended when Redis lost it. The history ({database.place}) keeps "
        "what happened. Begin a new market with: gridflow up --new-market"
    )


async def allow_new_market(redis: RedisClient, keys: Keys) -> None:
    """Let the next worker begin a new paper market where the old one is lost."""
    await redis.hset(keys.history, "new_market", "1")


async def _checkpoints(database: Database, account: str) -> dict[str, tuple[int, Body]]:
    """Symbol → (when, ms; what Redis held)."""
    table = tables.CHECKPOINTS.c
    asked = select(table.symbol, table.at_ms, table.body).where(table.account == account)
    async with database.connection() as connection:
        rows = (await connection.execute(asked)).all()
    return {str(symbol): (int(at_ms), unpacked(body)) for symbol, at_ms, body in rows}


# --- books -------------------------------------------------------------------------------------------------
async def _write_books(
    redis: RedisClient,
    keys: Keys,
    database: Database,
    clock: Clock,
    account: tuple[int, Body],
    symbols: Mapping[str, tuple[int, Body]],
) -> bool:
    for symbol, (_, body) in symbols.items():
        await _write_older_ids(redis, keys, database, symbol, body)
    flags, capital = await read_flags(database, keys.account), await read_capital(database, keys.account)
    now_ms, as_of_ms = to_ms(clock()), await _last_archived_ms(database, keys.account)
    settings = str(await redis.hget(keys.history, "restored_settings") or "")
    more = [*([f"settings version {settings}"] if settings else []), *in_words(capital)]
    text = ", ".join([*more, _what_came_back(flags, sorted(symbols), as_of_ms, now_ms)])
    try:
        async with redis.pipeline(transaction=True) as pipe:
            await pipe.watch(keys.funds)
            if await pipe.hexists(keys.funds, "version"):
                return True  # another worker was faster
            pipe.multi()  # type: ignore[no-untyped-call]
            write_back(pipe, keys, ACCOUNT, account[1])
            for symbol, (_, body) in symbols.items():
                write_back(pipe, keys, symbol, body)
            pipe.hdel(keys.funds, *_NOT_IN_FUNDS)
            if fields_of(capital):
                moved: Any = fields_of(capital)  # the newest; a checkpoint may be older
                pipe.hset(keys.funds, mapping=moved)
            for flag in flags:
                if flag.name in ("stopped", "paused", "liquidate", "fired"):  # the newest; a checkpoint may be older
                    pipe.hset(keys.funds_symbol(flag.scope) if flag.scope else keys.funds, flag.name, flag.value)
            pipe.set(keys.compared, "")  # no lease before the books are compared with the exchange
            pipe.hset(keys.history, mapping={"restored_ms": now_ms, "restored": text, "compare": "1"})
            await pipe.execute()
    except WatchError:
        return True
    log.warning("Redis was lost: books and flags restored from the history", extra={"what": text})
    names = [flag.text for flag in flags if flag.value]
    await publish_event(redis, keys, EventKind.FLAGS_RESTORED, names)
    return True


def _what_came_back(flags: Sequence[Flag], symbols: Sequence[str], as_of_ms: int, now_ms: int) -> str:
    names = [flag.text for flag in flags if flag.value]
    lost = f"refusals, events and equity points from {_utc(as_of_ms)} to {_utc(now_ms)} may be lost"
    return ", ".join([*names, f"books of {', '.join(symbols) or 'no symbol'}"]) + f"; {lost}"


def _utc(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


async def _last_archived_ms(database: Database, account: str) -> int:
    """When records were archived last: what was appended later may be lost."""
    table = tables.ARCHIVES.c
    async with database.connection() as connection:
        found = await connection.execute(select(table.archived_ms).where(table.account == account))
        return int(found.scalar() or 0)


async def _write_older_ids(redis: RedisClient, keys: Keys, database: Database, symbol: str, body: Body) -> None:
    """Write the trade ids that are not newer than the oldest of the checkpoint: those trades are booked."""
    listed = body.get("seen") or []
    oldest_ms = min((int(score) for _, score in listed), default=0)
    fills = tables.FILLS.c
    place: tuple[int, str] = (-1, "")
    while True:
        asked = select(fills.at_ms, fills.trade_id).where(fills.account == keys.account, fills.symbol == symbol)
        asked = asked.where(fills.at_ms <= oldest_ms, tuple_(fills.at_ms, fills.trade_id) > tuple_(*place))
        async with database.connection() as connection:
            rows = (await connection.execute(asked.order_by(fills.at_ms, fills.trade_id).limit(_IDS))).all()
        if not rows:
            return
        await redis.zadd(keys.seen(symbol), {str(name): int(at_ms) for at_ms, name in rows})
        place = (int(rows[-1][0]), str(rows[-1][1]))


# --- a paper market ----------------------------------------------------------------------------------------
async def _begin_new_market(
    redis: RedisClient, keys: Keys, database: Database, clock: Clock, symbols: Sequence[str], new_market: bool
) -> None:
    """A wipe of Redis ended the paper market. Where a new one may begin: no id of the old one comes again, and what it
    held is held no more. Raises StateError where nobody allowed it.
    """
    why = await ended_market(redis, keys, database)
    if why and not new_market:
        raise StateError(why)
    if why:
        log.warning("Redis lost the paper market: a new one begins")
    now_ms = to_ms(clock())
    async with redis.pipeline(transaction=True) as pipe:
        for symbol in symbols:
            pipe.hset(keys.slots(symbol), EVERY_SLOT, str(cycle_of_time(now_ms)))
        pipe.hset(PaperKeys(keys).market, mapping={"next_trade": now_ms, "next_order": now_ms})
        pipe.hdel(keys.history, "new_market")
        await pipe.execute()
    names = await restore_flags(redis, keys, database, clock)
    names += await restore_capital(redis, keys, database, new_market=True)
    text = "; ".join([", ".join(names), _NEW_MARKET] if names else [_NEW_MARKET])
    await redis.hset(keys.history, mapping={"restored_ms": now_ms, "restored": text})
    async with database.begin() as connection:
        for table in (tables.LOTS, tables.CHECKPOINTS):
            await connection.execute(delete(table).where(table.c.account == keys.account))
