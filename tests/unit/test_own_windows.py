"""Which windows a worker runs itself: a table of what it sees, and what it then does."""

import itertools
from typing import Any

import pytest

from flows.runtime.worker.own_windows import (
    ELSEWHERE,
    HANDED_OUT,
    HANDOVER_SECONDS,
    PAUSED,
    RANK_SECONDS,
    Observed,
    PrefectNow,
    keeps_house,
    must_ask_prefect,
    observe,
    windows_to_end,
    windows_to_run,
)
from tasks.tick.coverage import Coverage
from tasks.tick.heartbeat import Heartbeat, HeldWindow, Workers
from tasks.tick.prefect_record import PrefectRecord

BTC, ETH = "BTC/USDT", "ETH/USDT"
NOW_MS = 1_000_000
LEASE_MS = 10_000
AWAY, THERE = PrefectNow(away=True), PrefectNow(away=False, read_at=10_000.0)


def worker(name: str, *windows: str, own: bool = False, age_ms: int = 0, **more: Any) -> Heartbeat:
    """A worker that runs windows of these symbols."""
    held = tuple(HeldWindow(symbol=symbol, own=own, since_ms=0) for symbol in windows)
    facts: dict[str, Any] = {"version": "1", "host": "h", "pid": 1, "started_ms": 0, "guards": True} | more
    return Heartbeat(worker=name, windows=held, at_ms=NOW_MS - age_ms, **facts)


def look(*workers: Heartbeat, symbols: tuple[str, ...] = (BTC,), **more: Any) -> Coverage:
    """What there is to see."""
    return Coverage(symbols=symbols, workers=Workers(now_ms=NOW_MS, heartbeats=workers), lease_ms=LEASE_MS, **more)


def run_after(before: Coverage, now: Coverage, prefect: PrefectNow = THERE, me: str = "me") -> float | None:
    """Seconds after which `me` begins a window of BTC, once what it saw changed from `before` to `now`."""
    seen = observe(observe(Observed(), before, 100.0), now, 101.0)
    for tenths in range(300):
        moment = 101.0 + tenths / 10
        seen = observe(seen, now, moment)
        if windows_to_run(seen, now, me, prefect, moment, {}) == [BTC]:
            return tenths / 10
    return None


ME = worker("me")
BUSY = worker("other", BTC)
IDLE = worker("other")


@pytest.mark.parametrize(
    ("before", "after", "prefect", "seconds"),
    [
        pytest.param(look(ME, BUSY), look(ME, BUSY), THERE, None, id="another worker runs it"),
        pytest.param(look(worker("me", BTC)), look(ME), THERE, HANDOVER_SECONDS, id="ended on time: Prefect's turn"),
        pytest.param(look(worker("me", BTC)), look(ME), AWAY, 0, id="ended, and Prefect is away"),
        pytest.param(look(worker("me", BTC, own=True)), look(ME), THERE, 0, id="an own window ended"),
        pytest.param(look(ME), look(ME), THERE, HANDOVER_SECONDS - 1, id="never had one: since the first look"),
        pytest.param(look(ME, BUSY), look(ME, worker("other", BTC, age_ms=10_001)), THERE, 0, id="its worker is dead"),
        pytest.param(look(ME, BUSY), look(ME), THERE, 0, id="its worker has left"),
        pytest.param(look(ME, BUSY), look(ME, worker("other", draining=True)), THERE, 0, id="its worker drains"),
        pytest.param(look(ME, BUSY), look(ME, leased=frozenset({BTC})), THERE, None, id="the lease is held"),
        pytest.param(look(ME), look(ME, record=PrefectRecord(at_ms=0, paused=(BTC,))), THERE, None, id="paused"),
        pytest.param(look(ME), look(ME, record=PrefectRecord(at_ms=0, paused=(BTC,))), AWAY, None, id="paused, away"),
        pytest.param(look(ME), look(ME, record=PrefectRecord(at_ms=0, pool_paused=True)), AWAY, None, id="pool paused"),
        pytest.param(look(ME), look(ME, record=PrefectRecord(at_ms=0, paused=(ETH,))), AWAY, 0, id="another is paused"),
        pytest.param(
            look(worker("me", BTC)), look(ME), PrefectNow(False, read_at=100.5), None, id="pauses not read since"
        ),
    ],
)
def test_when_a_worker_runs_a_window_itself(
    before: Coverage, after: Coverage, prefect: PrefectNow, seconds: float | None
) -> None:
    """None: not at all. The lease of a dead worker has run out by the time its heartbeat is that old."""
    assert run_after(before, after, prefect) == seconds


