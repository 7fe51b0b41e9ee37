"""The state of a tick in Redis: leases and the reading at its start."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from tasks.base.errors import RedisRestarted, StateError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, hash_of, script
from tasks.exchange.limits.breaker_store import is_at_rest
from tasks.funds.capital import Capital
from tasks.funds.models import TraderAllocation
from tasks.grid.models import Cell, Grid
from tasks.ledger.base_guard import BaseCorrection
from tasks.ledger.models import Book, QueuedFee
from tasks.orders.models import Intent
from tasks.tick.models import SymbolState, TickReport
from tasks.tick.record_format import check_format

OTHERS_CAP = 5000
R = TypeVar("R", Grid, Book, Cell, Intent, QueuedFee)

_WAITS = -2  # answer of begin.lua

# The numbers that begin.lua returns, in the same order.
_NUMBERS = (
    "pool",
    "used",
    "reserved",
    "paused",
    "stopped",
    "short",
    "version",
    "registered",
    "allocated",
    "own_used",
    "own_reserved",
    "own_paused",
    "liquidate",
    "fired",
    "settings_version",
    "banned",
    "invested",
    "withdrawn",
    "reinvested",
    "uncompared",
)


async def begin(
    client: RedisClient, *, keys: Keys, symbol: str, owner: str, lease_ms: int, known_fence: int = 0
) -> tuple[SymbolState | None, int]:
    """Take or renew the lease and read the symbol's state; (None, ms to wait) while another owner holds it.

    `known_fence`: the newest that this process got. Raises StateError where the symbol waits for an operator, and
    RedisRestarted while the books must be compared with the exchange, unless `owner` is the one who compares them.
    """
    names = [
        keys.lease(symbol),
        keys.fence(symbol),
        keys.grid(symbol),
        keys.book(symbol),
        keys.last_tick(symbol),
        keys.cells(symbol),
        keys.intents(symbol),
        keys.funds,
        keys.funds_symbol(symbol),
        keys.breakers,
        keys.ban,
        keys.settings,
        keys.format,
        keys.server,
        keys.compared,
        keys.comparison_lock,
        keys.stats,
        keys.fee_queue(symbol),
        keys.corrections(symbol),
        keys.waiting,
        keys.uncompared,
    ]
    answer = await script(client, "tasks.tick", "begin")(keys=names, args=[owner, lease_ms, symbol, known_fence])
    if answer[0] == 0:
        return None, int(answer[1])
    if answer[0] == _WAITS:
        raise StateError(str(answer[1]))
    if answer[0] < 0:
        raise RedisRestarted(keys.account)
    return _parse(symbol, answer), 0


@lru_cache(maxsize=16_384)  # most records do not change from tick to tick, and models are frozen
def _record(model: type[R], text: str) -> R:
    return model.model_validate_json(text)


def _parse(symbol: str, answer: Sequence[Any]) -> SymbolState:
    """The begin script's array as the symbol's state. Raises StateError for records of another format."""
    fence, grid, book, last, cells, intents, numbers, breakers, found, fees, corrections = answer
    number = dict(zip(_NUMBERS, map(int, numbers), strict=True))
    if number["registered"]:
        check_format(str(found))
    return SymbolState(
        fence=int(fence),
        grid=_record(Grid, grid) if grid else None,
        book=_record(Book, book) if book else Book(symbol=symbol),
        last=TickReport.model_validate_json(last) if last else None,
        cells={key: _record(Cell, text) for key, text in hash_of(cells).items()},
        intents={key: _record(Intent, text) for key, text in hash_of(intents).items()},
        share=TraderAllocation(
            symbol=symbol,
            registered=bool(number["registered"]),
            allocated_units=number["allocated"],
            used_units=number["own_used"],
            reserved_units=number["own_reserved"],
            paused=bool(number["own_paused"]),
            liquidate=bool(number["liquidate"]),
            fired=number["fired"],
        ),
        capital=Capital(
            invested_units=number["invested"],
            withdrawn_units=number["withdrawn"],
            reinvested_units=number["reinvested"],
        ),
        pool_free_units=number["pool"] - number["used"] - number["reserved"],
        short=bool(number["short"]),
        limits_version=number["version"],
        settings_version=number["settings_version"],
        paused=bool(number["paused"]),
        stopped=bool(number["stopped"]),
        fee_queue={field: _record(QueuedFee, text) for field, text in hash_of(fees).items()},
        corrections=tuple(BaseCorrection.model_validate_json(text) for text in corrections),
        uncompared=bool(number["uncompared"]),
        must_check_breakers=bool(number["banned"]) or not all(map(is_at_rest, breakers)),
    )


async def renew(client: RedisClient, *, key: str, owner: str, lease_ms: int) -> bool:
    """Renew the lease or lock `key` for `lease_ms` from now. Returns whether `owner` still holds it."""
    return bool(await script(client, "tasks.tick", "renew_lease")(keys=[key], args=[owner, lease_ms]))


async def end_lease(client: RedisClient, *, keys: Keys, symbol: str, owner: str) -> None:
    """Give the lease back if `owner` still holds it."""
    await script(client, "tasks.base", "end_lease")(keys=[keys.lease(symbol)], args=[owner])


async def booked_trades(client: RedisClient, keys: Keys, symbol: str, trade_ids: Sequence[str]) -> set[str]:
    """The ids among `trade_ids` that are already in the books."""
    scores = await client.zmscore(keys.seen(symbol), list(trade_ids))
    return {trade_id for trade_id, score in zip(trade_ids, scores, strict=True) if score is not None}


async def explained_trades(client: RedisClient, keys: Keys, symbol: str, ids: Sequence[tuple[str, str]]) -> set[str]:
    """Those trade ids that are in the books, or whose order is not ours. `ids`: of trades, and of their orders."""
    pipe = client.pipeline(transaction=False)
    pipe.zmscore(keys.seen(symbol), [trade_id for trade_id, _ in ids])
    pipe.zmscore(keys.others(symbol), [exchange_id for _, exchange_id in ids])
    booked, others = await pipe.execute()
    rows = zip(ids, booked, others, strict=True)
    return {trade_id for (trade_id, _), at, other in rows if at is not None or other is not None}


async def note_others(client: RedisClient, keys: Keys, symbol: str, exchange_ids: Collection[str], now_ms: int) -> None:
    """Remember the newest OTHERS_CAP orders that were looked up and are not ours."""
    pipe = client.pipeline(transaction=False)
    pipe.zadd(keys.others(symbol), dict.fromkeys(exchange_ids, now_ms))
    pipe.zremrangebyrank(keys.others(symbol), 0, -OTHERS_CAP - 1)
    await pipe.execute()


async def order_slots(client: RedisClient, *, keys: Keys, symbol: str) -> dict[str, int]:
    """Highest cycle by order slot, and by the id of each earlier grid."""
    return {str(slot): int(cycle) for slot, cycle in (await client.hgetall(keys.slots(symbol))).items()}


async def lock_comparison(client: RedisClient, *, keys: Keys, holder: str, lock_ms: int) -> bool:
    """Take the lock of the comparison with the exchange; whether `holder` has it now."""
    return bool(await client.set(keys.comparison_lock, holder, nx=True, px=lock_ms))


async def unlock_comparison(client: RedisClient, *, keys: Keys, holder: str) -> None:
    """Give up the lock if `holder` still has it."""
    await script(client, "tasks.base", "end_lease")(keys=[keys.comparison_lock], args=[holder])


async def raise_fences(client: RedisClient, *, keys: Keys, symbols: Sequence[str], holder: str) -> str:
    """Make every lease from before invalid; the ids of this server, '' where there is nothing to do (any more)."""
    names = [keys.server, keys.compared, keys.comparison_lock]
    names += [name for symbol in symbols for name in (keys.fence(symbol), keys.lease(symbol))]
    return str(await script(client, "tasks.tick", "raise_fences")(keys=names, args=[holder]))


async def end_comparison(client: RedisClient, *, keys: Keys, holder: str, ids: str) -> bool:
    """Let leases be given again; False where the lock is lost or the server is another one by now."""
    names = [keys.compared, keys.comparison_lock, keys.settings]
    return bool(await script(client, "tasks.tick", "end_comparison")(keys=names, args=[holder, ids]))


async def is_compared(client: RedisClient, *, keys: Keys) -> bool:
    """Whether the books were compared with the exchange since Redis restarted or went back in time."""
    names = [keys.compared, keys.funds, keys.stats]
    return bool(await script(client, "tasks.tick", "is_compared")(keys=names, args=[]))


async def release_symbols(client: RedisClient, *, keys: Keys, symbols: Sequence[str]) -> int:
    """Let symbols that wait trade with the books that Redis holds; how many waited."""
    return int(await client.hdel(keys.waiting, *symbols)) if symbols else 0


async def all_booked_trades(client: RedisClient, *, keys: Keys, symbol: str) -> set[str]:
    """The ids of all trades that are in the books."""
    return {str(trade_id) for trade_id in await client.zrange(keys.seen(symbol), 0, -1)}


async def demand_comparison(client: RedisClient, *, keys: Keys) -> None:
    """Give no lease until the books have been compared with the exchange."""
    await client.set(keys.compared, "")


async def may_try_again(client: RedisClient, *, keys: Keys, symbol: str) -> bool:
    """Whether a lost lease was lost to no other worker: it is free, or the books are being compared."""
    lease, comparison = await client.mget([keys.lease(symbol), keys.comparison_lock])
    return lease is None or comparison is not None
