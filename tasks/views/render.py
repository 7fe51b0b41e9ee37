"""The status as tables for a terminal: 80 columns are enough, more are used where there are more."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table

from tasks.base.money import plain
from tasks.exchange.limits.circuit_breaker import Phase
from tasks.tick.active_symbols import Lifecycle
from tasks.views.models import AlertChannelView, StatusView, SymbolView, WorkerView
from tasks.views.parts import outages
from tasks.views.price_range import place_text
from tasks.views.result_models import ResultsView

WIDE = 120  # columns from which the grids are shown with ticks and cells in full
_NONE: Mapping[str, str] = {}


def _money(amount: Decimal) -> str:
    text = f"{amount:,.2f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text


def _clock(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M:%S}"


def _minute(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"


def _price(price: Decimal | None) -> str:
    return "–" if price is None else f"{price:,f}"


def _flags(symbol: SymbolView) -> str:
    """A symbol's unusual states, in brackets: dark, retiring, selling at the market, paused, without Prefect."""
    words = ["DARK"] if symbol.dark else []
    words += [] if symbol.state is Lifecycle.TRADING else [symbol.state.value]
    if symbol.stop:
        words.append(symbol.stop)
    if symbol.liquidate:
        words.append("selling at the market")
    if symbol.paused:
        words.append("paused")
    if symbol.paused_in_prefect:
        words.append("paused in Prefect")
    if symbol.without_prefect_since_ms is not None:
        since = f"{datetime.fromtimestamp(symbol.without_prefect_since_ms / 1000, UTC):%H:%M}"
        words.append(f"without Prefect since {since}")
    if symbol.breaker is not Phase.CLOSED:
        until = f" until {_clock(symbol.breaker_until_ms)}" if symbol.breaker_until_ms is not None else ""
        words.append(f"breaker {symbol.breaker.value.replace('_', '-')}{until}")
    return f"({', '.join(words)})" if words else ""


def _table(title: str, names: Sequence[str], numbers_from: int = 0) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    for position, name in enumerate(names):
        number = position >= numbers_from
        table.add_column(name, justify="right" if number else "left", no_wrap=position == 0 or number)
    return table


def results_table(results: Sequence[ResultsView], quote: str = "quote") -> Table:
    """What was earned in each span of time; fits 80 columns. JSON has all figures."""
    names = ("span", "trades", "grid profit", "profit", "fees", "grid APR", "APR")
    table = _table(f"Results (UTC days, {quote})", names, 1)
    for one in results:
        amounts = (one.grid_profit, one.total_pnl, one.fees)
        row = ["–" if amount is None else _money(amount) for amount in amounts]
        table.add_row(one.name, f"{one.trades:,}", *row, _share(one.grid_apr), _share(one.total_apr))
    return table


def _share(share: Decimal | None) -> str:
    return "–" if share is None else f"{share * 100:,.1f} %"


def _state(view: StatusView) -> str:
    flags = [name for name, on in (("paused", view.paused), ("stopped", view.stopped)) if on]
    flags += ["recording finished"] if view.recording_finished else []
    dark = f"{len(view.dark)} of {len(view.symbols)} symbols dark" if view.dark else ""
    return ", ".join([*([dark] if dark else []), *flags]) or "trading"


def _workers_table(workers: Sequence[WorkerView]) -> Table:
    """Who trades, and what; fits 80 columns."""
    table = _table("Workers", ("host", "pid", "version", "heard", "loop lag", "symbols"), 1)
    table.columns[5].no_wrap, table.columns[5].justify = False, "left"
    for each in workers:
        state = "" if each.alive else " gone"
        heard = f"{each.age_seconds:.0f} s ago{state or (' draining' if each.draining else '')}"
        symbols = ", ".join(each.symbols) or "–"
        table.add_row(each.host, str(each.pid), each.version, heard, f"{each.lag_ms} ms", symbols)
    return table


def _channel(channel: AlertChannelView) -> str:
    text = f"{channel.name} {channel.delivered:,} sent"
    if channel.waiting:
        text += f", {channel.waiting:,} waiting"
    if channel.dropped:
        text += f", {channel.dropped:,} dropped"
    if channel.failing_since_ms is not None:
        text += f", FAILS since {_clock(channel.failing_since_ms)} ({channel.failures:,} failures): {channel.error}"
    return text


def prices_line(view: StatusView) -> str:
    """Where paper prices come from, and what time it is on that market."""
    text = f"Prices: {view.prices}"
    if view.market_ms is not None:
        text += f". Market time {_minute(view.market_ms)} UTC"
    if view.market.get("until_ms") and not view.recording_finished:
        text += f", the recording ends at {_minute(int(view.market['until_ms']))}"
    return text + ("; the recording has ended" if view.recording_finished else "")


def market_notes(view: StatusView) -> list[str]:
    """Gaps in a recording and candles of another length, with what a replay does about them."""
    notes = []
    missing, minutes = int(view.market.get("missing_minutes", 0)), int(view.market.get("candle_minutes", 1))
    if minutes > 1:
        notes.append(f"The recording has {minutes}-minute candles. Each is played as one minute of market time.")
    if missing:
        notes.append(f"The recording lacks {missing:,} minutes. The market goes on with the next candle.")
    return notes


