"""What each screen shows of a view: figures, cards, ladder, tables, notices and charts."""

import json
import re
from datetime import UTC
from decimal import Decimal
from html import escape
from typing import Any

import pytest

from dashboard.charts.candles import candles
from dashboard.charts.equity import equity_curve
from dashboard.charts.profits import daily_profit
from dashboard.charts.shares import past_shares, shares, shares_height
from dashboard.present.fills import fills_table, results_table, span_tiles, symbols_table
from dashboard.present.html import term
from dashboard.present.ladder import grid_tiles, ladder
from dashboard.present.log_lines import actions_table
from dashboard.present.notices import notices, part_cards, with_code
from dashboard.present.overview import ORDERS, account_tiles, chosen, head_line, log_lines, symbol_cards
from dashboard.present.runs import run_link
from dashboard.present.settings_tables import check_result, matching, section_table
from dashboard.present.shares import moved, moves_table, pot_tiles, rebalances_table, shares_table
from dashboard.present.sparks import spark
from tasks.base.errors import Problem
from tasks.exchange.limits.circuit_breaker import Phase
from tasks.exchange.models import Side
from tasks.funds.models import RebalanceReport, SymbolChange
from tasks.settings.model import Settings
from tasks.views.glossary import GLOSSARY
from tasks.views.grid import CellView, GridPart, GridView
from tasks.views.line_models import ActionView, EquityPoint
from tasks.views.models import HistoryView, ReasonView
from tasks.views.parts import PartState, database_away, is_stale, part_views, redis_away
from tasks.views.price_bars import price_bars
from tasks.views.result_models import DayView, ResultsView, SymbolResults
from tasks.views.settings_page import ELSEWHERE, SECRET, UNSET, setting_rows
from tests.support.views import NOW, fill, status, symbol, worker


def cell(index: int, **changes: Any) -> CellView:
    """A cell of a grid with levels 100 apart."""
    low = Decimal(41_000 + 100 * index)
    base: dict[str, Any] = {"key": f"g:{index}", "index": index, "buy_price": low, "sell_price": low + 100}
    base |= {"state": "IDLE", "qty": Decimal(0), "cost": Decimal(0), "profit": Decimal(0), "rounds": 0}
    return CellView(**(base | {"order_id": None} | changes))


def grid(price: str = "41250.5", cells: int = 5, **changes: Any) -> GridView:
    """A grid of that many cells; cell 1 buys, cell 3 sells, cell 4 is idle."""
    found = [cell(index) for index in range(cells)]
    found[1] = cell(1, state="BUYING")
    found[3] = cell(3, state="SELLING", qty=Decimal("0.0030"), cost=Decimal("123.9"), profit=Decimal("0.5"), rounds=2)
    found[4] = cell(4, reason="ABOVE_PRICE", why="its buy price is above the market", wakes="the price rises")
    levels = tuple(Decimal(41_000 + 100 * index) for index in range(cells + 1))
    base: dict[str, Any] = {"symbol": "BTC/USDT", "grid_id": "g", "price": Decimal(price), "levels": levels}
    base |= {"tick_size": Decimal("0.01"), "cells": tuple(reversed(found)), "place": Decimal("0.5")}
    own = GridPart(name="", grid_id="g", lower=levels[0], upper=levels[-1], cells=cells)
    return GridView(**(base | {"grids": (own,)} | changes))


# --- parts and notices -------------------------------------------------------------------------------------
def test_all_parts_work() -> None:
    """Nothing to tell; every card says so."""
    view = status(symbol(), workers=(worker(),))
    parts = part_views(view, NOW)
    assert {part.state for part in parts} == {PartState.GOOD}
    assert notices(view, parts, NOW, UTC) == ""
    assert part_cards(parts, {}, NOW, UTC).count("works") == 4


