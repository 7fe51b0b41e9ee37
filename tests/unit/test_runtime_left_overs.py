"""What a killed `gridflow up` leaves running is found, and `gridflow stop` ends it in order; real processes."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.runtime.cli import main
from flows.runtime.stack import children
from flows.runtime.stack import record as state
from flows.runtime.stack.takeover import left_over
from tests.support.left_overs import LeftOvers
from tests.support.up import Up


def _stop(folder: Path, *arguments: str) -> int:
    """`gridflow stop` on the folder; its exit code."""
    with pytest.raises(SystemExit) as left:
        main(["stop", "--state", str(folder), *arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture
def left_overs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeftOvers]:
    """A folder for them; every process is ended."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    found = LeftOvers(tmp_path / "state")
    found.folder.mkdir()
    yield found
    found.close()


def test_stop_ends_them_in_order(left_overs: LeftOvers, capsys: pytest.CaptureFixture[str]) -> None:
    """The worker first and Valkey last, whatever the order they were started in; then nothing is left to stop."""
    left_overs.start(*reversed(children.STOP_ORDER))
    assert _stop(left_overs.folder) == 0
    assert (left_overs.folder / "ended.txt").read_text().splitlines() == list(children.STOP_ORDER)
    assert left_overs.alive() == 0
    assert capsys.readouterr().out == "Stopped.\n"
    assert left_over(left_overs.folder) is None
    assert _stop(left_overs.folder) == 1
    assert "nothing to stop" in capsys.readouterr().err


@pytest.mark.parametrize("names", [children.STOP_ORDER, (children.VALKEY,)], ids=["hangs", "is gone"])
def test_without_its_worker_ending_by_itself_orders_may_be_open(
    left_overs: LeftOvers, capsys: pytest.CaptureFixture[str], names: tuple[str, ...]
) -> None:
    """All is ended all the same, and the exit code says that it was not in order."""
    left_overs.start(*names, stubborn=children.WORKER)
    assert _stop(left_overs.folder, "--timeout", "2") == 1
    assert left_overs.alive() == 0
    assert "orders may be open" in capsys.readouterr().err


def test_a_stack_that_runs_left_nothing_over(left_overs: LeftOvers) -> None:
    """While its `up` lives, its processes are not left over."""
    left_overs.start(children.VALKEY)
    record = left_over(left_overs.folder)
    assert record is not None
    record.parent = record.processes[children.VALKEY]
    state.write(left_overs.folder, record)
    assert left_over(left_overs.folder) is None


def test_ctrl_c_twice_ends_a_take_over_at_once(left_overs: LeftOvers) -> None:
    """An `up` that waits for a left over worker to end can be cut short; it has started nothing itself."""
    left_overs.start(*children.STOP_ORDER, stubborn=children.WORKER)
    up = Up(left_overs.folder)
    up.wait_said("Ending Worker")
    up.end(signal.SIGINT, signal.SIGINT)
    assert left_overs.alive() == 0
    assert "ready" not in up.said
