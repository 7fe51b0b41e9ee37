"""Loopback ports: the preferred one where it is free, another where it is not.

Two stacks that start at the same moment must not choose the same port before either listens on it, so a port is
claimed with a lock file that lives as long as the process that claimed it.
"""

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import IO

HOST = "127.0.0.1"
_TRIES = 50


class PortClaims:
    """Ports this process has claimed; keep the object alive as long as the ports are needed."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir()) / f"gridflow-ports-{os.getuid()}"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._locks: list[IO[str]] = []

    def claim(self, preferred: int | None = None) -> int:
        """`preferred` if it is free, else another free port. Raises OSError when none is found."""
        if preferred is not None and self._try(preferred):
            return preferred
        for _ in range(_TRIES):
            port = _any_free_port()
            if self._try(port):
                return port
        raise OSError("no free loopback port found")

    def _try(self, port: int) -> bool:
        lock = (self._folder / f"{port}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return False
        if not is_free(port):
            lock.close()
            return False
        self._locks.append(lock)
        return True

    def close(self) -> None:
        """Give all claims back."""
        for lock in self._locks:
            lock.close()
        self._locks.clear()


def is_free(port: int) -> bool:
    """Whether a server could listen on the loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no obstacle
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