@pytest.mark.parametrize(
    ("name", "changes", "since_ms"),
    [
        ("Workers", {"workers": (worker(alive=False, age_seconds=40.0),)}, NOW - 40_000),
        ("Workers", {"workers": ()}, NOW - 5000),
        ("Exchange", {"breaker": Phase.OPEN, "breaker_why": "timeout"}, None),
        ("Database", {"history": HistoryView(away_ms=NOW - 60_000, away_why="connection refused")}, NOW - 60_000),
        ("Prefect", {"prefect_away_since_ms": NOW - 120_000}, NOW - 120_000),
    ],
)
def test_a_part_that_is_away_says_since_when_what_works_and_what_to_do(
    name: str, changes: dict[str, Any], since_ms: int | None
) -> None:
    """Exactly that part, in a message that is read out."""
    view = status(symbol(), **({"workers": (worker(),)} | changes))
    parts = part_views(view, NOW)
    away = [part for part in parts if part.state is PartState.AWAY]
    assert [(part.name, part.since_ms) for part in away] == [(name, since_ms)]
    shown = notices(view, parts, NOW, UTC)
    for words in ("Still works", "What to do", "Recovery", 'role="alert"', away[0].works[:20]):
        assert words in shown
    assert ("since" in shown) == (since_ms is not None)
    assert "`" not in shown


def test_redis_and_the_database_as_this_dashboard_sees_them() -> None:
    """Figures that are not known are not told: of Redis's absence alone."""
    away = redis_away("Redis at 127.0.0.1:6379", NOW - 5000)
    shown = notices(None, [away], NOW, UTC)
    assert "Redis at 127.0.0.1:6379 does not answer since <time" in shown
    assert "(5 s)" in shown
    assert "the disk is full" in notices(None, [database_away("the disk is full", None)], NOW, UTC)
    assert with_code("run `a <b>` now") == "run <code>a &lt;b&gt;</code> now"


def test_workers_that_left_and_symbols_that_nobody_ticks_need_a_look() -> None:
    """No alarm for a part that works in part, but its card says so."""
    view = status(symbol(), workers=(worker(), worker("two", alive=False)))
    assert part_views(view, NOW)[0].state is PartState.POOR
    dark = status(symbol(), symbol("ETH/USDT", dark=True), workers=(worker(),))
    assert "1 of 2 symbols not ticked" in part_views(dark, NOW)[0].said
    full = status(symbol(), workers=(worker(),), history=HistoryView(full=True, waiting=7))
    assert part_views(full, NOW)[2].state is PartState.POOR
    nobody = {part.name: part.said for part in part_views(status(symbol(), workers=(worker(alive=False),)), NOW)}
    assert nobody["Exchange"] == nobody["Prefect"] == "not known: no worker runs that would ask it"
    note = status(symbol(), workers=(worker(),), prefect_note="a limit of 2")
    assert part_views(note, NOW)[3].said == "a limit of 2"


def test_figures_are_old_after_twice_the_planned_interval() -> None:
    """Five seconds at least; a symbol that never ticked has no figures."""
    assert not is_stale(symbol(every_seconds=10.0), NOW + 14_900)
    assert is_stale(symbol(every_seconds=10.0), NOW + 15_100)
    assert not is_stale(symbol(every_seconds=0.1), NOW - 100)
    assert is_stale(symbol(every_seconds=0.1), NOW + 100)
    assert not is_stale(symbol(last_tick_ms=None), NOW)


# --- words -------------------------------------------------------------------------------------------------
WORDS = ("equity", "profit", "grid profit", "floating", "fees", "committed", "used", "reserved", "allocated", "free")


