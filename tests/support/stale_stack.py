"""Records of stacks, and stand-ins of the processes that a killed `gridflow up` leaves running."""

import subprocess
import sys
from pathlib import Path

from flows.runtime.stack import record as record_file
from tasks.settings.running import Identity, StackRecord

_CODE = """
import json, signal, sys
name, folder, stubborn = sys.argv[1:]
numbers = signal.SIGTERM, signal.SIGINT
for number in numbers:
    signal.signal(number, signal.SIG_IGN if stubborn == name else signal.default_int_handler)
try:
    print("ready", flush=True)
    signal.pause()
except KeyboardInterrupt:
    open(folder + "/ended.txt", "a").write(name + chr(10))
    if name == "Worker":
        told = {"stopped": True, "orders_open": [], "reserved": "0", "as_of": None, "started": ""}
        open(folder + "/worker.stopped", "w").write(json.dumps(told))
"""


def stack_record(folder: Path, parent: Identity) -> StackRecord:
    """The record of a stack without processes, run by `parent`."""
    return StackRecord(
        started="now",
        state=str(folder),
        parent=parent,
        redis="redis://127.0.0.1:1/0",
        prefect_api="http://127.0.0.1:2/api",
        prefect_ui="http://127.0.0.1:2",
        dashboard=None,
        postgres_data="",
    )


class StaleStack:
    """Stand-ins of a stack's processes, and the record of an `up` that is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *names: str, stubborn: str = "") -> None:
        gone = self._launch("up", stubborn)
        identities = {name: self._launch(name, stubborn) for name in names}
        self._processes[0].kill()
        self._processes[0].wait()
        record = stack_record(self.folder, gone)
        record.processes = identities
        record_file.write(self.folder, record)

    def _launch(self, name: str, stubborn: str) -> Identity:
        command = [sys.executable, "-c", _CODE, name, str(self.folder), stubborn]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self._processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        found = Identity.of(process.pid)
        assert found is not None
        return found

    def alive(self) -> int:
        return sum(process.poll() is None for process in self._processes)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