def test_workers_try_one_after_the_other_and_share_the_symbols() -> None:
    """Each symbol has an order of the workers; with many symbols each worker is first for its part."""
    names = ("a", "b", "c")
    crowd = [worker(name) for name in names]
    waits = sorted(run_after(look(*crowd), look(*crowd), AWAY, name) or 0 for name in names)
    assert waits == [0, RANK_SECONDS - 1 + 0, 2 * RANK_SECONDS - 1]  # the first look was a second earlier
    many = tuple(f"C{number}/USDT" for number in range(300))
    seen = observe(Observed(), look(*crowd, symbols=many), 0.0)
    first = {name: windows_to_run(seen, look(*crowd, symbols=many), name, AWAY, 0.0, {}) for name in names}
    assert sorted(itertools.chain.from_iterable(first.values())) == sorted(many)
    assert all(70 < len(symbols) < 130 for symbols in first.values())


def test_a_process_that_runs_no_windows_itself_is_not_waited_for() -> None:
    """A run of Prefect's stock process worker beats too; a draining worker takes nothing more."""
    others = (worker("a", guards=False), worker("b", draining=True), worker("c", guards=False))
    assert run_after(look(ME, *others), look(ME, *others), AWAY) == 0


def test_a_symbol_whose_own_window_failed_waits() -> None:
    """And no other does."""
    seen = observe(Observed(), look(ME, symbols=(BTC, ETH)), 0.0)
    assert windows_to_run(seen, look(ME, symbols=(BTC, ETH)), "me", AWAY, 1.0, {BTC: 5.0}) == [ETH]
    assert windows_to_run(seen, look(ME, symbols=(BTC, ETH)), "me", AWAY, 5.0, {BTC: 5.0}) == [BTC, ETH]


def test_an_own_window_gives_way_to_prefect_to_a_pause_and_to_one_other_worker() -> None:
    """Of two own windows of a symbol exactly one ends."""
    mine = worker("me", BTC, own=True)
    assert windows_to_end(look(mine), "me", [BTC]) == {}
    assert windows_to_end(look(mine, worker("other", BTC)), "me", [BTC]) == {BTC: HANDED_OUT}
    both = worker("me", BTC, own=True).model_copy(update={"windows": (*mine.windows, *worker("x", BTC).windows)})
    assert windows_to_end(look(both), "me", [BTC]) == {BTC: HANDED_OUT}
    assert windows_to_end(look(mine, worker("other", BTC, age_ms=10_001)), "me", [BTC]) == {}
    paused = look(mine, record=PrefectRecord(at_ms=0, paused=(BTC,)))
    assert windows_to_end(paused, "me", [BTC]) == {BTC: PAUSED}
    two = look(mine, worker("other", BTC, own=True))
    ends = [windows_to_end(two, name, [BTC]) for name in ("me", "other")]
    assert sorted(ends, key=len) == [{}, {BTC: ELSEWHERE}]


def test_the_pauses_are_read_again_for_each_symbol_that_lost_its_window() -> None:
    """Once; and not while Prefect is away, where the last known pauses count."""
    seen = observe(Observed(), look(ME), 50.0)
    assert must_ask_prefect(seen, PrefectNow(away=False, read_at=49.0))
    assert not must_ask_prefect(seen, PrefectNow(away=False, read_at=50.5))
    assert not must_ask_prefect(seen, PrefectNow(away=True, read_at=49.0))


def test_one_worker_mends_and_it_is_one_that_reaches_prefect() -> None:
    """The first by id of those that are alive."""
    crowd = look(worker("a", age_ms=10_001), worker("b", prefect_away_since_ms=1), worker("c"), worker("d"))
    assert [name for name in "abcd" if keeps_house(crowd, name)] == ["c"]
