"""What a killed `gridflow up` leaves running is found, and `gridflow stop` ends it in order; real processes."""

import json
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

import pytest

from flows.runtime.cli import main
from flows.runtime.stack import children, worker_process
from flows.runtime.stack import record as record_file
from flows.runtime.stack.stop_report import keep_orders_file, read_result, worker_stop_file
from tasks.settings.running import stale_stack
from tasks.tick.stopping import OpenOrder, StopReport
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
    assert _stop(killed.folder) == 0, "once more does no harm"
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("Stopped.\n", "The stack has stopped already.\n")


def test_the_next_stop_finishes_one_that_was_killed(
    killed: StaleStack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up` and its worker are gone, Valkey lives: another process cancels the orders, then the rest is ended."""
    monkeypatch.setattr(children, "WORKER_MODULE", "tests.support.only_stop_worker")
    monkeypatch.setenv("GRIDFLOW_LIVE", "false")
    (killed.folder / "logs").mkdir()
    killed.start(children.VALKEY)
    assert _stop(killed.folder, "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"stopped": True, "orders_open": [], "reserved": "0", "kept": False}
    assert "another process cancels the open orders" in shown.err
    assert killed.alive() == 0


def test_orders_are_kept_on_request(killed: StaleStack, capsys: pytest.CaptureFixture[str]) -> None:
    """The worker is told by a file before it is asked to end. Where no stack runs, that would be a mistake."""
    assert _stop(killed.folder, "--keep-orders") == 1
    assert "their orders stay" in capsys.readouterr().err
    killed.start(*children.STOP_ORDER)
    assert _stop(killed.folder, "--keep-orders", "--force") == 1
    keep = keep_orders_file(killed.folder)
    assert not keep.exists()
    seen: list[bool] = []
    service = StubService(killed.folder)
    keep.touch()
    with patch.object(worker_process, "state_dir", lambda: killed.folder):
        seen.append(worker_process.stop_now(service) == 0)
        keep.unlink()
        seen.append(worker_process.stop_now(service) == 1)
    assert seen == [True, True]
    left = read_result(worker_stop_file(killed.folder))
    assert left is not None
    assert not left.is_clean
    assert _stop(killed.folder, "--keep-orders") == 0
    assert not keep.exists()


class StubService:
    """A trading service with an order open."""

    def __init__(self, folder: Path) -> None:
        order = OpenOrder(symbol="BTC/USDT", id="a", side="buy", price=Decimal(1), qty=Decimal(2))
        self.left = StopReport(orders_open=(order,), reserved=Decimal(2))

    def open(self) -> None: ...
    def request_stop(self) -> None: ...
    def beat(self, file: Path) -> None: ...

    def graceful_stop(self) -> StopReport:
        return self.left

    def end_with_orders(self) -> StopReport:
        return self.left


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
