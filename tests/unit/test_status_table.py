"""The status and the ladder in a terminal: 80 columns are enough, words and figures agree."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console, RenderableType

from tasks.grid.models import Cell, CellState, Grid
from tasks.tick.models import TickReport
from tasks.views.glossary import GLOSSARY, explained
from tasks.views.grid import grid_view
from tasks.views.models import HistoryView, StatusView
from tasks.views.parts import outages
from tasks.views.render import status_table
from tasks.views.render_grid import ladder
from tasks.views.symbol_reasons import with_reasons
from tests.support.views import NOW, status, symbol, worker


def printed(part: RenderableType, width: int) -> str:
    """As a terminal of that width shows it."""
    console = Console(width=width)
    with console.capture() as capture:
        console.print(part, highlight=False)
    return capture.get()


def account(**changes: object) -> StatusView:
    """A symbol with large figures above its range, and one that lacks money."""
    large: dict[str, Any] = {
        "price": Decimal("112345.67"),
        "lower": Decimal("101234.56"),
        "upper": Decimal("111111.11"),
    }
    above = symbol(**large, place=Decimal("1.1"), next_buy=Decimal("110000.5"), cells={"BUYING": 20})
    poor = symbol("ETH/USDT", place=Decimal("0.47"), idle={"GLOBAL_LIMIT": 3}, cells={"BUYING": 17, "IDLE": 3})
    market = {"source": "replay", "data": "candles", "speed": "600", "market_ms": NOW, "until_ms": NOW + 60_000}
    return with_reasons(status(above, poor, workers=(worker(),), market=market, **changes))


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_longer_than_the_terminal_and_no_figure_is_cut(width: int) -> None:
    """Every price in full, every table in its width."""
    text = printed(status_table(account()), width)
    assert max(map(len, text.splitlines())) <= width
    assert all(part in text for part in ("112,345.67", "101,234.56", "111,111.11", "above", "47 %"))
    assert "…" not in text


def test_a_wide_terminal_shows_more() -> None:
    """The next orders and the ticks."""
    assert "next buy" not in printed(status_table(account()), 80)
    assert all(part in printed(status_table(account()), 160) for part in ("next buy", "110,000.5", "ticks"))


def test_every_reason_stands_below_the_tables() -> None:
    """In words, with what would wake it."""
    text = " ".join(printed(status_table(account()), 80).split())
    assert "BTC/USDT: the price is above the range: all sold; waits for: the price falls to 110,000.5" in text
    assert "ETH/USDT: 3 cells: the pool is used up; waits for: a sale of any symbol, or more funds" in text


def test_market_time_stands_beside_the_prices() -> None:
    """With the end of the recording; after it, that it has ended."""
    assert (
        "Prices: replay of candles, 600 × speed. Market time 2024-01-01 00:00 UTC, "
        "the recording ends at 2024-01-01 00:01" in " ".join(printed(status_table(account()), 80).split())
    )
    ended = {"source": "replay", "market_ms": NOW, "until_ms": NOW, "ended": True}
    text = printed(status_table(status(symbol(), market=ended | {"missing_minutes": 7, "candle_minutes": 15})), 160)
    assert "recording finished" in text
    assert "the recording has ended" in text
    assert "15-minute candles. Each is played as one minute" in text
    assert "lacks 7 minutes. The market goes on with the next candle" in text


@pytest.mark.parametrize(
    ("changes", "silent", "sentence"),
    [
        (
            {"prefect_away_since_ms": NOW},
            {},
            "Prefect: the server does not answer the workers, since 2024-01-01 00:00 UTC.",
        ),
        (
            {"history": HistoryView(away_ms=NOW, away_why="refused")},
            {},
            "Database: not written (refused); 0 records (0.0 MB) wait, since 2024-01-01",
        ),
        ({"history": HistoryView(unread="it is locked")}, {}, "Database: it is locked. Trading goes on"),
        ({}, {"PostgreSQL": "14:03 UTC"}, "PostgreSQL has not answered since 14:03 UTC. The stack restarts it"),
    ],
)
def test_what_does_not_answer_stands_first(
    changes: dict[str, object], silent: Mapping[str, str], sentence: str
) -> None:
    """Before every table, once."""
    view = account(**changes)
    assert any(one.startswith(sentence) for one in outages(view, silent))
    text = " ".join(printed(status_table(view, silent), 200).split())
    assert text.count(sentence) == 1
    assert text.index(sentence) < text.index("equity")


GRID = Grid(
    grid_id="abc12",
    symbol="BTC/USDT",
    levels=(Decimal(40_000), Decimal(41_000), Decimal(42_000)),
    first_price=Decimal(41_000),
    created_ms=1,
    tick_size=Decimal("0.01"),
)
REPORT = TickReport(
    symbol="BTC/USDT", at_ms=NOW, duration_ms=5, fence=1, price=Decimal(41_500), fills=0, placed=0, cancelled=0,
    idle={"abc12:1": "GLOBAL_LIMIT"},
)  # fmt: skip


def test_the_ladder_shows_where_the_price_is_and_why_a_cell_waits() -> None:
    """The highest cell first; the price stands between the cells."""
    cells = [
        Cell(
            key=f"abc12:{index}",
            grid_id="abc12",
            index=index,
            buy_price=low,
            sell_price=low + 1000,
            cycle=0,
            state=state,
        )
        for index, low, state in ((0, Decimal(40_000), CellState.BUYING), (1, Decimal(41_000), CellState.IDLE))
    ]
    text = printed(ladder(grid_view("BTC/USDT", GRID, cells, REPORT), symbol(), "USDT"), 80)
    assert max(map(len, text.splitlines())) <= 80
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "BTC/USDT: price 41,500, 75 % of the range 40,000 to 42,000, 2 cells" in lines
    assert "GLOBAL_LIMIT (1): the pool is used up; waits for: a sale of any symbol, or more funds" in " ".join(lines)
    price, upper, lower = (
        next(number for number, line in enumerate(lines) if line.startswith(start))
        for start in ("41,500 ← price", "41,000 42,000 idle", "40,000 41,000 buying")
    )
    assert price < upper < lower
    assert "no grid yet" in printed(ladder(grid_view("BTC/USDT", None, [], None), None, "USDT"), 80)


def test_each_word_has_one_definition() -> None:
    """Short, a sentence or more; what is asked for comes in that order."""
    assert all(text.endswith(".") and len(text) < 200 for text in GLOSSARY.values())
    assert explained("used", "pot").splitlines()[0].startswith("used: What the inventory cost.")
