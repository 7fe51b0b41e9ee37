"""Every rule between fields of the settings. Pure.

A rule reads only fields that passed validation. It is skipped where one of its fields did not.
"""

import re
from decimal import Decimal
from itertools import pairwise

from tasks.base.errors import Problem
from tasks.base.money import plain
from tasks.settings.alerts import AlertSettings, is_set
from tasks.settings.grids import GridSettings, SeveralSettings, SymbolSettings, net_profit
from tasks.settings.grids.common import ONE
from tasks.settings.hints import symbol_remedy
from tasks.settings.model import DashboardSettings, ExchangeSettings, PaperSettings, Settings, TradingSettings
from tasks.settings.places import dotted, grid_place
from tasks.settings.problems import HIDDEN
from tasks.settings.section import NOT_SET, IsValid
from tasks.settings.sources import variable_name
from tasks.settings.validated import Validated

_SYMBOL = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{1,10}")
_MOST_SYMBOLS = 500


def rule_problems(validated: Validated) -> list[Problem]:
    """Every broken rule, in the order of the fields. Empty: the settings can run."""
    settings = validated.settings
    found = _key_problems(settings.exchange, validated.section("exchange"))
    found += _paper_problems(settings.paper, validated.section("paper"))
    found += _trading_problems(settings.trading, validated.section("trading"))
    found += _alert_problems(settings.alerts, validated)
    found += _dashboard_problems(settings.dashboard, validated.section("dashboard"))
    if validated.is_valid("symbols"):
        found += _count_problems(len(settings.symbols))
        for name in settings.symbols:
            found += _symbol_problems(name, validated)
        found += _duplicate_problems(list(settings.symbols))
    return found


def _key_problems(exchange: ExchangeSettings, is_valid: IsValid) -> list[Problem]:
    """Real orders need a key and its secret."""
    return [
        Problem(f"exchange.{name}", NOT_SET, "real orders need it", f"Set {variable_name(('exchange', name))}")
        for name in ("api_key", "secret")
        if is_valid("live", name) and exchange.live and getattr(exchange, name) is None
    ]


def _paper_problems(paper: PaperSettings, is_valid: IsValid) -> list[Problem]:
    """A replay needs candle files."""
    if not is_valid("market", "data") or paper.market != "replay" or paper.data is not None:
        return []
    return [Problem("paper.data", NOT_SET, "replay needs candle files", "Give a folder, or --data DIR")]


def _trading_problems(trading: TradingSettings, is_valid: IsValid) -> list[Problem]:
    """The tick times are in order, and an order is protected for longer than its request is valid."""
    found = []
    if is_valid("tick_min_seconds", "tick_max_seconds") and trading.tick_max_seconds < trading.tick_min_seconds:
        rule = f"must not be below tick_min_seconds ({trading.tick_min_seconds})"
        value, remedy = str(trading.tick_max_seconds), "Raise it or lower tick_min_seconds"
        found.append(Problem("trading.tick_max_seconds", value, rule, remedy))
    times = is_valid("request_valid_seconds", "protection_seconds")
    if times and trading.protection_seconds <= trading.request_valid_seconds:
        valid = trading.request_valid_seconds
        rule = f"must be above request_valid_seconds ({valid}): a request may not outlive it"
        value, remedy = str(trading.protection_seconds), "Raise it or lower request_valid_seconds"
        found.append(Problem("trading.protection_seconds", value, rule, remedy))
    return found


def _alert_problems(alerts: AlertSettings, validated: Validated) -> list[Problem]:
    """A channel that is set has all that it needs."""
    telegram, email = alerts.telegram, alerts.email
    sections = {name: validated.section("alerts", name) for name in ("telegram", "pushplus", "email")}
    found = []
    if sections["telegram"]("token", "chat_id") and is_set(telegram.token) != is_set(telegram.chat_id):
        missing = "chat_id" if is_set(telegram.token) else "token"
        found.append(_needed(("alerts", "telegram", missing), "Telegram needs both a token and a chat id"))
    if sections["email"]("host", "recipients") and is_set(email.host) and not email.recipients:
        found.append(_needed(("alerts", "email", "recipients"), "e-mail needs at least one recipient"))
    sender = sections["email"]("host", "sender", "user")
    if sender and is_set(email.host) and not (is_set(email.sender) or is_set(email.user)):
        found.append(_needed(("alerts", "email", "sender"), "e-mail needs a sender"))
    token = alerts.pushplus.token.get_secret_value().strip() if alerts.pushplus.token else ""
    if sections["pushplus"]("token") and token and not re.fullmatch(r"[A-Za-z0-9_-]{32,64}", token):
        rule, remedy = "must be 32 to 64 of a-z, 0-9, _ and -", "Copy it from PushPlus again"
        found.append(Problem("alerts.pushplus.token", HIDDEN, rule, remedy))
    return found


def _dashboard_problems(dashboard: DashboardSettings, is_valid: IsValid) -> list[Problem]:
    """A certificate has its key."""
    given = {name: getattr(dashboard, name) is not None for name in ("tls_certificate", "tls_key")}
    if not is_valid(*given) or len(set(given.values())) == 1:
        return []
    missing = next(name for name, is_given in given.items() if not is_given)
    return [_needed(("dashboard", missing), "HTTPS needs both a certificate and its key")]


