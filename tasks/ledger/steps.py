"""Auditing and repairing the pot."""

import logging
from collections.abc import Sequence

from tasks.base.errors import UnknownSymbol
from tasks.base.events import EventKind, publish_event
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Order
from tasks.exchange.port import ExchangePort
from tasks.funds import store as funds_store
from tasks.funds.models import FundCode
from tasks.ledger.audit import REPAIRABLE, AuditReport, audit
from tasks.ledger.base_guard import confirmed, shortages
from tasks.ledger.store import funds_snapshot, read_holdings, read_watches

log = logging.getLogger(__name__)
_TRIES = 20


async def audit_funds(
    redis: RedisClient, keys: Keys, symbols: Sequence[str], exchange: ExchangePort | None = None
) -> AuditReport:
    """Audit the pot. Changes nothing. With `exchange`, compare its open orders and balances too; raises ExchangeError.

    Without it, what the base guard has confirmed counts. A symbol that the exchange does not list is not compared.
    """
    registered = await funds_store.registered_symbols(redis, keys=keys)
    names = sorted({*symbols, *registered})
    if exchange is None:
        short = confirmed(await read_watches(redis, keys))
        return audit((await funds_snapshot(redis, keys, names)).model_copy(update={"shortages": short}))
    holdings = await read_holdings(redis, keys, names)
    balances = await exchange.balances()
    orders = {name: await _open_orders(exchange, name) for name in names}
    listed = {name: found for name, found in orders.items() if found is not None}
    snapshot = await funds_snapshot(redis, keys, names, listed)
    return audit(
        snapshot.model_copy(
            update={
                "shortages": shortages(holdings.values(), balances, orders),
                "unlisted": tuple(name for name in names if name not in listed),
            }
        )
    )


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


async def watch_drift(redis: RedisClient, keys: Keys, symbols: Sequence[str]) -> AuditReport:
    """Audit the pot; log every difference that is an error and publish them as an event."""
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
