"""The core figures of an account, read in one round trip."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from pydantic import BaseModel

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.keys import Keys
from tasks.base.money import ZERO
from tasks.base.redis_client import RedisClient
from tasks.funds.capital import Capital
from tasks.ledger.models import Book
from tasks.ledger.rules import total, value
from tasks.settings.model import Settings
from tasks.views.view import View


class QuickStats(View):
    """Amounts in quote. `oldest_tick_seconds`: of the symbol that ticked longest ago; None before the first tick."""

    total_value: Decimal
    total_pnl: Decimal
    grid_profit: Decimal
    floating: Decimal
    fees: Decimal
    active_positions: int
    symbols: int
    open_orders: int
    paused: bool
    stopped: bool
    oldest_tick_seconds: float | None


class _Tick(BaseModel):
    """What is needed here of a `TickReport`, which has far more."""

    at_ms: int
    price: Decimal


class Quick(NamedTuple):
    """The figures, and the symbols that they are of: a later call may name them."""

    stats: QuickStats
    symbols: tuple[str, ...]


async def quick_stats(
    settings: Settings, redis: RedisClient, known: Sequence[str] = (), clock: Clock = utc_now
) -> Quick:
    """The figures. One round trip where `known` are the account's symbols, else two."""
    keys, symbols = Keys(settings.account), tuple(known)
    for _ in range(2):
        async with redis.pipeline(transaction=True) as pipe:
            pipe.sunion([keys.symbols, keys.funds_symbols])
            pipe.hmget(keys.funds, "paused", "stopped", "invested", "withdrawn")
            pipe.hget(keys.settings, "body")
            if symbols:
                pipe.mget([*map(keys.book, symbols), *map(keys.last_tick, symbols)])
            for symbol in symbols:
                pipe.hlen(keys.intents(symbol))
            names, flags, body, *rows = await pipe.execute()
        if set(names) == set(symbols):
            break
        symbols = tuple(sorted(names))
    texts, counts = (rows[0], rows[1:]) if symbols else ((), ())
    books = [Book.model_validate_json(text) if text else None for text in texts[: len(symbols)]]
    ticks = [_Tick.model_validate_json(text) if text else None for text in texts[len(symbols) :]]
    worth = [value(book, tick.price) for book, tick in zip(books, ticks, strict=True) if book and tick]
    funds = Decimal(str(json.loads(body)["total_funds"])) if body else settings.total_funds
    moved = Capital(invested_units=int(flags[2] or 0), withdrawn_units=int(flags[3] or 0))
    change = total(one.equity_change for one in worth)
    ages = [to_ms(clock()) - tick.at_ms for tick in ticks if tick]
    stats = QuickStats(
        total_value=total([moved.put_in(funds), change]),
        total_pnl=change,
        grid_profit=total(one.grid_profit for one in worth),
        floating=total(one.floating for one in worth),
        fees=total(book.fees for book in books if book),
        active_positions=sum(book.base > ZERO for book in books if book),
        symbols=len(symbols),
        open_orders=sum(int(count) for count in counts),
        paused=flags[0] == "1",
        stopped=flags[1] == "1",
        oldest_tick_seconds=max(ages) / 1000 if ages else None,
    )
    return Quick(stats, symbols)
