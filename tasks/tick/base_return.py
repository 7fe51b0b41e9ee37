"""Taking base that came back to the account into a symbol's cells again."""

import asyncio
from decimal import Decimal

from tasks.base.clock import to_ms
from tasks.base.errors import ConfigError, Problem, StateError
from tasks.base.money import ZERO, plain
from tasks.exchange.models import Balance, Frozen
from tasks.ledger.base_guard import BaseCorrection, CorrectionKind, coin_of
from tasks.ledger.models import Book, Fill
from tasks.ledger.rules import total
from tasks.ledger.store import read_holdings
from tasks.tick.active_symbols import active_symbols
from tasks.tick.corrections import return_problem
from tasks.tick.desk import Desk

REPEAT_MS = 600_000  # the same amount again within this time is taken for the same return, entered twice
WAIT_SECONDS = 40.0  # the longest interval between ticks, and one tick
_POLL_SECONDS = 0.25


class BaseReturn(Frozen):
    """Base that is in the cells again, and its cost in quote; not booked: the symbol's next tick does it."""

    symbol: str
    qty: Decimal
    cost: Decimal
    is_booked: bool


async def return_base(
    desk: Desk, symbol: str, qty: Decimal, *, again: bool = False, seconds: float | None = None
) -> BaseReturn:
    """Have `qty` base of what is missing put back by the symbol's next tick, and wait for it, at most `seconds`
    (None: WAIT_SECONDS).

    `again`: although the same amount was returned a short time ago. Raises ConfigError where the symbol or the amount
    cannot be right, StateError where another return is not booked yet, and ExchangeUnavailable.
    """
    await desk.follow_settings()
    redis, keys = desk.redis, desk.keys
    symbols = await active_symbols(desk)
    if symbol not in symbols:
        raise _wrong(Problem("symbol", symbol, "is not traded", f"Use one of: {', '.join(symbols)}"))
    held = (await read_holdings(redis, keys, [symbol]))[symbol].held
    balance = (await desk.exchange.balances()).get(coin_of(symbol)) or Balance(free=ZERO, locked=ZERO)
    text = await redis.get(keys.book(symbol))
    book = Book.model_validate_json(text) if text else Book(symbol=symbol)
    now_ms = to_ms(desk.clock())
    before = [] if again else await _returned_since(desk, symbol, now_ms - REPEAT_MS)
    problem = return_problem(book, qty, balance.free + balance.locked - held, before)
    if problem is not None:
        raise _wrong(problem)
    kind = CorrectionKind.RETURNED
    wanted = BaseCorrection(id=f"{kind.value}:{now_ms}", kind=kind, qty=qty, at_ms=now_ms)
    if not await redis.hsetnx(keys.corrections(symbol), kind.value, wanted.model_dump_json()):
        raise StateError(f"another return of {symbol} waits for the symbol's next tick. Start a worker, or try later")
    return await _booked(desk, symbol, wanted, WAIT_SECONDS if seconds is None else seconds)


def _wrong(problem: Problem) -> ConfigError:
    return ConfigError([problem], "the command")


async def _fills(desk: Desk, symbol: str, prefix: str) -> list[Fill]:
    """Those of the newest fills whose ids begin so."""
    texts = await desk.redis.lrange(desk.keys.newest_fills(symbol), 0, -1)
    fills = [Fill.model_validate_json(text) for text in texts]
    return [fill for fill in fills if fill.trade_id.startswith(prefix)]


async def _returned_since(desk: Desk, symbol: str, since_ms: int) -> list[Decimal]:
    """The amounts that were returned lately."""
    fills = await _fills(desk, symbol, f"{CorrectionKind.RETURNED.value}:")
    return [fill.qty for fill in fills if fill.at_ms >= since_ms]


async def _booked(desk: Desk, symbol: str, wanted: BaseCorrection, seconds: float) -> BaseReturn:
    deadline = asyncio.get_running_loop().time() + seconds
    while await desk.redis.hexists(desk.keys.corrections(symbol), wanted.kind.value):
        if asyncio.get_running_loop().time() > deadline:
            return BaseReturn(symbol=symbol, qty=wanted.qty, cost=ZERO, is_booked=False)
        await asyncio.sleep(_POLL_SECONDS)
    fills = await _fills(desk, symbol, f"{wanted.id}:")
    qty, cost = total(fill.qty for fill in fills), total(fill.basis for fill in fills)
    if not fills:
        raise StateError(f"{plain(wanted.qty)} of {symbol} was not put back: none is missing any more")
    return BaseReturn(symbol=symbol, qty=qty, cost=cost, is_booked=True)
