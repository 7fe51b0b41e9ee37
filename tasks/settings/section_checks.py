"""Rules between the fields of one section. Each looks only at fields that are sound. Pure."""

from tasks.base.errors import Problem
from tasks.settings.grids import SymbolSettings
from tasks.settings.model import ExchangeSettings, PaperSettings, TradingSettings
from tasks.settings.validated import Sound

_NOT_SET = "(not set)"


def key_problems(exchange: ExchangeSettings, sound: Sound) -> list[Problem]:
    """Real orders need a key and its secret."""
    return [
        Problem(f"exchange.{name}", _NOT_SET, "real orders need it", f"Set GRIDFLOW_EXCHANGE__{name.upper()}")
        for name in ("api_key", "secret")
        if sound("live", name) and exchange.live and getattr(exchange, name) is None
    ]


def paper_problems(paper: PaperSettings, sound: Sound) -> list[Problem]:
    """A replay has something to play."""
    if not sound("market", "data") or paper.market != "replay" or paper.data is not None:
        return []
    return [Problem("paper.data", _NOT_SET, "replay needs candle files", "Give a folder, or --data DIR")]


def trading_problems(trading: TradingSettings, sound: Sound) -> list[Problem]:
    """Times that would contradict each other."""
    found = []
    if sound("tick_min_seconds", "tick_max_seconds") and trading.tick_max_seconds < trading.tick_min_seconds:
        rule = f"must not be below tick_min_seconds ({trading.tick_min_seconds})"
        value, remedy = str(trading.tick_max_seconds), "Raise it or lower tick_min_seconds"
        found.append(Problem("trading.tick_max_seconds", value, rule, remedy))
    times = sound("request_valid_seconds", "protection_seconds")
    if times and trading.protection_seconds <= trading.request_valid_seconds:
        valid = trading.request_valid_seconds
        rule = f"must be above request_valid_seconds ({valid}): a request may not outlive it"
        value, remedy = str(trading.protection_seconds), "Raise it or lower request_valid_seconds"
        found.append(Problem("trading.protection_seconds", value, rule, remedy))
    return found


def level_problems(field: str, symbol: SymbolSettings, sound: Sound) -> list[Problem]:
    """`lower` and `upper`, in order, or `range_pct`, but not both; `field` is the symbol's place."""
    if not sound("range_pct"):
        return []
    if symbol.range_pct is not None:
        return _range_problems(field, symbol, sound)
    missing = [name for name in ("lower", "upper") if sound(name) and getattr(symbol, name) is None]
    if missing:
        remedy = "Give lower and upper, or range_pct"
        return [Problem(f"{field}.{name}", _NOT_SET, "a grid needs both ends", remedy) for name in missing]
    if sound("lower", "upper") and symbol.lower is not None and symbol.upper is not None:
        if symbol.lower < symbol.upper:
            return []
        rule = f"levels out of order: upper must be above lower ({symbol.lower})"
        return [Problem(f"{field}.upper", str(symbol.upper), rule, "Swap or widen them")]
    return []


def _range_problems(field: str, symbol: SymbolSettings, sound: Sound) -> list[Problem]:
    if not any(sound(name) and getattr(symbol, name) is not None for name in ("lower", "upper")):
        return []
    rule, remedy = "cannot stand beside lower or upper", "Keep range_pct, or lower and upper"
    return [Problem(f"{field}.range_pct", str(symbol.range_pct), rule, remedy)]


def size_problems(field: str, symbol: SymbolSettings, sound: Sound) -> list[Problem]:
    """One way to say how large a cell is."""
    if not sound("quote_per_cell", "base_per_cell") or symbol.quote_per_cell is None or symbol.base_per_cell is None:
        return []
    value, rule = str(symbol.base_per_cell), "only one cell size may be given"
    return [Problem(f"{field}.base_per_cell", value, rule, "Remove it or quote_per_cell")]
