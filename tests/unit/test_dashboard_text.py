"""How the screens write amounts, times, HTML, CSV and log lines."""

import csv
import io
from datetime import UTC
from decimal import Decimal
from typing import Any

import pytest

from dashboard.present import csv_file, log_lines, notes, numbers, times
from dashboard.present.html import Column, Html, bar, el, gain, html, link, moment, number, side, table
from tasks.views.line_models import LogLine
from tasks.views.models import BaseView
from tests.support.views import NOW, fill, status, symbol

BERLIN = times.zone_of("Europe/Berlin")


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1234.5", "1,234.50"), ("-31.446", "−31.45"), ("-0.001", "0.00"), ("0", "0.00"), ("-0.005001", "−0.01")],
)
def test_money_shows_a_minus_only_where_digits_do(amount: str, text: str) -> None:
    """Two decimals, thousands apart, no negative zero, and a dash for what is not known."""
    assert numbers.money(Decimal(amount)) == text
    assert numbers.money(None) == "–"


@pytest.mark.parametrize(
    ("amount", "text", "mark"), [("2", "+2.00", "▲"), ("-2", "−2.00", "▼"), ("0.001", "0.00", ""), ("0", "0.00", "")]
)
def test_gains_and_losses_are_marked_without_colour(amount: str, text: str, mark: str) -> None:
    """A sign and a mark, for what can be seen only; the mark is not read out."""
    assert (numbers.signed(Decimal(amount)), numbers.mark(Decimal(amount))) == (text, mark)
    shown = gain(Decimal(amount))
    assert text in shown
    assert ("▲" in shown or "▼" in shown) == bool(mark)
    assert ('aria-hidden="true"' in shown) == bool(mark)


def test_shares_are_percentages() -> None:
    """Of 1; a dash without a whole."""
    assert numbers.percent(Decimal("0.1234")) == "12.3 %"
    assert numbers.signed_percent(Decimal("-0.0312")) == "−3.12 %"
    assert numbers.percent(numbers.part_of(Decimal(1), Decimal(0))) == "–"


def test_prices_have_the_symbol_s_own_digits() -> None:
    """Of its tick size, else as many as the amounts have; all below each other."""
    assert numbers.step_digits(Decimal("0.10")) == 1
    assert numbers.step_digits(Decimal(10)) == 0
    digits = numbers.digits_of([Decimal("1.5"), Decimal("0.00000200"), None])
    assert numbers.exact(Decimal("1234.5"), digits) == "1,234.500000"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d"), (-3, "0 s")],
)
def test_ages_are_short(seconds: float, text: str) -> None:
    """One unit, never negative."""
    assert times.age_text(seconds) == text


def test_times_are_the_viewer_s_with_utc_on_hover() -> None:
    """A zone that is not known is UTC; of today only the time is shown."""
    shown = moment(NOW, BERLIN)
    assert ">2024-01-01 01:00:00<" in shown
    assert 'title="2024-01-01 00:00:00 UTC"' in shown
    assert 'datetime="2024-01-01T00:00:00.000Z"' in shown
    assert ">01:00:00<" in moment(NOW, BERLIN, NOW + 1000)
    assert ">01 Jan 01:00<" in moment(NOW, BERLIN, NOW + 90_000_000)
    assert moment(None, BERLIN) == "–"
    for unknown in (None, "", "Mars/Olympus", "../etc/passwd"):
        assert times.zone_of(unknown) is UTC


HOSTILE = "<img src=x onerror=alert(1)>&\"'`"


def test_whatever_others_say_is_text() -> None:
    """In contents, attributes, links and tables; only what was made as HTML stays HTML."""
    for shown in (
        html(HOSTILE),
        el("p", HOSTILE, title=HOSTILE),
        link(HOSTILE, HOSTILE),
        table("t", [Column("a"), Column("b")], [(HOSTILE, Html("<b>x</b>"))], ""),
        table(HOSTILE, [Column(HOSTILE, note=HOSTILE)], [(HOSTILE,)], ""),
    ):
        assert "<img" not in shown
        assert "&lt;img" in shown
    assert "<b>x</b>" in html([Html("<b>x</b>"), HOSTILE])


def test_a_table_is_one_for_screen_readers_and_the_keyboard() -> None:
    """A caption, heads of columns and rows, a region that can be scrolled; numbers stand at their right end."""
    made = table("Fills", [Column("Symbol"), number("Price", "in quote")], [("BTC/USDT", "1.00")], "None.")
    for part in (
        'role="region" tabindex="0" aria-label="Fills"',
        "<caption",
        '<th scope="col">Symbol</th>',
        '<abbr title="in quote">Price</abbr>',
        '<th scope="row">BTC/USDT</th>',
        '<td class="gf-n">1.00</td>',
    ):
        assert part in made
    assert table("Fills", [Column("Symbol")], [], "None.") == '<p class="gf-none">None.</p>'


