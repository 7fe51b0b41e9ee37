"""Carries commands out: reads the views, and acts through `tasks/control`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from tasks.alerts.past import Past
from tasks.alerts.telegram import answers
from tasks.alerts.telegram.commands import Asked, Command
from tasks.alerts.telegram.texts import said
from tasks.base.clock import DAY_MS, Clock, to_ms
from tasks.base.errors import GridflowError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.control import runs, steps
from tasks.control.actions import Actor, record
from tasks.control.prefect_runs import PrefectRuns
from tasks.settings.model import Settings
from tasks.views import store
from tasks.views.models import StatusView
from tasks.views.steps import read_status

_SPANS = {
    Command.DAILY: ("span_daily", 1),
    Command.WEEKLY: ("span_weekly", 7),
    Command.MONTHLY: ("span_monthly", 30),
}
_TRADES, _LOG_LINES = 10, 10


class Connections(NamedTuple):
    """What commands need. `prefect`: URL of the Prefect server's API, None where none is known."""

    redis: RedisClient
    settings: Settings
    past: Past
    prefect: str | None
    clock: Clock


class CommandDesk:
    """Answers commands and carries out actions. No error leaves it: the answer says what went wrong."""

    def __init__(self, connections: Connections) -> None:
        self._redis, self._settings, self._past, self._prefect, self._clock = connections
        self._language = self._settings.alerts.language
        self._keys = Keys(self._settings.account)
        self._actions: Mapping[Command, Callable[[Asked, str], Awaitable[str]]] = {
            Command.PAUSE: self._pause,
            Command.RESUME: self._resume,
            Command.STOP: self._stop,
            Command.LIQUIDATE: self._liquidate,
            Command.REBALANCE: self._rebalance,
        }

    async def read(self, asked: Asked) -> str:
        """The answer to a command that reads."""
        try:
            return await self._read(asked)
        except GridflowError as error:
            return self._said("failed", command=asked, why=error)

    async def act(self, asked: Asked, once: str) -> str:
        """Carry an action out; what to answer. A second call with the same `once` changes nothing."""
        try:
            return await self._actions[asked.command](asked, once)
        except GridflowError as error:
            return self._said("failed", command=asked, why=error)

    def _said(self, name: str, **fields: object) -> str:
        return said(self._language, name, **fields)

    # --- reading -----------------------------------------------------------------------------------------
    async def _read(self, asked: Asked) -> str:
        command = asked.command
        if command is Command.HELP:
            return self._said("help")
        if command is Command.TRADES:
            return answers.trades_text(await self._past.newest_fills(_TRADES), self._language)
        if command is Command.LOG:
            lines = [
                line
                for level in ("WARNING", "ERROR", "CRITICAL")
                for line in await store.logs(self._redis, self._keys, _LOG_LINES, level)
            ]
            newest = sorted(lines, key=lambda line: -line.at_ms)[:_LOG_LINES]
            return answers.log_text(newest, self._language)
        if command in _SPANS:
            name, days = _SPANS[command]
            now_ms = to_ms(self._clock())
            found = await self._past.results(self._said(name), now_ms - days * DAY_MS, now_ms)
            return answers.results_text(found, self._language)
        return self._of_view(asked, await read_status(self._settings, self._redis))

    def _of_view(self, asked: Asked, view: StatusView) -> str:
        texts = {
            Command.STATUS: answers.status_text,
            Command.PROFIT: answers.profit_text,
            Command.BALANCE: answers.balance_text,
            Command.ALLOCATION: answers.allocation_text,
        }
        if asked.command in texts:
            return texts[asked.command](view, self._language)
        symbols = {symbol.symbol: symbol for symbol in view.symbols}
        if asked.symbol not in symbols:
            return self._said("no_symbol", symbol=asked.symbol, symbols=", ".join(symbols))
        symbol = symbols[asked.symbol]
        answer = answers.grid_text if asked.command is Command.GRID else answers.why_text
        return answer(symbol, self._language)

    # --- acting ------------------------------------------------------------------------------------------
    def _symbols(self, asked: Asked) -> list[str]:
        return [asked.symbol] if asked.symbol else []

    def _what(self, asked: Asked) -> str:
        return asked.symbol or self._said("all")

    async def _pause(self, asked: Asked, once: str) -> str:
        await steps.pause(self._redis, self._settings, self._symbols(asked), by=Actor.TELEGRAM, once=once)
        return self._said("pause", what=self._what(asked))

    async def _resume(self, asked: Asked, once: str) -> str:
        await steps.resume(self._redis, self._settings, self._symbols(asked), by=Actor.TELEGRAM, once=once)
        return self._said("resume", what=self._what(asked))

    async def _stop(self, _asked: Asked, once: str) -> str:
        await steps.stop(self._redis, self._settings, by=Actor.TELEGRAM, once=once)
        return self._said("stop")

    async def _liquidate(self, asked: Asked, once: str) -> str:
        await steps.sell_off(self._redis, self._settings, self._symbols(asked), by=Actor.TELEGRAM, once=once)
        return self._said("liquidate", what=asked.symbol)

    async def _rebalance(self, asked: Asked, once: str) -> str:
        if self._prefect is None:
            return self._said("failed", command=asked, why=self._said("no_prefect"))
        prefect = PrefectRuns(self._prefect)
        run_id = await asyncio.to_thread(runs.start_rebalance, prefect, self._settings.account, once)
        text = f"run {run_id}"
        await record(self._redis, self._keys, Actor.TELEGRAM, "rebalance", (), text, self._clock, once)
        return self._said("rebalance", what=prefect.page(run_id))
