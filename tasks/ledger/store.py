"""The books in Redis."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Order
from tasks.grid.models import Cell
from tasks.ledger.audit import FundsSnapshot, SymbolSnapshot, digest_of
from tasks.ledger.models import Book, Fill
from tasks.orders.models import Intent


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
        answers = await pipe.execute()
    used, reserved = (int(value or 0) for value in answers[0])
    parts = [
        _symbol_snapshot(symbol, answers[1 + 6 * position : 7 + 6 * position], (open_orders or {}).get(symbol))
        for position, symbol in enumerate(symbols)
    ]
    return FundsSnapshot(account=keys.account, used_units=used, reserved_units=reserved, symbols=tuple(parts))


def _symbol_snapshot(symbol: str, answers: Sequence[Any], orders: Sequence[Order] | None) -> SymbolSnapshot:
    (used, reserved), reservations, cells, intents, book, fills = answers
    parsed = Book.model_validate_json(book) if book else Book(symbol=symbol)
    complete = len(fills) == parsed.buys + parsed.sells
    return SymbolSnapshot(
        symbol=symbol,
        used_units=int(used or 0),
        reserved_units=int(reserved or 0),
        reservations={name: int(units) for name, units in reservations.items()},
        cells=tuple(Cell.model_validate_json(text) for text in cells.values()),
        intents={name: Intent.model_validate_json(text) for name, text in intents.items()},
        book=parsed,
        fills=tuple(Fill.model_validate_json(text) for text in fills) if complete else None,
        digest=digest_of(_flat(cells), _flat(intents)),
        open_orders=None if orders is None else tuple(orders),
    )


def _flat(pairs: Mapping[str, str]) -> list[str]:
    return [text for pair in pairs.items() for text in pair]
