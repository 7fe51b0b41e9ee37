"""A loopback port that leads to another one, and that a test can cut or point elsewhere."""

import asyncio
from contextlib import suppress

from tasks.base.cancelling import cancel_and_wait
from tests.support.servers import free_port


class Link:
    """Forwards connections to `port` while it is open. Use as an async context manager."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self._to: int | None = port
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Link":
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """End every connection and take no new ones."""
        self._to = None
        await cancel_and_wait(self._open)

    def point_to(self, port: int) -> None:
        """Lead new connections to another port."""
        self._to = port

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if self._to is not None:
                await _join(reader, writer, self._to)
        except (OSError, asyncio.CancelledError):
            pass  # the test cut it, or one side has gone
        finally:
            self._open.discard(task)
            writer.close()


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
    ways = [asyncio.create_task(_copy(*way)) for way in ((reader, other_writer), (other_reader, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        other_writer.close()
        await cancel_and_wait(ways)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
