"""What a killed `gridflow up` leaves running is found, and `gridflow stop` ends it in order; real processes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.runtime import children, state
from flows.runtime.cli import main
from flows.runtime.left_overs import left_over
from flows.runtime.processes import Identity

_CODE = """
import signal, sys
name, folder, stubborn = sys.argv[1:]
numbers = signal.SIGTERM, signal.SIGINT
for number in numbers:
    signal.signal(number, signal.SIG_IGN if stubborn == name else signal.default_int_handler)
print("ready", flush=True)
try:
    signal.pause()
except KeyboardInterrupt:
    open(folder + "/ended.txt", "a").write(name + chr(10))
"""


class LeftOvers:
    """Stand-ins of a stack's processes, and the record of an `up` that is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *names: str, stubborn: str = "") -> None:
        gone = self._launch("up", stubborn)
        identities = {name: self._launch(name, stubborn) for name in names}
        self._processes[0].kill()
        self._processes[0].wait()
        urls = {"redis": "redis://127.0.0.1:1/0", "prefect_api": "http://127.0.0.1:2/api"}
        record = state.StackRecord(
            "now", str(self.folder), gone, prefect_ui="", dashboard=None, postgres_data="", processes=identities, **urls
        )
        state.write(self.folder, record)

    def _launch(self, name: str, stubborn: str) -> Identity:
        command = [sys.executable, "-c", _CODE, name, str(self.folder), stubborn]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self._processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        found = Identity.of(process.pid)
        assert found is not None
        return found

    def stop(self, *arguments: str) -> int:
        """`gridflow stop` on the folder; its exit code."""
        with pytest.raises(SystemExit) as left:
            main(["stop", "--state", str(self.folder), *arguments])
        assert isinstance(left.value.code, int)
        return left.value.code

    def alive(self) -> int:
        return sum(process.poll() is None for process in self._processes)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def left_overs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeftOvers]:
    """A folder for them; every process is ended."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    found = LeftOvers(tmp_path)
    yield found
    found.close()


def test_stop_ends_them_in_order(left_overs: LeftOvers, capsys: pytest.CaptureFixture[str]) -> None:
    """The worker first and Valkey last, whatever the order they were started in; then nothing is left to stop."""
    left_overs.start(*reversed(children.STOP_ORDER))
    assert left_overs.stop() == 0
    assert (left_overs.folder / "ended.txt").read_text().splitlines() == list(children.STOP_ORDER)
    assert left_overs.alive() == 0
    assert capsys.readouterr().out == "Stopped.\n"
    assert left_over(left_overs.folder) is None
    assert left_overs.stop() == 1
    assert "nothing to stop" in capsys.readouterr().err


@pytest.mark.parametrize("names", [children.STOP_ORDER, (children.VALKEY,)], ids=["hangs", "is gone"])
def test_without_its_worker_ending_by_itself_orders_may_be_open(
    left_overs: LeftOvers, capsys: pytest.CaptureFixture[str], names: tuple[str, ...]
) -> None:
    """All is ended all the same, and the exit code says that it was not in order."""
    left_overs.start(*names, stubborn=children.WORKER)
    assert left_overs.stop("--timeout", "2") == 1
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
