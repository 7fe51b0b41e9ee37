"""What alerts and Telegram ask of the history: fills and results. Its libraries are imported when it is asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tasks.ledger.models import Fill
from tasks.settings.model import Settings
from tasks.views.result_models import ResultsView

_MOST_FILLS = 2000


class Past(Protocol):
    """The history. Every method raises HistoryUnavailable where it does not answer. Times in ms, `to_ms` excluded."""

    async def fills(self, from_ms: int, to_ms: int) -> Sequence[Fill]:
        """The newest fills of a span, oldest first."""

    async def newest_fills(self, count: int) -> Sequence[Fill]:
        """The newest fills, newest first."""

    async def results(self, name: str, from_ms: int, to_ms: int) -> ResultsView:
        """The results of a span."""


class HistoryPast:
    """The history database of the settings. `state`: folder of the file, where it is one."""

    def __init__(self, settings: Settings, state: Path) -> None:
        self._settings, self._state = settings, state
        self._database: Any = None

    async def fills(self, from_ms: int, to_ms: int) -> Sequence[Fill]:
        """See `Past`."""
        from tasks.history.queries import FillFilter

        return (await self._page(FillFilter(from_ms=from_ms, to_ms=to_ms), _MOST_FILLS))[::-1]

    async def newest_fills(self, count: int) -> Sequence[Fill]:
        """See `Past`."""
        from tasks.history.queries import FillFilter

        return await self._page(FillFilter(), count)

    async def _page(self, wanted: Any, count: int) -> Sequence[Fill]:
        from tasks.views.history import fills_page

        page = await fills_page(await self._opened(), self._settings.account, wanted, count, None)
        return page.fills

    async def results(self, name: str, from_ms: int, to_ms: int) -> ResultsView:
        """See `Past`."""
        from tasks.views import history

        account, funds = self._settings.account, self._settings.total_funds
        return await history.results(await self._opened(), account, name, from_ms, to_ms, funds)

    async def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            await self._database.close()

    async def _opened(self) -> Any:
        if self._database is None:
            from tasks.history.database import Database, history_url

            database = Database(history_url(self._settings, self._state))
            await database.open()
            self._database = database
        return self._database
