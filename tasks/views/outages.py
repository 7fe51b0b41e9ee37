"""What does not answer now, in words, for status and every screen. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime

from tasks.exchange.limits.circuit_breaker import Phase
from tasks.views.models import StatusView
from tasks.views.rules import history_notes

_NONE: Mapping[str, str] = {}


def outages(view: StatusView, silent: Mapping[str, str] = _NONE) -> tuple[str, ...]:
    """A sentence for each part that does not answer, and what goes on meanwhile.

    `silent`: processes of the one-machine stack that do not answer, with since when.
    """
    found = [
        f"{name} has not answered since {since}. The stack restarts it after 15 s." for name, since in silent.items()
    ]
    if view.breaker is not Phase.CLOSED:
        found.append(f"The exchange's circuit breaker is {breaker_words(view)}: {view.breaker_why}")
    found += history_notes(view.history)
    if view.prefect_away_since_ms is not None:
        since = f"{datetime.fromtimestamp(view.prefect_away_since_ms / 1000, UTC):%H:%M}"
        found.append(f"The Prefect server has not answered since {since}. Workers run the windows without it.")
    return tuple(found)


def breaker_words(view: StatusView) -> str:
    """`open until 14:03:59`."""
    if view.breaker_until_ms is None:
        return view.breaker.value.replace("_", "-")
    return f"{view.breaker.value} until {datetime.fromtimestamp(view.breaker_until_ms / 1000, UTC):%H:%M:%S}"
