"""Rules over the whole of the settings: sections, symbol names, money, fees. Pure.

A rule is passed over where one of its own inputs is not sound: nothing is said from a value that stands in for another.
"""

import re
from decimal import Decimal
from itertools import pairwise

from tasks.base.errors import Problem
from tasks.base.money import plain
from tasks.settings.grids import SymbolSettings, net_profit, raw_levels
from tasks.settings.model import Settings
from tasks.settings.problems import dotted
from tasks.settings.section_checks import key_problems, level_problems, paper_problems, size_problems, trading_problems
from tasks.settings.validated import Known, Sound

_SYMBOL = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{1,10}")
_MOST_SYMBOLS = 500


def cross_problems(known: Known) -> list[Problem]:
    """Everything wrong between fields, in a stable order."""
    settings = known.settings
    found = key_problems(settings.exchange, known.within("exchange"))
    found += paper_problems(settings.paper, known.within("paper"))
    found += trading_problems(settings.trading, known.within("trading"))
    if known.within()("symbols"):
        found += _count_problems(len(settings.symbols))
        for name in settings.symbols:
            found += _symbol_problems(name, known)
        found += _duplicate_problems(list(settings.symbols))
    return found


def _symbol_problems(name: str, known: Known) -> list[Problem]:
    settings, symbol, field = known.settings, known.settings.symbols[name], dotted(("symbols", name))
    whole, sound = known.within(), known.within("symbols", name)
    found = _name_problems(field, name, settings.quote if whole("quote") else None)
    levels = level_problems(field, symbol, sound)
    found += levels
    found += size_problems(field, symbol, sound)
    if whole("total_funds", "global_max_usage") and sound("quote_per_cell", "max_usage_pct"):
        found += _money_problems(field, symbol, settings)
    if not levels and _can_space(sound) and known.within("exchange")("maker_fee"):
        found += _fee_problems(field, symbol, settings.exchange.maker_fee)
    return found


def _can_space(sound: Sound) -> bool:
    return sound("grid", "lower", "upper", "range_pct", "cells")


def _count_problems(count: int) -> list[Problem]:
    if 1 <= count <= _MOST_SYMBOLS:
        return []
    rule, remedy = f"must hold 1 to {_MOST_SYMBOLS} symbols", 'Write one table a symbol, like [symbols."BTC/USDT"]'
    return [Problem("symbols", f"({count} symbols)", rule, remedy)]


def _name_problems(field: str, name: str, quote: str | None) -> list[Problem]:
    """`quote`: the account's, where it is known."""
    if not _SYMBOL.fullmatch(name):
        return [Problem(field, name or '""', "a symbol is BASE/QUOTE in capitals", 'Write it like "BTC/USDT"')]
    if quote is not None and name.split("/")[1] != quote:
        rule = f"its quote is not the account's ({quote})"
        return [Problem(field, name, rule, "One account has one quote currency: remove it or change `quote`")]
    return []


def _duplicate_problems(names: list[str]) -> list[Problem]:
    first: dict[str, str] = {}
    found = []
    for name in names:
        same = first.setdefault(re.sub(r"[^a-z0-9]", "", name.lower()) or name, name)
        if same != name:
            found.append(Problem(dotted(("symbols", name)), name, f"duplicate of {same}", "Keep one of them"))
    return found


def _money_problems(field: str, symbol: SymbolSettings, settings: Settings) -> list[Problem]:
    pool = settings.total_funds * settings.global_max_usage
    cap = min(pool, settings.total_funds * symbol.max_usage_pct)
    size = symbol.quote_per_cell
    if size is None or size <= cap:
        return []
    rule = f"one cell alone is above what the symbol may use ({plain(cap)})"
    return [Problem(f"{field}.quote_per_cell", plain(size), rule, "Lower it, or raise total_funds")]


def _fee_problems(field: str, symbol: SymbolSettings, fee: Decimal) -> list[Problem]:
    levels = raw_levels(symbol, first_price=Decimal(1))
    worst = min(net_profit(low, high, fee, fee) for low, high in pairwise(levels))
    if worst > 0:
        return []
    rule = f"the narrowest cell loses {plain(round(-worst * 100, 4))} % after fees of {plain(fee * 100)} % a side"
    return [Problem(f"{field}.cells", str(symbol.cells), rule, "Use fewer cells or a wider range")]
