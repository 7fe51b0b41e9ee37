"""The one market that all processes share, and its clock: written once in Redis, read by every later process."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tasks.base.errors import StateError
from tasks.base.keys import Keys
from tasks.base.money import plain
from tasks.base.redis_client import RedisClient
from tasks.paper.candles import MINUTE
from tasks.paper.scripts import Call, PaperKeys, Scripts
from tasks.paper.units import text_of
from tasks.settings.model import PaperSettings


@dataclass(frozen=True, slots=True)
class MarketClock:
    """The market was at `position` (market ms since its start) at wall-clock `anchor` (ms); it runs at `speed`.

    Candle k is complete when the position reaches (k+1) minutes. `epoch` counts how often the clock was restarted.
    """

    epoch: int
    anchor: int
    position: int
    speed: Decimal

    def candles_complete(self, now_ms: int) -> int:
        """Number of candles that are complete at `now_ms`."""
        return (self.position + int(max(now_ms - self.anchor, 0) * self.speed)) // MINUTE

    def opens_at_ms(self, candle: int) -> int:
        """Wall-clock ms at which candle number `candle` begins."""
        return self.anchor + int((candle * MINUTE - self.position) / self.speed)


VERSION = "1"
SILENCE_MS = 5_000  # after this long without activity the market's clock counts as paused
KEEP = 5_000  # filled orders, cancelled orders and trades kept, each per symbol: ticks ask for the newest only


@dataclass(frozen=True)
class StoredMarket:
    """The market hash as a record. `settings`: those it was opened with. `spans`: the candle files by symbol."""

    settings: dict[str, str]
    kind: str
    reason: str
    started: int
    clock: MarketClock
    quote: str
    start_balance: int
    keep: int
    spans: dict[str, list[dict[str, Any]]]

    @property
    def seed(self) -> int:
        return int(self.settings.get("seed", "0"))


def market_settings(paper: PaperSettings) -> dict[str, str]:
    """The settings that define a market. Processes that share it must have the same."""
    asked = {"market": str(paper.market)}
    if paper.market == "replay":
        asked["data"] = str(Path(paper.data or ".").absolute().resolve())
    if paper.market in {"synthetic", "auto"}:
        asked["seed"] = str(paper.seed)
    if paper.market != "live":
        asked["speed"] = plain(paper.speed)
    return asked


def market_of(fields: Mapping[str, str]) -> StoredMarket:
    """The market hash as a record. Raises StateError where another version wrote it."""
    if fields.get("version") != VERSION:
        raise StateError(
            f"the paper market in Redis has version {fields.get('version')}, this program writes {VERSION}"
        )
    clock = MarketClock(int(fields["epoch"]), int(fields["anchor"]), int(fields["position"]), Decimal(fields["speed"]))
    return StoredMarket(
        settings=json.loads(fields["asked"]),
        kind=fields["kind"],
        reason=fields["why"],
        started=int(fields["started"]),
        clock=clock,
        quote=fields["quote"],
        start_balance=int(fields["start_balance"]),
        keep=int(fields["keep"]),
        spans=json.loads(fields["spans"]),
    )


@dataclass(frozen=True)
class NewMarket:
    """A market to write where there is none yet."""

    settings: dict[str, str]
    kind: str
    reason: str
    spans: dict[str, list[dict[str, Any]]]

    def script_args(self, now_ms: int, quote: str, start_balance: int, keep: int) -> list[str]:
        """What open_market.lua needs to write it: quote currency, start balance (units), then field, value, …"""
        values = {
            "version": VERSION,
            "asked": json.dumps(self.settings),
            "kind": self.kind,
            "why": self.reason,
            "spans": json.dumps(self.spans),
            "started": now_ms,
            "anchor": now_ms,
            "position": 0,
            "epoch": 1,
            "speed": self.settings.get("speed", "1"),
            "activity": now_ms,
            "keep": keep,
            "quote": quote,
            "start_balance": start_balance,
            "next_order": 1_000_000_000,  # ten digits each, so that ids of one millisecond sort by text too
            "next_trade": 1_000_000_000,
        }
        return [quote, str(start_balance), *(str(part) for pair in values.items() for part in pair)]


async def open_stored(scripts: Scripts, keys: PaperKeys, now_ms: int, new: Sequence[str] = ()) -> StoredMarket | None:
    """The market in Redis, marked as in use. Where there is none, it is written from `new` (`NewMarket.script_args`).

    None where there is none and `new` is empty. Raises StateError where another version wrote it.
    """
    args = [str(now_ms), str(SILENCE_MS), *new]
    flat = (await scripts.run([Call("open_market", [keys.market, keys.balances], args)]))[0]
    return market_of(dict(zip(flat[::2], flat[1::2], strict=True))) if flat else None


def check_same(stored: StoredMarket, settings: Mapping[str, str], quote: str, key: str) -> None:
    """Raise StateError where the settings describe another market than the stored one.

    A manual market has no settings: every process takes it as it is.
    """
    if stored.kind == "manual":
        return
    have, want = {**stored.settings, "quote": stored.quote}, {**settings, "quote": quote}
    differing = [
        f"{name}: stored {have.get(name, '(none)')}, settings {want.get(name, '(none)')}"
        for name in sorted(have.keys() | want.keys())
        if have.get(name) != want.get(name)
    ]
    if differing:
        raise StateError(
            f"Redis holds another paper market ({key}: {'; '.join(differing)}). "
            "Restore the stored settings, or start with another state folder: --state DIR"
        )


async def describe_market(redis: RedisClient, keys: Keys) -> dict[str, Any]:
    """The paper market for display: kind, why it was chosen, speed, seed, data, spans, start balance.

    By symbol: `candles_done`, a count, and `market_ms`, the time of the newest of them. Empty where no paper market
    was opened yet. Raises StateError (see `market_of`).
    """
    names = PaperKeys(keys)
    fields = await redis.hgetall(names.market)
    if not fields:
        return {}
    market = market_of({str(name): str(value) for name, value in fields.items()})
    symbols = sorted(market.spans)
    async with redis.pipeline(transaction=False) as pipe:
        for symbol in symbols:
            pipe.hmget(names.state(symbol), ["cursor", "time"])
        states = await pipe.execute() if symbols else []
    cursors = [int(cursor or 0) for cursor, _ in states]
    return {
        "source": market.kind,
        "why": market.reason,
        **market.settings,
        "quote": market.quote,
        "start_balance": text_of(market.start_balance),
        "started_ms": market.started,
        "spans": {symbol: _span_summary(market.spans[symbol]) for symbol in symbols if market.spans[symbol]},
        "candles_done": dict(zip(symbols, cursors, strict=True)),
        "market_ms": {symbol: int(at) for symbol, (_, at) in zip(symbols, states, strict=True) if at},
    }


def _span_summary(files: list[dict[str, Any]]) -> dict[str, int]:
    return {
        "files": len(files),
        "candles": sum(file["rows"] for file in files),
        "first_ms": files[0]["first"],
        "last_ms": files[-1]["last"],
        "gaps": sum(file["gaps"] for file in files if file.get("step_ms", MINUTE) <= MINUTE),
        "step_ms": max(file.get("step_ms", MINUTE) for file in files),
    }
