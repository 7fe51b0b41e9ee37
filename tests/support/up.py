"""A stack as a process of its own, and what to ask about it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from tasks.settings.running import StackRecord, read_record
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
GRIDFLOW = str(Path(sys.executable).with_name("gridflow"))


class Up:
    """One `up` process on a state folder: with a stub worker, or whatever `command` says."""

    def __init__(self, state: Path, *arguments: str, command: tuple[str, ...] = ()) -> None:
        self.state = state
        state.parent.mkdir(parents=True, exist_ok=True)
        self._said = state.parent / f"said-{time.monotonic_ns()}.txt"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        stub = (sys.executable, "-m", "tests.support.stub_up", str(state))
        with self._said.open("w") as stderr:
            self.process = subprocess.Popen(
                [*(command or stub), *arguments],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def wait_said(self, line: str) -> None:
        """Wait until this very process has said so."""

        def said() -> bool:
            assert self.process.poll() is None, self.said
            return line in self.said

        until(said, 90)

    def wait_ticking(self) -> StackRecord:
        """Wait for the first tick of this very process; the record of the stack."""
        self.wait_said("First tick")
        record = read_record(self.state)
        assert record is not None
        return record

    def gridflow(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Another gridflow command on the same state, as in a second shell."""
        return subprocess.run(
            [GRIDFLOW, *command, "--state", str(self.state)], capture_output=True, text=True, check=False, timeout=240
        )

    def end(self, *signals: signal.Signals) -> dict[str, Any]:
        """Send the signals, each once the one before is under way; the summary of a process that ends with code 0."""
        for number, after in zip(signals, ("", "Stopping in order"), strict=False):
            self.wait_said(after)
            self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=240)
        assert self.process.returncode == 0, self.said
        summary: dict[str, Any] = json.loads(out)
        return summary


def processes_of(state: Path) -> list[psutil.Process]:
    """Every process that carries the state folder in its command line or environment, or runs in it or in its data.

    Valkey shows the folder only as the one it runs in: it gives itself another title.
    """
    marks = [str(state)]
    record = state / "postgres.json"
    if record.exists():
        marks.append(json.loads(record.read_text())["data"])
    found = []
    for process in psutil.process_iter():
        try:
            text = " ".join([process.cwd(), *process.cmdline(), *process.environ().values()])
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(mark in text for mark in marks):
            found.append(process)
    return found
