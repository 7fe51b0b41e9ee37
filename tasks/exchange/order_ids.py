"""Client order ids: the only place that builds and parses them. Pure.

Form: `gf<account>-<grid>-<level>-<purpose>-<cycle>`, for instance `gf3fa-9c01b-12-b-7`; at most 36 of [A-Za-z0-9-].

| part | meaning |
|---|---|
| account | 3 hex digits of a digest of the account's name; distinguishes two pots on one exchange account |
| grid | 5 hex digits of a digest of the symbol and the grid's geometry; no size is in it |
| level | index of the cell's lower level; below 0 with `n` for the minus sign: `n3` |
| purpose | `b` buy, `s` sell, `r` recoup: a sell that only brings back what its lot cost, `x` exit: a sale at the |
|         | market when a symbol is given up |
| cycle | counts the orders of a cell; no (cell, purpose, cycle) is ever used twice |
"""

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from tasks.exchange.models import Side

_FORM = re.compile(r"^gf([0-9a-f]{3})-([0-9a-f]{5})-(n?\d{1,6})-([bsrx])-(\d{1,9})$")
_OLD_FORM = re.compile(r"^(g[0-9a-f]{8})-(\d{1,3})-([bs])-(\d+)$")
_GRID_DIGITS = 5


class Purpose(StrEnum):
    """What an order is for."""

    BUY = "buy"
    SELL = "sell"
    RECOUP = "recoup"
    EXIT = "exit"

    @property
    def side(self) -> Side:
        """The side of the order."""
        return Side.BUY if self is Purpose.BUY else Side.SELL


_LETTERS = {Purpose.BUY: "b", Purpose.SELL: "s", Purpose.RECOUP: "r", Purpose.EXIT: "x"}
_PURPOSES = {letter: purpose for purpose, letter in _LETTERS.items()}


class OrderId(NamedTuple):
    """The parts of a client order id. `account` is None in the form used before account tags."""

    account: str | None
    grid_id: str
    level: int
    purpose: Purpose
    cycle: int

    @property
    def side(self) -> Side:
        """The side of the order."""
        return self.purpose.side

    @property
    def cell_key(self) -> str:
        """The cell it belongs to."""
        return cell_key(self.grid_id, self.level)

    def __str__(self) -> str:
        level = f"n{-self.level}" if self.level < 0 else str(self.level)
        return f"gf{self.account}-{self.grid_id}-{level}-{_LETTERS[self.purpose]}-{self.cycle}"


@cache
def account_tag(account: str) -> str:
    """3 hex digits that stand for the account in its order ids."""
    return hashlib.blake2s(account.encode()).hexdigest()[:3]


def grid_digest(text: str) -> str:
    """5 hex digits that stand for a grid; `text` describes its symbol and geometry."""
    return hashlib.blake2s(text.encode()).hexdigest()[:_GRID_DIGITS]


def cell_key(grid_id: str, level: int) -> str:
    """Key of a cell: its grid and its lower level."""
    return f"{grid_id}.{level}"


def grid_of(key: str) -> str:
    """The grid id in a cell's key."""
    return key.rpartition(".")[0]


def parse_order_id(text: str) -> OrderId | None:
    """The parts of one of our ids; None for any other id, and for the form used before account tags."""
    match = _FORM.match(text)
    if match is None:
        return None
    account, grid_id, level, letter, cycle = match.groups()
    index = -int(level[1:]) if level.startswith("n") else int(level)
    return OrderId(account, grid_id, index, _PURPOSES[letter], int(cycle))


def parse_old_order_id(text: str, renamed: Mapping[str, str]) -> OrderId | None:
    """The parts of an id of the form used before account tags; None for any other.

    `renamed`: today's id of grids by the 9-character id they had; grids not in it get one derived from the old.
    """
    match = _OLD_FORM.match(text)
    if match is None:
        return None
    return OrderId(None, renamed_grid(match[1], renamed), int(match[2]), _PURPOSES[match[3]], int(match[4]))


def renamed_grid(old_grid_id: str, renamed: Mapping[str, str]) -> str:
    """Today's id of a grid that had a 9-character id before account tags."""
    return renamed.get(old_grid_id) or grid_digest(old_grid_id)


def own_order_id(text: str, account: str, old_grids: Mapping[str, str] | None = None) -> OrderId | None:
    """The parts of an id of this account; None for any other id.

    `old_grids`: given, ids of the form used before account tags are this account's too (see `parse_old_order_id`).
    """
    found = parse_order_id(text)
    if found is not None:
        return found if found.account == account_tag(account) else None
    return None if old_grids is None else parse_old_order_id(text, old_grids)


def is_gridflow_id(text: str) -> bool:
    """Whether a Gridflow account made the id, in either form."""
    return parse_order_id(text) is not None or _OLD_FORM.match(text) is not None
