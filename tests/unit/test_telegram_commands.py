"""What a message or a button asks the bot for."""

import inspect
import re
from decimal import Decimal

import pytest

from tasks.alerts.telegram import answers
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
from tasks.alerts.telegram.reasons import CODES
from tasks.alerts.telegram.texts import LANGUAGES, NAMES, said
from tasks.grid.plan_models import IdleReason
from tasks.views import symbol_reasons
from tasks.views.models import ReasonView
from tasks.views.result_models import ResultsView
from tests.support.views import fill, status, symbol

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


def test_why_is_told_in_words_of_the_language() -> None:
    """Whole symbols first, then cells with their number; what would wake them too."""
    reasons = (
        ReasonView(code="PAUSED", why="new buys are paused", wakes="gridflow resume"),
        ReasonView(code="ABOVE_PRICE", why="its buy price is above the market", wakes="a rise", cells=3),
        ReasonView(code="OF_LATER", why="a reason of a later version"),
    )
    asked = symbol().model_copy(update={"reasons": reasons})
    assert why_text(asked, "en").splitlines() == ["BTC/USDT", *map(str, reasons)]
    zh = why_text(asked, "zh").splitlines()
    assert why_text(symbol(), "zh") == "BTC/USDT：所有网格均有挂单。"
    assert zh[1:] == ["新买入已暂停，等待 /resume", "3 格：买价高于市价，等待价格回升", "a reason of a later version"]


def test_every_reason_has_a_chinese_text() -> None:
    """Those of cells, and those of whole symbols that the views name."""
    of_symbols = set(re.findall(r'code="([A-Z_]+)"', inspect.getsource(symbol_reasons)))
    assert len(of_symbols) >= 15
    assert {reason.value for reason in IdleReason} | of_symbols == CODES


def test_the_status_names_what_is_wrong() -> None:
    """Stopped, dark, and quote that is missing."""
    text = status_text(status(symbol(dark=True, dark_why="no worker"), stopped=True, short=Decimal(5)), "en")
    assert "STOPPED" in text
    assert "BTC/USDT is dark: no worker" in text
    assert "5.00 USDT too little" in text


def _results() -> ResultsView:
    empty: dict[str, None] = dict.fromkeys(
        ("win_rate", "profit_factor", "average_held_ms", "total_pnl", "floating", "total_apr", "buy_and_hold", "sharpe")
    )
    amounts = dict.fromkeys(("volume", "fees", "grid_profit"), Decimal(1))
    return ResultsView.model_validate(
        {
            "name": said("zh", "span_daily"),
            "from_ms": 0,
            "to_ms": 1,
            "grid_apr": None,
            "sortino": None,
            **empty,
            **amounts,
        }
    )


VIEW = status(
    symbol(cells={"IDLE": 3, "BUYING": 2, "HOLDING": 1, "SELLING": 4}, paused=True, dark=True, dark_why="?"),
    stopped=True,
    paused=True,
    short=Decimal(5),
    invested=Decimal(7),
)
WITHOUT_GRID = symbol(lower=None)


@pytest.mark.parametrize(
    "text",
    [
        answers.status_text(VIEW, "zh"),
        answers.profit_text(VIEW, "zh"),
        answers.balance_text(VIEW, "zh"),
        answers.allocation_text(VIEW, "zh"),
        answers.grid_text(VIEW.symbols[0], "zh"),
        answers.grid_text(WITHOUT_GRID, "zh"),
        answers.results_text(_results(), "zh"),
        answers.trades_text([fill()], "zh"),
        answers.trades_text([], "zh"),
    ],
)
def test_answers_follow_the_language(text: str) -> None:
    """In Chinese no English word is left, but for symbols, coins, and the account's own names."""
    left = re.sub(r"BTC/USDT|BTC|USDT|main|paper|dynamic|BNB", "", text)
    assert re.findall(r"[A-Za-z]+", left) == []
    assert re.search("[\u4e00-\u9fff]", text)


def test_answers_in_english_are_as_they_were() -> None:
    """Amounts, flags and counts, in words."""
    assert answers.balance_text(VIEW, "en").splitlines()[:3] == [
        "Pool 9,500.00 USDT: 200.00 in coins, 300.00 reserved",
        "Free 500.00 USDT",
        "Invested 7.00, withdrawn 0.00, reinvested 0.00",
    ]
    assert answers.grid_text(VIEW.symbols[0], "en").splitlines()[2] == "Cells: 2 buying, 1 holding, 3 idle, 4 selling"
    (trade,) = answers.trades_text([fill()], "en").splitlines()
    assert trade.endswith("BTC/USDT sell 0.003 at 42000.1, profit 0.87")
