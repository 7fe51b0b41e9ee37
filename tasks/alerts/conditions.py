"""Alerts from how things stand now, not from an event: each is raised when it begins, and again only after it ended.

Pure. `Known` is what the look before saw; it is stored, so that the next leader goes on with it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import ConfigDict, Field

from tasks.alerts.kinds import alert_of
from tasks.alerts.models import Alert
from tasks.base.alert_kinds import AlertKind
from tasks.base.money import plain
from tasks.exchange.models import Frozen
from tasks.orders.models import Intent
from tasks.views.models import StatusView

_LIMITS = ("SYMBOL_LIMIT", "GLOBAL_LIMIT")
_CALM_MS = 3_600_000  # a limit that refused nothing for so long is told again


class Known(Frozen):
    """What the look before saw. `refused`: `symbol|reason` → count and time (ms) of the newest refusal seen."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    running: bool = False
    on: tuple[str, ...] = ()  # repeat keys of conditions that hold
    refused: Mapping[str, tuple[int, int]] = Field(default_factory=dict)
    settings_version: int = 0
    day: str = ""  # of the newest daily summary
    fills_ms: int = 0  # fills until then are told
    fills_hour: str = ""


class Now(NamedTuple):
    """How things stand. `refused`: refusals by symbol and reason. `bans`: scope → until (ms)."""

    at_ms: int
    view: StatusView
    refused: Mapping[tuple[str, str], int]
    doubtful: Sequence[Intent]
    bans: Mapping[str, int]


class Bounds(NamedTuple):
    """What counts as too late or too long, in seconds; the language of the texts."""

    late_seconds: float
    unknown_seconds: float
    language: str


def look(known: Known | None, now: Now, bounds: Bounds) -> tuple[list[Alert], Known]:
    """The alerts that begin now, and what to know for the next look. The first look ever tells nothing of the past."""
    is_first, known = known is None, known or Known()
    holding = [*_late(now, bounds), *_gone(now), *_doubtful(now, bounds), *_banned(now)]
    begun = [_alert(kind, context, bounds) for kind, context in holding]
    alerts = [alert for alert in begun if alert.repeat_key not in known.on]
    refused, limits = _limits(known, now, is_first)
    alerts += [_alert(AlertKind.LIMIT_HIT, context, bounds) for context in limits]
    version = now.view.settings_version
    if known.settings_version and version > known.settings_version:
        alerts.append(_alert(AlertKind.SETTINGS_CHANGED, {"version": version}, bounds))
    is_running = any(worker.alive for worker in now.view.workers)
    if is_running and not known.running:
        context = {"account": now.view.account, "count": len(now.view.symbols), "mode": now.view.mode}
        alerts.append(_alert(AlertKind.STARTED, context, bounds))
    changed = {
        "running": known.running or is_running,
        "on": tuple(sorted(alert.repeat_key for alert in begun)),
        "refused": refused,
        "settings_version": max(version, known.settings_version),
    }
    return alerts, known.model_copy(update=changed)


def _alert(kind: AlertKind, context: Mapping[str, Any], bounds: Bounds) -> Alert:
    return alert_of(kind, context, bounds.language)


def is_on_time(view: StatusView, late_seconds: float) -> bool:
    """Whether every symbol is ticked in time."""
    return not view.dark and all(symbol.late_seconds <= late_seconds for symbol in view.symbols)


def _late(now: Now, bounds: Bounds) -> list[tuple[AlertKind, dict[str, Any]]]:
    return [
        (AlertKind.TICK_LATE, {"symbol": symbol.symbol, "seconds": round(symbol.late_seconds)})
        for symbol in now.view.symbols
        if not symbol.dark and symbol.late_seconds > bounds.late_seconds
    ]


def _gone(now: Now) -> list[tuple[AlertKind, dict[str, Any]]]:
    return [
        (
            AlertKind.WORKER_GONE,
            {
                "worker": worker.worker,
                "host": worker.host,
                "pid": worker.pid,
                "seconds": round(worker.age_seconds),
                "symbols": list(worker.symbols),
            },
        )
        for worker in now.view.workers
        if not worker.alive
    ]


def _doubtful(now: Now, bounds: Bounds) -> list[tuple[AlertKind, dict[str, Any]]]:
    found: list[tuple[AlertKind, dict[str, Any]]] = []
    for intent in now.doubtful:
        seconds = (now.at_ms - intent.created_ms) / 1000
        if seconds > bounds.unknown_seconds:
            context = {
                "symbol": intent.symbol,
                "side": intent.side.value,
                "amount": plain(intent.qty),
                "price": plain(intent.price),
                "error": intent.note or "no clear answer",
                "seconds": round(seconds),
                "id": intent.client_id,
            }
            found.append((AlertKind.ORDER_UNKNOWN, context))
    return found


def _banned(now: Now) -> list[tuple[AlertKind, dict[str, Any]]]:
    return [
        (AlertKind.RATE_BAN, {"scope": scope, "until": f"{datetime.fromtimestamp(ms / 1000, UTC):%H:%M:%S} UTC"})
        for scope, ms in sorted(now.bans.items())
    ]


def _limits(known: Known, now: Now, is_first: bool) -> tuple[dict[str, tuple[int, int]], list[dict[str, Any]]]:
    """What was refused until now, and the limits that refuse again after a calm hour."""
    refused, told = dict(known.refused), []
    symbols = {symbol.symbol: symbol for symbol in now.view.symbols}
    for (symbol, reason), count in now.refused.items():
        name = f"{symbol}|{reason}"
        before, at_ms = refused.get(name, (0, 0))
        if reason not in _LIMITS or count == before:
            continue
        refused[name] = (count, now.at_ms)
        own = symbols.get(symbol)
        if is_first or own is None or count < before or now.at_ms - at_ms < _CALM_MS:
            continue
        is_own = reason == "SYMBOL_LIMIT"
        usage, limit = (own.committed, own.allocated) if is_own else (now.view.committed, now.view.pool)
        told.append({"symbol": symbol, "reason": reason, "usage": plain(usage), "limit": plain(limit)})
    return refused, told
