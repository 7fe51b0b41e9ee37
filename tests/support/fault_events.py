"""An operator who changes the settings and rebalances while workers trade and die."""

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tasks.base.clock import to_ms
from tasks.base.errors import GridflowError
from tasks.base.money import from_units, units_down
from tasks.control.steps import put_in_force
from tasks.funds.rebalancing import MANUAL
from tasks.settings.in_force import publish
from tasks.settings.model import Settings
from tasks.tick.monitor import rebalance
from tests.support.binance.desk import BinanceDesk
from tests.support.fault_changes import Change, Changes
from tests.support.fault_draw import SYMBOLS, Scene, geometry
from tests.support.fault_kinds import with_earnings
from tests.support.fault_rules import FIRED, RESUMED, without_rules
from tests.support.fault_swarm import COUNTED

MANUAL_REBALANCE = "rebalance, manual"
SCHEDULED_REBALANCE = "rebalance, scheduled"
OTHER_FILE = "worker with another file"
REMOVED_HOLDING = "symbol removed while it holds"
REMOVED_IN_DOUBT = "symbol removed while orders are in doubt"
EVENTS = (
    *map(str, COUNTED),
    *map(str, Change),
    MANUAL_REBALANCE,
    SCHEDULED_REBALANCE,
    OTHER_FILE,
    REMOVED_HOLDING,
    REMOVED_IN_DOUBT,
    FIRED,
    RESUMED,
)
NOTICED_MS = 60_000  # traders follow at their next tick
FOR_GOOD_MS = 2**62
_REMOVALS = (Change.REMOVED, Change.LIQUIDATED)
_COMPANIONS = {  # changes that make the first one possible
    Change.GRID_BACK: (Change.GRID,),
    Change.NO_SIZE: (Change.QUOTE_SIZE,),
    Change.BACK: _REMOVALS,
    Change.LIQUIDATED: (Change.BACK,),
    Change.FUNDS_RAISED: (Change.FUNDS_LOWERED,),
    Change.USAGE_RAISED: (Change.USAGE_LOWERED,),
}