def test_every_screen_explains_its_words_as_the_glossary_does() -> None:
    """Each label that the glossary has, wherever it stands, hovers over with that definition and no other."""
    view, own, result = status(symbol()), symbol(), ResultsView(name="today", from_ms=0, to_ms=1)
    by_symbol = SymbolResults(
        symbol="A/B", trades=1, rounds=1, win_rate=None, volume=Decimal(1), fees=Decimal(1), profit=Decimal(1)
    )
    made = [
        account_tiles(view, None),
        symbol_cards(view, [own], {}, NOW, UTC),
        grid_tiles(view, own, grid(earned=Decimal(1), earned_value=Decimal(1))),
        ladder(grid()),
        pot_tiles(view),
        shares_table(view, {}),
        fills_table([fill()], UTC),
        results_table([result]),
        span_tiles(result),
        symbols_table([by_symbol]),
    ]
    explained = set()
    for label, content in re.findall(
        r"<(?:dt|th scope=\"col\")[^>]*>((?:<abbr title=\"([^\"]*)\">)?[^<]*)<", "".join(made)
    ):
        word = label.rpartition(">")[2].partition(",")[0].lower()
        definition = GLOSSARY.get(word) or GLOSSARY.get(word.removesuffix("s"))
        assert definition is None or content == escape(definition), label
        explained |= {word} if definition else set()
    assert explained >= {*WORDS, "rounds", "cap", "committed share"}
    assert escape(GLOSSARY["usage"]) in pot_tiles(view)
    assert term("Colour", "a note") == '<abbr title="a note">Colour</abbr>'
    assert term("Colour") == "Colour"


# --- overview ----------------------------------------------------------------------------------------------
def test_the_account_at_a_glance() -> None:
    """Mode, state and age; equity, profit and its parts, with signs."""
    view = status(symbol(), equity=Decimal("10012.6"), equity_change=Decimal("12.6"), floating=Decimal(-2))
    head = head_line(view, "binance", NOW, NOW, UTC)
    for words in ("PAPER", "Trading", "account main", "newest tick", "5 s ago"):
        assert words in head
    shown = account_tiles(view, None)
    for words in ("Equity, USDT", "10,012.60", "+0.13 %", "+12.60", "−2.00"):
        assert words in shown
    assert "LIVE" in head_line(status(mode="live"), "binance", NOW, NOW, UTC)
    assert "orders on binance" in head_line(status(mode="live"), "binance", NOW, NOW, UTC)
    for changes, word in (({"stopped": True}, "Stopped"), ({"paused": True}, "Paused")):
        assert word in head_line(status(symbol(), **changes), "binance", NOW, NOW, UTC)
    assert "Trading" not in head_line(status(symbol(dark=True)), "binance", NOW, NOW, UTC)


def test_a_card_a_symbol() -> None:
    """Price in its own digits, state, why it does nothing, the place in its range; greyed once it is old."""
    reason = ReasonView(code="SYMBOL_LIMIT", why="the allocation is used up", wakes="a sale", cells=3)
    one = symbol(
        lower=Decimal(40_000), upper=Decimal(44_000), place=Decimal("0.5"), tick_size=Decimal("0.01"), reasons=(reason,)
    )
    shown = symbol_cards(status(one), [one], {}, NOW, UTC)
    for words in ("42,000.00", "grid?market=BTC%2FUSDT", "trading", "3 cells: ", "a sale", "50 % of the range"):
        assert words in shown
    assert "gf-old" not in shown
    assert "gf-card gf-old" in symbol_cards(status(one), [one], {}, NOW + 60_000, UTC)
    assert "No symbol has that name" in symbol_cards(status(), [], {}, NOW, UTC)


def test_symbols_are_found_and_ordered() -> None:
    """By a part of the name; by profit, age and use."""
    found = [symbol("A/USDT", equity_change=Decimal(1)), symbol("B/USDT", equity_change=Decimal(2), last_tick_ms=None)]
    assert [one.symbol for one in chosen(found, " b/", "Name")] == ["B/USDT"]
    orders = {name: chosen(found, "", name)[0].symbol for name in ORDERS}
    assert orders["Profit, highest first"] == "B/USDT"
    assert orders["Profit, lowest first"] == "A/USDT"
    assert orders["Longest without a tick"] == "B/USDT"
    assert chosen(found, "", "no such order")[0].symbol == "A/USDT"


def test_warnings_lead_to_their_lines() -> None:
    """Errors count with the critical ones."""
    (shown,) = log_lines({"WARNING": 1, "ERROR": 2, "CRITICAL": 1})
    assert "logs?level=WARNING" in shown
    assert ">1 warning<" in shown
    assert ">3 errors<" in shown


