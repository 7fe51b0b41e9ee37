"""The books in Redis."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import islice

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Order
from tasks.funds.store import all_symbols
from tasks.grid.models import Cell
from tasks.ledger.audit import SymbolSnapshot, digest_of
from tasks.ledger.base_guard import BaseWatch, Holding, holding_of
from tasks.ledger.models import Book, Fill, QueuedFee
from tasks.ledger.rules import realised_of
from tasks.orders.models import Intent

_SYMBOLS_AT_ONCE = 10  # read in one request: their records are parsed without a break


async def symbol_snapshot(
    redis: RedisClient, keys: Keys, symbol: str, open_orders: Sequence[Order] | None
) -> SymbolSnapshot:
    """The symbol's money, journal, cells, book and newest fill at one moment: one transaction."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hmget(keys.funds_symbol(symbol), ["used", "reserved"])
        pipe.hgetall(keys.reservations(symbol))
        pipe.hgetall(keys.cells(symbol))
        pipe.hgetall(keys.intents(symbol))
        pipe.get(keys.book(symbol))
        pipe.lindex(keys.newest_fills(symbol), 0)
        pipe.lindex(keys.old_fills(symbol), 0)
        (used, reserved), reservations, cells, intents, book, *listed = await pipe.execute()
    newest = listed[0] or listed[1]
    return SymbolSnapshot(
        symbol=symbol,
        used_units=int(used or 0),
        reserved_units=int(reserved or 0),
        reservations={name: int(units) for name, units in reservations.items()},
        cells=tuple(Cell.model_validate_json(text) for text in cells.values()),
        intents={name: Intent.model_validate_json(text) for name, text in intents.items()},
        book=Book.model_validate_json(book) if book else Book(symbol=symbol),
        newest=Fill.model_validate_json(newest) if newest else None,
        digest=digest_of(_flat(cells), _flat(intents)),
        open_orders=None if open_orders is None else tuple(open_orders),
    )


def _flat(pairs: Mapping[str, str]) -> list[str]:
    return [text for pair in pairs.items() for text in pair]


async def realised_profit(redis: RedisClient, keys: Keys) -> Decimal:
    """Grid profit less missing of every symbol that the account ever had, in quote. Two round trips."""
    symbols = await all_symbols(redis, keys=keys)
    texts = await redis.mget([keys.book(symbol) for symbol in symbols]) if symbols else []
    return realised_of(Book.model_validate_json(text) for text in texts if text)


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