def _grids_table(view: StatusView, wide: bool) -> Table:
    """Where each price is in its range, and what the cells do."""
    names = ["symbol", "price", "lowest", "highest", "place", "buying", "selling", "idle"]
    names += ["next buy", "next sell", "rounds", "fills", "ticks", "last tick"] if wide else []
    table = _table("Grids (place: of the price in the range; cells by what they do)", names, 1)
    for one in view.symbols:
        cells = [one.cells.get(name, 0) for name in ("BUYING", "SELLING")]
        idle = sum(one.cells.values()) - sum(cells)
        row = [one.symbol, _price(one.price), _price(one.lower), _price(one.upper), place_text(one.place)]
        row += [str(count) for count in (*cells, idle)]
        if wide:
            last = (
                "never" if one.last_tick_ms is None else f"{_clock(one.last_tick_ms)} ({one.last_tick_duration_ms} ms)"
            )
            row += [_price(one.next_buy), _price(one.next_sell), str(one.rounds), str(one.fills), str(one.ticks), last]
        table.add_row(*row)
    return table


def _money_table(view: StatusView) -> Table:
    names = ("symbol", "profit", "grid", "floating", "fees", "committed", "allocated", "free")
    table = _table(f"Money ({view.quote})", names, 1)
    for symbol in view.symbols:
        amounts = (symbol.equity_change, symbol.grid_profit, symbol.floating, symbol.fees)
        table.add_row(symbol.symbol, *map(_money, (*amounts, symbol.committed, symbol.allocated, symbol.free)))
    return table


def reason_lines(view: StatusView) -> list[str]:
    """A line for each reason why a symbol or some of its cells do nothing, and for its unusual states."""
    lines = []
    for symbol in view.symbols:
        flags = _flags(symbol)
        if flags:
            lines.append(f"{symbol.symbol} {flags}")
        lines += [f"{symbol.symbol}: {reason}" for reason in symbol.reasons]
    return lines


def _last_ticks(view: StatusView) -> str:
    ticks = [symbol.last_tick_ms for symbol in view.symbols if symbol.last_tick_ms is not None]
    return f"Last ticks: {_clock(min(ticks))} to {_clock(max(ticks))} UTC." if ticks else "No tick yet."


class _Status:
    """The status, laid out for the width of the terminal that prints it."""

    def __init__(self, view: StatusView, silent: Mapping[str, str]) -> None:
        self._view, self._silent = view, silent

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        yield Group(*_parts(self._view, self._silent, options.max_width >= WIDE))


def status_table(view: StatusView, silent: Mapping[str, str] = _NONE) -> RenderableType:
    """The account's totals, the money and the grid of each symbol, and why any of it waits.

    `silent`: see `outages`.
    """
    return _Status(view, silent)


def _parts(view: StatusView, silent: Mapping[str, str], wide: bool) -> list[RenderableType]:
    head = _table(f"{view.account} · {view.mode} · {_state(view)}", ("equity", "profit", "grid", "floating", "fees"))
    head.caption, head.caption_justify = f"in {view.quote}; `gridflow glossary` explains each word", "left"
    head.add_row(*map(_money, (view.equity, view.equity_change, view.grid_profit, view.floating, view.fees)))
    pot = _table(f"The pot ({view.quote})", ("pool", "allocated", "committed", "free"))
    pot.add_row(*map(_money, (view.pool, view.allocated, view.committed, view.free)))
    why = reason_lines(view)
    parts: list[RenderableType] = [*_alarms(view, silent), head]
    parts += [prices_line(view), *market_notes(view)] if view.mode == "paper" else []
    parts += [pot, *_moved_lines(view), _money_table(view), _grids_table(view, wide)]
    parts += [_last_ticks(view)] if not wide else []
    parts += why
    parts += [_workers_table(view.workers)] if view.workers else []
    parts += [results_table(view.results, view.quote)] if view.results else []
    return [*parts, *_notes(view)]


def _moved_lines(view: StatusView) -> list[str]:
    """Money put in, taken out and reinvested; nothing where there was none."""
    left = f"{_money(view.withdrawable)} of profit can be withdrawn"
    return [f"{view.moved}; {left}."] if view.moved else []


def _alarms(view: StatusView, silent: Mapping[str, str]) -> list[str]:
    """What an operator must see first: what does not answer, dark symbols, money or base that is short."""
    short = f"The exchange holds {_money(view.short)} {view.quote} less than the pot promises: no new buys."
    return [
        *([short] if view.short else []),
        *(f"{symbol.symbol} is dark: {symbol.dark_why}." for symbol in view.dark),
        *outages(view, silent),
        *(str(base) for base in view.base if base.confirmed),
    ]


def _notes(view: StatusView) -> list[str]:
    """What else is to be known, one sentence each."""
    notes = []
    if view.unvalued_fees:
        unvalued = ", ".join(f"{plain(amount)} {coin}" for coin, amount in view.unvalued_fees.items())
        notes.append(f"Fees of {unvalued} are unvalued: no price could be read yet. Later ticks try again.")
    if view.alert_channels:
        notes.append(f"Alerts: {'; '.join(map(_channel, view.alert_channels))}.")
    if view.prefect_note:
        notes.append(view.prefect_note)
    if view.settings_differ:
        fields = ", ".join(view.settings_differ)
        notes.append(f"This file differs from the settings in force in: {fields}. `gridflow deploy` puts it in force.")
    for symbol in view.symbols:
        if symbol.missing:
            coin = symbol.symbol.partition("/")[0]
            what = f"{plain(symbol.missing_base)} {coin} left the account without a sell; its cost"
            notes.append(f"{symbol.symbol}: {what}, {_money(symbol.missing)} {view.quote}, is in no other column.")
    return notes
