"""The Overview screen: the account's figures, and a card for each symbol. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from urllib.parse import quote

from dashboard.present.html import Content, Html, badge, bar, el, gain, html, link, moment, term, tile, tiles
from dashboard.present.notes import counts, symbol_state
from dashboard.present.numbers import (
    digits_of,
    exact,
    money,
    part_of,
    percent,
    signed_percent,
    step_digits,
    whole,
)
from dashboard.present.runs import run_link
from dashboard.present.sparks import spark
from dashboard.present.times import age_text
from tasks.base.money import ZERO
from tasks.views.models import StatusView, SymbolView
from tasks.views.parts import is_stale
from tasks.views.price_range import place_text
from tasks.views.result_models import ResultsView

STATE_KINDS = {
    "trading": "good",
    "paused": "warn",
    "retiring": "info",
    "left": "plain",
    "stopped": "bad",
    "dark": "bad",
}


def account_badges(view: StatusView) -> Html:
    """Mode, state, and how many symbols need a look."""
    live = view.mode == "live"
    made = [badge("LIVE" if live else "PAPER", "bad" if live else "info", "real orders" if live else "no real orders")]
    if view.stopped:
        made.append(badge("Stopped", "bad"))
    elif view.paused:
        made.append(badge("Paused", "warn"))
    elif not view.dark:
        made.append(badge("Trading", "good"))
    if view.dark:
        made.append(badge(f"{len(view.dark)} of {len(view.symbols)} symbol(s) dark", "bad"))
    paused = sum(symbol.paused for symbol in view.symbols)
    if paused:
        made.append(badge(f"{paused} symbol(s) paused", "warn"))
    return html(made)


def head_line(view: StatusView, exchange: str, read_ms: int, now_ms: int, zone: tzinfo) -> Html:
    """Badges, where orders and prices are, and how old all of it is."""
    source = f"orders on {exchange}" if view.mode == "live" else f"prices {view.prices}"
    ticked = [symbol.last_tick_ms for symbol in view.symbols if symbol.last_tick_ms is not None]
    parts: list[Content] = [account_badges(view), el("span", f"account {view.account} · {source}")]
    if ticked:
        newest = max(ticked)
        parts.append(
            el("span", ["newest tick ", moment(newest, zone, now_ms), f", {age_text((now_ms - newest) / 1000)} ago"])
        )
    parts.append(el("span", f"{whole(view.fills)} fills"))
    parts.append(el("span", ["read ", moment(read_ms, zone, now_ms)]))
    return el("div", [html(part) for part in parts], class_="gf-head")


def account_tiles(view: StatusView, month: ResultsView | None) -> Html:
    """Equity, profit and its parts, yearly rates, and how much of the pool is committed."""
    change, funds = view.equity_change, view.capital
    equity_note = [gain(change, signed_percent(part_of(change, funds)))]
    if view.moved:
        equity_note.append(el("span", view.moved))
    rates = (month.grid_apr, month.total_apr) if month else (None, None)
    used = {"gf-used": view.used, "gf-reserved": view.reserved}
    words = f"used {money(view.used)}, reserved {money(view.reserved)} of {money(view.pool)} {view.quote}"
    return tiles(
        [
            tile(f"Equity, {view.quote}", money(view.equity), equity_note),
            tile("Profit", gain(change), "grid and floating, after fees"),
            tile("Grid profit", gain(view.grid_profit), "of closed rounds"),
            tile("Floating", gain(view.floating), "of what is held now"),
            tile("Fees", money(view.fees), "taken off already"),
            tile("Grid APR", percent(rates[0]), html(["total ", percent(rates[1]), ", of 30 days"])),
            tile("Committed", money(view.committed), bar(used, view.pool, words)),
        ]
    )


def price_digits(symbol: SymbolView) -> int:
    """The decimals of the symbol's prices."""
    if symbol.tick_size:
        return step_digits(symbol.tick_size)
    return digits_of([symbol.lower, symbol.upper, symbol.price])


def grid_url(symbol: str) -> str:
    """The Grid screen of a symbol."""
    return f"grid?market={quote(symbol, safe='')}"


def _place(symbol: SymbolView) -> Html:
    """Where the price is between the lowest and the highest level."""
    if symbol.place is None or symbol.lower is None or symbol.upper is None:
        return Html("")
    digits = price_digits(symbol)
    ends = f"{exact(symbol.lower, digits)} to {exact(symbol.upper, digits)}"
    words = f"price at {place_text(symbol.place)} of the range {ends}"
    left = min(max(symbol.place, ZERO), Decimal(1)) * 100
    dot = el("span", None, class_="gf-here", style=f"left:{left:.1f}%")
    return el("div", dot, class_="gf-place", role="img", aria_label=words, title=words)