def _needed(place: tuple[str, ...], rule: str) -> Problem:
    return Problem(dotted(place), NOT_SET, rule, f"Set {variable_name(place)}")


def _count_problems(count: int) -> list[Problem]:
    if 1 <= count <= _MOST_SYMBOLS:
        return []
    rule, remedy = f"must hold 1 to {_MOST_SYMBOLS} symbols", 'Write one table a symbol, like [symbols."BTC/USDT"]'
    return [Problem("symbols", f"({count} symbols)", rule, remedy)]


def _symbol_problems(name: str, validated: Validated) -> list[Problem]:
    settings, symbol, field = validated.settings, validated.settings.symbols[name], dotted(("symbols", name))
    is_valid = validated.section("symbols", name)
    found = _name_problems(field, name, settings.quote if validated.is_valid("quote") else None)
    if isinstance(symbol, SeveralSettings) and is_valid("grids"):
        found += symbol.grids_problems(field)
    for grid in symbol.each_grid if is_valid("grids") else ():
        found += _grid_problems(name, grid, validated)
    found += symbol.placement_problems(field, is_valid)
    found += symbol.risk_problems(field, is_valid)
    return found


def _grid_problems(symbol: str, name: str, validated: Validated) -> list[Problem]:
    """What is wrong with one grid of a symbol."""
    settings, own = validated.settings, validated.settings.symbols[symbol]
    grid, place = own.each_grid[name], grid_place(symbol, name)
    field, is_valid = dotted(place), validated.section(*place)
    level_problems = grid.level_problems(field, is_valid)
    found = level_problems + _size_problems(field, grid, is_valid)
    has_levels = not level_problems and is_valid("grid", "cells", *grid.geometry())
    may_use = validated.section("symbols", symbol)("max_usage_pct")
    if validated.is_valid("total_funds", "global_max_usage") and may_use and is_valid("quote_per_cell"):
        weights = grid.cell_weights(ONE).each if has_levels and is_valid("size_factor") else ()
        found += _money_problems(field, own, grid, settings, max(weights, default=ONE))
    if has_levels and validated.section("exchange")("maker_fee"):
        found += _fee_problems(field, grid, settings.exchange.maker_fee)
    return found


def _name_problems(field: str, name: str, quote: str | None) -> list[Problem]:
    """`quote`: the account's quote currency; None where that field is invalid."""
    if not _SYMBOL.fullmatch(name):
        remedy = symbol_remedy(name, quote or "USDT")
        return [Problem(field, name or '""', "a symbol is BASE/QUOTE in capitals", remedy)]
    if name.split("/")[0] == name.split("/")[1]:
        return [Problem(field, name, "base and quote are the same coin", 'Name two coins, like "BTC/USDT"')]
    if quote is not None and name.split("/")[1] != quote:
        rule = f"its quote is not the account's ({quote})"
        return [Problem(field, name, rule, "One account has one quote currency: remove it or change `quote`")]
    return []


def _size_problems(field: str, grid: GridSettings, is_valid: IsValid) -> list[Problem]:
    """The size of a cell is given in quote or in base, not in both."""
    both = grid.quote_per_cell is not None and grid.base_per_cell is not None
    if not is_valid("quote_per_cell", "base_per_cell") or not both:
        return []
    value, rule = str(grid.base_per_cell), "only one cell size may be given"
    return [Problem(f"{field}.base_per_cell", value, rule, "Remove it or quote_per_cell")]


def _money_problems(
    field: str, symbol: SymbolSettings, grid: GridSettings, settings: Settings, largest: Decimal
) -> list[Problem]:
    """The largest cell fits into what the symbol may use. `largest`: its size ÷ the configured one."""
    pool = settings.total_funds * settings.global_max_usage
    cap = min(pool, settings.total_funds * symbol.max_usage_pct)
    size = grid.quote_per_cell
    if size is None or size * largest <= cap:
        return []
    rule = f"one cell alone is above what the symbol may use ({plain(cap)})"
    return [Problem(f"{field}.quote_per_cell", plain(size), rule, "Lower it, or raise total_funds")]


def _fee_problems(field: str, grid: GridSettings, fee: Decimal) -> list[Problem]:
    """The narrowest cell pays its fees. `fee`: maker fee as a share of notional."""
    levels = grid.narrowest.raw_levels(first_price=Decimal(1))
    worst = min(net_profit(low, high, fee, fee) for low, high in pairwise(levels))
    if worst > 0:
        return []
    rule = f"the narrowest cell loses {plain(round(-worst * 100, 4))} % after fees of {plain(fee * 100)} % a side"
    return [Problem(f"{field}.cells", str(grid.cells), rule, "Use fewer cells or a wider range")]


def _duplicate_problems(names: list[str]) -> list[Problem]:
    """No two symbols are the same but for capitals and punctuation."""
    first: dict[str, str] = {}
    found = []
    for name in names:
        same = first.setdefault(re.sub(r"[^a-z0-9]", "", name.lower()) or name, name)
        if same != name:
            found.append(Problem(dotted(("symbols", name)), name, f"duplicate of {same}", "Keep one of them"))
    return found
