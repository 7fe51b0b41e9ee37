"""Stops, limits and guards of symbols in a fault run: drawn for the start, lifted by an operator, gone at the end."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.base.clock import to_ms
from tasks.control.steps import resume
from tasks.exchange.models import Side
from tasks.orders.models import Intent
from tasks.settings.grids.placement import PlacementSettings
from tasks.settings.grids.risk import RiskSettings
from tasks.settings.model import Settings
from tasks.tick.models import TickReport
from tests.support.binance.desk import BinanceDesk

FIRED, RESUMED = "stop fired", "stop taken back"
_DRAWN: Mapping[str, Sequence[Any]] = {
    "activation_pct": ["0.01", "0.02"],
    "max_open_orders": [3, 5],
    "max_position_pct": ["0.3", "0.6"],
    "min_position_pct": ["0.05"],
    "stop_loss_quote": ["3", "15"],
    "take_profit_quote": ["2", "10"],
    "profit_drawdown_pct": ["0.3"],
    "max_price_jump_pct": ["0.002"],
}
_FIELDS = {*PlacementSettings.model_fields, *RiskSettings.model_fields}


def with_rules(settings: Settings, rng: random.Random) -> Settings:
    """The settings with drawn rules for each symbol."""
    return _with(settings, {symbol: _drawn(rng) for symbol in settings.symbols})


def without_rules(settings: Settings) -> Settings:
    """The settings without any of them."""
    nothing: dict[str, Any] = {}
    return _with(settings, dict.fromkeys(settings.symbols, nothing))


def _drawn(rng: random.Random) -> dict[str, Any]:
    names = rng.sample(sorted(_DRAWN), k=rng.randint(2, 4))
    return {name: rng.choice(_DRAWN[name]) for name in names} | {"stop_exit": rng.choice(["sell", "keep"])}


def _with(settings: Settings, rules: Mapping[str, Mapping[str, Any]]) -> Settings:
    whole = settings.model_dump()
    for symbol, own in whole["symbols"].items():
        kept = {name: value for name, value in own.items() if name not in _FIELDS}
        whole["symbols"][symbol] = kept | dict(rules[symbol])
    return Settings.model_validate(whole)


@dataclass
class RulesDesk:
    """An operator who sees which stops have fired, and takes them back now and then.

    `put_backs`: how often Redis went back to an earlier state.
    """

    desk: BinanceDesk
    rng: random.Random
    done: Counter[str] = field(default_factory=Counter)
    put_backs: Callable[[], int] = lambda: 0
    _put_backs: int = 0
    _held_ms: dict[str, int] = field(default_factory=dict)  # since when a stop was seen to hold
    _resumed: set[str] = field(default_factory=set)  # and not ticked since

    async def act(self, symbols: Sequence[str]) -> None:
        """Take back some of the stops that hold. Raises AssertionError where one holds no longer and nobody took it."""
        if self._put_backs != self.put_backs():  # a resume may have come back, to before the tick that follows it
            self._put_backs = self.put_backs()
            self._resumed |= set(symbols)
            self._held_ms.clear()
        for symbol in symbols:
            if await self._holds(symbol):
                self.done[FIRED] += 1
                if self.rng.random() < 0.4:
                    self._resumed.add(symbol)
                    self._held_ms.pop(symbol, None)
                    await resume(self.desk.desk.redis, self.desk.desk.settings, [symbol])
                    self.done[RESUMED] += 1

    async def _holds(self, symbol: str) -> bool:
        """Whether a stop holds. A tick writes its report after the stop, so the report never knows more."""
        keys, redis = self.desk.desk.keys, self.desk.desk.redis
        text = await redis.get(keys.last_tick(symbol))
        known = bool(TickReport.model_validate_json(text).marks.fired) if text else False
        held = (await redis.hget(keys.funds_symbol(symbol), "fired") or "0") != "0"
        if not known:
            self._resumed.discard(symbol)
        assert held or not known or symbol in self._resumed, f"{symbol}: its stop fired, and does not hold any more"
        if not held:
            self._held_ms.pop(symbol, None)
            return False
        since_ms = self._held_ms.setdefault(symbol, to_ms(self.desk.desk.clock()))
        entries = [Intent.model_validate_json(text) for text in await redis.hvals(keys.intents(symbol))]
        bought = [one for one in entries if one.side is Side.BUY and one.created_ms > since_ms and not one.orphan]
        assert not bought, f"{symbol}: buys after its stop fired: {[one.client_id for one in bought]}"
        return True

    async def end(self, symbols: Sequence[str]) -> None:
        """Take back all of them."""
        await resume(self.desk.desk.redis, self.desk.desk.settings, symbols)
