"""Redis, the database or Prefect away is on every screen within 15 s: the sum of all that makes a reading old.

How long a watch takes is measured in virtual time, for outages that begin at any moment between two of its questions.
The rest is counted: between two draws of a screen's head, and the age of what it draws.
"""

import ast
import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from dashboard import connection, source
from dashboard.screens import frame
from flows.runtime import beating
from flows.runtime.worker import guard, prefect_watch
from tasks.history.database import Database, HistoryUnavailable
from tasks.history.database_watch import DatabaseWatch
from tests.support.virtual.loop import run_virtually, virtual_clock

SEEN_SECONDS = 15.0
SCREENS = Path(inspect.getfile(frame)).parent
PHASES = [number / 4 for number in range(40)]  # s: when the outage begins
MANY = frame.CALM_SECONDS + source.MANY_SECONDS
FEW = frame.QUICK_SECONDS + source.STATUS_SECONDS
OLDEST = max(MANY, FEW)  # how old a figure may be in the moment before it is drawn anew


class Part:
    """Answers in a tenth of a second until the outage begins, then hangs or fails at once."""

    def __init__(self, begins: float, hangs: bool, failure: Exception) -> None:
        self.begins, self._hangs, self._failure = begins, hangs, failure

    async def ask(self) -> None:
        await asyncio.sleep(0.1)
        if virtual_clock().passed >= self.begins:
            await asyncio.sleep(1000 if self._hangs else 0)
            raise self._failure


async def longest(seen: Callable[[float], Coroutine[Any, Any, float]]) -> float:
    """The most seconds from an outage to its being known; `seen(begins)`: when one that begins then is known."""
    took = 0.0
    for phase in PHASES:
        begins = virtual_clock().passed + phase
        took = max(took, await seen(begins) - begins)
    return took


async def known(watching: Coroutine[Any, Any, None], is_known: Callable[[], bool]) -> float:
    """When the watch knew, by the loop's clock."""
    task = asyncio.ensure_future(watching)
    async with asyncio.timeout(100):
        while not is_known():  # noqa: ASYNC110 - a watch sets no event
            await asyncio.sleep(0.05)
    seen = virtual_clock().passed
    task.cancel()
    await asyncio.wait({task})
    return seen


async def prefect_known(part: Part, monkeypatch: pytest.MonkeyPatch) -> float:
    """When the worker knew of it."""

    @asynccontextmanager
    async def client() -> AsyncIterator[Any]:
        async def request(*_: Any) -> None:
            await part.ask()

        yield SimpleNamespace(request=request)

    monkeypatch.setattr(prefect_watch, "get_client", client)
    watch = prefect_watch.PrefectWatch(lambda: None)
    return await known(watch.run(), lambda: watch.away_since is not None)


async def database_known(part: Part) -> float:
    """When the archiver told of it."""
    told: list[str] = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        await part.ask()

        async def execute(_: Any) -> None: ...

        yield SimpleNamespace(execute=execute)

    async def on_away(why: str) -> None:
        told.append(why)

    watch = DatabaseWatch(cast(Database, SimpleNamespace(connection=opened)), on_away)
    return await known(watch.run(lambda: True), lambda: bool(told))


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "refuses"])
def test_prefect_away_is_seen_in_time(hangs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's watch, its next look, the heartbeat that says so at once, and the screen's own refresh."""
    failure = httpx.ConnectError("refused")
    took = run_virtually(lambda: longest(lambda at: prefect_known(Part(at, hangs, failure), monkeypatch)), 1)
    to_redis = guard.LOOK_SECONDS + beating.SLICE_SECONDS
    assert took > prefect_watch.AWAY_SECONDS, "a shorter outage is none"
    assert took + to_redis + OLDEST <= SEEN_SECONDS


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "refuses"])
def test_the_database_away_is_seen_in_time(hangs: bool) -> None:
    """The archiver's watch, which asks also while nothing is written, and the screen's own refresh."""
    failure = HistoryUnavailable("away")
    took = run_virtually(lambda: longest(lambda at: database_known(Part(at, hangs, failure))), 1)
    assert took + OLDEST <= SEEN_SECONDS


def test_redis_away_is_seen_in_time() -> None:
    """The screen's own refresh, and the longest wait for an answer."""
    assert OLDEST + connection.WAIT_SECONDS <= SEEN_SECONDS


def test_a_hanging_part_holds_a_tab_up_once() -> None:
    """A tab draws its parts in turn. After one that waited, the others take its failure for their own for a while."""
    outage = connection.Outage()
    outage.begin("does not answer", connection.WAIT_SECONDS)
    assert outage.is_left_alone


@pytest.mark.parametrize("path", sorted(SCREENS.glob("*.py")), ids=lambda path: path.stem)
def test_the_head_of_each_screen_is_drawn_as_often(path: Path) -> None:
    """Every screen draws what is wrong in a part that is refreshed as often as the present is read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    heads = {node.name for node in functions if "head()" in map(ast.unparse, ast.walk(node))}
    is_screen = any(node.name == "show" for node in functions)
    if not is_screen:
        return
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    refreshed = {ast.unparse(one.args[0]): ast.unparse(one.args[1]) for one in calls if _is_refreshing(one)}
    seconds = [refreshed[name] for name in heads if name in refreshed]
    assert seconds, "no head is refreshed"
    assert set(seconds) <= {"quick_seconds()", "seconds", "QUICK_SECONDS"}
    assert "seconds" not in seconds or "seconds = quick_seconds()" in map(ast.unparse, ast.walk(tree))


def _is_refreshing(call: ast.Call) -> bool:
    return ast.unparse(call.func) == "refreshing"
