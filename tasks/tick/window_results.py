"""What a window earned, for its report."""

from decimal import Decimal

from redis.exceptions import RedisError

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.ledger.models import Book
from tasks.ledger.rules import value
from tasks.tick.models import WindowReport


async def read_book(redis: RedisClient, keys: Keys, symbol: str) -> Book | None:
    """The symbol's book; None before its first tick, and where Redis does not answer."""
    try:
        text = await redis.get(keys.book(symbol))
    except RedisError:
        return None
    return Book.model_validate_json(text) if text else None


def with_results(report: WindowReport, before: Book | None, after: Book | None) -> WindowReport:
    """The report with the profit between two readings of the book. Nothing where the second was not read."""
    if after is None or report.price is None:
        return report
    found = value(after, report.price)
    earned = after.grid_profit - (before.grid_profit if before else Decimal(0))
    more = {"profit": earned, "grid_profit": found.grid_profit, "floating": found.floating}
    return report.model_copy(update=more)
