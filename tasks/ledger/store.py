"""The books in Redis."""

from collections.abc import Sequence
from decimal import Decimal

from tasks.base.keys import Keys
from tasks.base.money import ZERO
from tasks.base.redis import RedisClient
from tasks.ledger.models import Book


async def last_profits(redis: RedisClient, keys: Keys, symbols: Sequence[str]) -> dict[str, Decimal]:
    """Profit of the last closed cells by symbol: what the dynamic strategy scores."""
    if not symbols:
        return {}
    books = await redis.mget([keys.book(symbol) for symbol in symbols])
    return {
        symbol: sum(Book.model_validate_json(text).last_profits, ZERO) if text else ZERO
        for symbol, text in zip(symbols, books, strict=True)
    }
