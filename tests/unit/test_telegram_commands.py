"""What a message or a button asks the bot for."""

from decimal import Decimal

import pytest

from tasks.alerts.telegram.answers import status_text, why_text
from tasks.alerts.telegram.commands import (
    Act,
    Ask,
    Asked,
    Command,
    Confirm,
    Incoming,
    Read,
    Step,
    TooOld,
    Unknown,
    step_of,
)
from tasks.alerts.telegram.texts import LANGUAGES, NAMES
from tests.support.views import status, symbol

NOW = 1_772_366_400_000


def step(text: str = "", *, age: int = 1, data: str = "") -> Step:
    """The step of update 7."""
    callback = "c" if data else ""
    return step_of(Incoming(7, "1", 5, NOW - age * 1000, text, data, callback), NOW)


def test_commands_that_read_are_answered() -> None:
    """Also with the bot's name, in capitals, and with a symbol in small letters."""
    assert step("/status") == Read(Asked(command=Command.STATUS))
    assert step(" /Status@gridflow_bot ") == Read(Asked(command=Command.STATUS))
    assert step("/why btc/usdt") == Read(Asked(command=Command.WHY, symbol="BTC/USDT"))


def test_what_trades_is_asked_first_and_what_ends_trading_is_done_at_once() -> None:
    """The update's id is the action's."""
    assert step("/stop") == Act(Asked(command=Command.STOP), "telegram-7")
    assert step("/pause BTC/USDT") == Act(Asked(command=Command.PAUSE, symbol="BTC/USDT"), "telegram-7")
    for text in ("/resume", "/rebalance", "/liquidate BTC/USDT"):
        assert isinstance(step(text), Ask)


def test_a_late_command_is_not_carried_out() -> None:
    """A stop or a pause is asked again; the others are answered as too old."""
    assert step("/stop", age=121) == Ask(Asked(command=Command.STOP))
    assert step("/pause", age=121) == Ask(Asked(command=Command.PAUSE))
    for text in ("/status", "/resume", "/rebalance"):
        assert isinstance(step(text, age=121), TooOld)
    assert isinstance(step("/status", age=120), Read)


@pytest.mark.parametrize("text", ["hello", "/nothing", "", "/ stop", "stop", "/stopp"])
def test_anything_else_is_unknown(text: str) -> None:
    """It does nothing."""
    assert step(text) == Unknown()


def test_a_missing_symbol_is_asked_for() -> None:
    """The answer can name the command."""
    assert step("/grid") == Unknown(Command.GRID)
    assert step("/liquidate") == Unknown(Command.LIQUIDATE)


def test_buttons_refresh_and_confirm_and_nothing_else() -> None:
    """No button acts without a question."""
    assert step(data="again:/grid BTC/USDT") == Read(Asked(command=Command.GRID, symbol="BTC/USDT"), edit=True)
    assert step(data="yes:12") == Confirm(12, yes=True)
    assert step(data="no:12") == Confirm(12, yes=False)
    for data in ("again:/stop", "yes:x", "stop", "again:"):
        assert step(data=data) == Unknown()


def test_every_text_is_in_both_languages() -> None:
    """With the same names."""
    assert [set(texts) for texts in LANGUAGES] == [set(NAMES), set(NAMES)]


def test_why_counts_the_reasons_of_idle_cells() -> None:
    """The most frequent first."""
    idle = symbol(idle={"SYMBOL_LIMIT": 3, "ABOVE_PRICE": 11})
    assert why_text(idle, "en") == "BTC/USDT\n11 × ABOVE_PRICE\n3 × SYMBOL_LIMIT"
    assert why_text(symbol(), "zh") == "BTC/USDT：所有网格均有挂单。"


def test_the_status_names_what_is_wrong() -> None:
    """Stopped, dark, and quote that is missing."""
    text = status_text(status(symbol(dark=True, dark_why="no worker"), stopped=True, short=Decimal(5)))
    assert "STOPPED" in text
    assert "BTC/USDT is dark: no worker" in text
    assert "5.00 USDT too little" in text
