"""Reads the records that the stages wrote, in few round trips."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tasks.base.keys import Keys
from tasks.base.money import plain
from tasks.base.outbox import RecordKind, fields_of
from tasks.base.redis_client import RedisClient
from tasks.exchange.limits.breaker_store import EXCHANGE
from tasks.exchange.limits.circuit_breaker import Breaker
from tasks.funds.models import FundCode, RebalanceReport
from tasks.grid.models import Cell, Grid
from tasks.ledger.base_guard import BaseWatch
from tasks.ledger.models import Book, Fill
from tasks.tick.dark_watch import DarkMark, parsed_marks
from tasks.tick.heartbeat import Workers, parsed_workers
from tasks.tick.models import TickReport
from tasks.tick.prefect_record import PrefectRecord, parsed_record
from tasks.views.line_models import EquityPoint, EventView, LogLine
from tasks.views.models import AlertChannelView, HistoryView, StatusView

SLICE = 5  # symbols that are read and parsed at once; the event loop goes on between slices
_MINUTE_MS = 60_000
_CLOSED = Breaker()


@dataclass(frozen=True)
class SymbolRecords:
    """What Redis holds of one symbol."""

    book: Book
    last: TickReport | None
    grid: Grid | None
    cells: tuple[Cell, ...]
    open_orders: int
    breaker: Breaker


@dataclass(frozen=True)
class AccountRecords:
    """What Redis holds of every symbol, the counters, the exchange's breaker, comparisons of base, and the workers."""

    symbols: Mapping[str, SymbolRecords]
    stats: Mapping[str, str]
    breaker: Breaker
    history: HistoryView
    workers: Workers
    prefect: PrefectRecord | None
    dark: Mapping[str, DarkMark] = field(default_factory=dict)
    base: Sequence[BaseWatch] = ()
    alert_channels: Sequence[AlertChannelView] = ()


class _StoredSymbol(NamedTuple):
    """The answers that `account_records` reads for one symbol, in its order."""

    book: str | None
    last: str | None
    grid: str | None
    cells: Sequence[str]
    open_orders: int


async def account_records(
    redis: RedisClient, keys: Keys, symbols: Sequence[str], slice_size: int = SLICE
) -> AccountRecords:
    """Records of every symbol, the counters and the circuit breakers: a round trip, and one for each slice."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.stats)
        pipe.hgetall(keys.breakers)
        pipe.hgetall(keys.base_watch)
        pipe.time()
        pipe.hgetall(keys.workers)
        pipe.get(keys.prefect)
        pipe.hgetall(keys.dark)
        pipe.hgetall(keys.alert_channels)
        pipe.hgetall(keys.history)
        pipe.xlen(keys.outbox)
        pipe.hget(keys.funds, "history_full")
        (
            stats,
            breaker_texts,
            watches,
            (seconds, micros),
            heartbeats,
            prefect,
            dark,
            channels,
            *archive,
        ) = await pipe.execute()
    workers = parsed_workers(int(seconds) * 1000 + int(micros) // 1000, heartbeats)
    base = [BaseWatch.model_validate_json(text) for _, text in sorted(watches.items())]
    breakers = {name: Breaker.model_validate_json(text) for name, text in breaker_texts.items()}
    found: dict[str, SymbolRecords] = {}
    for first in range(0, len(symbols), max(slice_size, 1)):
        some = symbols[first : first + slice_size]
        stored = await _stored_symbols(redis, keys, some)
        found |= {
            symbol: _parsed(symbol, row, breakers.get(symbol, _CLOSED))
            for symbol, row in zip(some, stored, strict=True)
        }
    history = _history(*archive)
    return AccountRecords(
        found,
        stats,
        breakers.get(EXCHANGE, Breaker()),
        history,
        workers,
        parsed_record(prefect),
        parsed_marks(dark),
        base,
        parsed_channels(channels),
    )


def parsed_channels(stored: Mapping[str, str]) -> tuple[AlertChannelView, ...]:
    """The channels in the hash `Keys.alert_channels`, by name."""
    texts = sorted((name, text) for name, text in stored.items() if "|" not in name)
    return tuple(AlertChannelView.model_validate_json(text) for _, text in texts)


def _history(archive: Mapping[str, str], waiting: int, full: str | None) -> HistoryView:
    return HistoryView(
        waiting=int(waiting),
        waiting_bytes=int(archive.get("bytes", 0)),
        away_ms=int(archive["away_ms"]) if "away_ms" in archive else None,
        away_why=archive.get("away_why", ""),
        full=full == "1",
        restored_ms=int(archive["restored_ms"]) if "restored_ms" in archive else None,
        restored=archive.get("restored", ""),
    )


async def _stored_symbols(redis: RedisClient, keys: Keys, symbols: Sequence[str]) -> list[_StoredSymbol]:
    async with redis.pipeline(transaction=False) as pipe:
        for key in (keys.book, keys.last_tick, keys.grid):
            pipe.mget(map(key, symbols))  # a client's time goes by answers: three, not three for each symbol
        for symbol in symbols:
            pipe.hvals(keys.cells(symbol))
        for symbol in symbols:
            pipe.hlen(keys.intents(symbol))
        books, ticks, grids, *rest = await pipe.execute()
    count = len(symbols)
    stored = zip(books, ticks, grids, rest[:count], rest[count:], strict=True)
    return [_StoredSymbol(*row) for row in stored]


def _parsed(symbol: str, stored: _StoredSymbol, breaker: Breaker) -> SymbolRecords:
    return SymbolRecords(
        book=Book.model_validate_json(stored.book) if stored.book else Book(symbol=symbol),
        last=TickReport.model_validate_json(stored.last) if stored.last else None,
        grid=Grid.model_validate_json(stored.grid) if stored.grid else None,
        cells=tuple(Cell.model_validate_json(text) for text in stored.cells),
        open_orders=int(stored.open_orders),
        breaker=breaker,
    )


async def last_rebalance(redis: RedisClient, keys: Keys) -> RebalanceReport | None:
    """The newest rebalance that was requested, applied or not."""
    text = await redis.get(keys.last_rebalance)
    return RebalanceReport.model_validate_json(text) if text else None


async def counters(redis: RedisClient, keys: Keys) -> tuple[int, dict[tuple[str, str], int]]:
    """(applied rebalances, refusals by symbol and reason)."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hget(keys.counters, "rebalances")
        pipe.hgetall(keys.blocked_counts)
        done, refused = await pipe.execute()
    by_reason = {}
    for name, count in refused.items():
        symbol, code = name.rsplit("|", 1)
        by_reason[symbol, FundCode(int(code)).name] = int(count)
    return int(done or 0), by_reason


