"""Liveness and readiness checks of servers and processes. They run often, so each is as small as possible."""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from redis.exceptions import RedisError

from flows.runtime.stack.ports import HOST
from flows.runtime.stack.postgres import Postgres
from tasks.base.redis_client import connect

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # the smallest message of PostgreSQL's protocol that has a response
_RESPONSE_SECONDS = 5.0


async def port_is_open(port: int) -> bool:
    """Whether a server listens on the loopback port."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


async def redis_is_ready(url: str) -> bool:
    """Whether a Redis answers and has finished loading."""
    client = connect(url, impatient=True)
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()


async def valkey_responds(port: int) -> bool:
    """Whether the Valkey on the loopback port responds at all, also while it is still loading."""
    return bool(await _response(asyncio.open_connection(HOST, port), b"PING\r\n"))


async def postgres_responds(server: Postgres) -> bool:
    """Whether PostgreSQL responds to a connection, or reports that it is starting, in recovery or stopping."""
    if not server.is_ready():
        return True
    return bool(await _response(asyncio.open_unix_connection(str(server.socket)), _SSL_REQUEST))


async def _response(connecting: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]], request: bytes) -> bytes:
    """The first bytes of the response; none where there is no server or no response."""
    try:
        async with asyncio.timeout(_RESPONSE_SECONDS):
            reader, writer = await connecting
            try:
                writer.write(request)
                return await reader.read(16)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


def http_responds(port: int, path: str, any_status: bool = False) -> Callable[[], Awaitable[bool]]:
    """A check that this loopback URL responds with status 200 (or with any status). Needs no HTTP client."""
    request = f"GET {path} HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode()

    async def check() -> bool:
        response = await _response(asyncio.open_connection(HOST, port), request)
        return bool(response) if any_status else b" 200 " in response

    return check


def files_touched(files: Sequence[Path]) -> Callable[[], Awaitable[bool]]:
    """A check that every existing file has been touched since the check ran last."""
    seen: dict[Path, int] = {}

    async def check() -> bool:
        alive = True
        for file in files:
            try:
                touched = file.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            alive &= seen.get(file) != touched
            seen[file] = touched
        return alive

    return check
