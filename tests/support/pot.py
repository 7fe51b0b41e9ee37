"""Setting up the pot and reading its answers, for tests of its scripts."""

from collections.abc import Iterable, Mapping
from typing import Any

from tasks.base.keys import RECORD_FORMAT, Keys
from tasks.base.redis_client import RedisClient
from tasks.funds.models import FundCode


def codes_of(results: Iterable[Any]) -> list[FundCode]:
    """Result codes of a batch: of bare codes, or of records that carry one in `code`."""
    return [FundCode(getattr(result, "code", result)) for result in results]


async def allow(client: RedisClient, keys: Keys, pool: int, allocations: Mapping[str, int]) -> None:
    """Put pool and allocations (units) in force as they are: no rule is asked whether they fit together."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.hset(keys.funds, "pool", str(pool))
        pipe.hincrby(keys.funds, "version", 1)
        pipe.set(keys.format, RECORD_FORMAT)
        for symbol, units in allocations.items():
            pipe.hset(keys.funds_symbol(symbol), "allocated", str(units))
            pipe.sadd(keys.funds_symbols, symbol)
        await pipe.execute()
