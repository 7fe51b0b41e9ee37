"""What a killed `gridflow up` leaves running is found, and `gridflow stop` ends it in order; real processes."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.runtime.cli import main
from flows.runtime.stack import children
from flows.runtime.stack import record as record_file
from tasks.settings.running import stale_stack
from tests.support.stale_stack import StaleStack
from tests.support.up import Up


def _stop(folder: Path, *arguments: str) -> int:
    """`gridflow stop` on the folder; its exit code."""
    with pytest.raises(SystemExit) as left:
        main(["stop", "--state", str(folder), *arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StaleStack]:
    """A folder for them; every process is ended."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    found = StaleStack(tmp_path / "state")
    found.folder.mkdir()
    yield found
    found.close()


def test_stop_ends_them_in_order(killed: StaleStack, capsys: pytest.CaptureFixture[str]) -> None:
    """The worker first and Valkey last, whatever the order they were started in; then nothing is left to stop."""
    killed.start(*reversed(children.STOP_ORDER))
    assert _stop(killed.folder) == 0
    assert (killed.folder / "ended.txt").read_text().splitlines() == list(children.STOP_ORDER)
    assert killed.alive() == 0
    assert capsys.readouterr().out == "Stopped.\n"
    assert stale_stack(killed.folder) is None
    assert _stop(killed.folder) == 1
    assert "nothing to stop" in capsys.readouterr().err


@pytest.mark.parametrize("names", [children.STOP_ORDER, (children.VALKEY,)], ids=["hangs", "is gone"])
def test_without_its_worker_ending_by_itself_orders_may_be_open(
    killed: StaleStack, capsys: pytest.CaptureFixture[str], names: tuple[str, ...]
) -> None:
    """All is ended all the same, and the exit code says that it was not in order."""
    killed.start(*names, stubborn=children.WORKER)
    assert _stop(killed.folder, "--timeout", "2") == 1
    assert killed.alive() == 0
    assert "orders may be open" in capsys.readouterr().err


def test_a_running_stack_is_not_stale(killed: StaleStack) -> None:
    """While its `up` is alive, none of its processes is ended."""
    killed.start(children.VALKEY)
    record = stale_stack(killed.folder)
    assert record is not None
    record.parent = record.processes[children.VALKEY]
    record_file.write(killed.folder, record)
    assert stale_stack(killed.folder) is None


def test_ctrl_c_twice_ends_a_take_over_at_once(killed: StaleStack) -> None:
    """An `up` that waits for a left over worker to end can be cut short; it has started nothing itself."""
    killed.start(*children.STOP_ORDER, stubborn=children.WORKER)
    up = Up(killed.folder)
    up.wait_said("Ending Worker")
    up.end(signal.SIGINT, signal.SIGINT)
    assert killed.alive() == 0
    assert "ready" not in up.said
