"""The Backtest screen: the fields of its form, what a run came to, and two runs beside each other. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from inspect import isclass
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from dashboard.present.html import Column, Content, Html, el, gain, html, number, table, term, tile, tiles
from dashboard.present.notices import notice
from dashboard.present.numbers import NOTHING, money, percent, signed_percent, whole
from dashboard.present.times import age_text
from tasks.backtest.report.contents import Contents
from tasks.base.errors import Problem
from tasks.base.money import plain
from tasks.ledger.statistics import Statistics
from tasks.settings.grids import KINDS, SymbolSettings
from tasks.settings.grids.placement import PlacementSettings
from tasks.settings.grids.risk import RiskSettings

_OF_THE_POT = ("grid", "weight")  # chosen above the form; of no use for one symbol


class FormField(NamedTuple):
    """A field of a symbol's table. `choices`: what may be chosen, the default first; empty for text."""

    name: str
    help: str
    hint: str
    choices: tuple[str, ...]


def grid_fields(kind: str) -> tuple[list[FormField], list[FormField]]:
    """(the grid's own fields, its limits and stops) of a kind of grid, as its settings describe them."""
    model = KINDS[kind]
    limits = {*RiskSettings.model_fields, *PlacementSettings.model_fields}
    fields = {name: info for name, info in model.model_fields.items() if name not in _OF_THE_POT}
    own = [_field(name, info) for name, info in fields.items() if name not in limits]
    return own, [_field(name, info) for name, info in fields.items() if name in limits]


def _field(name: str, info: FieldInfo) -> FormField:
    default = None if info.default is None else _text(info.default)
    example = f"for instance {info.examples[0]}" if info.examples else ""
    choices = _choices(info.annotation)
    ordered = tuple(sorted(choices, key=lambda choice: choice != default))
    return FormField(name, info.description or "", example if default is None else default, ordered)


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    if isclass(annotation) and issubclass(annotation, StrEnum):
        return tuple(one.value for one in annotation)
    return ("false", "true") if annotation is bool else ()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return plain(value) if isinstance(value, Decimal) else str(value)


def wrong(problems: Iterable[Problem]) -> Html:
    """What is wrong with each field: its value, the rule and the remedy."""
    lines = [
        el("li", [el("code", one.field), " = ", el("code", one.value), f": {one.rule}. {one.remedy}"])
        for one in problems
    ]
    return notice(html([el("p", el("strong", "This cannot be played.")), el("ul", lines)]), "bad")


class Shown(NamedTuple):
    """A run that is done, with the settings of its grid."""

    name: str
    symbol: str
    grid: SymbolSettings
    contents: Contents


def run_name(place: int, symbol: str, settings: SymbolSettings) -> str:
    """`2 · BTC/USDT arithmetic 39000 – 48000, 19 cells`."""
    grids = [(f"{name} " if name else "", grid) for name, grid in settings.each_grid.items()]
    parts = [f"{name}{grid.grid} {grid.range_text()}, {grid.cells} cells" for name, grid in grids]
    return f"{place} · {symbol} {'; '.join(parts)}"


def result_tiles(shown: Shown, quote: str) -> Html:
    """The most important figures."""
    found, funds = shown.contents.statistics, shown.contents.curve[0].capital
    profit = found.total_pnl
    held = "" if found.buy_and_hold is None else f"buy and hold {signed_percent(found.buy_and_hold / funds)}"
    return tiles(
        [
            tile(f"Profit, {quote}", gain(profit), _share(profit, funds)),
            tile("Grid profit", gain(found.grid_profit), _share(found.grid_profit, funds)),
            tile("Floating", gain(found.floating), _share(found.floating, funds)),
            tile("Fees", money(found.fees), f"volume {money(found.volume)}"),
            tile("Largest drawdown", percent(found.drawdown.share), money(found.drawdown.quote)),
            tile("Total APR", percent(found.total_apr), held),
            tile("Fills", whole(found.trades), f"{whole(found.buys)} buys, {whole(found.sells)} sells"),
        ]
    )


def _share(amount: Decimal | None, funds: Decimal) -> str:
    return "" if amount is None else f"{signed_percent(amount / funds)} of the money"


def _ratio(value: Decimal | None) -> str:
    return NOTHING if value is None else money(value)


def _held(found: Statistics) -> str:
    return NOTHING if found.average_held_ms is None else age_text(found.average_held_ms / 1000)


_FIGURES: Sequence[tuple[str, str | None, Callable[[Statistics], Content]]] = (
    ("Profit", None, lambda one: gain(one.total_pnl)),
    ("Grid profit", None, lambda one: gain(one.grid_profit)),
    ("Floating", None, lambda one: gain(one.floating)),
    ("Fees", None, lambda one: money(one.fees)),
    ("Buy and hold", "what the same money would have earned without trading", lambda one: gain(one.buy_and_hold)),
    ("Total APR", "profit a year, on the money", lambda one: percent(one.total_apr)),
    ("Grid APR", "grid profit a year, on the money", lambda one: percent(one.grid_apr)),
    ("Largest drawdown", "largest fall of the equity from a peak", lambda one: percent(one.drawdown.share)),
    ("Sharpe", "of daily returns, a year", lambda one: _ratio(one.sharpe)),
    ("Sortino", "of daily returns, a year", lambda one: _ratio(one.sortino)),
    ("Buys", None, lambda one: whole(one.buys)),
    ("Sells", None, lambda one: whole(one.sells)),
    ("Rounds", None, lambda one: whole(one.rounds)),
    ("Win rate", "rounds with a profit", lambda one: percent(one.win_rate)),
    ("Profit factor", "what rounds won ÷ what rounds lost", lambda one: _ratio(one.profit_factor)),
    ("Held", "on average, from buy to sell", _held),
    ("Volume", "in quote", lambda one: money(one.volume)),
)


def figures_table(runs: Sequence[Shown]) -> Html:
    """Every figure, a column for each run."""
    columns = [Column("Figure"), *(number(run.name) for run in runs)]
    rows = [(term(name, note), *(show(run.contents.statistics) for run in runs)) for name, note, show in _FIGURES]
    return table("Figures", columns, rows, "No figures.")


def differences_table(runs: Sequence[Shown]) -> Html:
    """The fields in which the grids of two runs differ."""
    given = [_fields_of(run) for run in runs]
    names = dict.fromkeys(name for one in given for name in one)
    rows = [
        (name, *(el("span", one.get(name, "(not set)"), class_="gf-code") for one in given))
        for name in names
        if len({one.get(name) for one in given}) > 1
    ]
    columns = [Column("Setting"), *(Column(run.name) for run in runs)]
    return table("Settings that differ", columns, rows, "Both have the same settings.")


def _fields_of(run: Shown) -> Mapping[str, str]:
    """Every field that has a value, defaults included."""
    values = {name: getattr(run.grid, name) for name in type(run.grid).model_fields}
    facts = {"symbol": run.symbol, "money": money(run.contents.curve[0].capital)}
    return facts | {name: _text(value) for name, value in values.items() if value is not None}


def months_table(contents: Contents) -> Html:
    """One row a month."""
    columns = [Column("Month"), number("Change"), number("Share"), number("Grid profit"), number("Fills")]
    rows = [
        (one.month, gain(one.change), signed_percent(one.share), gain(one.grid_profit), whole(one.fills))
        for one in contents.months
    ]
    return table("Months", columns, rows, "No month.")
