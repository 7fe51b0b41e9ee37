"""Planted faults: each changes the program in one place, and some seed of the fault runs must then fail.

`python -m tests.support.mutations [--seeds 300] [--from 0] [NAME ...]` plays the seeds for each fault until one fails,
and prints a table. A fault whose text the program no longer has is an error. Returns 1 if a fault was not found.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.planted_faults import FAULTS, Planted

ROOT = Path(__file__).parents[2]
_PATIENCE = 10.0  # seconds
PARTS = ("tasks", "tests/__init__.py", "tests/support", "tests/data")  # what a fault run needs


class DoesNotApply(Exception):
    """The program does not have the text that the fault changes exactly once."""


@dataclass(frozen=True)
class Found:
    """The first seed that failed and what it said; None and '' where no seed failed."""

    planted: Planted
    seed: int | None
    said: str


def changed(planted: Planted, root: Path = ROOT) -> str:
    """The changed text of the fault's file. Raises DoesNotApply."""
    text = (root / planted.file).read_text(encoding="utf-8")
    count = text.count(planted.before)
    if count != 1:
        raise DoesNotApply(f"{planted.name}: {planted.file} has {count} times: {planted.before!r}")
    return text.replace(planted.before, planted.after)


def hunt(planted: Planted, seeds: range) -> Found:
    """Play the seeds on a copy of the program with the fault, until one fails. Raises DoesNotApply."""
    text = changed(planted)
    with TemporaryDirectory(prefix="gridflow-") as name:
        copy = Path(name)
        for part in PARTS:
            _copy(ROOT / part, copy / part)
        (copy / planted.file).write_text(text, encoding="utf-8")
        return _first_failure(planted, copy, seeds)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _first_failure(planted: Planted, copy: Path, seeds: range) -> Found:
    command = [sys.executable, "-m", "tests.support.fault_run", str(seeds[0]), str(seeds[-1])]
    with (copy / "errors").open("w+") as errors:
        process = subprocess.Popen(command, cwd=copy, stdout=subprocess.PIPE, stderr=errors, text=True)
        lines = process.stdout
        assert lines is not None
        try:
            for line in lines:
                told = json.loads(line)
                if "wrong" in told:
                    Path(str(told["wrong"]).rpartition("record: ")[2]).unlink(missing_ok=True)
                    return Found(planted, told["seed"], str(told["wrong"]).rpartition("; the exchange's")[0])
            if process.wait():
                raise RuntimeError((copy / "errors").read_text(encoding="utf-8")[-2000:])
        finally:
            _end(process)
            lines.close()
    return Found(planted, None, "")


def _end(process: "subprocess.Popen[str]") -> None:
    """End the fault run, which then stops its Redis server; kill it where it does not."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main(names: Sequence[str], seeds: range) -> int:
    """Hunt the faults with these names, or all. Prints a row for each."""
    wanted = [one for one in FAULTS if not names or one.name in names]
    for planted in wanted:
        changed(planted)
    missed = 0
    print("| planted fault | first seed | what it said |\n|---|---|---|", flush=True)
    for planted in wanted:
        found = hunt(planted, seeds)
        missed += found.seed is None
        seed = "none" if found.seed is None else found.seed
        print(f"| {planted.name} | {seed} | {found.said[:110].replace('|', '/')} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("names", nargs="*")
    said = parser.parse_args()
    sys.exit(main(said.names, range(said.first, said.first + said.seeds)))
