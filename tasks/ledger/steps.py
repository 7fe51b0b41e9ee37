"""Auditing and repairing the pot."""

import asyncio
import logging
from collections.abc import Sequence

from tasks.base.errors import ExchangeError, UnknownSymbol
from tasks.base.events import EventKind, publish_event
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Order
from tasks.exchange.port import ExchangePort
from tasks.funds import store as funds_store
from tasks.funds.models import FundCode, Repair
from tasks.ledger.audit import REPAIRABLE, AuditReport, audit_base, audit_pot, audit_symbol, repair_of, still_there
from tasks.ledger.base_guard import confirmed, shortages
from tasks.ledger.store import read_holdings, read_watches, symbol_snapshot

log = logging.getLogger(__name__)
_TRIES = 20
_AGAIN_SECONDS = 2.0


async def audit_funds(
    redis: RedisClient, keys: Keys, symbols: Sequence[str], exchange: ExchangePort | None = None
) -> AuditReport:
    """Audit the pot. Changes nothing. With `exchange`, compare its open orders and balances too; raises ExchangeError.

    Without it, what the base guard has confirmed counts. A symbol that the exchange does not list is not compared.
    Symbol by symbol, one round trip each: a trading loop that runs it is never blocked by more than one symbol.
    """
    names = sorted({*symbols, *await funds_store.registered_symbols(redis, keys=keys)})
    orders: dict[str, list[Order] | None] = dict.fromkeys(names)
    if exchange is None:
        found = audit_base(confirmed(await read_watches(redis, keys)), ())
    else:
        holdings = await read_holdings(redis, keys, names)
        balances = await exchange.balances()
        orders = {name: await _open_orders(exchange, name) for name in names}
        short = shortages(holdings.values(), balances, orders)
        found = audit_base(short, [name for name in names if orders[name] is None])
    repairs: list[Repair] = []
    for name in names:
        snapshot = await symbol_snapshot(redis, keys, name, orders[name])
        found += audit_symbol(snapshot, keys.account)
        repairs.append(repair_of(snapshot))
    found += audit_pot(await funds_store.status(redis, keys=keys, symbols=names))
    return AuditReport(differences=tuple(found), repairs=tuple(repairs))


async def _open_orders(exchange: ExchangePort, symbol: str) -> list[Order] | None:
    """The symbol's open orders; None where the exchange does not list it."""
    try:
        return await exchange.open_orders(symbol)
    except UnknownSymbol:
        return None


async def repair_funds(redis: RedisClient, keys: Keys, symbols: Sequence[str]) -> tuple[AuditReport, FundCode]:
    """Correct the money while workers go on trading; (the audit before it, the outcome).

    The outcome is OK, ALREADY (nothing to correct), or CONFLICT where workers kept changing the records.
    """
    first = await audit_funds(redis, keys, symbols)
    report = first
    for _ in range(_TRIES):
        if not any(one.cause in REPAIRABLE for one in report.differences):
            return first, FundCode.ALREADY
        code = await funds_store.repair(redis, keys=keys, symbols=report.repairs)
        if code is not FundCode.CONFLICT:
            log.warning("funds repaired", extra={"differences": len(report.drift)})
            return first, code
        report = await audit_funds(redis, keys, symbols)
    return first, FundCode.CONFLICT


async def watch_drift(
    redis: RedisClient, keys: Keys, symbols: Sequence[str], exchange: ExchangePort | None = None
) -> AuditReport:
    """Audit the pot; log every difference that is an error and publish them as an event.

    With `exchange`, also against its open orders and balances, while ticks change them: what differs counts only if it
    still does a moment later. Where the exchange does not answer, the pot is audited without it.
    """
    try:
        report = await audit_funds(redis, keys, symbols, exchange)
        if report.drift and exchange is not None:
            await asyncio.sleep(_AGAIN_SECONDS)
            report = still_there(report, await audit_funds(redis, keys, symbols, exchange))
    except ExchangeError as error:
        log.warning("the audit does not compare with the exchange", extra={"error": str(error)})
        report = await audit_funds(redis, keys, symbols)
    if report.drift:
        await publish_event(redis, keys, EventKind.FUNDS_DRIFT, [one.model_dump(mode="json") for one in report.drift])
        for one in report.drift:
            log.error(
                "funds drift",
                extra={
                    "subject": one.subject,
                    "cause": one.cause.value,
                    "found": str(one.found),
                    "expected": str(one.expected),
                },
            )
    return report
