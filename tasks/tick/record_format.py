"""The format of an account's records in Redis, and the upgrade from the earlier format.

| format | what changed |
|---|---|
| 1 (no number stored) | grid ids of 9 characters; the grid carries its cell size; the book its last 20 profits |
| 2 | grid ids of 5 digits, geometry only; hourly returns; rebalance reports with targets; limits with caps |

An upgrade is one transaction. It raises every fence, so that a worker of the earlier version, if one still runs, can
no longer write.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import WatchError

from tasks.base.errors import StateError
from tasks.base.keys import RECORD_FORMAT, Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.order_ids import renamed_grid
from tasks.grid.levels import grid_id, old_grid_id
from tasks.settings.grids.common import ONLY
from tasks.settings.model import Settings

log = logging.getLogger(__name__)
_TRIES = 5
_REMEDY = "start this account with the version of Gridflow that wrote it, or use another `account` or --state"


def check_format(found: str) -> None:
    """Raise StateError where the records have another format than this version uses."""
    if found != str(RECORD_FORMAT):
        shown = found or "1"
        raise StateError(f"the records in Redis have format {shown}, this version uses {RECORD_FORMAT}: {_REMEDY}")


async def upgrade_records(redis: RedisClient, keys: Keys, settings: Settings) -> bool:
    """Upgrade records of the earlier format; whether there were any.

    Raises StateError for an unknown format, and where other workers keep writing meanwhile.
    """
    found = await redis.get(keys.format)
    if found is not None:
        check_format(str(found))
        return False
    if not int(await redis.hget(keys.funds, "version") or 0):
        return False  # no trading yet
    for _ in range(_TRIES):
        try:
            symbols = await _upgrade(redis, keys, settings)
        except WatchError:
            continue
        log.warning("records upgraded", extra={"format": RECORD_FORMAT, "symbols": symbols})
        return True
    raise StateError("the records in Redis could not be upgraded: workers keep writing. Stop them and start again")


async def _upgrade(redis: RedisClient, keys: Keys, settings: Settings) -> list[str]:
    """One try. Raises WatchError where another process wrote meanwhile."""
    async with redis.pipeline(transaction=True) as pipe:
        await pipe.watch(keys.format, keys.funds, keys.funds_symbols, keys.stats, keys.old_rebalances)
        ticked = [
            str(name).partition("|")[2] for name in await pipe.hkeys(keys.stats) if str(name).startswith("ticks|")
        ]
        symbols = sorted({*map(str, await pipe.smembers(keys.funds_symbols)), *ticked})
        reports = [json.loads(text) for text in await pipe.lrange(keys.old_rebalances, 0, -1)]
        own = [_watched(keys, symbol) for symbol in symbols]
        for names in own:
            await pipe.watch(*names)
        read = [await _read(pipe, names) for names in own]
        pipe.multi()  # type: ignore[no-untyped-call]
        for symbol, names, records in zip(symbols, own, read, strict=True):
            _write(pipe, names, _upgraded(records, _new_grid_ids(symbol, settings, records)))
            pipe.incr(keys.fence(symbol))
            pipe.delete(keys.lease(symbol))
        if reports:
            pipe.delete(keys.old_rebalances)
            pipe.rpush(keys.old_rebalances, *(json.dumps(_upgraded_report(report)) for report in reports))
        if symbols:
            pipe.sadd(keys.symbols, *symbols)
        pipe.hdel(keys.funds, "closing")
        pipe.set(keys.format, RECORD_FORMAT)
        await pipe.execute()
    return symbols


def _watched(keys: Keys, symbol: str) -> tuple[str, ...]:
    return (
        keys.grid(symbol),
        keys.book(symbol),
        keys.last_tick(symbol),
        keys.cells(symbol),
        keys.intents(symbol),
        keys.slots(symbol),
    )


async def _read(pipe: Any, names: Sequence[str]) -> dict[str, Any]:
    grid, book, last, cells, intents, slots = names
    return {
        "grid": _json(await pipe.get(grid)),
        "book": _json(await pipe.get(book)),
        "last": _json(await pipe.get(last)),
        "cells": {name: json.loads(text) for name, text in (await pipe.hgetall(cells)).items()},
        "intents": {name: json.loads(text) for name, text in (await pipe.hgetall(intents)).items()},
        "slots": dict(await pipe.hgetall(slots)),
    }


def _json(text: str | None) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads(text) if text else None
    return found


def _new_grid_ids(symbol: str, settings: Settings, records: Mapping[str, Any]) -> dict[str, str]:
    """Today's id by earlier id, of every grid in the records. The configured grid keeps trading under its new id."""
    configured = settings.symbols.get(symbol)
    only = configured.each_grid.get(ONLY) if configured else None
    known = {} if only is None else {old_grid_id(symbol, only): grid_id(symbol, only)}
    old = {cell["grid_id"] for cell in records["cells"].values()}
    old |= {slot.partition(".")[0] for slot in records["slots"]}
    if records["grid"]:
        old.add(records["grid"]["grid_id"])
    return {name: renamed_grid(name, known) for name in old}


def _upgraded(records: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The records of one symbol in the present format. Pure."""

    def key(cell_key: str) -> str:
        grid, _, rest = cell_key.partition(".")
        return f"{names.get(grid, grid)}.{rest}"

    def grid(record: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in record.items() if name != "size"} | {"grid_id": names[record["grid_id"]]}

    cells = {
        key(name): cell | {"key": key(name), "grid_id": names[cell["grid_id"]]}
        for name, cell in records["cells"].items()
    }
    last = records["last"]
    return {
        "grid": grid(records["grid"]) if records["grid"] else None,
        "book": {name: value for name, value in records["book"].items() if name != "last_profits"}
        if records["book"]
        else None,
        "last": last | {kind: {key(name): why for name, why in last[kind].items()} for kind in ("refused", "idle")}
        if last
        else None,
        "cells": cells,
        "intents": {
            name: intent | {"cell_key": key(intent["cell_key"])} for name, intent in records["intents"].items()
        },
        "slots": {key(slot): cycle for slot, cycle in records["slots"].items()},
    }


def _write(pipe: Any, names: Sequence[str], records: Mapping[str, Any]) -> None:
    strings, hashes = names[:3], names[3:]
    for name, kind in zip(strings, ("grid", "book", "last"), strict=True):
        if records[kind] is not None:
            pipe.set(name, json.dumps(records[kind]))
    for name, kind in zip(hashes, ("cells", "intents", "slots"), strict=True):
        pipe.delete(name)
        found = {field: value if kind == "slots" else json.dumps(value) for field, value in records[kind].items()}
        if found:
            pipe.hset(name, mapping=found)


def _upgraded_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """A rebalance report with the fields it did not have: the target is what was written, `used` is unknown."""
    changes = [change | {"target": change["after"], "used": change["committed"]} for change in report["changes"]]
    return {**report, "changes": changes}
