"""Questions to servers and processes: do you answer? Asked often, so each is as small as it can be."""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from redis.exceptions import RedisError

from flows.runtime.stack.ports import HOST
from flows.runtime.stack.postgres import Postgres
from tasks.base.redis_client import connect

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # the smallest message of PostgreSQL's protocol that has an answer
_ANSWER_SECONDS = 5.0


async def port_answers(port: int) -> bool:
    """Whether a server listens on the loopback port."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


async def redis_answers(url: str) -> bool:
    """Whether a Redis answers and has finished loading."""
    client = connect(url, impatient=True)
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()


async def valkey_answers(port: int) -> bool:
    """Whether the Valkey on the loopback port says anything, be it that it is still loading."""
    return bool(await _answer(asyncio.open_connection(HOST, port), b"PING\r\n"))


async def postgres_answers(server: Postgres) -> bool:
    """Whether PostgreSQL answers a connection, or says that it is not ready yet (starting, in recovery, stopping)."""
    if not server.is_ready():
        return True
    return bool(await _answer(asyncio.open_unix_connection(str(server.socket)), _SSL_REQUEST))


async def _answer(connecting: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]], question: bytes) -> bytes:
    """The first bytes of the answer; none where there is no server or no answer."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await connecting
            try:
                writer.write(question)
                return await reader.read(16)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


def http_answers(port: int, path: str, any_status: bool = False) -> Callable[[], Awaitable[bool]]:
    """A question: does this loopback URL answer with success (or at all)? Without a whole HTTP client."""
    request = f"GET {path} HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode()

    async def ask() -> bool:
        answer = await _answer(asyncio.open_connection(HOST, port), request)
        return bool(answer) if any_status else b" 200 " in answer

    return ask


def beats(files: Sequence[Path]) -> Callable[[], Awaitable[bool]]:
    """A question: has every file been touched since it was last asked? A file that is not there is not asked for."""
    seen: dict[Path, int] = {}

    async def ask() -> bool:
        alive = True
        for file in files:
            try:
                touched = file.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            alive &= seen.get(file) != touched
            seen[file] = touched
        return alive

    return ask
