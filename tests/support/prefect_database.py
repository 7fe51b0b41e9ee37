"""PostgreSQL data with the Prefect server's tables in it, made once in a run of pytest and copied from then on.

Making the tables takes longer than all else of a server's start.
"""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from flows.runtime.stack import postgres

RUN_FOLDER = "TESTS_RUN_FOLDER"  # environment variable: the temp folder of this run, shared by xdist's workers


def with_tables(state: Path, make: Callable[[Path], None]) -> None:
    """Give a new state folder the database of an earlier start; `make` starts servers on a folder and ends them."""
    tables = Path(os.environ[RUN_FOLDER]) / "prefect-tables"
    tables.mkdir(exist_ok=True)
    with (tables / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (tables / "record.json").exists():
            _make(tables, make)
    with patch.object(postgres, "_initialise", lambda fresh: _copy(tables / "data", fresh.data)):
        postgres.prepare(state)
    record = json.loads((state / "postgres.json").read_text())
    password = json.loads((tables / "record.json").read_text())["password"]
    (state / "postgres.json").write_text(json.dumps(record | {"password": password}))


def _make(tables: Path, make: Callable[[Path], None]) -> None:
    state = tables / "state"
    state.mkdir(exist_ok=True)
    try:
        make(state)
        _copy(postgres.prepare(state).data, tables / "data")
        shutil.copy(state / "postgres.json", tables / "record.json")
    finally:
        postgres.remove(state)


def _copy(data: Path, to: Path) -> None:
    subprocess.run(["cp", "-a", f"{data}/.", str(to)], check=True)  # owners too: PostgreSQL does not run as root
