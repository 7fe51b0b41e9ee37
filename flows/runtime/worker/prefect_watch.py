"""Watches whether the Prefect server answers, so that a worker need not wait for the end of a hanging request."""

import logging
from collections.abc import Callable
from datetime import datetime

import anyio
import httpx
from prefect.client.orchestration import PrefectClient, get_client

from tasks.base.clock import Clock, utc_now

log = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
AWAY_SECONDS = 4.0  # an outage that is shorter is none
_ANSWER_SECONDS = 2.0
_LEAST_SECONDS = 0.5  # that a server has for an answer
_AWAY_LOOK_SECONDS = 1.0


class PrefectWatch:
    """Asks the server every two seconds whether it is ready. `on_return` is called when it answers again.

    An outage is known at most LOOK_SECONDS + AWAY_SECONDS + half a second after it began, also where requests hang.
    """

    def __init__(self, on_return: Callable[[], None], clock: Clock = utc_now) -> None:
        self.away_since: datetime | None = None
        self._silent: tuple[float, datetime] | None = None  # since when: by the loop's clock, and the time
        self._on_return, self._clock = on_return, clock

    async def run(self) -> None:
        """Watch until cancelled."""
        async with get_client() as client:
            while True:
                began = anyio.current_time(), self._clock()
                self._note(await is_ready(client, self._patience()), began)
                await anyio.sleep(_AWAY_LOOK_SECONDS if self._silent else LOOK_SECONDS)

    def _patience(self) -> float:
        """How long to wait for an answer: hardly beyond the moment at which the server counts as away."""
        if self._silent is None or self.away_since is not None:
            return _ANSWER_SECONDS
        left = self._silent[0] + AWAY_SECONDS - anyio.current_time()
        return min(_ANSWER_SECONDS, max(left, _LEAST_SECONDS))

    def _note(self, answers: bool, asked: tuple[float, datetime]) -> None:
        """`asked`: when the question was put."""
        if not answers:
            self._silent = self._silent or asked
            silent_for = round(anyio.current_time() - self._silent[0], 3)  # a timer may fire a rounding early
            if self.away_since is None and silent_for >= AWAY_SECONDS:
                self.away_since = self._silent[1]
                log.warning("the Prefect server does not answer: this worker runs windows without it")
            return
        was_silent, self._silent = self._silent is not None, None
        if self.away_since is not None:
            log.warning("the Prefect server answers again", extra={"away_since": self.away_since.isoformat()})
            self.away_since = None
        if was_silent:
            self._on_return()


async def is_ready(client: PrefectClient, seconds: float = _ANSWER_SECONDS) -> bool:
    """Whether the server and its database answer in time. A server without this question still answers."""
    with anyio.move_on_after(seconds):
        try:
            await client.request("GET", "/ready")
        except httpx.HTTPStatusError as error:
            return error.response.status_code < httpx.codes.INTERNAL_SERVER_ERROR
        except Exception as error:  # noqa: BLE001 - also what the client makes of an answer that is none
            log.debug("the Prefect server did not answer", extra={"error": repr(error)})
            return False
        return True
    return False
