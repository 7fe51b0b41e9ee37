"""Changing the settings in force while trading goes on: what will happen, and what is refused."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.errors import ConfigError
from tasks.base.keys import Keys
from tasks.base.money import from_units
from tasks.base.redis_client import RedisClient
from tasks.control.change_effects import (
    Stake,
    SymbolEffect,
    SymbolFacts,
    buys_of,
    effect_of,
    refused_changes,
)
from tasks.exchange.models import Frozen, Market
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.models import FundsStatus, TraderAllocation
from tasks.grid.models import Cell, Grid
from tasks.orders.models import Intent
from tasks.paper.first_look import paper_market
from tasks.paper.stored_market import describe_market
from tasks.settings.differences import FieldChange, field_changes
from tasks.settings.in_force import MUST_AGREE, published, shared_part
from tasks.settings.model import Settings
from tasks.tick.heartbeat import dead_after_ms, read_workers
from tasks.tick.sharing import performance
from tasks.tick.stopping import read_stop_report

_NO_MARKETS: Mapping[str, Market] = {}


class ChangePlan(Frozen):
    """What putting settings in force will do. `unrounded`: symbols whose lot step is not known."""

    changes: tuple[FieldChange, ...]
    effects: tuple[SymbolEffect, ...]
    unrounded: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return {
            "changes": [change._asdict() for change in self.changes],
            "effects": [effect.as_json() for effect in self.effects],
            "unrounded": list(self.unrounded),
        }

    def lines(self) -> list[str]:
        """The plan in words, a line each."""
        fields = [f"{change.field}: {_shown(change.before)} → {_shown(change.after)}" for change in self.changes]
        lines = [*fields, *map(str, self.effects)]
        if self.unrounded:
            lines.append(
                f"The lot steps of {', '.join(self.unrounded)} are not known here: amounts are before rounding"
            )
        return lines


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    return "{…}" if isinstance(value, dict) else str(value)


async def as_started(redis: RedisClient, settings: Settings) -> Settings:
    """The settings with the consent to real orders that the account trades with: it was given at the start."""
    now, _ = await published(redis, settings.account)
    consent = settings.live or (now.get("live") is True and settings.exchange.live)
    return settings.model_copy(update={"live": consent})


async def changes_to(redis: RedisClient, wanted: Settings) -> tuple[FieldChange, ...]:
    """The fields in which `wanted` differs from what is in force; none where nothing is in force yet."""
    now, version = await published(redis, wanted.account)
    return field_changes(now, shared_part(wanted)) if version else ()


async def plan_change(
    redis: RedisClient, wanted: Settings, clock: Clock = utc_now, markets: Mapping[str, Market] = _NO_MARKETS
) -> ChangePlan:
    """What putting `wanted` in force would do to orders and money. Changes nothing, and asks no exchange.

    `markets`: the exchange's filters, as far as they are known; those of a paper market are known.

    Raises ConfigError for a field that cannot change while money is committed or workers run.
    """
    keys = Keys(wanted.account)
    changes = await changes_to(redis, wanted)
    await refuse_changes(redis, wanted, changes)
    if not changes:
        return ChangePlan(changes=(), effects=())
    allocator = GlobalFundAllocator.from_settings(wanted, redis, clock)
    facts = await performance(redis, keys, list(wanted.symbols), to_ms(clock()))
    funds = await allocator.get_global_status_summary()
    after = allocator.preview(funds, facts)
    symbols = sorted({*wanted.symbols, *(name for name, share in funds.symbols.items() if share.registered)})
    found = [_with_money(symbol, funds, after, rows) for symbol, rows in (await _read(redis, keys, symbols)).items()]
    free = max(allocator.pool_units - funds.committed_units, 0)
    known = dict(markets) | await _paper_markets(redis, wanted, found)
    effects = [effect_of(one, wanted, free, known.get(one.symbol)) for one in found]
    told = tuple(effect for effect in effects if not effect.is_quiet)
    unrounded = tuple(effect.symbol for effect in told if effect.replaced and effect.symbol not in known)
    return ChangePlan(changes=changes, effects=told, unrounded=unrounded)


async def _paper_markets(redis: RedisClient, wanted: Settings, found: Sequence[SymbolFacts]) -> dict[str, Market]:
    """The filters that the paper exchange made for each symbol; none where trading is live or its prices are."""
    stored = await describe_market(redis, Keys(wanted.account))
    if not stored or stored["source"] == "live":
        return {}
    return {
        one.symbol: paper_market(one.symbol, one.grid.first_price, wanted.exchange)
        for one in found
        if one.grid is not None
    }


async def allocations_after(redis: RedisClient, wanted: Settings, clock: Clock = utc_now) -> dict[str, Decimal]:
    """What each symbol would get of the pot, in quote, once `wanted` were in force. Changes nothing."""
    allocator = GlobalFundAllocator.from_settings(wanted, redis, clock)
    facts = await performance(redis, Keys(wanted.account), list(wanted.symbols), to_ms(clock()))
    after = allocator.preview(await allocator.get_global_status_summary(), facts)
    return {symbol: from_units(units) for symbol, units in after.items()}


async def refuse_changes(redis: RedisClient, wanted: Settings, changes: Sequence[FieldChange]) -> None:
    """Raise ConfigError for each change that is not possible now. `wanted`: the settings that have it."""
    keys = Keys(wanted.account)
    if not any(change.field in MUST_AGREE for change in changes):
        return
    report = await read_stop_report(redis, keys, wanted.symbols)
    funds = await GlobalFundAllocator.from_settings(wanted, redis).get_global_status_summary()
    living = (await read_workers(redis, keys)).living(dead_after_ms(int(wanted.trading.lease_seconds * 1000)))
    stake = Stake(
        committed=from_units(funds.committed_units),
        orders=len(report.orders_open),
        workers=tuple(f"pid {one.pid} on {one.host}" for one in living),
    )
    problems = refused_changes(changes, stake)
    if problems:
        raise ConfigError(problems, "the new settings; nothing was changed")


class _Rows(Frozen):
    """A symbol's grid, cells and journal."""

    grid: Grid | None
    cells: tuple[Cell, ...]
    intents: tuple[Intent, ...]


async def _read(redis: RedisClient, keys: Keys, symbols: Sequence[str]) -> dict[str, _Rows]:
    async with redis.pipeline(transaction=True) as pipe:
        for symbol in symbols:
            pipe.get(keys.grid(symbol))
            pipe.hvals(keys.cells(symbol))
            pipe.hvals(keys.intents(symbol))
        answers = iter(await pipe.execute())
    found = {}
    for symbol in symbols:
        grid, cells, intents = islice(answers, 3)
        found[symbol] = _Rows(
            grid=Grid.model_validate_json(grid) if grid else None,
            cells=tuple(Cell.model_validate_json(text) for text in cells),
            intents=tuple(Intent.model_validate_json(text) for text in intents),
        )
    return found


def _with_money(symbol: str, funds: FundsStatus, after: Mapping[str, int], rows: _Rows) -> SymbolFacts:
    share: TraderAllocation | None = funds.symbols.get(symbol)
    return SymbolFacts(
        symbol=symbol,
        grid=rows.grid,
        cells=rows.cells,
        buys=buys_of(rows.intents),
        allocated=share.allocated_units if share else 0,
        allocated_after=after.get(symbol, 0),
        used=share.used_units if share else 0,
    )