def test_a_spark_line_has_words() -> None:
    """For those who do not see it; a single price is no line."""
    shown = spark([Decimal(100), Decimal(103), Decimal(99)], "in a day")
    assert 'alt="price −1.00 % in a day"' in shown
    assert spark([Decimal(1)], "") == ""
    assert "nan" not in spark([Decimal(1), Decimal(1)], "in a day").lower()


# --- grid --------------------------------------------------------------------------------------------------
def test_the_ladder_shows_each_cell_and_the_price_between_them() -> None:
    """Highest first, with its money, profit, and why an idle one is idle and what would wake it."""
    shown = ladder(grid())
    places = [shown.index(text) for text in ("41,400.00", "41,300.00", "41,250.50", "41,100.00")]
    assert places == sorted(places)
    for words in ("selling", "0.003", "123.90", "+0.5000", "its buy price is above the market", "the price rises"):
        assert words in shown
    assert ladder(grid("50000")).index("gf-price-row") < ladder(grid("50000")).index("41,500.00")
    assert ladder(grid("1")).index("gf-price-row") > ladder(grid("1")).index("41,000.00")
    assert "No cells" in ladder(grid().model_copy(update={"cells": ()}))
    assert "5 cells" in grid_tiles(status(symbol()), symbol(), grid())
    parts = [
        GridPart(name=name, grid_id=name, lower=Decimal(1), upper=Decimal(2), cells=5) for name in ("near", "wide")
    ]
    several = grid(grids=tuple(parts))
    named = several.model_copy(update={"cells": (several.cells[0].model_copy(update={"grid": "near"}),)})
    assert "10 cells: near 5, wide 5" in grid_tiles(status(symbol()), symbol(), named)
    assert "near 4" in ladder(named)
    assert "Earned" not in grid_tiles(status(symbol()), symbol(), grid())
    kept = grid(earned=Decimal("0.012"), earned_value=Decimal("495.006"))
    shown = grid_tiles(status(symbol()), symbol(), kept)
    assert all(words in shown for words in (GLOSSARY["earned in base"], "Earned in base, BTC", "0.012", "worth 495.01"))


def test_candles_carry_levels_orders_and_fills() -> None:
    """Open orders in their colour and words, fills as triangles on their bar; near the price or the whole grid."""
    bars = price_bars([(NOW, Decimal(41_200)), (NOW + 60_000, Decimal(41_260))], NOW, 60_000)
    fills = [fill(price=Decimal(41_200), side=Side.BUY, at_ms=NOW + 5), fill(at_ms=NOW - 5)]
    view = grid()
    spec = candles(bars, fills, view, digits=2, zone=UTC, whole_grid=True)
    json.dumps(spec)
    lines = {one["yAxis"]: one for one in spec["series"][0]["markLine"]["data"]}
    assert set(lines) == {*map(float, view.levels), 41_250.5}
    assert lines[41_100.0]["label"]["formatter"] == "▲ buy 41,100.00"
    assert lines[41_400.0]["label"]["formatter"] == "▼ sell 41,400.00"
    assert not lines[41_000.0]["label"]["show"]
    assert [len(series["data"]) for series in spec["series"][1:]] == [1, 0], "a fill before the first bar is left out"
    assert spec["series"][1]["data"][0][:2] == [0, 41_200.0]
    assert spec["xAxis"]["data"] == ["01 Jan 00:00", "01 Jan 00:01"], "else a mark's place becomes a bar of its own"
    near = candles(bars, fills, grid(cells=40), digits=2, zone=UTC, whole_grid=False)
    assert len(near["series"][0]["markLine"]["data"]) < 12
    assert near["yAxis"]["max"] < 42_000
    assert (
        candles((), (), grid(price="1", levels=(), cells=5), digits=2, zone=UTC, whole_grid=False)["dataset"]["source"]
        == []
    )


