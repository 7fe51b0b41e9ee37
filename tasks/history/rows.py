"""From records of the outbox to rows of tables. Pure."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tasks.base.money import from_units
from tasks.base.outbox import Record, RecordKind
from tasks.funds.capital import CapitalMove
from tasks.funds.models import FundCode, RebalanceReport
from tasks.grid.models import Grid
from tasks.ledger.models import Fill
from tasks.orders.models import Intent

Row = dict[str, Any]
MINUTE_MS = 60_000
HOUR_MS = 3_600_000


@dataclass
class Batch:
    """What some records come to. Fills and points also go into totals, so each of them counts only once.

    `added`: table name → rows that never change. `put`: table name → rows of which the newest counts.
    `grids`: (symbol, ms, names of its grids) of each record of a grid.
    """

    fills: list[Fill] = field(default_factory=list)
    points: list[Row] = field(default_factory=list)
    added: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    put: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    settings: list[Row] = field(default_factory=list)
    grids: list[tuple[str, int, frozenset[str]]] = field(default_factory=list)


def batch_of(records: Iterable[Record]) -> Batch:
    """The rows of `records`. One that this version cannot read is kept as it is, for a later version."""
    batch = Batch()
    for record in records:
        try:
            _READERS[RecordKind(record.kind)](batch, record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            unread = {"id": record.entry_id, "kind": record.kind, "body": record.body, "error": str(error)}
            batch.added["unreadable"].append(unread)
    return batch


def _fill(batch: Batch, record: Record) -> None:
    batch.fills.append(Fill.model_validate_json(record.body))


def _order(batch: Batch, record: Record) -> None:
    intent = Intent.model_validate_json(record.body)
    names = ("client_id", "symbol", "cell_key", "side", "price", "qty", "filled", "quote_filled", "state", "note")
    row = {name: getattr(intent, name) for name in (*names, "exchange_id", "created_ms", "ended_ms")}
    row |= {"side": intent.side.value, "state": intent.state.value, "sequence": record.sequence}
    batch.put["orders"].append(row)
    changed = {name: row[name] for name in ("client_id", "sequence", "symbol", "state", "filled", "quote_filled")}
    batch.added["order_changes"].append(changed | {"note": intent.note, "at_ms": record.at_ms})


def _grid(batch: Batch, record: Record) -> None:
    grid = Grid.model_validate_json(record.body)
    batch.grids.append((grid.symbol, record.at_ms, frozenset(each.name for each in grid.each)))
    batch.put["grids"] += [
        {
            "symbol": each.symbol,
            "grid_id": each.grid_id,
            "from_ms": each.created_ms,
            "until_ms": None,
            "levels": json.dumps([str(level) for level in each.levels]),
            "first_price": each.first_price,
            "name": each.name,
        }
        for each in grid.each
    ]


def _equity(batch: Batch, record: Record) -> None:
    """A point of the account (symbol '') and one of each symbol."""
    body = json.loads(record.body)
    at_ms = int(body["at_ms"])
    batch.points.append(_point("", at_ms, body | {"worth": body["equity"]}))
    batch.points += [_point(symbol, at_ms, own) for symbol, own in body.get("symbols", {}).items()]


def _point(symbol: str, at_ms: int, body: Mapping[str, Any]) -> Row:
    amounts = {name: Decimal(body.get(name) or 0) for name in ("worth", "grid_profit", "capital")}
    price = body.get("price")
    return {"symbol": symbol, "at_ms": at_ms, "price": Decimal(price) if price else None} | amounts


def _rebalance(batch: Batch, record: Record) -> None:
    report = RebalanceReport.model_validate_json(record.body)
    key = {"at_ms": report.at_ms, "version": report.version}
    names = ("reason", "strategy", "outcome", "pool")
    batch.added["rebalances"].append(key | {name: getattr(report, name) for name in names})
    batch.added["rebalance_lines"] += [key | change.model_dump() for change in report.changes]


def _blocked(batch: Batch, record: Record) -> None:
    """`time|symbol|code|units|order id`, as reserve.lua writes it."""
    at_ms, symbol, code, units, order_id = record.body.split("|", 4)
    row = {"at_ms": int(at_ms), "symbol": symbol, "reason": FundCode(int(code)).name, "order_id": order_id}
    batch.added["blocked"].append(row | {"amount": from_units(int(units))})


def _event(batch: Batch, record: Record) -> None:
    kind, _, body = record.body.partition("|")
    batch.added["events"].append({"id": record.entry_id, "at_ms": record.at_ms, "type": kind, "body": body})


def _action(batch: Batch, record: Record) -> None:
    body = json.loads(record.body)
    row = {name: str(body[name]) for name in ("id", "actor", "action", "subject", "result")}
    batch.added["actions"].append(row | {"at_ms": int(body["at_ms"])})


def _settings(batch: Batch, record: Record) -> None:
    version, _, body = record.body.partition("|")
    json.loads(body)
    batch.settings.append({"version": int(version), "at_ms": record.at_ms, "body": body})


def _flag(batch: Batch, record: Record) -> None:
    """`flag|value|scope`, as set_flag.lua writes it."""
    flag, value, scope = record.body.split("|", 2)
    row = {"scope": scope, "flag": flag, "value": int(value), "sequence": record.sequence, "at_ms": record.at_ms}
    batch.put["flags"].append(row)


def _capital(batch: Batch, record: Record) -> None:
    """`id|time|kind|units|actor`, as move_capital.lua writes it."""
    name, at_ms, kind, units, actor = record.body.split("|", 4)
    row = {"id": name, "at_ms": int(at_ms), "kind": CapitalMove(kind).value, "actor": actor}
    batch.added["capital"].append(row | {"amount": from_units(int(units))})


_READERS: Mapping[RecordKind, Callable[[Batch, Record], None]] = {
    RecordKind.FILL: _fill,
    RecordKind.ORDER: _order,
    RecordKind.GRID: _grid,
    RecordKind.EQUITY: _equity,
    RecordKind.REBALANCE: _rebalance,
    RecordKind.BLOCKED: _blocked,
    RecordKind.EVENT: _event,
    RecordKind.ACTION: _action,
    RecordKind.SETTINGS: _settings,
    RecordKind.FLAG: _flag,
    RecordKind.CAPITAL: _capital,
}


def changes_between(before: Any, after: Any, place: str = "") -> dict[str, list[Any]]:
    """Dotted names of the settings that differ → [before, after]; None where a side has no such field."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return {} if before == after else {place: [before, after]}
    found: dict[str, list[Any]] = {}
    for name in sorted(before.keys() | after.keys()):
        inner = f'{place}."{name}"' if "/" in name else f"{place}.{name}".lstrip(".")
        found |= changes_between(before.get(name), after.get(name), inner)
    return found
