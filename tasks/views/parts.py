"""The parts that an account needs: which of them answer, since when not, what works meanwhile and what to do. Pure.

Screens show them in full, `gridflow status` a sentence of each that does not answer.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from tasks.exchange.limits.circuit_breaker import Phase
from tasks.exchange.models import Frozen
from tasks.views.models import HistoryView, StatusView, SymbolView

STALE_FACTOR = 2  # expected intervals after which a figure counts as old
_LEAST_STALE_SECONDS = 5.0
_NONE: Mapping[str, str] = {}


class PartState(StrEnum):
    """How a part is: it answers, it answers in part, or it does not."""

    GOOD = "good"
    POOR = "poor"
    AWAY = "away"


class PartView(Frozen):
    """One part. `since_ms`: since when it is as it is, where that is known."""

    name: str
    state: PartState
    said: str
    since_ms: int | None = None
    works: str = ""  # what goes on meanwhile
    todo: str = ""


def stale_after_seconds(symbol: SymbolView) -> float:
    """The age at which the figures of a symbol count as old: twice the interval that its last tick planned."""
    return max(STALE_FACTOR * symbol.every_seconds, _LEAST_STALE_SECONDS)


def is_stale(symbol: SymbolView, now_ms: int) -> bool:
    """Whether the symbol's figures are old, though somebody should tick it."""
    if symbol.last_tick_ms is None:
        return False
    return (now_ms - symbol.last_tick_ms) / 1000 > stale_after_seconds(symbol)


def part_views(view: StatusView, now_ms: int) -> tuple[PartView, ...]:
    """The parts that the account's records in Redis tell of."""
    return (_workers(view, now_ms), _exchange(view), _database(view), _prefect(view))


def outages(view: StatusView, silent: Mapping[str, str] = _NONE) -> tuple[str, ...]:
    """A sentence for each part that does not answer, with what goes on meanwhile, and the notes on the history.

    `silent`: processes of the one-machine stack that do not answer, with since when.
    """
    found = [
        f"{name} has not answered since {since}. The stack restarts it after 15 s." for name, since in silent.items()
    ]
    parts = (_exchange(view), _database(view), _prefect(view))
    found += [_sentence(part) for part in parts if part.state is PartState.AWAY]
    return (*found, *history_notes(view.history))


def _sentence(part: PartView) -> str:
    since = "" if part.since_ms is None else f", since {_time(part.since_ms, '%Y-%m-%d %H:%M')} UTC"
    return f"{part.name}: {part.said}{since}. {part.works}"


def history_notes(found: HistoryView) -> list[str]:
    """That so much waits for the history that nothing is bought, and what came back from it."""
    notes = [f"No new buys: history full. {_waiting(found)} wait in Redis."] if found.full else []
    if found.restored_ms is not None:
        at = _time(found.restored_ms, "%Y-%m-%d %H:%M:%S")
        notes.append(f"Redis was lost; restored from the history at {at} UTC: {found.restored}.")
    return notes


def _waiting(found: HistoryView) -> str:
    return f"{_count(found.waiting, 'record')} ({found.waiting_bytes / 1e6:,.1f} MB)"


def _time(ms: int, form: str) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime(form)


def redis_away(where: str, since_ms: int | None) -> PartView:
    """Redis does not answer the reader."""
    return PartView(
        name="Redis",
        state=PartState.AWAY,
        said=f"{where} does not answer",
        since_ms=since_ms,
        works="Resting orders stay on the exchange. Workers send nothing new and go on when Redis is back. "
        "Trades and past results come from the history database and are up to date until then.",
        todo="Look at `gridflow status`. On one machine `gridflow up` starts its Redis again by itself; "
        "your own Redis: start it, and check redis_url (GRIDFLOW_REDIS_URL).",
    )


def database_away(said: str, since_ms: int | None) -> PartView:
    """The history database does not answer the reader."""
    return PartView(
        name="Database",
        state=PartState.AWAY,
        said=said,
        since_ms=since_ms,
        works="Trading goes on: new records wait in Redis. What stands here of the present is up to date; "
        "past trades, curves and results come back with the database.",
        todo="Check that the database runs and has room on its disk (database_url; on one machine history.db in the "
        "state folder).",
    )


