"""One backtest in a process of its own, so that whoever asked for it goes on meanwhile.

The process is started afresh: a fork would take over threads and event loops of a server, and multiprocessing's spawn
would run the script of the page again, which Streamlit has put in the place of the main module.
"""

import os
import subprocess
import sys
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from tasks.backtest.report.contents import Contents
from tasks.backtest.request import settings_of
from tasks.base.errors import GridflowError, Problem
from tasks.settings.model import Settings

MOST_AT_ONCE = 2  # processes, so that trading on the same machine goes on
_PROGRAM = (sys.executable, "-m", "tasks.backtest.play_process")


@dataclass(frozen=True)
class Order:
    """What to play: a symbol's candles in a folder, from `start_ms` to before `end_ms`, and a grid.

    `grid`: fields of its table, as text; also the others are text, as a person wrote them. `cache`: see `load_symbol`.
    """

    folder: Path
    symbol: str
    grid: Mapping[str, str]
    funds: str = "10000"
    maker_fee: str = "0.001"
    taker_fee: str = "0.001"
    fee_currency: str = "quote"
    start_ms: int | None = None
    end_ms: int | None = None
    cache: Path | None = None

    def settings(self) -> Settings:
        """The settings to play with. Raises ConfigError with every problem."""
        fees = {"maker_fee": self.maker_fee, "taker_fee": self.taker_fee, "fee_currency": self.fee_currency}
        return settings_of(self.symbol, self.funds, self.grid, **fees)


class Phase(StrEnum):
    """How far a run is."""

    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"  # the order, or the candles, cannot be played
    FAILED = "failed"  # a fault of the program, or the process was killed
    STOPPED = "stopped"


class Busy(GridflowError):
    """Too many backtests run at once."""


class Told(NamedTuple):
    """What the process says: `content` is a share of 1, a report, problems or a text."""

    phase: Phase
    content: Any


class Run:
    """A backtest under way. Ask `look` for how far it is. It ends with its last reference.

    `share`: of its candles' time, 0 to 1. `contents`: the report of one that is done. `why`: of one that failed;
    `problems`: of one that was refused, with what is wrong with each field.
    """

    def __init__(self, order: Order) -> None:
        """Begin. Raises ConfigError where the grid's settings are wrong, Busy where too many run."""
        order.settings()
        if sum(run.phase is Phase.RUNNING for run in list(_RUNS)) >= MOST_AT_ONCE:
            raise Busy(f"{MOST_AT_ONCE} backtests run already. Wait until one has ended, or stop one")
        self.order, self.share = order, 0.0
        self.phase: Phase = Phase.RUNNING
        self.contents: Contents | None = None
        self.problems: tuple[Problem, ...] = ()
        self.why = ""
        self._process = subprocess.Popen(_PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        weakref.finalize(self, _end, self._process)
        self._answers = Connection(os.dup(self._process.stdout.fileno()), writable=False)
        with Connection(os.dup(self._process.stdin.fileno()), readable=False) as orders, suppress(BrokenPipeError):
            orders.send(order)  # a process that has ended already is seen at the first look
        _RUNS.add(self)

    def look(self) -> Phase:
        """Take in what the process has said since the last look."""
        while self.phase is Phase.RUNNING and self._answers.poll():
            try:
                told: Told = self._answers.recv()
            except EOFError:
                code = self._process.wait()
                told = Told(Phase.FAILED, f"its process ended with code {code}; its words are in the dashboard's log")
            self._take(told)
        return self.phase

    def stop(self) -> None:
        """Give it up."""
        self.look()
        if self.phase is Phase.RUNNING:
            self.phase = Phase.STOPPED
        _end(self._process)

    def _take(self, told: Told) -> None:
        self.phase = told.phase
        if told.phase is Phase.RUNNING:
            self.share = told.content
            return
        _end(self._process)
        if told.phase is Phase.DONE:
            self.share, self.contents = 1.0, told.content
        elif told.phase is Phase.REFUSED:
            self.problems = tuple(told.content)
        else:
            self.why = str(told.content)


def _end(process: "subprocess.Popen[bytes]") -> None:
    with process:  # closes its pipes and waits for it
        process.terminate()


_RUNS: "weakref.WeakSet[Run]" = weakref.WeakSet()
