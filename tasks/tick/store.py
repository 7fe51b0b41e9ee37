"""Tick state in Redis."""

from collections.abc import Sequence
from typing import Any

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, script
from tasks.exchange.limits.breakers import is_at_rest
from tasks.funds.models import TraderAllocation, Write
from tasks.grid.models import Cell, Grid
from tasks.ledger.models import Book
from tasks.orders.models import Intent
from tasks.tick.models import SymbolState, TickReport
from tasks.tick.record_format import check_format

# The numbers that begin.lua returns, in its order.
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
    "settings_version",
    "banned",
)


async def begin(
    client: RedisClient, *, keys: Keys, symbol: str, owner: str, lease_ms: int
) -> tuple[SymbolState | None, int]:
    """Take or renew the lease and read the symbol's state; (None, ms to wait) while somebody else holds it."""
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
    ]
    answer = await script(client, "tasks.tick", "begin")(keys=names, args=[owner, lease_ms, symbol])
    if answer[0] == 0:
        return None, int(answer[1])
    return _parse(symbol, answer), 0


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    """A hash by field, in one order: Redis gives it in an order that changes with each start."""
    return dict(sorted(zip(flat[::2], flat[1::2], strict=True)))


def _parse(symbol: str, answer: Sequence[Any]) -> SymbolState:
    """The begin script's array as the symbol's state. Raises StateError for records of another format."""
    fence, grid, book, last, cells, intents, numbers, breakers, found = answer
    number = dict(zip(_NUMBERS, map(int, numbers), strict=True))
    if number["registered"]:
        check_format(str(found))
    return SymbolState(
        fence=int(fence),
        grid=Grid.model_validate_json(grid) if grid else None,
        book=Book.model_validate_json(book) if book else Book(symbol=symbol),
        last=TickReport.model_validate_json(last) if last else None,
        cells={key: Cell.model_validate_json(text) for key, text in _pairs(cells).items()},
        intents={key: Intent.model_validate_json(text) for key, text in _pairs(intents).items()},
        share=TraderAllocation(
            symbol=symbol,
            registered=bool(number["registered"]),
            allocated_units=number["allocated"],
            used_units=number["own_used"],
            reserved_units=number["own_reserved"],
            paused=bool(number["own_paused"]),
            liquidate=bool(number["liquidate"]),
        ),
        pool_free_units=number["pool"] - number["used"] - number["reserved"],
        short=bool(number["short"]),
        limits_version=number["version"],
        settings_version=number["settings_version"],
        paused=bool(number["paused"]),
        stopped=bool(number["stopped"]),
        troubled=bool(number["banned"]) or not all(map(is_at_rest, breakers)),
    )


async def renew_lease(client: RedisClient, *, keys: Keys, symbol: str, owner: str, lease_ms: int) -> bool:
    """Whether `owner` still holds the lease; it then lasts `lease_ms` from now."""
    return bool(await script(client, "tasks.tick", "renew_lease")(keys=[keys.lease(symbol)], args=[owner, lease_ms]))


async def end_lease(client: RedisClient, *, keys: Keys, symbol: str, owner: str) -> None:
    """Give up the lease if `owner` still holds it."""
    await script(client, "tasks.tick", "end_lease")(keys=[keys.lease(symbol)], args=[owner])


async def booked_trades(client: RedisClient, keys: Keys, symbol: str, trade_ids: Sequence[str]) -> set[str]:
    """Those of the trades that are in the books."""
    scores = await client.zmscore(keys.seen(symbol), list(trade_ids))
    return {trade_id for trade_id, score in zip(trade_ids, scores, strict=True) if score is not None}


async def order_slots(client: RedisClient, *, keys: Keys, symbol: str) -> dict[str, int]:
    """Highest cycle by slot, and by the id of each grid that has gone."""
    return {str(slot): int(cycle) for slot, cycle in (await client.hgetall(keys.slots(symbol))).items()}


def dropped_cells(keys: Keys, symbol: str, cell_keys: Sequence[str]) -> list[Write]:
    """The writes that drop cells."""
    return [Write(key=keys.cells(symbol), verb="HDEL", field=key) for key in cell_keys]


def published(keys: Keys, report: TickReport) -> list[Write]:
    """The writes that make a tick visible: its report and the counters, as absolute values."""
    return [
        Write(key=keys.last_tick(report.symbol), verb="SET", value=report.model_dump_json()),
        Write(key=keys.stats, verb="HSET", field=f"ticks|{report.symbol}", value=str(report.total_ticks)),
        Write(key=keys.stats, verb="HSET", field=f"fills|{report.symbol}", value=str(report.total_fills)),
    ]