@dataclass
class Operator:
    """Publishes settings that the seed draws. `desk`: the operator's own; it follows no settings by itself.

    `settings`: those in force. `asked_to_sell`: symbol → time spans in ms in which it is to be sold at the market.
    """

    scene: Scene
    desk: BinanceDesk
    rng: random.Random
    settings: Settings = field(init=False)
    done: Counter[str] = field(default_factory=Counter)
    asked_to_sell: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    delisted: set[str] = field(default_factory=set)
    always: set[str] = field(default_factory=set)  # symbols that all settings so far have had
    earnings: random.Random | None = None  # draws what the symbols earn whenever the settings change

    def __post_init__(self) -> None:
        """Draw the few kinds of changes that this scenario has."""
        self.settings = self.scene.settings
        self.always = set(self.settings.symbols)
        self._is_outdated = False  # whether other settings than `settings` may be in force
        self._went_back = 0
        self._changes = Changes(self.rng)
        kinds = self.rng.sample(list(Change), k=self.rng.randint(3, 7))
        self._kinds = sorted({*kinds, *(more for kind in kinds for more in _COMPANIONS.get(kind, ()))})

    async def start(self) -> None:
        """Put the scene's settings in force and share the pot."""
        desk = self.desk.desk
        await publish(desk.redis, self.settings)
        await desk.follow_settings()
        await desk.allocator.rebalance_if_needed(reason="start")

    async def act(self) -> None:
        """Do one action of an operator or of a schedule."""
        if self.rng.random() < 0.2:
            await self._rebalance(self.rng.choice([MANUAL_REBALANCE, SCHEDULED_REBALANCE]))
            return
        change = self.rng.choice(self._kinds)
        found = self._changes.of(self.settings, change)
        if found is None:
            return
        if self.delisted & (set(found.symbols) - set(self.settings.symbols)):
            return
        if self.earnings is not None:
            found = with_earnings(found, self.earnings)
        gone = next(iter(set(self.settings.symbols) - set(found.symbols)), None)
        if gone is not None:
            await self._note_removal(gone)
        self.done[change.value] += 1
        await self._put_in_force(found, liquidate=change is Change.LIQUIDATED)

    async def _put_in_force(self, found: Settings, *, liquidate: bool = False) -> None:
        self.settings, self._is_outdated = found, True
        self.always &= set(found.symbols)
        before = self._went_back
        await self._publish(found, liquidate=liquidate)
        self._is_outdated = self.settings is not found or self._went_back != before

    async def remove(self, symbols: Collection[str]) -> None:
        """Take symbols out of the settings for good. If none is left, another one takes their place."""
        self.delisted |= set(symbols)
        now = self.settings.model_dump()
        kept = {symbol: own for symbol, own in now["symbols"].items() if symbol not in symbols}
        if len(kept) < len(now["symbols"]):
            other = next(symbol for symbol in SYMBOLS if symbol not in symbols)
            kept = kept or {other: geometry(self.rng)}
            await self._put_in_force(Settings.model_validate(now | {"symbols": kept}))

    async def symbols_with_a_grid(self) -> set[str]:
        """Symbols that have traded, as Redis knows them."""
        desk = self.desk.desk
        grids = await desk.redis.mget([desk.keys.grid(symbol) for symbol in SYMBOLS])
        return {symbol for symbol, grid in zip(SYMBOLS, grids, strict=True) if grid}

    def asked(self) -> dict[str, list[tuple[int, int]]]:
        """A copy of `asked_to_sell`."""
        return {symbol: list(spans) for symbol, spans in self.asked_to_sell.items()}

    def went_back(self, asked: Mapping[str, Sequence[tuple[int, int]]]) -> None:
        """Redis went back to when `asked` were to be sold: they are again, until settings say otherwise."""
        self._is_outdated, self._went_back = True, self._went_back + 1
        now = to_ms(self.desk.desk.clock())
        for symbol, spans in asked.items():
            if any(until == FOR_GOOD_MS for _, until in spans):
                self.asked_to_sell.setdefault(symbol, []).append((now, FOR_GOOD_MS))

    async def drop_rules(self) -> None:
        """Put the settings in force without stops, limits and guards."""
        await self._put_in_force(without_rules(self.settings))
        await self.deploy_again()

    async def deploy_again(self) -> None:
        """Put the newest settings in force, where others may be."""
        if self._is_outdated:
            await self._put_in_force(self.settings)

    def other_file(self) -> Settings:
        """The settings file of another worker. The settings in force override it."""
        found = self.settings
        for change in self.rng.sample(list(Change), k=3):
            found = Changes(self.rng).of(found, change) or found
        self.done[OTHER_FILE] += found != self.settings
        return found

    async def _note_removal(self, symbol: str) -> None:
        redis, keys = self.desk.desk.redis, self.desk.desk.keys
        if int(await redis.hget(keys.funds_symbol(symbol), "used") or 0) > 0:
            self.done[REMOVED_HOLDING] += 1
        entries = await redis.hvals(keys.intents(symbol))
        if any('"state":"INTENT"' in str(text) or '"state":"UNKNOWN"' in str(text) for text in entries):
            self.done[REMOVED_IN_DOUBT] += 1

    def _note_return(self, symbol: str) -> None:
        now = to_ms(self.desk.desk.clock())
        spans = self.asked_to_sell.pop(symbol, [])
        if spans:
            self.asked_to_sell[symbol] = [(since, min(until, now + NOTICED_MS)) for since, until in spans]

    async def _publish(self, found: Settings, *, liquidate: bool) -> None:
        """Publish as `gridflow deploy` does. Without a liquidation it sometimes stops half-way, as if killed."""
        desk = self.desk.desk
        if not liquidate and self.rng.random() < 0.3:
            await publish(desk.redis, found)
            return
        before = to_ms(desk.clock())
        done = await put_in_force(desk.redis, found, liquidate=liquidate, clock=desk.clock)
        for symbol in found.symbols:
            self._note_return(symbol)
        for symbol in done.retiring if liquidate else ():
            self.asked_to_sell.setdefault(symbol, []).append((before, FOR_GOOD_MS))

    async def _rebalance(self, kind: str) -> None:
        desk, wanted = self.desk.desk, self.settings
        reason = MANUAL if kind == MANUAL_REBALANCE else "scheduled"
        try:
            report = await rebalance(desk, force=True, reason=reason)
        except GridflowError:
            return
        self.done[kind] += 1
        funds = desk.allocator.capital.in_force(wanted.total_funds)
        pool = from_units(units_down(funds * wanted.global_max_usage))
        assert self._is_outdated or (report.pool, report.strategy) == (pool, wanted.allocation_strategy.value), (
            f"a rebalance by other settings than those in force: {report.pool} {report.strategy}"
        )
