"""However a run of pytest ends, none of the processes that its tests started outlives it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.up import ROOT
from tests.support.waiting import until

STARTED = ("valkey-server", "sleep 600")
STACK = ("postgres", "tests.support.stub_up")
ENDLESS = "tests/support/endless.py"


def end(run: psutil.Process, how: str, folder: Path) -> None:
    """What happens to the run: a test fails, or a signal comes."""
    (pytest_itself,) = [each for each in run.children() if "pytest" in each.cmdline()]
    match how:
        case "fails":
            (folder / "fail").touch()
        case "Ctrl-C":
            run.send_signal(signal.SIGINT)
        case "SIGTERM":
            run.terminate()
        case "SIGKILL":
            pytest_itself.kill()


@pytest.mark.parametrize(("how", "stack"), [("fails", False), ("Ctrl-C", True), ("SIGTERM", False), ("SIGKILL", True)])
def test_no_process_is_left(how: str, stack: bool, tmp_path: Path) -> None:
    """A Redis, an `up` stack and an orphan with a session of its own, started by a test under xdist."""
    if stack:
        (tmp_path / "stack").touch()
    said = tmp_path / "said"
    command = [sys.executable, "-m", "pytest", "-n1", f"--basetemp={tmp_path / 'run'}", ENDLESS]
    with said.open("w") as output:
        started = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"ENDLESS": str(tmp_path)}, stdout=output, stderr=output
        )
    run = psutil.Process(started.pid)
    family: list[psutil.Process] = []
    try:
        until(lambda: (tmp_path / "ready").exists() or started.poll() is not None, 120, "the stack of the run")
        assert started.poll() is None, said.read_text()
        family = run.children(recursive=True)
        commands = "\n".join(" ".join(each.cmdline()) for each in family)
        assert [name for name in STARTED + STACK * stack if name not in commands] == []
        end(run, how, tmp_path)
        assert started.wait(60) != 0
        assert [each for each in family if each.is_running()] == []
    finally:
        for each in family:
            if each.is_running():
                each.kill()
        started.kill()
        started.wait()