def test_sides_and_bars_have_words() -> None:
    """What colour and length say is said in words too."""
    assert "buy" in side("buy")
    assert side("SELL").count("▼") == 1
    made = bar({"gf-used": Decimal(1), "gf-reserved": Decimal(2)}, Decimal(4), "used 1, reserved 2 of 4")
    assert 'role="img" aria-label="used 1, reserved 2 of 4"' in made
    assert "width:25.00%" in made
    assert "width:50.00%" in made
    assert "width" not in bar({"gf-used": Decimal(1)}, Decimal(0), "nothing")


def test_dark_symbols_are_told_with_their_reason() -> None:
    """At most five of them; such a symbol is not `trading`."""
    dark = [symbol(f"C{place}/USDT", dark=True, dark_why="no tick for 31 s") for place in range(7)]
    view = status(symbol(), *dark)
    assert notes.dark_text(status(symbol())) == ""
    assert notes.dark_text(view).startswith("C0/USDT: no tick for 31 s · C1/USDT: ")
    assert notes.dark_text(view).endswith("C4/USDT: no tick for 31 s · and 2 more")
    assert notes.symbol_state(view, dark[0]) == "dark"


def test_states_of_a_symbol() -> None:
    """A stop outranks a pause; the pot's pause holds every symbol."""
    one = symbol(paused=True)
    assert notes.symbol_state(status(symbol()), symbol()) == "trading"
    assert notes.symbol_state(status(one), one) == "paused"
    assert notes.symbol_state(status(symbol(), paused=True), symbol()) == "paused"
    assert notes.symbol_state(status(one, stopped=True), one) == "stopped"


def test_whose_tick_failed_and_why() -> None:
    """A few by name, the rest by number."""
    assert notes.failure_text(status(symbol())) == ""
    failed = [symbol(f"A{place}/USDT", failed_tick_ms=NOW, failed_tick_why="no answer") for place in range(7)]
    text = notes.failure_text(status(*failed))
    assert text.startswith("A0/USDT, tick of 2024-01-01T00:00:00.000Z: no answer · A1/USDT")
    assert text.endswith(" · and 2 more")


def test_base_that_is_short_is_told_once_it_is_confirmed() -> None:
    """A fill that no tick has booked yet is no warning."""
    amounts: dict[str, Any] = {"held": Decimal("0.50"), "account": Decimal("0.4"), "short": Decimal("0.1")}
    short = BaseView(coin="BTC", confirmed=True, at_ms=NOW, **amounts)
    assert notes.base_text(status(base=(short,))) == "The exchange holds 0.4 BTC, but the cells hold 0.5 BTC."
    assert notes.base_text(status(base=(short.model_copy(update={"confirmed": False}),))) == ""


def test_csv_is_exact_and_holds_no_formula() -> None:
    """Decimals keep their digits; text that a spreadsheet would calculate is quoted; numbers stay numbers."""
    found = fill(trade_id="=1+1", client_id="-x", profit=Decimal("-0.00000001"))
    (row,) = csv.DictReader(io.StringIO((csv_file.csv_head() + csv_file.csv_lines([found])).decode()))
    assert (row["trade_id"], row["client_id"]) == ("'=1+1", "'-x")
    assert (row["price"], row["profit"], row["time_utc"]) == ("42000.1", "-0.00000001", "2024-01-01T00:00:00.000Z")


def line(level: str = "INFO", **fields: str) -> LogLine:
    """A record of a worker."""
    return LogLine(
        id="1-0", at_ms=NOW, level=level, source="worker", logger="tasks.tick", message="Fill", fields=fields
    )


def test_logs_are_searched_in_all_their_parts() -> None:
    """Message, fields, source and logger, in any case; and by level and above."""
    found = [bool(log_lines.matching([line(s="BTC/USDT")], text)) for text in ("", " fill ", "btc/", "WORKER", "no")]
    assert found == [True, True, True, True, False]
    lines = [line(level) for level in log_lines.LEVELS]
    assert [len(log_lines.at_least(lines, level)) for level in (None, "DEBUG", "WARNING", "CRITICAL")] == [5, 5, 3, 1]


def test_a_log_line_leads_to_its_flow_run() -> None:
    """Only to a page of a run: what others write in a field is no link."""
    url = "http://127.0.0.1:4200/runs/flow-run/abc"
    assert f'href="{url}"' in log_lines.lines_table([line(flow_run_url=url)], UTC)
    for odd in ("javascript:alert(1)//runs/flow-run/", "http://evil.example/", HOSTILE):
        shown = log_lines.lines_table([line("ERROR", flow_run_url=odd, error=HOSTILE)], UTC)
        assert "href" not in shown
        assert "<img" not in shown


def test_where_prices_come_from() -> None:
    """Source, reason and speed, as far as they are known."""
    assert status(market={}).prices == "not known before the first tick"
    assert status(market={"source": "live", "speed": "1", "candles_done": {}}).prices == "live"
    assert status(market={"source": "replay", "why": "data", "speed": "60"}).prices == "replay (data), 60 × speed"
