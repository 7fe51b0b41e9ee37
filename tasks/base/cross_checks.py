"""Rules over the whole of the settings: symbol names, money, fees. Pure."""

import re
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from tasks.base.errors import Problem
from tasks.base.money import plain
from tasks.base.spacing import net_profit, raw_levels

if TYPE_CHECKING:
    from tasks.base.settings import Settings, SymbolSettings

_SYMBOL = re.compile(r"^[A-Z0-9]{1,20}/[A-Z0-9]{1,10}$")


def cross_problems(settings: "Settings") -> list[Problem]:
    """Everything wrong between fields, in a stable order."""
    found: list[Problem] = []
    for name, symbol in settings.symbols.items():
        found += _name_problems(name, settings.quote)
        found += _money_problems(name, symbol, settings)
        found += _fee_problems(name, symbol, settings)
    found += _duplicate_problems(list(settings.symbols))
    if settings.paper.market == "replay" and settings.paper.data is None:
        found.append(Problem("paper.data", "(not set)", "replay needs candle files", "Give a folder, or --data DIR"))
    return found


def _name_problems(name: str, quote: str) -> list[Problem]:
    field = f'symbols."{name}"'
    if not _SYMBOL.match(name):
        return [Problem(field, name, "a symbol is BASE/QUOTE in capitals", 'Write it like "BTC/USDT"')]
    if name.split("/")[1] != quote:
        rule = f"its quote is not the account's ({quote})"
        return [Problem(field, name, rule, "One account has one quote currency: remove it or change `quote`")]
    return []


def _duplicate_problems(names: list[str]) -> list[Problem]:
    first: dict[str, str] = {}
    found = []
    for name in names:
        same = first.setdefault(re.sub(r"[^a-z0-9]", "", name.lower()), name)
        if same != name:
            found.append(Problem(f'symbols."{name}"', name, f"duplicate of {same}", "Keep one of them"))
    return found


def _money_problems(name: str, symbol: "SymbolSettings", settings: "Settings") -> list[Problem]:
    pool = settings.total_funds * settings.global_max_usage
    cap = min(pool, settings.total_funds * symbol.max_usage_pct)
    size = symbol.quote_per_cell
    if size is None or size <= cap:
        return []
    rule = f"one cell alone is above what the symbol may use ({plain(cap)})"
    return [Problem(f'symbols."{name}".quote_per_cell', plain(size), rule, "Lower it, or raise total_funds")]


def _fee_problems(name: str, symbol: "SymbolSettings", settings: "Settings") -> list[Problem]:
    levels = raw_levels(symbol, first_price=Decimal(1))
    fee = settings.exchange.maker_fee
    worst = min(net_profit(low, high, fee, fee) for low, high in pairwise(levels))
    if worst > 0:
        return []
    rule = f"the narrowest cell loses {plain(round(-worst * 100, 4))} % after fees of {plain(fee * 100)} % a side"
    return [Problem(f'symbols."{name}".cells', str(symbol.cells), rule, "Use fewer cells or a wider range")]
