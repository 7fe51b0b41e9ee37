"""The process of one backtest: `python -m tasks.backtest.play_process`. `tasks.backtest.apart` starts it.

Its order comes by standard input; what it says goes to standard output, as `Told`.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from tasks.backtest.apart import Order, Phase, Told
from tasks.backtest.candle_files import load_symbol
from tasks.backtest.engine import Engine
from tasks.backtest.report.contents import Contents
from tasks.backtest.report.of_backtest import report_of
from tasks.backtest.request import paper_markets
from tasks.base.errors import ConfigError, GridflowError, Problem

_TELL_SECONDS = 0.2
_NICENESS = 10  # trading on the same machine goes first


def main() -> None:
    """Play the order, and say how far it is and what came of it."""
    os.nice(_NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    telling = Connection(os.dup(sys.stdout.fileno()), readable=False)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever else is printed must not mix with it
    with Connection(os.dup(sys.stdin.fileno()), writable=False) as orders:
        order: Order = orders.recv()
    try:
        told = Told(Phase.DONE, played(order, telling.send))
    except ConfigError as error:
        told = Told(Phase.REFUSED, error.problems)
    except GridflowError as error:
        told = Told(Phase.FAILED, str(error))
    telling.send(told)


def played(order: Order, tell: Callable[[Told], None]) -> Contents:
    """Play an order; `tell` gets how far it is a few times a second. Raises ConfigError and MarketDataError."""
    settings, symbol = order.settings(), order.symbol
    whole = load_symbol(order.folder, symbol, order.cache)
    first_ms, last_ms = int(whole.at[0]), int(whole.at[-1])
    start_ms = first_ms if order.start_ms is None else order.start_ms
    end_ms = last_ms + 1 if order.end_ms is None else order.end_ms
    candles = whole.between(start_ms, end_ms)
    if not len(candles):
        raise ConfigError([_no_candles(order, first_ms, last_ms)], "the request")
    begun, end_ms, told = int(candles.at[0]), int(candles.at[-1]), time.monotonic()

    def watch(at_ms: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_SECONDS:
            told = time.monotonic()
            tell(Told(Phase.RUNNING, (at_ms - begun) / max(end_ms - begun, 1)))

    engine = Engine(settings, paper_markets(settings, {symbol: candles}), {symbol: candles})
    return report_of(engine.play(watch), f"{symbol} {order.grid.get('grid', '')}".strip())


def _no_candles(order: Order, first_ms: int, last_ms: int) -> Problem:
    first, last = (time.strftime("%Y-%m-%d", time.gmtime(ms / 1000)) for ms in (first_ms, last_ms))
    asked = [
        time.strftime("%Y-%m-%d", time.gmtime(ms / 1000)) if ms is not None else "…"
        for ms in (order.start_ms, order.end_ms)
    ]
    rule = "there is no candle of that time"
    return Problem("from, to", " to ".join(asked), rule, f"The candles reach from {first} to {last}")


if __name__ == "__main__":
    main()
