"""Checkpoints: what Redis holds of a symbol, and of the account, once every record before it is in the history.

Where Redis is lost, its books come back from them. A checkpoint and the end of the outbox are read in one transaction,
and the records up to there are archived together with it: so the history never lacks a fill that a checkpoint has.
"""

import base64
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from tasks.base.keys import Keys
from tasks.base.outbox import PLACES, Record, RecordKind
from tasks.base.redis_client import RedisClient
from tasks.history.rows import Row

SEEN = 500  # newest trade ids; older ones are those of the table of fills
_FILLS = 20
ACCOUNT = ""  # the symbol of the account's own checkpoint
Body = dict[str, Any]


class Part(NamedTuple):
    """One key of Redis: its name by symbol, and its kind."""

    key: Callable[[Keys, str], str]
    kind: str


SYMBOL_PARTS: Mapping[str, Part] = {
    "funds": Part(lambda keys, symbol: keys.funds_symbol(symbol), "hash"),
    "reservations": Part(lambda keys, symbol: keys.reservations(symbol), "hash"),
    "intents": Part(lambda keys, symbol: keys.intents(symbol), "hash"),
    "slots": Part(lambda keys, symbol: keys.slots(symbol), "hash"),
    "grid": Part(lambda keys, symbol: keys.grid(symbol), "string"),
    "cells": Part(lambda keys, symbol: keys.cells(symbol), "hash"),
    "seen": Part(lambda keys, symbol: keys.seen(symbol), "zset"),
    "fills": Part(lambda keys, symbol: keys.newest_fills(symbol), "list"),
    "fees": Part(lambda keys, symbol: keys.fee_queue(symbol), "hash"),
    "book": Part(lambda keys, symbol: keys.book(symbol), "string"),
    "corrections": Part(lambda keys, symbol: keys.corrections(symbol), "hash"),
    "tick": Part(lambda keys, symbol: keys.last_tick(symbol), "string"),
}
ACCOUNT_PARTS: Mapping[str, Part] = {
    "funds": Part(lambda keys, _: keys.funds, "hash"),
    "registered": Part(lambda keys, _: keys.funds_symbols, "set"),
    "symbols": Part(lambda keys, _: keys.symbols, "set"),
    "rebalance": Part(lambda keys, _: keys.last_rebalance, "string"),
    "blocked": Part(lambda keys, _: keys.blocked_counts, "hash"),
    "counters": Part(lambda keys, _: keys.counters, "hash"),
    "stats": Part(lambda keys, _: keys.stats, "hash"),
    "base": Part(lambda keys, _: keys.base_watch, "hash"),
    "waiting": Part(lambda keys, _: keys.waiting, "hash"),
    "format": Part(lambda keys, _: keys.format, "string"),
    "mode": Part(lambda keys, _: keys.mode, "string"),
}


def parts_of(symbol: str) -> Mapping[str, Part]:
    """The keys that a checkpoint holds."""
    return SYMBOL_PARTS if symbol else ACCOUNT_PARTS


async def read(
    redis: RedisClient, keys: Keys, symbols: Sequence[str], after: str, most: int
) -> tuple[list[tuple[str, Mapping[str, str]]], list[Row]]:
    """The entries of the outbox after the id `after` ('' for all), at most so many, and the checkpoints of `symbols`
    and of the account at that moment, as rows.
    """
    wanted = [ACCOUNT, *symbols]
    async with redis.pipeline(transaction=True) as pipe:
        pipe.time()
        pipe.xrange(keys.outbox, f"({after}" if after else "-", "+", count=most)
        for symbol in wanted:
            for part in parts_of(symbol).values():
                _ask(pipe, part, part.key(keys, symbol))
        (seconds, micros), entries, *answers = await pipe.execute()
    at_ms, values = int(seconds) * 1000 + int(micros) // 1000, iter(answers)
    bodies = {}
    for symbol in wanted:
        found = {name: _plain(next(values)) for name in parts_of(symbol)}
        bodies[symbol] = {name: value for name, value in found.items() if value}
    if "version" not in bodies[ACCOUNT].get("funds", {}):
        return entries, []  # Redis was lost: its books are still to come back from the checkpoints that there are
    moment = {"sequence": at_ms * PLACES, "at_ms": at_ms}
    return entries, [
        {"symbol": symbol, "body": packed(body)} | moment
        for symbol, body in bodies.items()
        if symbol == ACCOUNT or "book" in body
    ]


def _ask(pipe: Any, part: Part, key: str) -> None:
    if part.kind == "hash":
        pipe.hgetall(key)
    elif part.kind == "string":
        pipe.get(key)
    elif part.kind == "list":
        pipe.lrange(key, 0, _FILLS - 1)
    elif part.kind == "set":
        pipe.smembers(key)
    else:
        pipe.zrevrange(key, 0, SEEN - 1, withscores=True)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


def write_back(pipe: Any, keys: Keys, symbol: str, body: Body) -> None:
    """Queue the commands that write a checkpoint's keys."""
    for name, part in parts_of(symbol).items():
        key, value = part.key(keys, symbol), body.get(name)
        if not value:
            continue
        if part.kind == "hash":
            pipe.hset(key, mapping=value)
        elif part.kind == "string":
            pipe.set(key, value)
        elif part.kind == "list":
            pipe.rpush(key, *value)
        elif part.kind == "set":
            pipe.sadd(key, *value)
        else:
            pipe.zadd(key, dict(value))


def packed(body: Body) -> str:
    """As text for the table."""
    return base64.b64encode(zlib.compress(json.dumps(body).encode(), 1)).decode()


def unpacked(text: str) -> Body:
    """What `packed` took."""
    found: Body = json.loads(zlib.decompress(base64.b64decode(text)))
    return found


def touched(records: Iterable[Record]) -> set[str]:
    """Symbols whose books these records changed, or show: an equity point shows all of them."""
    found: set[str] = set()
    for record in records:
        with suppress(ValueError, KeyError, TypeError):  # unreadable: it is kept as it is
            found |= _symbols_of(record)
    return found


def _symbols_of(record: Record) -> set[str]:
    if record.kind in (RecordKind.FILL, RecordKind.ORDER, RecordKind.GRID):
        return {str(json.loads(record.body)["symbol"])}
    if record.kind == RecordKind.REBALANCE:
        return {str(one["symbol"]) for one in json.loads(record.body)["changes"]}
    if record.kind == RecordKind.EQUITY:
        return set(json.loads(record.body)["symbols"])
    return set()
