"""Compares, once a minute, the base that the cells hold with the balance that was read for the quote."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tasks.base.events import EVENTS_CAP, EventKind, publish_event
from tasks.base.money import ZERO, plain
from tasks.base.redis_client import script
from tasks.exchange.models import Balance, Side
from tasks.ledger.base_guard import (
    BaseCorrection,
    BaseEvent,
    BaseWatch,
    CorrectionKind,
    Holding,
    Verdict,
    coin_of,
    compare,
    must_have_ticked,
)
from tasks.ledger.models import Fill
from tasks.tick.desk import Desk

log = logging.getLogger(__name__)
_NOTHING = Balance(free=ZERO, locked=ZERO)
_KINDS = {BaseEvent.SHORT: EventKind.BASE_SHORT, BaseEvent.RESTORED: EventKind.BASE_RESTORED}


class _Judged(NamedTuple):
    """One coin: its symbol, the record that was read, and the verdict."""

    symbol: str
    read: str
    verdict: Verdict


async def guard_base(desk: Desk, holdings: Mapping[str, Holding], balances: Mapping[str, Balance], at_ms: int) -> None:
    """Compare each coin. `holdings`: of every symbol, read before `balances`; `at_ms`: before both.

    Base that is missing by two comparisons becomes a correction, which the symbol's next tick books.
    """
    redis, keys = desk.redis, desk.keys
    stored = {str(coin): str(text) for coin, text in (await redis.hgetall(keys.base_watch)).items()}
    waited_for = must_have_ticked(holdings, desk.markets.unlisted)
    judged = []
    for symbol, own in sorted(holdings.items()):
        coin = coin_of(symbol)
        read = stored.get(coin, "")
        before = BaseWatch.model_validate_json(read) if read else None
        verdict = compare(coin, before, own, balances.get(coin, _NOTHING), waited_for, at_ms)
        judged.append(_Judged(symbol, read, verdict))
    if judged:
        await _store(desk, judged)
    gone = set(stored) - {one.verdict.watch.coin for one in judged}
    if gone:
        await redis.hdel(keys.base_watch, *sorted(gone))


async def report_corrections(desk: Desk, fills: Sequence[Fill]) -> None:
    """Tell of base that left the cells without a sell, or came back; `fills`: those that booked it."""
    for fill in fills:
        is_missing = fill.side is Side.SELL
        kind = EventKind.BASE_MISSING if is_missing else EventKind.BASE_RETURNED
        facts = {"symbol": fill.symbol, "cell": fill.cell_key, "qty": plain(fill.qty), "cost": plain(fill.basis)}
        if is_missing:
            log.error("base that the exchange does not hold left the books at cost", extra=facts)
        else:
            log.warning("base that came back is in the books again", extra=facts)
        await publish_event(desk.redis, desk.keys, kind, facts)


async def _store(desk: Desk, judged: list[_Judged]) -> None:
    keys = desk.keys
    names = [keys.base_watch, keys.events, *(keys.corrections(one.symbol) for one in judged)]
    args: list[str | int] = [EVENTS_CAP, len(judged)]
    for one in judged:
        args += _arguments(one)
    stored = await script(desk.redis, "tasks.tick", "base_guard")(keys=[*names, desk.keys.outbox], args=args)
    for one, done in zip(judged, stored, strict=True):
        if done:
            _log(one.verdict)


def _arguments(one: _Judged) -> list[str]:
    watch, event, missing = one.verdict
    told = [_KINDS[event].value, json.dumps(_facts(watch))] if event else ["", ""]
    correction = ["", ""]
    if missing:
        found = BaseCorrection(
            id=f"missing:{watch.newest.at_ms}",
            kind=CorrectionKind.MISSING,
            qty=missing,
            at_ms=watch.newest.at_ms,
            account=watch.newest.account,
            received=watch.newest.received,
        )
        correction = [found.kind.value, found.model_dump_json()]
    return [watch.coin, one.read, watch.model_dump_json(), *told, *correction]


def _facts(watch: BaseWatch) -> dict[str, str]:
    now = watch.newest
    return {"coin": watch.coin, "held": plain(now.held), "account": plain(now.account), "short": plain(now.short)}


def _log(verdict: Verdict) -> None:
    if verdict.event is BaseEvent.SHORT:
        log.error("the exchange holds less of a coin than the cells", extra=_facts(verdict.watch))
    elif verdict.event is BaseEvent.RESTORED:
        log.info("the exchange holds as much of the coin as the cells again", extra=_facts(verdict.watch))
