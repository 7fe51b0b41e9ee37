"""What a tick goes by, what it has read, and what it does. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from tasks.base.errors import ConfigError
from tasks.base.keys import Keys
from tasks.exchange.models import Market, Order, Ticker
from tasks.funds.models import FeeCharge, FillMove, Write
from tasks.grid.models import Grid
from tasks.grid.plan_models import NO_PLAN, GridPlan
from tasks.market.models import Snapshot
from tasks.orders.models import Evidence
from tasks.risk.models import Verdict
from tasks.settings.grids import SymbolSettings
from tasks.settings.model import Settings
from tasks.tick.corrections import NOTHING, Booked
from tasks.tick.fold import Folded
from tasks.tick.models import SymbolState


@dataclass(frozen=True)
class Rules:
    """The rules for a symbol: its market, the settings in force, and the money for a new grid.

    `even_share`: the pool divided by the number of symbols, in quote. `market_changed`: since the last plan.
    """

    market: Market
    settings: Settings
    keys: Keys
    even_share: Decimal
    market_changed: bool = False

    @property
    def symbol(self) -> str:
        return self.market.symbol

    @cached_property
    def configured(self) -> SymbolSettings | None:
        """The symbol's settings; None where it left the settings."""
        return self.settings.symbols.get(self.symbol)

    @property
    def limits_orders(self) -> bool:
        """Whether the exchange or the settings limit the number of open orders."""
        own = self.configured
        return self.market.max_orders is not None or (own is not None and own.max_open_orders is not None)

    @property
    def is_retiring(self) -> bool:
        """Whether the symbol left the settings."""
        return self.configured is None


class Readings(NamedTuple):
    """What one tick read. Times in ms.

    `asked_ms`: before the first request for evidence. `now_ms`: after the last answer. `evidence`: by client id, of the
    orders that do not rest as the journal has them. `slots`: highest cycle by order slot; empty unless `needs_slots`.
    `free_base`: on the exchange; None unless `limits.needs_free_base`. `volatility`: annualised; None unless
    `needs_volatility`, and where too few candles are known.
    """

    started_ms: int
    asked_ms: int
    now_ms: int
    state: SymbolState
    open_orders: Sequence[Order]
    ticker: Ticker
    evidence: Mapping[str, Evidence]
    coin_prices: Mapping[str, Decimal]
    slots: Mapping[str, int]
    free_base: Decimal | None = None
    volatility: Decimal | None = None


@dataclass(slots=True)
class Decision:
    """What a tick does.

    `folded`: the state after the fills; the trader adds each order that it journals. `grid`: None where the symbol has
    no grid to trade. `moves`, `changes` and `charges`: money to book, records to write and fees for other symbols'
    cells, in one script. `refusal`: why the first grid cannot start; fills are booked anyway.
    `unfit`: why a grid only sells, or is left out: it, or the grid that should replace it, does not fit the market now.
    `unfit_grids`: the ids of those that only sell.
    `corrected`: base that went missing or came back. `verdict`: of the symbol's stops, limits and guards.
    """

    readings: Readings
    snapshot: Snapshot
    folded: Folded
    grid: Grid | None = None
    is_new_grid: bool = False
    moves: list[FillMove] = field(default_factory=list)
    changes: list[Write] = field(default_factory=list)
    charges: list[FeeCharge] = field(default_factory=list)
    plan: GridPlan = NO_PLAN
    refusal: ConfigError | None = None
    unfit: str = ""
    unfit_grids: frozenset[str] = frozenset()
    corrected: Booked = NOTHING
    verdict: Verdict | None = None

    @property
    def has_changes(self) -> bool:
        """Whether the tick has anything to book or to write."""
        return bool(self.moves or self.changes or self.folded.has_changes or self.corrected.settled)

    @property
    def cancel(self) -> list[str]:
        """Exchange ids of the orders to cancel: as planned, and every orphan order."""
        intents = self.folded.intents
        planned = [intents[client_id] for client_id in self.plan.cancel if client_id in intents]
        orphans = [intent for intent in intents.values() if intent.orphan]
        return list(dict.fromkeys(one.exchange_id for one in (*planned, *orphans) if one.exchange_id))
