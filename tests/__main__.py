"""Run all tests on any machine: `python -m tests [arguments of pytest]`.

Four tools of the system are needed: Chromium, Redis 7, libfaketime and Prometheus's promtool. Where apt-get is there
and may be used, what is missing is installed; elsewhere one line says what to install, and nothing runs.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).parents[1]


class Tool(NamedTuple):
    """A program or library that the tests need, by the name of its Debian package."""

    package: str
    is_there: Callable[[], bool]


def _has_faketime() -> bool:
    return any(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


TOOLS = (
    Tool("chromium", lambda: shutil.which("chromium") is not None),
    Tool("redis-server", lambda: shutil.which("redis-server") is not None),
    Tool("libfaketime", _has_faketime),
    Tool("prometheus", lambda: shutil.which("promtool") is not None),
)


def missing() -> list[str]:
    """Debian packages of the tools that this machine lacks."""
    return [tool.package for tool in TOOLS if not tool.is_there()]


def can_install() -> bool:
    """Whether this process may install Debian packages."""
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def advice(packages: list[str]) -> str:
    """One line: what to do where this process may not install."""
    names = " ".join(packages)
    if shutil.which("apt-get") is not None:
        return f"The tests need {names}. Install them with: sudo apt-get install {names}"
    return f"The tests need {names}. Install them with this system's package manager; a Debian machine has all four"


def install(packages: list[str]) -> None:
    """Install Debian packages. Raises CalledProcessError where apt-get fails."""
    print(f"Installing what the tests need: {' '.join(packages)}", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *command], env=environment, stdout=subprocess.DEVNULL, check=True)


def main(arguments: list[str]) -> NoReturn:
    """Install what is missing, then become pytest: its signals are pytest's. Exit code 1 where a tool is missing."""
    packages = missing()
    if packages and can_install():
        install(packages)
        packages = missing()
    if packages:
        print(advice(packages), file=sys.stderr)
        sys.exit(1)
    os.chdir(ROOT)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would compile the same modules anew
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
