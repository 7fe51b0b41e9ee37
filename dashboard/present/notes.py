"""What is wrong with an account, in a few words. Pure."""

from collections.abc import Mapping

from dashboard.present.times import age_text, iso
from tasks.exchange.limits.circuit_breaker import Phase
from tasks.tick.active_symbols import Lifecycle
from tasks.views.models import StatusView, SymbolView

_FAILURES = 5


def tick_age(symbol: SymbolView, now_ms: int) -> float | None:
    """Seconds since the symbol's last tick; None before the first."""
    return None if symbol.last_tick_ms is None else max(now_ms - symbol.last_tick_ms, 0) / 1000


def tick_ages(view: StatusView, now_ms: int, limit: int = 12) -> str:
    """Age of each symbol's last tick, the oldest first; at most `limit` symbols."""
    ages = {symbol.symbol: tick_age(symbol, now_ms) for symbol in view.symbols}
    ordered = sorted(ages.items(), key=lambda item: (item[1] is not None, -(item[1] or 0), item[0]))
    shown = [f"{name} {'never' if age is None else age_text(age)}" for name, age in ordered[:limit]]
    more = len(ordered) - len(shown)
    return " · ".join(shown) + (f" · and {more} more" if more else "")


def dark_text(view: StatusView) -> str:
    """Symbols that nobody ticks, and why; empty where there is none. At most five symbols."""
    shown = [f"{symbol.symbol}: {symbol.dark_why}" for symbol in view.dark[:_FAILURES]]
    more = f" · and {len(view.dark) - _FAILURES} more" if len(view.dark) > _FAILURES else ""
    return " · ".join(shown) + more


def breaker_text(view: StatusView) -> str:
    """Which symbols' circuit breakers are not closed; empty when all are, and while the exchange's own is not."""
    if view.breaker is not Phase.CLOSED:
        return ""
    broken = [symbol.symbol for symbol in view.symbols if symbol.breaker is not Phase.CLOSED]
    more = f" and {len(broken) - 10} more" if len(broken) > 10 else ""
    return f"Tick after tick failed, circuit breaker open: {', '.join(broken[:10])}{more}" if broken else ""


def base_text(view: StatusView) -> str:
    """Coins of which the exchange holds less than the cells; empty where there is none."""
    return " · ".join(str(base) for base in view.base if base.confirmed)


def failure_text(view: StatusView) -> str:
    """Symbols whose newest tick failed, and why; empty when none did. At most five symbols."""
    failed = [
        f"{symbol.symbol}, tick of {iso(symbol.failed_tick_ms)}: {symbol.failed_tick_why}"
        for symbol in view.symbols
        if symbol.failed_tick_ms is not None
    ]
    shown = failed[:_FAILURES]
    return " · ".join(shown) + (f" · and {len(failed) - _FAILURES} more" if len(failed) > _FAILURES else "")


def counts(found: Mapping[str, int]) -> str:
    """`12 idle, 3 holding`."""
    return ", ".join(f"{count} {name.lower().replace('_', ' ')}" for name, count in sorted(found.items()) if count)


def symbol_state(view: StatusView, symbol: SymbolView) -> str:
    """`trading`, `dark`, `paused` or `stopped`; `retiring` or `left` for a symbol that is no longer configured."""
    if symbol.state is not Lifecycle.TRADING:
        return symbol.state.value
    if view.stopped:
        return "stopped"
    if symbol.dark:
        return "dark"
    return "paused" if view.paused or symbol.paused else "trading"


def escaped(text: str) -> str:
    """`text` with everything Streamlit's Markdown could act on made harmless."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]()<>#+-.!|~:$&" else char for char in text)
