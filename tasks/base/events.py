"""Account events: what happened, for people, alerts and screens. Python and Lua publish them to one capped stream."""

import json
from enum import StrEnum
from typing import Any

from tasks.base.keys import Keys
from tasks.base.outbox import RecordKind, fields_of
from tasks.base.redis_client import RedisClient

EVENTS_CAP = 200


class EventKind(StrEnum):
    """Every kind of event. Lua scripts name some of them by their value; a test compares both lists."""

    ALLOCATION_UPDATED = "allocation_updated"  # a rebalance was applied (set_limits.lua)
    FUNDS_SHORT = "funds_short"  # the exchange holds less quote than the pot promises (guard.lua)
    FUNDS_RESTORED = "funds_restored"  # it holds enough again (guard.lua)
    FUNDS_DRIFT = "funds_drift"  # the scheduled audit found differences
    BREAKER_CHANGED = "breaker_changed"  # a circuit breaker opened or closed (breaker_swap.lua)
    ORPHAN_ORDER = "orphan_order"  # an order of ours had no journal entry: journalled, and cancelled or kept
    REDIS_RESTARTED = "redis_restarted"  # Redis restarted or went back; the symbols were compared with the exchange
    BASE_SHORT = "base_short"  # the exchange holds less of a coin than the cells (base_guard.lua)
    BASE_RESTORED = "base_restored"  # it holds enough again (base_guard.lua)
    BASE_MISSING = "base_missing"  # base that the account does not hold left the cells at cost
    BASE_RETURNED = "base_returned"  # base that came back is in the cells again
    DEPLOYMENTS_MENDED = "deployments_mended"  # a worker restored deployments or the work pool at the Prefect server
    SYMBOL_DARK = "symbol_dark"  # nobody ticks a symbol
    SYMBOL_TICKS = "symbol_ticks"  # a symbol that was dark is ticked again
    HISTORY_AWAY = "history_away"  # the history database does not answer or cannot write; records wait in Redis
    HISTORY_BACK = "history_back"  # it does again
    FLAGS_RESTORED = "flags_restored"  # Redis was lost: stop and pauses hold again, from the history
    HISTORY_FULL = "history_full"  # so many records wait in Redis that there are no new buys
    WRITTEN_OFF = "written_off"  # a symbol's inventory was booked out at cost
    ORDER_FAILED = "order_failed"  # the exchange refused an order (with the tick's records, see _writes.lua)
    LEASE_LOST = "lease_lost"  # a worker lost a symbol's lease to another one while it ticked
    TICK_CRASHED = "tick_crashed"  # a tick ended with an unexpected error
    FLOW_CRASHED = "flow_crashed"  # a flow run failed or crashed
    PROCESS_CRASHED = "process_crashed"  # a worker's process ends with an unexpected error
    STOP_FIRED = "stop_fired"  # a symbol's stop fired (with the tick's records, see _writes.lua)
    SYSTEM_STOPPED = "system_stopped"  # trading was stopped in order


async def publish_event(redis: RedisClient, keys: Keys, kind: EventKind, facts: Any) -> None:
    """Add an event to the account's capped stream and to the outbox; `facts` becomes its JSON body."""
    body = json.dumps(facts)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.xadd(keys.events, {"type": kind.value, "body": body}, maxlen=EVENTS_CAP, approximate=True)
        pipe.xadd(keys.outbox, fields_of(RecordKind.EVENT, f"{kind.value}|{body}"))
        await pipe.execute()
