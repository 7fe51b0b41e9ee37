"""A test that waits to be interrupted, for tests of how a run of pytest ends; collected only where it is named.

It starts a Redis, a process whose parent is gone and, where the file `stack` is in the folder `ENDLESS`, a stack. It
creates `ready` there and fails once `fail` is there. It ends nothing of what it started.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.up import Up
from tests.support.waiting import until

_ORPHAN = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"


def test_waits_to_be_interrupted(redis_url: str, tmp_path: Path) -> None:
    """With a stack under way, its PostgreSQL too."""
    folder = Path(os.environ["ENDLESS"])
    subprocess.run([sys.executable, "-c", _ORPHAN], check=True)
    if (folder / "stack").exists():
        up = Up(tmp_path / "state", "--worker", "tests.support.idle_worker")
        for name in ("Valkey", "PostgreSQL"):
            up.wait_said(f"{name} ready")
    (folder / "ready").touch()
    until((folder / "fail").exists, 600)
    raise AssertionError("failed as asked")
