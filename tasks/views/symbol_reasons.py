"""Why a symbol does nothing, or less than it could, in words, and what would wake it. Pure.

The reasons of single cells are in `reasons`; here are those of whole symbols, and both together.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

from tasks.exchange.limits.circuit_breaker import Phase
from tasks.tick.active_symbols import Lifecycle
from tasks.views.models import ReasonView, StatusView, SymbolView
from tasks.views.reasons import reason_of


def with_reasons(view: StatusView) -> StatusView:
    """The status with the reasons of each symbol."""
    symbols = tuple(symbol.model_copy(update={"reasons": symbol_reasons(view, symbol)}) for symbol in view.symbols)
    return view.model_copy(update={"symbols": symbols})


def symbol_reasons(view: StatusView, symbol: SymbolView) -> tuple[ReasonView, ...]:
    """Why the symbol, or some of its cells, do nothing; the most important first. Empty: every cell has an order."""
    if symbol.state is Lifecycle.LEFT:
        return (ReasonView(code="LEFT", why="it left the settings and holds nothing", wakes="its table in the file"),)
    return (*_blocks(view, symbol), *_range(symbol), *_cells(symbol))


def _blocks(view: StatusView, symbol: SymbolView) -> Iterator[ReasonView]:
    """What keeps the whole symbol from trading, or from buying."""
    if view.stopped:
        yield ReasonView(code="STOPPED", why="trading is stopped", wakes="gridflow resume")
    if symbol.dark:
        yield ReasonView(
            code="DARK", why=f"nobody ticks it: {symbol.dark_why}", wakes="a worker; gridflow up starts one"
        )
    if view.breaker is not Phase.CLOSED:
        why = f"the exchange's circuit breaker is {view.breaker.value.replace('_', '-')}: {view.breaker_why}"
        yield ReasonView(code="EXCHANGE_BREAKER", why=why, wakes=_probe(view.breaker_until_ms))
    if symbol.breaker is not Phase.CLOSED:
        why = f"its circuit breaker is {symbol.breaker.value.replace('_', '-')}: tick after tick failed"
        yield ReasonView(code="BREAKER", why=why, wakes=_probe(symbol.breaker_until_ms))
    if symbol.failed_tick_ms is not None:
        why = f"the tick at {clock_text(symbol.failed_tick_ms)} failed: {symbol.failed_tick_why}"
        yield ReasonView(code="TICK_FAILED", why=why, wakes="the next tick, which tries again")
    if symbol.paused_in_prefect:
        wakes = "its deployment, schedule or work pool switched on in Prefect"
        yield ReasonView(code="PAUSED_IN_PREFECT", why="it is paused in Prefect", wakes=wakes)
    if symbol.stop:
        why = f"its stop has fired ({symbol.stop}): {symbol.stop_why}"
        yield ReasonView(code="STOP_FIRED", why=why, wakes=f"gridflow resume {symbol.symbol}")
    if view.paused or symbol.paused:
        which = "" if view.paused else f" {symbol.symbol}"
        yield ReasonView(code="PAUSED", why="new buys are paused", wakes=f"gridflow resume{which}")
    if symbol.state is Lifecycle.RETIRING:
        why = "it left the settings: it buys nothing and sells what it holds"
        yield ReasonView(code="RETIRING", why=why, wakes="nothing; it leaves once all is sold")
    if view.history.full:
        yield ReasonView(code="HISTORY_FULL", why="no new buys: history full", wakes="the history database")
    if view.short:
        why = f"no new buys: the exchange holds {view.short:,.2f} {view.quote} less than the pot promises"
        yield ReasonView(code="SHORT", why=why, wakes=f"a deposit of {view.quote}, or sales")
    if view.recording_finished:
        yield ReasonView(code="RECORDING_FINISHED", why="the recording has ended: the price changes no more")
    if symbol.last_tick_ms is None and not (view.stopped or symbol.dark or symbol.failed_tick_ms is not None):
        yield ReasonView(code="NOT_TICKED", why="it had no tick yet", wakes="its first tick, within seconds")


def _range(symbol: SymbolView) -> Iterator[ReasonView]:
    """A price outside the range: everything is sold or bought, and the nearest order waits."""
    if symbol.place is None or not (symbol.place < 0 or symbol.place > 1):
        return
    if symbol.place > 1:
        done = "" if symbol.base else ": all sold"
        wakes = _price("the price falls to", symbol.next_buy) or "a price inside the range"
        yield ReasonView(code="ABOVE_RANGE", why=f"the price is above the range{done}", wakes=wakes)
        return
    done = "" if symbol.next_buy is not None else ": all bought"
    wakes = _price("the price rises to", symbol.next_sell) or "a price inside the range"
    yield ReasonView(code="BELOW_RANGE", why=f"the price is below the range{done}", wakes=wakes)


def _cells(symbol: SymbolView) -> Iterator[ReasonView]:
    """The reasons of cells without an order, the most frequent first."""
    for code, cells in sorted(symbol.idle.items(), key=lambda item: (-item[1], item[0])):
        words = reason_of(code)
        why = f"{words.why} ({symbol.unfit})" if code == "GRID_UNFIT" and symbol.unfit else words.why
        yield ReasonView(code=code, why=why, wakes=words.wakes, cells=cells)


def _probe(until_ms: int | None) -> str:
    return "a probe tick that succeeds" + ("" if until_ms is None else f", at {clock_text(until_ms)}")


def _price(what: str, price: Decimal | None) -> str:
    return "" if price is None else f"{what} {price:,f}"


def clock_text(at_ms: int) -> str:
    """`14:03:59 UTC`."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M:%S} UTC"
