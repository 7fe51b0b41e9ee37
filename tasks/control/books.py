"""What an operator does with the books: audit them, repair the money, write inventory off, take base back in."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from uuid import uuid4

from tasks.base.errors import StateError
from tasks.base.keys import Keys
from tasks.base.money import plain
from tasks.base.redis_client import RedisClient
from tasks.control.actions import Actor, record, recorded
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.models import FundCode
from tasks.ledger.audit import AuditReport
from tasks.ledger.steps import audit_funds, repair_funds
from tasks.paper.stored_market import describe_market
from tasks.settings.in_force import in_force
from tasks.settings.model import PaperSettings, Settings
from tasks.tick.base_return import BaseReturn
from tasks.tick.base_return import return_base as return_missing_base
from tasks.tick.comparing import trust_exchange
from tasks.tick.desk import Desk
from tasks.tick.exchange_factory import open_exchange
from tasks.tick.store import release_symbols
from tasks.tick.trading_mode import claim_books
from tasks.tick.write_off import WriteOff
from tasks.tick.write_off import write_off as write_off_inventory

log = logging.getLogger(__name__)
__all__ = [
    "BaseReturn",
    "WriteOff",
    "accept",
    "audit",
    "repair",
    "return_base",
    "trust",
    "with_running_market",
    "write_off",
]


async def audit(redis: RedisClient, settings: Settings, *, with_exchange: bool) -> AuditReport:
    """Recompute what is committed and compare; `with_exchange` also compares the exchange's open orders and balances.

    Changes nothing. With the exchange it raises StateError where the account holds the books of another kind of
    trading, and ExchangeError where the exchange does not answer.
    """
    keys, symbols = Keys(settings.account), list(settings.symbols)
    if not with_exchange:
        return await audit_funds(redis, keys, symbols)
    await claim_books(redis, keys, settings)
    exchange = await open_exchange(await with_running_market(redis, settings), redis, beat=False)
    try:
        return await audit_funds(redis, keys, symbols, exchange)
    finally:
        await exchange.close()


async def repair(redis: RedisClient, settings: Settings, *, by: Actor = Actor.CLI) -> FundCode:
    """Set the money right in one step while workers go on: OK, ALREADY, or CONFLICT where they were too busy."""
    keys = Keys(settings.account)

    async def work() -> FundCode:
        return (await repair_funds(redis, keys, list(settings.symbols)))[1]

    return await recorded(redis, keys, by, "repair the pot", (), work, lambda code: code.name)


async def accept(redis: RedisClient, settings: Settings, symbol: str, *, by: Actor = Actor.CLI) -> None:
    """Let a symbol trade with the books as they are, though a comparison with the exchange made it wait.

    Raises StateError where it does not wait.
    """
    if not await release_symbols(redis, keys=Keys(settings.account), symbols=[symbol]):
        raise StateError(f"{symbol} does not wait for its books: there is nothing to accept")
    await record(redis, Keys(settings.account), by, "accept the books", [symbol], "done")
    log.warning("books accepted as they are", extra={"symbol": symbol})


async def trust(
    redis: RedisClient, settings: Settings, source: str, symbols: Sequence[str], *, by: Actor = Actor.CLI
) -> tuple[str, ...]:
    """Let symbols trade again whose books from the history do not agree with the exchange; which.

    `source`: `exchange` rebuilds them from the exchange alone, `history` takes them as they are. No symbol: all that
    wait. Raises StateError where none waits.
    """
    keys = Keys(settings.account)
    waiting = await redis.hkeys(keys.waiting)
    wanted = tuple(symbols) or tuple(sorted(map(str, waiting)))
    idle = [symbol for symbol in wanted if symbol not in waiting]
    if idle or not wanted:
        raise StateError(f"{', '.join(idle) or 'no symbol'} waits for its books: there is nothing to decide")

    async def work() -> None:
        if source == "history":
            await release_symbols(redis, keys=keys, symbols=wanted)
            return
        async with _desk(redis, settings) as desk:
            for symbol in wanted:
                await trust_exchange(desk, symbol)

    await recorded(redis, keys, by, f"trust the {source}", wanted, work)
    return wanted


async def write_off(redis: RedisClient, settings: Settings, symbol: str, *, by: Actor = Actor.CLI) -> WriteOff:
    """Book out at cost what `symbol` holds and cannot sell any more; what was booked out.

    Raises StateError where the account holds the books of another kind of trading, and where the symbol holds nothing,
    is ticked now, or can still be sold.
    """

    async def work() -> WriteOff:
        async with _desk(redis, settings) as desk:
            return await write_off_inventory(desk, symbol, f"write-off {uuid4().hex}")

    def result(done: WriteOff) -> str:
        return f"{plain(done.qty)} at a cost of {plain(done.cost)}"

    return await recorded(redis, Keys(settings.account), by, "write off", [symbol], work, result)


async def return_base(
    redis: RedisClient,
    settings: Settings,
    symbol: str,
    qty: Decimal,
    *,
    again: bool = False,
    by: Actor = Actor.CLI,
) -> BaseReturn:
    """Put `qty` base that went missing and came back into the symbol's cells; see `tasks.tick.base_return`.

    Raises StateError also where the account holds the books of another kind of trading.
    """

    async def work() -> BaseReturn:
        async with _desk(redis, settings) as desk:
            return await return_missing_base(desk, symbol, qty, again=again)

    def result(done: BaseReturn) -> str:
        when = "booked" if done.is_booked else "booked by the next tick"
        return f"{plain(done.qty)} at a cost of {plain(done.cost)}, {when}"

    return await recorded(redis, Keys(settings.account), by, "return", [symbol], work, result)


@asynccontextmanager
async def _desk(redis: RedisClient, settings: Settings) -> AsyncIterator[Desk]:
    """A desk with an exchange client of its own, by the settings in force."""
    keys = Keys(settings.account)
    await claim_books(redis, keys, settings)
    found = await in_force(redis, await with_running_market(redis, settings))
    exchange = await open_exchange(found.settings, redis, beat=False)
    try:
        allocator = GlobalFundAllocator.from_settings(found.settings, redis)
        yield Desk(found.settings, redis, exchange, allocator, keys)
    finally:
        await exchange.close()


async def with_running_market(redis: RedisClient, settings: Settings) -> Settings:
    """The settings with the paper market that runs: `gridflow up` may have been given another on its command line."""
    market = await describe_market(redis, Keys(settings.account))
    if not market or market["source"] == "manual":  # candles given by hand: any process may use them
        return settings
    stored = {name: market[name] for name in ("market", "data", "seed", "speed") if name in market}
    paper = PaperSettings.model_validate(settings.paper.model_dump() | stored)
    return settings.model_copy(update={"paper": paper})
