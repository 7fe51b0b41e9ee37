"""Seeded fault runs: grids over real candles, an exchange and a Redis that misbehave, workers that die, operators.

A failing seed is named; `pytest tests/integration/test_fault_runs.py --seed N` plays it again, the same to the last
request. `--long` plays ten times as many.
"""

import json
import logging
import os
import random
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tasks.orders import evidence
from tests.support.binance.faults import FaultKind
from tests.support.fault_events import EVENTS
from tests.support.fault_play import Outcome
from tests.support.fault_run import Wrong, stage
from tests.support.virtual.redis import VirtualRedis

SCENARIOS = 100
PART = 10
ROOT = Path(__file__).parents[2]
REPLAYED = range(27, 29)  # a whole one of three symbols, a plain one of one


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of expected warnings would only cost time."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def played() -> list[Outcome]:
    """What all scenarios of this run saw."""
    return []


def play(seeds: range) -> tuple[list[Outcome], dict[int, str]]:
    """Every seed; (what they saw, what went wrong by seed)."""
    outcomes: list[Outcome] = []
    wrong: dict[int, str] = {}
    with stage() as play_seed:
        for seed in seeds:
            try:
                outcomes.append(play_seed(seed))
            except Wrong as error:
                wrong[seed] = str(error)
    return outcomes, wrong


def play_on_both_cores(seeds: range, folder: Path) -> tuple[list[Outcome], dict[int, str]]:
    """The same, the second half of many in a process of its own."""
    half = len(seeds) // 2
    if half < 10:
        return play(seeds)
    said = folder / "outcomes"
    with said.open("w") as lines:
        other = subprocess.Popen(command(seeds[half:]), cwd=ROOT, stdout=lines)
        try:
            outcomes, wrong = play(seeds[:half])
            other.wait()
        finally:
            other.kill()
            other.wait()
    for line in said.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        if "wrong" in told:
            wrong[told["seed"]] = told["wrong"]
        else:
            outcomes.append(Outcome(**told))
    return outcomes, wrong


def command(seeds: range) -> list[str]:
    """What plays the seeds in another process."""
    return [sys.executable, "-m", "tests.support.fault_run", str(seeds[0]), str(seeds[-1])]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The seeds in parts, each short enough for a test; one part alone with --seed."""
    if "seeds" not in metafunc.fixturenames:
        return
    chosen = metafunc.config.getoption("--seed")
    count = SCENARIOS * (10 if metafunc.config.getoption("--long") else 1)
    parts = [range(first, first + PART) for first in range(0, count, PART)]
    if chosen is not None:
        parts = [range(chosen, chosen + 1)]
    metafunc.parametrize("seeds", parts, ids=[f"{part[0]}-{part[-1]}" for part in parts])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the dead close no sockets
def test_books_hold_under_every_fault(seeds: range, tmp_path: Path, played: list[Outcome]) -> None:
    """No order twice, no grant above the pool in force, no fill missing, PnL identity 0, each order has a keeper.

    Trading goes on, by the settings in force, and old grids and symbols leave nothing behind.
    """
    outcomes, wrong = play_on_both_cores(seeds, tmp_path)
    played += outcomes
    assert wrong == {}, f"play again with --seed {min(wrong)}"
    assert len(outcomes) == len(seeds)


def test_every_kind_of_fault_and_event_came(played: list[Outcome], pytestconfig: pytest.Config) -> None:
    """What the scenarios saw together: no kind is drawn but never comes, and there was much trading and dying."""
    count = len(played)
    if pytestconfig.getoption("--seed") is None:
        assert count >= SCENARIOS
        totals = {name: sum(getattr(one, name) for one in played) for name in ("kills", "orders", "trades")}
        faults = sum((Counter(one.faults) for one in played), Counter[str]())
        events = sum((Counter(one.events) for one in played), Counter[str]())
        print(totals, faults, events)
        assert faults.total() > 5 * count
        assert all(faults[kind] >= count // 50 for kind in FaultKind), faults
        assert events.total() > 5 * count
        assert all(events[kind] >= count // 50 for kind in EVENTS), events
        assert totals["kills"] > count
        assert totals["trades"] > 10 * count


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_seed_replays_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """On another machine or a slow one: the same requests, orders and trades at the same moments, the same Redis."""
    first, wrong = play(REPLAYED)
    assert wrong == {}
    assert len({one.digest for one in first}) == len(first)
    env = os.environ | {"PYTHONHASHSEED": "4711"}
    elsewhere = subprocess.run(
        command(REPLAYED), cwd=ROOT, env=env, capture_output=True, text=True, timeout=200, check=True
    )
    assert [json.loads(line) for line in elsewhere.stdout.splitlines()] == [asdict(one) for one in first]

    moody, show = random.Random(), VirtualRedis.show

    def slowly(world: VirtualRedis, *said: object) -> None:
        time.sleep(moody.choice([0, 0, 0.0003, 0.003]))
        show(world, *said)  # type: ignore[arg-type]

    monkeypatch.setattr(VirtualRedis, "show", slowly)
    one_alone = REPLAYED[-1]  # nothing was played before it
    assert play(range(one_alone, one_alone + 1)) == ([first[-1]], {})


def test_the_documented_way_to_play_a_seed_again() -> None:
    """`pytest tests/integration/test_fault_runs.py … --seed N`, word by word."""
    lines = (ROOT / "docs" / "fault-model.md").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("uv run pytest tests/integration/test_fault_runs.py")]
    words = [sys.executable, "-m", *shlex.split(line)[2:], "-p", "no:cacheprovider"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_failing_seed_is_told_and_fails_again_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that reads trades of the wrong time: what the test says, and the record it keeps."""
    monkeypatch.setattr(evidence, "trades_since", lambda restless, cursor_ms: 10**13)

    def fail() -> tuple[str, str]:
        outcomes, wrong = play(range(1, 2))
        assert outcomes == []
        return wrong[1], Path(wrong[1].rpartition("record: ")[2]).read_text(encoding="utf-8")

    first = fail()
    assert "; the exchange's record: " in first[0]
    assert "gridflow-seed-1-" in first[0]
    assert len(first[1]) > 10_000
    assert fail() == first