def test_bars_of_prices() -> None:
    """A bar opens at the close of the one right before it; a gap has none; older samples are left out."""
    prices = [(0, "1"), (60_000, "10"), (70_000, "12"), (119_000, "9"), (120_000, "11"), (300_000, "20")]
    found = price_bars([(at_ms, Decimal(price)) for at_ms, price in reversed(prices)], 60_000, 60_000)
    assert [(bar.at_ms, *map(str, bar[1:])) for bar in found] == [
        (60_000, "10", "9", "9", "12"),
        (120_000, "9", "11", "9", "11"),
        (300_000, "20", "20", "20", "20"),
    ]


# --- trades ------------------------------------------------------------------------------------------------
def test_a_page_of_fills() -> None:
    """A buy has no profit; prices and amounts of a symbol have as many digits as its longest."""
    shown = fills_table([fill(), fill(side=Side.BUY, price=Decimal("41999.123"), profit=Decimal(0))], UTC)
    assert "42,000.100" in shown
    assert "41,999.123" in shown
    assert shown.count("gf-gain") == 1
    assert "+0.8743" in shown


def test_charts_of_profit_and_equity() -> None:
    """Losses have another colour; tooltips name the viewer's time and UTC; all of it is JSON."""
    days = [
        DayView(day="2024-01-01", trades=2, volume=Decimal(1), profit=Decimal(-2), cumulative=Decimal(-2)),
        DayView(day="2024-01-02", trades=1, volume=Decimal(1), profit=Decimal(5), cumulative=Decimal(3)),
    ]
    spec = daily_profit(days, "USDT")
    json.dumps(spec)
    assert [row[1:3] for row in spec["dataset"]["source"]] == [[-2.0, -2.0], [5.0, 3.0]]
    assert {piece["color"] for piece in spec["visualMap"]["pieces"]} == {"#d55e00", "#159a6c"}
    points = [EquityPoint(at_ms=NOW, equity=Decimal(9990), grid_profit=Decimal(1), capital=Decimal(10_000))]
    curve = equity_curve(points, "USDT", UTC)
    json.dumps(curve)
    assert curve["dataset"]["source"][0][:3] == ["2024-01-01T00:00:00.000Z", 9990.0, 10_001.0]
    assert "{@utc}" in curve["tooltip"]["formatter"]
    old = equity_curve([points[0].model_copy(update={"capital": Decimal(0)})], "USDT", UTC)
    assert old["dataset"]["source"][0][2] is None, "an earlier version kept no capital"


# --- allocation --------------------------------------------------------------------------------------------
def report(**afters: str) -> RebalanceReport:
    """A rebalance of symbols that had 1,000 each."""
    changes = tuple(
        SymbolChange.model_validate(
            {"symbol": f"{name}/USDT", "before": "1000", "target": after, "after": after, "used": "0", "committed": "0"}
        )
        for name, after in afters.items()
    )
    fields: dict[str, Any] = {"reason": "manual", "strategy": "dynamic", "outcome": "applied", "pool": Decimal(9500)}
    return RebalanceReport(at_ms=NOW, applied=True, version=3, changes=changes, **fields)


def test_what_a_rebalance_moves() -> None:
    """The largest first; what cannot be seen is left out."""
    found = report(BTC="1500.5", ETH="900", BNB="1000.001")
    assert [one.symbol for one in moved(found.changes)] == ["BTC/USDT", "ETH/USDT"]
    shown = moves_table("m", found.changes, "Nothing.")
    assert "+500.50" in shown
    assert "−100.00" in shown
    assert moves_table("m", report(BTC="1000").changes, "Nothing.") == '<p class="gf-none">Nothing.</p>'
    listed = rebalances_table([found], UTC)
    assert "BTC/USDT" in listed
    assert "BNB/USDT" not in listed


def test_shares_of_the_pot() -> None:
    """Usage is committed / allocated; no division by an allocation of 0; the target stands beside what is in force."""
    none = symbol("X/USDT", allocated=Decimal(0))
    view = status(symbol(), none)
    shown = shares_table(view, {"BTC/USDT": Decimal(1234)})
    assert "50.0 %" in shown
    assert "1,234.00" in shown
    assert "Efficiency" in pot_tiles(view)
    spec = shares(view, ["BTC/USDT", "X/USDT"])
    json.dumps(spec)
    assert spec["yAxis"]["data"] == ["X/USDT", "BTC/USDT"], "the first stands at the top"
    assert [series["data"][1] for series in spec["series"]] == [200.0, 300.0, 500.0]
    assert shares_height(2) < shares_height(20)


