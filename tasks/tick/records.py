"""The records that a tick writes. The script that moves the money writes them too. Pure."""

import json
from collections.abc import Collection, Mapping, Sequence

from pydantic import BaseModel

from tasks.base.errors import RejectReason
from tasks.base.events import EventKind
from tasks.base.keys import Keys
from tasks.base.money import plain
from tasks.base.outbox import RecordKind
from tasks.funds.models import Write
from tasks.grid.models import Grid
from tasks.ledger.models import Fill
from tasks.orders.models import Intent, IntentState
from tasks.tick.fold import Folded
from tasks.tick.models import TickReport
from tasks.tick.slots import compacted

NEWEST_FILLS = 200  # what a return of base and the audit look at


def writes(result: Folded, keys: Keys, symbol: str) -> list[Write]:
    """The writes for the cells, orders and fills that the fold changed. Cells that have gone since are left out."""
    out = [
        Write(key=keys.cells(symbol), verb="HSET", field=key, value=result.cells[key])
        for key in sorted(result.touched & result.cells.keys())
    ]
    for intent in result.changed:
        out.append(Write(key=keys.intents(symbol), verb="HSET", field=intent.client_id, value=intent))
        out.append(archived(keys, RecordKind.ORDER, intent))
    for intent in result.ended:
        out.append(Write(key=keys.intents(symbol), verb="HDEL", field=intent.client_id))
        out.append(archived(keys, RecordKind.ORDER, intent))
    for fill in result.fills:
        out += fill_writes(keys, fill)
    out += [Write(key=keys.fee_queue(symbol), verb="HDEL", field=field) for field in result.paid]
    if result.fills or result.paid or result.valued:
        out.append(Write(key=keys.book(symbol), verb="SET", value=result.book))
    return out


def archived(keys: Keys, kind: RecordKind, body: str | BaseModel) -> Write:
    """The write that appends a record to the outbox, for the history."""
    return Write(key=keys.outbox, verb="XADD", field=kind, value=body)


def fill_writes(keys: Keys, fill: Fill) -> list[Write]:
    """The writes for one booked fill."""
    listed = Write(key=keys.newest_fills(fill.symbol), verb="LPUSH", field=str(NEWEST_FILLS), value=fill)
    return [listed, archived(keys, RecordKind.FILL, fill)]


def grid_writes(keys: Keys, grid: Grid) -> list[Write]:
    """The writes that put a grid in force."""
    text = grid.model_dump_json()
    return [Write(key=keys.grid(grid.symbol), verb="SET", value=text), archived(keys, RecordKind.GRID, text)]


def slot_writes(
    slots: Mapping[str, int], live_cells: Sequence[str], grid_ids: Collection[str], keys: Keys, symbol: str
) -> list[Write]:
    """The writes that delete the order slots of deleted cells, and keep one cycle per grid."""
    gone, kept = compacted(slots, live_cells, grid_ids)
    key = keys.slots(symbol)
    return [
        *(Write(key=key, verb="HSET", field=grid, value=str(cycle)) for grid, cycle in sorted(kept.items())),
        *(Write(key=key, verb="HDEL", field=slot) for slot in sorted(gone)),
    ]


def dropped_cells(keys: Keys, symbol: str, cell_keys: Sequence[str]) -> list[Write]:
    """The writes that delete cells."""
    return [Write(key=keys.cells(symbol), verb="HDEL", field=key) for key in cell_keys]


def failed_orders(keys: Keys, ended: Sequence[Intent]) -> list[Write]:
    """Events of orders that the exchange refused. One that would have taken instead of made is no failure."""
    out = []
    for intent in ended:
        if intent.state is not IntentState.REJECTED or intent.note == RejectReason.WOULD_TAKE:
            continue
        facts = {
            "symbol": intent.symbol,
            "side": intent.side.value,
            "amount": plain(intent.qty),
            "price": plain(intent.price),
            "error": intent.note,
            "id": intent.client_id,
        }
        kind, body = EventKind.ORDER_FAILED.value, json.dumps(facts)
        out.append(Write(key=keys.events, verb="EVENT", field=kind, value=body))
        out.append(archived(keys, RecordKind.EVENT, f"{kind}|{body}"))
    return out


def published(keys: Keys, report: TickReport) -> list[Write]:
    """The writes that publish a tick: its report, and the counters as absolute values."""
    return [
        Write(key=keys.last_tick(report.symbol), verb="SET", value=report),
        Write(key=keys.stats, verb="HSET", field=f"ticks|{report.symbol}", value=str(report.total_ticks)),
        Write(key=keys.stats, verb="HSET", field=f"fills|{report.symbol}", value=str(report.total_fills)),
    ]
