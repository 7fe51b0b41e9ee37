"""Asks the history database whether it answers: an outage is known also while nothing is written, or a write hangs."""

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy import select

from tasks.base.cancelling import cancel_and_wait
from tasks.history import tables
from tasks.history.database import Database

ASK_SECONDS = 3.0  # after an answer
ANSWER_SECONDS = 4.0  # a database that takes longer counts as away


class DatabaseWatch:
    """Asks the database every few seconds, unless it has just answered otherwise.

    An outage is told at most ASK_SECONDS + ANSWER_SECONDS after it began.
    """

    def __init__(self, database: Database, on_away: Callable[[str], Awaitable[None]]) -> None:
        """`on_away(why)`: called for each question that the database does not answer."""
        self._database, self._on_away = database, on_away
        self._answered_at = float("-inf")

    def note_answer(self) -> None:
        """The database has answered somebody else."""
        self._answered_at = asyncio.get_running_loop().time()

    async def run(self, is_wanted: Callable[[], bool]) -> None:
        """Watch until cancelled. `is_wanted`: whether to ask now."""
        loop = asyncio.get_running_loop()
        while True:
            left = self._answered_at + ASK_SECONDS - loop.time()
            if left > 0 or not is_wanted():
                await asyncio.sleep(left if left > 0 else ASK_SECONDS / 4)
                continue
            await self._ask_once()

    async def _ask_once(self) -> None:
        """Ask, and wait for the end of it: a question that hangs would hold one connection more each time."""
        began = asyncio.get_running_loop().time()
        asking = asyncio.create_task(self._answer())
        try:
            done, _ = await asyncio.wait({asking}, timeout=ANSWER_SECONDS)
            if not done:
                await self._tell(f"it does not answer within {ANSWER_SECONDS:.0f} s", began)
            why = await asking
        finally:
            await cancel_and_wait([asking])
        if why is None:
            self.note_answer()
        else:
            await self._tell(why, began)
            await asyncio.sleep(ASK_SECONDS)

    async def _tell(self, why: str, began: float) -> None:
        """Call `on_away`, unless somebody had an answer since `began`."""
        if self._answered_at < began:
            await self._on_away(why)

    async def _answer(self) -> str | None:
        """Why the database does not answer; None where it does."""
        try:
            async with self._database.connection() as connection:
                await connection.execute(select(tables.ARCHIVES.c.account).limit(1))
        except Exception as error:  # noqa: BLE001 - whatever it is, the history cannot be read, and archiving goes on
            return str(error) or type(error).__name__
        return None
