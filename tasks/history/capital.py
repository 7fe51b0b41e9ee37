"""Money that operators put in and took out, read back from the history where Redis has lost it."""

import logging

from sqlalchemy import select

from tasks.base.keys import Keys
from tasks.base.money import from_units, plain, units_down
from tasks.base.redis_client import RedisClient, script
from tasks.funds.capital import Capital, CapitalMove
from tasks.history import tables
from tasks.history.database import Database
from tasks.ledger.rules import total
from tasks.paper.scripts import PaperKeys

log = logging.getLogger(__name__)


async def read_capital(database: Database, account: str) -> Capital:
    """The sums of all movements. Raises HistoryUnavailable."""
    table = tables.CAPITAL.c
    async with database.connection() as connection:
        rows = (await connection.execute(select(table.kind, table.amount).where(table.account == account))).all()
    sums = {kind: units_down(total(amount for name, amount in rows if name == kind)) for kind in CapitalMove}
    return Capital(invested_units=sums[CapitalMove.INVEST], withdrawn_units=sums[CapitalMove.WITHDRAW])


def fields_of(capital: Capital) -> dict[str, int]:
    """The fields of the pot that hold the sums; none where no money was ever moved."""
    found = {"invested": capital.invested_units, "withdrawn": capital.withdrawn_units}
    return found if any(found.values()) else {}


def in_words(capital: Capital) -> list[str]:
    """What came back, in words."""
    return [f"{name} {plain(from_units(units))}" for name, units in fields_of(capital).items() if units]


async def restore_capital(redis: RedisClient, keys: Keys, database: Database, *, new_market: bool) -> list[str]:
    """Write the sums into Redis; in words. `new_market`: a paper market has begun anew. Safe to run twice."""
    found = await read_capital(database, keys.account)
    if not fields_of(found):
        return []
    paper = PaperKeys(keys)
    args = [found.invested_units, found.withdrawn_units, int(new_market)]
    await script(redis, "tasks.history", "restore_capital")(keys=[keys.funds, paper.market, paper.balances], args=args)
    log.warning("Redis was lost: moved money restored from the history", extra={"what": in_words(found)})
    return in_words(found)


async def raise_capital(redis: RedisClient, keys: Keys, database: Database) -> bool:
    """Raise the sums in Redis to those of the history, where Redis went back in time; whether it had. Safe to repeat.

    The pool follows at the next rebalance. Raises HistoryUnavailable.
    """
    found = await read_capital(database, keys.account)
    if not fields_of(found):
        return False
    args = [found.invested_units, found.withdrawn_units]
    raised = await script(redis, "tasks.history", "raise_capital")(keys=[keys.funds, keys.mode], args=args)
    if raised:
        log.warning("Redis went back in time: moved money restored from the history", extra={"what": in_words(found)})
    return bool(raised)
