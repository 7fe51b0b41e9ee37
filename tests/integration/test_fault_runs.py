"""Seeded fault runs: whole grids over real candles, an exchange that misbehaves, workers that die.

A failing seed is named; `pytest tests/integration/test_fault_runs.py --seed N` plays it again.
`--long` plays ten times as many.
"""

import asyncio
import gc
import io
import logging
from collections.abc import Iterator

import pytest

from tests.support.fault_run import Outcome, run

SCENARIOS = 300
AT_ONCE = 8
LONGEST = 120  # seconds; a scenario takes two


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of expected warnings would only cost time."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def stacks() -> str:
    """Where every task of this loop waits."""
    text = io.StringIO()
    for task in asyncio.all_tasks():
        task.print_stack(file=text)
    return text.getvalue()


async def play(seeds: range, url: str) -> tuple[list[Outcome], dict[int, str]]:
    """Every seed, a few at once; (what they saw, what went wrong by seed)."""
    turns = asyncio.Semaphore(AT_ONCE)
    outcomes: list[Outcome] = []
    wrong: dict[int, str] = {}

    async def one(seed: int) -> None:
        async with turns:
            playing = asyncio.create_task(run(seed, url))
            done, _ = await asyncio.wait({playing}, timeout=LONGEST)
            if not done:
                wrong[seed] = f"still running after {LONGEST} s:\n{stacks()}"
                playing.cancel()
                return
            try:
                outcomes.append(playing.result())
            except AssertionError as error:
                wrong[seed] = str(error)

    await asyncio.gather(*map(one, seeds))
    return outcomes, wrong


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the dead close no sockets
async def test_books_hold_under_every_fault(redis_url: str, pytestconfig: pytest.Config) -> None:
    """No order twice, no spend above the pool, no fill missing, PnL identity 0, and trading goes on."""
    chosen = pytestconfig.getoption("--seed")
    count = SCENARIOS * (10 if pytestconfig.getoption("--long") else 1)
    seeds = range(chosen, chosen + 1) if chosen is not None else range(count)
    outcomes, wrong = await play(seeds, redis_url)
    gc.collect()  # what the dead left open is told of here, not in some other test
    assert wrong == {}, f"play again with --seed {min(wrong)}"
    assert len(outcomes) == len(seeds)
    if chosen is None:
        totals = {name: sum(getattr(one, name) for one in outcomes) for name in ("faults", "kills", "orders", "trades")}
        print(totals)
        assert totals["faults"] > 5 * len(seeds)
        assert totals["kills"] > len(seeds)
        assert totals["trades"] > 10 * len(seeds)