def _workers(view: StatusView, now_ms: int) -> PartView:
    alive = [one for one in view.workers if one.alive]
    if not alive:
        heard = [int(now_ms - one.age_seconds * 1000) for one in view.workers]
        ticked = [one.last_tick_ms for one in view.symbols if one.last_tick_ms is not None]
        return PartView(
            name="Workers",
            state=PartState.AWAY,
            said="no worker runs",
            since_ms=max(heard or ticked, default=None),
            works="Resting orders stay on the exchange; the next worker books what they fill. These pages work.",
            todo="Start one: `gridflow up`, or `prefect worker start --pool gridflow --type gridflow`.",
        )
    gone, dark = len(view.workers) - len(alive), view.dark
    name = "Workers"
    if dark:
        return PartView(
            name=name,
            state=PartState.POOR,
            said=f"{_count(len(alive), 'worker')}; {len(dark)} of {_count(len(view.symbols), 'symbol')} not ticked",
            works="The other symbols trade. Resting orders stay on the exchange.",
            todo="Read why on the symbol's card, then `gridflow status` and the log of the worker.",
        )
    said = f"{_count(len(alive), 'worker')} alive" + (f", {gone} gone" if gone else "")
    if gone:
        works, todo = "The others have taken its symbols.", "Nothing, if you ended it; else read its log."
        return PartView(name=name, state=PartState.POOR, said=said, works=works, todo=todo)
    return PartView(name=name, state=PartState.GOOD, said=said)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _exchange(view: StatusView) -> PartView:
    if view.breaker is not Phase.CLOSED:
        return PartView(
            name="Exchange",
            state=PartState.AWAY,
            said=f"no ticks, its circuit breaker is {_breaker_words(view)}: {view.breaker_why}",
            works="Resting orders stay on the exchange. Ticks wait, and one of them tries again from time to time.",
            todo="Look at the exchange's own status page, and at its keys and limits where it refuses requests.",
        )
    if not any(one.alive for one in view.workers):
        return _unknown("Exchange")
    return PartView(name="Exchange", state=PartState.GOOD, said="answers")


def _unknown(name: str) -> PartView:
    """A part that only workers ask."""
    return PartView(name=name, state=PartState.POOR, said="not known: no worker runs that would ask it")


def _breaker_words(view: StatusView) -> str:
    """`open until 14:03:59 UTC`."""
    until = "" if view.breaker_until_ms is None else f" until {_time(view.breaker_until_ms, '%H:%M:%S')} UTC"
    return view.breaker.value.replace("_", "-") + until


def _database(view: StatusView) -> PartView:
    history = view.history
    if history.away_ms is not None:
        return database_away(f"not written ({history.away_why}); {_waiting(history)} wait", history.away_ms)
    if history.unread:
        return database_away(history.unread, None)
    if history.full:
        return PartView(
            name="Database",
            state=PartState.POOR,
            said=f"{_waiting(history)} wait for it: no new buys",
            works="Sells and fills go on.",
            todo="Check that the database is fast enough, or raise history.outbox_mb.",
        )
    return PartView(name="Database", state=PartState.GOOD, said=f"written; {_count(history.waiting, 'record')} waiting")


def _prefect(view: StatusView) -> PartView:
    if view.prefect_away_since_ms is not None:
        return PartView(
            name="Prefect",
            state=PartState.AWAY,
            said="the server does not answer the workers",
            since_ms=view.prefect_away_since_ms,
            works="Workers run the windows themselves, so trading goes on. Rebalance now and the schedules wait.",
            todo="Start the Prefect server again, or check PREFECT_API_URL. Workers are back in it within 5 s.",
        )
    if view.prefect_note:
        return PartView(name="Prefect", state=PartState.POOR, said=view.prefect_note, works="Trading goes on.")
    paused = sum(one.paused_in_prefect for one in view.symbols)
    if not any(one.alive for one in view.workers):
        return _unknown("Prefect")
    if paused:
        said = f"{_count(paused, 'symbol')} paused in Prefect"
        return PartView(name="Prefect", state=PartState.POOR, said=said, works="The other symbols trade.")
    return PartView(name="Prefect", state=PartState.GOOD, said="hands out the windows")