async def logs(redis: RedisClient, keys: Keys, limit: int, level: str | None = None) -> tuple[LogLine, ...]:
    """The newest log records, newest first, optionally of one level only."""
    lines = []
    entries: Any = await redis.xrevrange(keys.log, count=limit if level is None else limit * 20)
    for entry_id, entry in entries:
        if level is None or entry["level"] == level:
            lines.append(log_line(entry_id, entry))
    return tuple(lines[:limit])


def log_line(entry_id: str, entry: Mapping[str, str]) -> LogLine:
    """A log record as Redis holds it. Raises LookupError and ValueError for what is none."""
    return LogLine(
        id=entry_id,
        at_ms=int(entry["at_ms"]),
        level=entry["level"],
        source=entry["source"],
        logger=entry["logger"],
        message=entry["message"],
        fields=json.loads(entry["fields"]),
    )


async def newest_fills(redis: RedisClient, keys: Keys, symbols: Sequence[str]) -> dict[str, Fill]:
    """The newest fill of each symbol that has one. One round trip."""
    async with redis.pipeline(transaction=False) as pipe:
        for symbol in symbols:
            pipe.lindex(keys.newest_fills(symbol), 0)
        texts = await pipe.execute()
    return {symbol: Fill.model_validate_json(text) for symbol, text in zip(symbols, texts, strict=True) if text}


async def events(redis: RedisClient, keys: Keys, limit: int) -> tuple[EventView, ...]:
    """The newest domain events, newest first."""
    entries: Any = await redis.xrevrange(keys.events, count=limit)
    return tuple(
        EventView(id=entry_id, at_ms=int(entry_id.split("-")[0]), type=entry["type"], body=entry["body"])
        for entry_id, entry in entries
    )


async def take_minute(redis: RedisClient, keys: Keys, now_ms: int) -> bool:
    """Whether the caller is the first in this minute that stores a point of the equity curve."""
    left_ms = _MINUTE_MS - now_ms % _MINUTE_MS
    return bool(await redis.set(keys.equity_minute, now_ms // _MINUTE_MS, nx=True, px=left_ms))


async def add_equity_point(redis: RedisClient, keys: Keys, view: StatusView, now_ms: int) -> None:
    """Put the status into the outbox as one point of the equity curve, of the account and of its symbols."""
    point = EquityPoint(at_ms=now_ms, equity=view.equity, grid_profit=view.grid_profit, capital=view.capital)
    symbols = {
        symbol.symbol: {
            "worth": plain(symbol.equity_change),
            "grid_profit": plain(symbol.grid_profit),
            "price": None if symbol.price is None else plain(symbol.price),
        }
        for symbol in view.symbols
    }
    body = json.dumps(point.model_dump(mode="json") | {"symbols": symbols})
    await redis.xadd(keys.outbox, fields_of(RecordKind.EQUITY, body))