def _why(symbol: SymbolView, limit: int = 2) -> Html:
    """The most important reasons why it does less than it could."""
    whys = [one for one in symbol.reasons if one.code != "ABOVE_PRICE"][:limit]
    lines = [
        el(
            "li",
            [
                one.who,
                one.why,
                el("span", f" → {one.wakes}", class_="gf-below") if one.wakes else "",
            ],
        )
        for one in whys
    ]
    return el("ul", lines, class_="gf-whys") if lines else Html("")


def symbol_card(
    view: StatusView,
    symbol: SymbolView,
    prices: Sequence[Decimal],
    what: str,
    now_ms: int,
    zone: tzinfo,
    pages: str | None = None,
) -> Html:
    """What a trader wants to know of a symbol at a glance. `prices`: of the small line; `what`: its span.

    `pages`: URL of the Prefect UI, for the link to the run that ticks it.
    """
    state, old = symbol_state(view, symbol), is_stale(symbol, now_ms)
    kind = STATE_KINDS.get(state, "plain")
    ticked = ["no tick yet"]
    if symbol.last_tick_ms is not None:
        ticked = [
            "ticked ",
            moment(symbol.last_tick_ms, zone, now_ms),
            f", {age_text((now_ms - symbol.last_tick_ms) / 1000)} ago",
        ]
    run = run_link(symbol.flow_run, pages)
    if run:
        ticked += [" · ", run]
    facts = [
        ("Profit", gain(symbol.equity_change)),
        ("Grid profit", gain(symbol.grid_profit)),
        ("Floating", gain(symbol.floating)),
        ("Orders", whole(symbol.open_orders)),
        ("Rounds", whole(symbol.rounds)),
        ("Used", money(symbol.used)),
    ]
    price = exact(symbol.price, price_digits(symbol))
    parts: list[Content] = [
        el(
            "h4",
            [link(symbol.symbol, grid_url(symbol.symbol)), badge(state, kind), badge("old", "warn") if old else ""],
        ),
        el("div", [el("span", price, class_="gf-price"), spark(prices, what)], class_="gf-line"),
        _place(symbol),
        el(
            "dl", [part for name, value in facts for part in (el("dt", term(name)), el("dd", value))], class_="gf-facts"
        ),
        el("p", counts(symbol.cells), class_="gf-below"),
        _why(symbol),
        el("p", ticked, class_="gf-below"),
    ]
    return el("li", [html(part) for part in parts], class_="gf-card gf-old" if old else "gf-card")


ORDERS = {
    "Name": lambda symbol: symbol.symbol,
    "Profit, highest first": lambda symbol: (-symbol.equity_change, symbol.symbol),
    "Profit, lowest first": lambda symbol: (symbol.equity_change, symbol.symbol),
    "Longest without a tick": lambda symbol: (symbol.last_tick_ms or 0, symbol.symbol),
    "Most used": lambda symbol: (-symbol.used, symbol.symbol),
}


def chosen(symbols: Iterable[SymbolView], text: str, order: str) -> list[SymbolView]:
    """The symbols whose name holds `text`, in that order (a name in ORDERS)."""
    wanted = text.strip().casefold()
    found = [symbol for symbol in symbols if wanted in symbol.symbol.casefold()]
    return sorted(found, key=ORDERS.get(order, ORDERS["Name"]))


def symbol_cards(
    view: StatusView,
    symbols: Iterable[SymbolView],
    past: Mapping[str, Sequence[Decimal]],
    now_ms: int,
    zone: tzinfo,
    pages: str | None = None,
) -> Html:
    """A card for each symbol. `past`: symbol → prices of the last day, oldest first; else those of the last ticks.

    `pages`: URL of the Prefect UI.
    """
    made = []
    for symbol in symbols:
        of_day = past.get(symbol.symbol, ())
        recent = [price for _, price in symbol.samples]
        prices, what = ([*of_day, *recent[-1:]], "in a day") if len(of_day) > 5 else (recent, "in the last ticks")
        made.append(symbol_card(view, symbol, prices, what, now_ms, zone, pages))
    return el("ul", made, class_="gf-cards") if made else el("p", "No symbol has that name.", class_="gf-none")


def log_lines(counted: Mapping[str, int]) -> list[Html]:
    """Warnings and errors of today (UTC), with the way to their lines."""
    warnings, errors = counted.get("WARNING", 0), counted.get("ERROR", 0) + counted.get("CRITICAL", 0)
    shown = [
        link(f"{whole(warnings)} warning{'' if warnings == 1 else 's'}", "logs?level=WARNING"),
        " and ",
        link(f"{whole(errors)} error{'' if errors == 1 else 's'}", "logs?level=ERROR"),
        " logged today (UTC)",
    ]
    return [html(shown)]


def exchange_lines(calls: int, errors: int, left: Decimal | None) -> list[Html]:
    """Calls to the exchange and their errors, and how much of the rate budget is free."""
    found = [html(f"{whole(calls)} calls, {whole(errors)} failed")]
    return found if left is None else [*found, html(f"{percent(left, 0)} of the rate budget is free")]
