"""The tables of the history. Times in ms since the epoch, amounts exact. A change of a table needs a migration.

Every table has the account first in its key. The names carry a prefix, because the database may hold other tables.
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text

from tasks.history.column_types import Exact

PREFIX = "gridflow_"
METADATA = MetaData()


def _key(name: str, length: int = 0) -> "Column[str]":
    return Column(name, String(length) if length else Text, primary_key=True)


def _ms(name: str, *, optional: bool = False) -> "Column[int]":
    return Column(name, BigInteger, nullable=optional)


def _text(name: str, *, optional: bool = False) -> "Column[str]":
    return Column(name, Text, nullable=optional)


def _amounts(*names: str) -> "list[Column[Any]]":
    return [Column(name, Exact, nullable=False) for name in names]


def _table(name: str, *columns: "Column[Any]", indexes: tuple[tuple[str, ...], ...] = ()) -> Table:
    own = [Index(f"{PREFIX}{name}_by_{'_'.join(names)}", "account", *names) for names in indexes]
    return Table(f"{PREFIX}{name}", METADATA, _key("account", 16), *columns, *own)


def table_of(name: str) -> Table:
    """The table of that name, without the prefix."""
    return METADATA.tables[PREFIX + name]


FILLS = _table(
    "fills",
    _key("symbol"),
    _key("trade_id"),
    _text("client_id"),
    _text("cell_key"),
    _text("side"),
    *_amounts("price", "qty", "quote", "fee"),
    _text("fee_currency"),
    *_amounts("fee_quote"),
    Column("maker", Boolean, nullable=False),
    _ms("at_ms"),
    *_amounts("basis", "profit"),
    Column("filled_basis", Exact, nullable=True),
    Column("earned", Exact, nullable=False, server_default="0"),
    indexes=(("at_ms", "symbol", "trade_id"), ("symbol", "at_ms", "trade_id"), ("symbol", "cell_key", "at_ms")),
)

ORDERS = _table(
    "orders",
    _key("client_id"),
    _text("symbol"),
    _text("cell_key"),
    _text("side"),
    *_amounts("price", "qty", "filled", "quote_filled"),
    _text("state"),
    _text("exchange_id", optional=True),
    _ms("created_ms"),
    _ms("ended_ms", optional=True),
    _text("note"),
    _ms("sequence"),
    indexes=(("symbol", "created_ms"),),
)

# `sequence`: the place in the outbox, time first. A later state of an order has a higher one.
ORDER_CHANGES = _table(
    "order_changes",
    _key("client_id"),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    _ms("at_ms"),
    _text("symbol"),
    _text("state"),
    *_amounts("filled", "quote_filled"),
    _text("note"),
    indexes=(("at_ms",),),
)

ROUNDS = _table(
    "rounds",
    _key("symbol"),
    _key("sell_id"),
    _text("cell_key"),
    _ms("opened_ms"),
    _ms("closed_ms"),
    *_amounts("qty", "cost", "proceeds", "profit"),
    _ms("held_ms"),
    indexes=(("closed_ms",),),
)

# What the next batch of fills needs: the base of each cell that is not sold yet (JSON, see tasks.ledger.rounds).
LOTS = _table("lots", _key("symbol"), _key("cell_key"), _text("lots"))


def _day_totals() -> "list[Column[Any]]":
    return [
        _key("side"),
        Column("day", Integer, primary_key=True, autoincrement=False),
        Column("fills", Integer, nullable=False),
        *_amounts("volume", "fees", "profit"),
        Column("rounds", Integer, nullable=False),
        Column("wins", Integer, nullable=False),
        *_amounts("won", "lost"),
        _ms("held_ms"),
    ]


# Totals of a day in UTC. `day`: days since the epoch. Rounds stand in the rows of side `sell`.
DAYS = _table("days", _key("symbol"), *_day_totals(), indexes=(("day",),))
# The same of all symbols together: with hundreds of symbols, a year of DAYS takes a second to add up.
ACCOUNT_DAYS = _table("account_days", *_day_totals())

GRIDS = _table(
    "grids",
    _key("symbol"),
    _key("grid_id"),
    Column("from_ms", BigInteger, primary_key=True, autoincrement=False),
    _ms("until_ms", optional=True),
    _text("levels"),
    *_amounts("first_price"),
    _text("name"),
)

# One point a minute: `symbol` is '' for the account. `worth`: equity of the account, or the symbol's equity change.
EQUITY = _table(
    "equity",
    _key("symbol"),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    *_amounts("worth", "grid_profit", "capital"),
    Column("price", Exact, nullable=True),
)
EQUITY_HOURS = _table(
    "equity_hours",
    _key("symbol"),
    Column("hour_ms", BigInteger, primary_key=True, autoincrement=False),
    _ms("first_ms"),
    _ms("last_ms"),
    *_amounts("first", "lowest", "highest", "last", "grid_profit", "capital"),
    Column("price", Exact, nullable=True),
)

REBALANCES = _table(
    "rebalances",
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    _text("reason"),
    _text("strategy"),
    _text("outcome"),
    *_amounts("pool"),
)
REBALANCE_LINES = _table(
    "rebalance_lines",
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    _key("symbol"),
    *_amounts("before", "target", "after", "used", "committed"),
)

BLOCKED = _table(
    "blocked",
    _key("order_id"),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    _text("symbol"),
    _text("reason"),
    *_amounts("amount"),
    indexes=(("at_ms",),),
)
EVENTS = _table("events", _key("id"), _ms("at_ms"), _text("type"), _text("body"), indexes=(("at_ms",),))
ACTIONS = _table(
    "actions",
    _key("id"),
    _ms("at_ms"),
    _text("actor"),
    _text("action"),
    _text("subject"),
    _text("result"),
    indexes=(("at_ms",),),
)
SETTINGS = _table(
    "settings",
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    _text("changes"),
    _text("body"),
)
# `scope`: '' for the pot, or a symbol. The highest sequence is in force.
FLAGS = _table(
    "flags",
    _key("scope"),
    _key("flag"),
    Column("value", Integer, nullable=False),
    _ms("sequence"),
    _ms("at_ms"),
)

# Money that operators put into the pot or took out of it. Rows are only added; their sums are what is in force.
CAPITAL = _table("capital", _key("id"), _ms("at_ms"), _text("kind"), *_amounts("amount"), _text("actor"))

# What Redis held of a symbol ('' for the account) when all records up to `sequence` were archived. See checkpoints.py.
CHECKPOINTS = _table("checkpoints", _key("symbol"), _ms("sequence"), _ms("at_ms"), _text("body"))

# Records that this version could not read. They are kept for a later one.
UNREADABLE = _table("unreadable", _key("id"), _text("kind"), _text("body"), _text("error"))

# One row an account. `fence`: of the newest archiver that wrote; an older one writes nothing any more.
ARCHIVES = _table("archives", _ms("fence"), _ms("archived_ms"), Column("has_lists", Boolean, nullable=False))
