"""When a symbol is dark: a table of what its newest tick and the heartbeats say."""

from decimal import Decimal

import pytest

from tasks.tick.dark import keeps_watch, lateness
from tasks.tick.heartbeat import Heartbeat, HeldWindow, Workers
from tasks.tick.models import TickReport

BTC = "BTC/USDT"
NOW_MS = 1_000_000
DEAD_MS = 10_000


def tick(seconds_ago: float, next_in: str) -> TickReport:
    """The newest tick."""
    at_ms = NOW_MS - int(seconds_ago * 1000)
    numbers = {"duration_ms": 1, "fence": 1, "fills": 0, "placed": 0, "cancelled": 0}
    return TickReport(symbol=BTC, at_ms=at_ms, price=Decimal(1), next_in=Decimal(next_in), **numbers)


def worker(name: str = "w", age_ms: int = 0, *symbols: str, guards: bool = True) -> Heartbeat:
    """A worker with windows of these symbols."""
    windows = tuple(HeldWindow(symbol=symbol, since_ms=0) for symbol in symbols)
    facts = {"version": "1", "host": "h", "pid": 7, "started_ms": 0}
    return Heartbeat(worker=name, at_ms=NOW_MS - age_ms, windows=windows, guards=guards, **facts)


def crowd(*workers: Heartbeat) -> Workers:
    """All heartbeats."""
    return Workers(now_ms=NOW_MS, heartbeats=workers)


@pytest.mark.parametrize(
    ("last", "workers", "late", "why"),
    [
        pytest.param(tick(9, "10"), crowd(worker("w", 0, BTC)), 0, "", id="not due yet"),
        pytest.param(tick(29, "10"), crowd(worker("w", 0, BTC)), 19, "", id="late, not dark yet"),
        pytest.param(
            tick(31, "10"),
            crowd(worker("w", 0, BTC)),
            21,
            "no tick for 31 s; one was due after 10.0 s",
            id="three intervals, though its worker lives",
        ),
        pytest.param(tick(9, "0.5"), crowd(worker("w", 0, BTC)), 8.5, "", id="a short interval is no reason to cry"),
        pytest.param(tick(10.1, "0.5"), crowd(), 9.6, "no tick for 10 s, and no worker is alive", id="nobody is there"),
        pytest.param(
            tick(12, "30"),
            crowd(worker("w", 11_000, BTC), worker("idle")),
            0,
            "its worker 7 on h has not been heard of for 11 s",
            id="its worker died: known before a tick is missing",
        ),
        pytest.param(tick(12, "30"), crowd(worker("idle")), 0, "", id="its worker ended in order"),
        pytest.param(
            tick(12, "30"), crowd(worker("w", 11_000, BTC), worker("x", 0, BTC)), 0, "", id="another one took over"
        ),
        pytest.param(
            tick(2, "30"), crowd(worker("w", 60_000, BTC), worker("idle")), 0, "", id="between windows of the new one"
        ),
    ],
)
def test_when_a_symbol_is_dark(last: TickReport, workers: Workers, late: float, why: str) -> None:
    """`why` is empty where it is not."""
    found = lateness(BTC, last, workers, DEAD_MS)
    assert (found.late_seconds, found.why, found.dark) == (late, why, bool(why))


def test_every_worker_keeps_watch_and_of_other_processes_one() -> None:
    """Stock process workers run a process for each window: not all of them look at all symbols."""
    runs = [worker(name, guards=False) for name in ("a", "b", "c")]
    assert [name for name in "abc" if keeps_watch(crowd(*runs), name, DEAD_MS)] == ["a"]
    both = crowd(*runs, worker("d"), worker("e"), worker("f", 11_000))
    assert [name for name in "abcdef" if keeps_watch(both, name, DEAD_MS)] == ["d", "e"]
    assert keeps_watch(crowd(), "a", DEAD_MS), "its own heartbeat is not written yet"
