"""What a message or a button asks for, and whether it is done now, after a confirmation, or not at all. Pure."""

import re
from enum import StrEnum
from typing import NamedTuple

from tasks.exchange.models import Frozen

OLD_MS = 120_000
QUESTION_MS = 60_000
_WORDS = re.compile(r"/([a-z]+)(?:@\w+)?(?:\s+(\S.*))?", re.IGNORECASE | re.DOTALL)


class Command(StrEnum):
    """The commands, by their name after the slash."""

    STATUS = "status"
    PROFIT = "profit"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    BALANCE = "balance"
    ALLOCATION = "allocation"
    GRID = "grid"
    TRADES = "trades"
    WHY = "why"
    LOG = "log"
    HELP = "help"
    PAUSE = "pause"
    RESUME = "resume"
    REBALANCE = "rebalance"
    STOP = "stop"
    LIQUIDATE = "liquidate"


ACTIONS = frozenset({Command.PAUSE, Command.RESUME, Command.REBALANCE, Command.STOP, Command.LIQUIDATE})
_AT_ONCE = frozenset({Command.PAUSE, Command.STOP})  # they only end buying and selling
_LATE_TOO = _AT_ONCE  # asked again instead of refused: who sent them wanted trading to end
WITH_SYMBOL = frozenset({Command.GRID, Command.WHY, Command.LIQUIDATE})


class Asked(Frozen):
    """A command and its symbol, '' where it has none."""

    command: Command
    symbol: str = ""

    def __str__(self) -> str:
        return f"/{self.command.value} {self.symbol}".strip()


class Incoming(NamedTuple):
    """An update: a message with `text`, or a press of a button with `data`. Times in ms."""

    update_id: int
    chat: str
    message_id: int
    at_ms: int
    text: str = ""
    data: str = ""
    callback: str = ""  # id of the press


class Read(NamedTuple):
    """Answer what is asked. `edit`: the message to replace, by a refresh button."""

    asked: Asked
    edit: bool = False


class Act(NamedTuple):
    """Do it. `once`: id of the action."""

    asked: Asked
    once: str


class Ask(NamedTuple):
    """Ask for a confirmation."""

    asked: Asked


class Confirm(NamedTuple):
    """The answer to the question that the command `update_id` led to."""

    update_id: int
    yes: bool


class TooOld(NamedTuple):
    """The command came late, for instance after an outage."""

    asked: Asked
    seconds: int


class Unknown(NamedTuple):
    """No command, or one without the symbol that it needs."""

    asked: Command | None = None


Step = Read | Act | Ask | Confirm | TooOld | Unknown


def step_of(incoming: Incoming, now_ms: int) -> Step:
    """What to do with an update."""
    if incoming.callback:
        return _pressed(incoming.data)
    asked = parsed(incoming.text)
    if not isinstance(asked, Asked):
        return Unknown(asked)
    age_ms = now_ms - incoming.at_ms
    if age_ms > OLD_MS:
        return Ask(asked) if asked.command in _LATE_TOO else TooOld(asked, age_ms // 1000)
    if asked.command not in ACTIONS:
        return Read(asked)
    return Act(asked, once_of(incoming.update_id)) if asked.command in _AT_ONCE else Ask(asked)


def once_of(update_id: int) -> str:
    """The id of the action that an update asks for."""
    return f"telegram-{update_id}"


def parsed(text: str) -> Asked | Command | None:
    """The command in a message; the command alone where its symbol is missing; None where there is none."""
    found = _WORDS.fullmatch(text.strip())
    if found is None or found[1].lower() not in set(Command):
        return None
    command = Command(found[1].lower())
    symbol = (found[2] or "").split()[0].upper() if found[2] else ""
    if command in WITH_SYMBOL and not symbol:
        return command
    return Asked(command=command, symbol=symbol if command in WITH_SYMBOL or command in ACTIONS else "")


def _pressed(data: str) -> Step:
    kind, _, rest = data.partition(":")
    if kind in ("yes", "no") and rest.isdecimal():
        return Confirm(int(rest), kind == "yes")
    asked = parsed(rest) if kind == "again" else None
    if isinstance(asked, Asked) and asked.command not in ACTIONS:
        return Read(asked, edit=True)
    return Unknown()
