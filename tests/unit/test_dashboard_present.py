"""What the screens show, from views alone."""

import csv
import io
from decimal import Decimal
from typing import Any

import pytest

from dashboard import present
from tasks.exchange.models import Side
from tasks.ledger.models import Fill
from tasks.views.models import BaseView, EquityPoint, LogLine
from tests.support.views import NOW, status, symbol


def fill(**changes: Any) -> Fill:
    """A sell with a profit."""
    base: dict[str, Any] = {
        "trade_id": "1",
        "client_id": "g1-0-s-0",
        "symbol": "BTC/USDT",
        "cell_key": "g1:0",
        "side": Side.SELL,
        "price": Decimal("42000.10"),
        "qty": Decimal("0.003"),
        "quote": Decimal("126.0003"),
        "fee": Decimal("0.1260003"),
        "fee_currency": "USDT",
        "fee_quote": Decimal("0.1260003"),
        "maker": True,
        "at_ms": NOW,
        "basis": Decimal(125),
        "profit": Decimal("0.8742997"),
    }
    return Fill(**(base | changes))


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1234.5", "1,234.50"), ("-31.446", "-31.45"), ("-0.001", "0.00"), ("0", "0.00"), ("-0.005001", "-0.01")],
)
def test_money_shows_a_minus_only_where_digits_do(amount: str, text: str) -> None:
    """Two decimals, thousands apart, no negative zero."""
    assert present.money(Decimal(amount)) == text


@pytest.mark.parametrize(("amount", "text"), [("2", "+2.00"), ("-2", "-2.00"), ("0.001", "0.00")])
def test_signed_marks_gains(amount: str, text: str) -> None:
    """A plus sign for a gain that can be seen."""
    assert present.signed(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d"), (-3, "0 s")],
)
def test_ages_are_short(seconds: float, text: str) -> None:
    """One unit, never negative."""
    assert present.age_text(seconds) == text


def test_oldest_ticks_come_first_and_long_lists_are_cut() -> None:
    """A symbol that was never ticked comes before all."""
    view = status(symbol("A/USDT"), symbol("B/USDT", last_tick_ms=None), symbol("C/USDT", last_tick_ms=NOW - 200_000))
    assert present.tick_ages(view, NOW, limit=2) == "B/USDT never · C/USDT 3 min · and 1 more"


def test_dark_symbols_are_told_with_their_reason() -> None:
    """At most five of them; such a symbol is not `trading`."""
    dark = [symbol(f"C{number}/USDT", dark=True, dark_why="no tick for 31 s") for number in range(7)]
    view = status(symbol(), *dark)
    assert present.dark_text(status(symbol())) == ""
    assert present.dark_text(view).startswith("C0/USDT: no tick for 31 s · C1/USDT: ")
    assert present.dark_text(view).endswith("C4/USDT: no tick for 31 s · and 2 more")
    assert present.symbol_state(view, dark[0]) == "dark"


def test_states_of_a_symbol() -> None:
    """A stop outranks a pause; the pot's pause holds every symbol."""
    one = symbol(paused=True)
    assert present.symbol_state(status(symbol()), symbol()) == "trading"
    assert present.symbol_state(status(one), one) == "paused"
    assert present.symbol_state(status(symbol(), paused=True), symbol()) == "paused"
    assert present.symbol_state(status(one, stopped=True), one) == "stopped"


def test_share_rows_and_bars() -> None:
    """Usage is committed / allocated; bars are of the largest allocations; no division by an allocation of 0."""
    small, none = symbol("ETH/USDT", allocated=Decimal(10)), symbol("X/USDT", allocated=Decimal(0))
    view = status(symbol(), small, none)
    rows = present.share_rows(view)
    assert [row["usage"] for row in rows] == [0.5, 50.0, 0.0]
    parts = present.share_parts(view, limit=1)
    assert [(row["symbol"], row["part"], row["amount"]) for row in parts] == [
        ("BTC/USDT", "used", 200.0),
        ("BTC/USDT", "reserved", 300.0),
        ("BTC/USDT", "free", 500.0),
    ]


def test_a_buy_has_no_profit_to_show() -> None:
    """A buy's zero profit is no result."""
    rows = present.fill_rows([fill(), fill(side=Side.BUY, profit=Decimal(0))])
    assert [row["profit"] for row in rows] == [0.8742997, None]
    assert rows[0]["time"] == "2024-01-01T00:00:00.000Z"


def test_csv_is_exact_and_holds_no_formula() -> None:
    """Decimals keep their digits; text that a spreadsheet would calculate is quoted; numbers stay numbers."""
    found = fill(trade_id="=1+1", client_id="-x", profit=Decimal("-0.00000001"))
    (row,) = csv.DictReader(io.StringIO((present.csv_head() + present.csv_lines([found])).decode()))
    assert (row["trade_id"], row["client_id"]) == ("'=1+1", "'-x")
    assert (row["price"], row["profit"], row["time_utc"]) == ("42000.1", "-0.00000001", "2024-01-01T00:00:00.000Z")


def test_the_curve_ends_now() -> None:
    """The kept points, then the present equity."""
    point = EquityPoint(at_ms=NOW - 300_000, equity=Decimal(9990), grid_profit=Decimal(1))
    rows = present.curve_rows([point], status(equity=Decimal(10_005)), NOW)
    assert [row["equity"] for row in rows] == [9990.0, 10_005.0]


def test_logs_are_searched_in_all_their_parts() -> None:
    """Message, fields, source and logger, in any case."""
    line = LogLine(
        id="1-0",
        at_ms=NOW,
        level="INFO",
        source="worker",
        logger="tasks.tick",
        message="Fill",
        fields={"s": "BTC/USDT"},
    )
    assert [bool(present.matching([line], text)) for text in ("", " fill ", "btc/", "WORKER", "nothing")] == [
        True,
        True,
        True,
        True,
        False,
    ]


def test_markdown_of_others_is_harmless() -> None:
    """Nothing an exchange says becomes a link, an image, HTML or a directive."""
    assert present.escaped("![x](http://e) <b> :red[a]") == r"\!\[x\]\(http\://e\) \<b\> \:red\[a\]"


def test_where_prices_come_from() -> None:
    """Source, reason and speed, as far as they are known."""
    assert status(market={}).prices == "not known before the first tick"
    assert status(market={"source": "live", "speed": "1", "candles_done": {}}).prices == "live"
    assert status(market={"source": "replay", "why": "data", "speed": "60"}).prices == "replay (data), 60 × speed"


def test_whose_tick_failed_and_why() -> None:
    """A few by name, the rest by number."""
    assert present.failure_text(status(symbol())) == ""
    failed = [symbol(f"A{number}/USDT", failed_tick_ms=NOW, failed_tick_why="no answer") for number in range(7)]
    text = present.failure_text(status(*failed))
    assert text.startswith("A0/USDT, tick of 2024-01-01T00:00:00.000Z: no answer · A1/USDT")
    assert text.endswith(" · and 2 more")


def test_base_that_is_short_is_told_once_it_is_confirmed() -> None:
    """A fill that no tick has booked yet is no warning."""
    amounts: dict[str, Any] = {
        "coin": "BTC",
        "held": Decimal("0.50"),
        "account": Decimal("0.4"),
        "short": Decimal("0.1"),
    }
    short = BaseView(confirmed=True, at_ms=NOW, **amounts)
    assert present.base_text(status(base=(short,))) == "The exchange holds 0.4 BTC, but the cells hold 0.5 BTC."
    assert present.base_text(status(base=(short.model_copy(update={"confirmed": False}),))) == ""
