"""The books in Redis."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Order
from tasks.grid.models import Cell
from tasks.ledger.audit import FundsSnapshot, SymbolSnapshot, digest_of
from tasks.ledger.base_guard import BaseWatch, Holding, holding_of
from tasks.ledger.models import Book, Fill, QueuedFee
from tasks.orders.models import Intent

_SYMBOLS_AT_ONCE = 10  # read in one request: their records are parsed without a break


class _StoredSymbol(NamedTuple):
    """The answers that `funds_snapshot` reads for one symbol, in its order."""

    used_and_reserved: tuple[str | None, str | None]
    reservations: Mapping[str, str]
    cells: Mapping[str, str]
    intents: Mapping[str, str]
    book: str | None
    fills: Sequence[str]


async def funds_snapshot(
    redis: RedisClient, keys: Keys, symbols: Sequence[str], open_orders: Mapping[str, Sequence[Order]] | None = None
) -> FundsSnapshot:
    """The pot, its symbols, their journals and cells at one moment: one transaction."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hmget(keys.funds, ["used", "reserved"])
        for symbol in symbols:
            pipe.hmget(keys.funds_symbol(symbol), ["used", "reserved"])
            pipe.hgetall(keys.reservations(symbol))
            pipe.hgetall(keys.cells(symbol))
            pipe.hgetall(keys.intents(symbol))
            pipe.get(keys.book(symbol))
            pipe.lrange(keys.fills(symbol), 0, -1)
        (used, reserved), *answers = await pipe.execute()
    rows = iter(answers)
    parts = [
        _symbol_snapshot(
            symbol, _StoredSymbol(*islice(rows, len(_StoredSymbol._fields))), (open_orders or {}).get(symbol)
        )
        for symbol in symbols
    ]
    return FundsSnapshot(
        account=keys.account,
        used_units=int(used or 0),
        reserved_units=int(reserved or 0),
        symbols=tuple(parts),
    )


def _symbol_snapshot(symbol: str, stored: _StoredSymbol, orders: Sequence[Order] | None) -> SymbolSnapshot:
    used, reserved = stored.used_and_reserved
    book = Book.model_validate_json(stored.book) if stored.book else Book(symbol=symbol)
    is_complete = len(stored.fills) == book.buys + book.sells
    return SymbolSnapshot(
        symbol=symbol,
        used_units=int(used or 0),
        reserved_units=int(reserved or 0),
        reservations={name: int(units) for name, units in stored.reservations.items()},
        cells=tuple(Cell.model_validate_json(text) for text in stored.cells.values()),
        intents={name: Intent.model_validate_json(text) for name, text in stored.intents.items()},
        book=book,
        fills=tuple(Fill.model_validate_json(text) for text in stored.fills) if is_complete else None,
        digest=digest_of(_flat(stored.cells), _flat(stored.intents)),
        open_orders=None if orders is None else tuple(orders),
    )


def _flat(pairs: Mapping[str, str]) -> list[str]:
    return [text for pair in pairs.items() for text in pair]


async def read_watches(redis: RedisClient, keys: Keys) -> tuple[BaseWatch, ...]:
    """The newest comparison of each coin by the base guard, sorted by coin."""
    stored = await redis.hgetall(keys.base_watch)
    return tuple(BaseWatch.model_validate_json(text) for _, text in sorted(stored.items()))


async def read_holdings(redis: RedisClient, keys: Keys, symbols: Sequence[str]) -> dict[str, Holding]:
    """What the books say of the base of each symbol; each symbol at one moment. Gives way to other tasks in between."""
    found = {}
    for first in range(0, len(symbols), _SYMBOLS_AT_ONCE):
        some = symbols[first : first + _SYMBOLS_AT_ONCE]
        async with redis.pipeline(transaction=True) as pipe:
            for symbol in some:
                pipe.hvals(keys.cells(symbol))
                pipe.hvals(keys.intents(symbol))
                pipe.get(keys.book(symbol))
                pipe.get(keys.last_tick(symbol))
                pipe.hvals(keys.fee_queue(symbol))
            answers = iter(await pipe.execute())
        for symbol in some:
            cells, intents, book, last, fees = islice(answers, 5)
            found[symbol] = holding_of(
                symbol,
                [Cell.model_validate_json(text) for text in cells],
                [Intent.model_validate_json(text) for text in intents],
                Book.model_validate_json(book) if book else Book(symbol=symbol),
                _began_ms(last),
                fees=[QueuedFee.model_validate_json(text).amount for text in fees],
            )
            await asyncio.sleep(0)
    return found


def _began_ms(last_tick: str | None) -> int:
    """When the newest tick that ended began; 0 where none did."""
    if not last_tick:
        return 0
    report = json.loads(last_tick)
    return int(report["at_ms"]) - int(report["duration_ms"])