def test_allocations_after_each_rebalance() -> None:
    """Oldest first, up to now; the rest of many symbols is one line."""
    many = [symbol(f"S{place:02}/USDT", allocated=Decimal(100 + place)) for place in range(12)]
    spec = past_shares([report(S11="50"), report(S11="40")], status(*many), NOW + 1000, UTC)
    json.dumps(spec)
    lines = {series["name"]: series["data"] for series in spec["series"]}
    assert lines["S11/USDT"][-1] == 111.0
    assert len(lines) == 9
    assert lines["others"][-1] == 100 + 101 + 102 + 103


# --- settings ----------------------------------------------------------------------------------------------
def test_every_setting_is_shown_and_no_secret() -> None:
    """With its meaning; what only workers know is not shown as if it were not set."""
    own = Settings.model_validate(
        {"redis_url": "redis://:hunter2@h/0", "dashboard": {"password": "a long secret"}, "total_funds": "500"}
    )
    rows = {(row.section, row.name): row for row in setting_rows(own)}
    assert rows["general", "redis_url"].value == SECRET
    assert rows["dashboard", "password"].value == SECRET
    assert rows["dashboard", "token_secret"].value == UNSET
    assert rows["exchange", "api_key"].value == rows["alerts.telegram", "token"].value == ELSEWHERE
    assert (rows["general", "total_funds"].value, rows["general", "total_funds"].is_default) == ("500", False)
    assert rows["general", "quote"].is_default
    assert rows['symbols."BTC/USDT"', "cells"].value == "20"
    assert all(row.meaning for row in rows.values() if row.name != "grid")
    shown = "".join(section_table("x", [row]) for row in rows.values())
    assert "hunter2" not in shown
    assert "a long secret" not in shown


def test_settings_are_found_and_the_check_is_told() -> None:
    """By name, value and meaning; only those that were set."""
    rows = setting_rows(Settings.model_validate({"total_funds": "500"}))
    assert [row.name for row in matching(rows, "total_funds", only_set=True)] == ["total_funds"]
    assert any(row.name == "maker_fee" for row in matching(rows, "NOTIONAL", only_set=False))
    assert "found nothing wrong" in check_result([])
    wrong = check_result([Problem("total_funds", "<b>", "must be above 0", "Raise it")])
    assert "must be above 0. Raise it" in wrong
    assert "<b>" not in wrong


# --- flow runs ---------------------------------------------------------------------------------------------
RUN, PAGES = "0190d9c4-1111-7222-8333-444455556666", "http://127.0.0.1:4200"
PAGE = f'href="{PAGES}/runs/flow-run/{RUN}"'


def test_the_run_that_ticks_a_symbol_is_a_link() -> None:
    """On its card, where the Prefect UI is known; what is no id of a run is no link."""
    one = symbol(flow_run=RUN)
    assert PAGE in symbol_cards(status(one), [one], {}, NOW, UTC, PAGES)
    assert "flow run" not in symbol_cards(status(one), [one], {}, NOW, UTC)
    own = symbol(flow_run='x" onclick="')
    assert "onclick" not in symbol_cards(status(own), [own], {}, NOW, UTC, PAGES)
    assert run_link(RUN, "javascript:alert(1)//") == ""


def test_the_run_that_an_operator_started_is_a_link() -> None:
    """In what it came to; the rest of that text stays text."""
    done = ActionView(at_ms=NOW, actor="api", action="rebalance", subject="", result=f"<b>started flow run {RUN}.")
    made = actions_table([done], UTC, PAGES)
    assert f">{RUN}</a>." in made
    assert PAGE in made
    assert "&lt;b&gt;started flow run <a" in made
    assert f"started flow run {RUN}." in actions_table([done], UTC)
