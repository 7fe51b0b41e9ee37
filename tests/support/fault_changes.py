"""Draws an operator's changes of the settings in a fault run. Each result is valid and can be traded."""

import random
from collections.abc import Callable, Mapping
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from tasks.settings.checks import rule_problems
from tasks.settings.model import Settings
from tasks.settings.validated import Validated
from tests.support.fault_draw import SYMBOLS, geometry
from tests.support.fault_kinds import ABOUT, SHAPE

_SIZES = ("20", "60", "150", "400")
_FUNDS = ("800", "2500", "6000", "10000")
_USAGES = ("0.4", "0.7", "0.95")
_CAPS = ("0.1", "0.3", "0.6", "1")
_WEIGHTS = ("0.2", "1", "4")
_STRATEGIES = ("dynamic", "equal", "weighted")


class Change(StrEnum):
    """What is changed: a field of the settings, or a symbol."""

    QUOTE_SIZE = "quote_per_cell"
    BASE_SIZE = "base_per_cell"
    NO_SIZE = "no size any more"
    FUNDS_RAISED = "total_funds raised"
    FUNDS_LOWERED = "total_funds lowered"
    USAGE_RAISED = "global_max_usage raised"
    USAGE_LOWERED = "global_max_usage lowered"
    CAP = "max_usage_pct"
    WEIGHT = "weight"
    STRATEGY = "allocation_strategy"
    GRID = "another grid"
    GRID_BACK = "an earlier grid"
    REMOVED = "symbol removed"
    LIQUIDATED = "symbol removed and liquidated"
    BACK = "symbol back"


class Changes:
    """Draws changes. Remembers earlier grids and symbols, so that they can come back."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._grids: dict[str, list[dict[str, Any]]] = {}
        self._gone: dict[str, dict[str, Any]] = {}

    def of(self, settings: Settings, change: Change) -> Settings | None:
        """The settings after the change; None where nothing would change or the result could not trade."""
        symbol = self._rng.choice(sorted(settings.symbols))
        draw = self._own if change in _OWN else self._pot if change in _POT else self._symbols
        changed = draw(settings, change, symbol)
        if changed is None:
            return None
        try:
            found = Settings.model_validate(settings.model_dump() | changed)
        except ValidationError:
            return None
        if found == settings or rule_problems(Validated(found)):
            return None
        self._remember(settings)
        return found

    def _remember(self, before: Settings) -> None:
        for symbol, own in before.model_dump()["symbols"].items():
            grids = self._grids.setdefault(symbol, [])
            if _shape(own) not in grids:
                grids.append(_shape(own))
            self._gone[symbol] = own

    def _own(self, settings: Settings, change: Change, symbol: str) -> dict[str, Any] | None:
        """A change of one symbol's table."""
        symbols = settings.model_dump()["symbols"]
        drawn = _OWN[change](self._rng, symbol)
        if change is Change.GRID_BACK:
            earlier = [shape for shape in self._grids.get(symbol, []) if shape != _shape(symbols[symbol])]
            drawn = self._rng.choice(earlier or [{}])
        own = symbols[symbol]
        if "grids" in own:
            return {"symbols": symbols | {symbol: own | self._of_several(own["grids"], drawn)}}
        if "grid" in drawn:
            own = {name: value for name, value in own.items() if name not in SHAPE}
        return {"symbols": symbols | {symbol: own | drawn}}

    def _of_several(self, grids: Mapping[str, Any], drawn: Mapping[str, Any]) -> dict[str, Any]:
        """A change of a symbol with several grids: of its share, or of one grid, which may also go or come."""
        if not drawn.keys().isdisjoint(("max_usage_pct", "weight")):
            return dict(drawn)
        name = self._rng.choice(sorted(grids))
        if drawn and "grid" not in drawn:
            return {"grids": {**grids, name: grids[name] | drawn}}
        act = self._rng.choice(("other", "more", "fewer"))
        if act == "fewer" and len(grids) > 1:
            return {"grids": {one: table for one, table in grids.items() if one != name}}
        if act == "more":
            name = next((one for one in ("second", "third", "fourth", "fifth") if one not in grids), name)
        return {"grids": {**grids, name: geometry(self._rng)}}

    def _pot(self, settings: Settings, change: Change, symbol: str) -> dict[str, Any] | None:
        """A change of a field that all symbols share."""
        name, choices, sign = _POT[change]
        now = getattr(settings, name)
        fitting = [one for one in choices if not sign or (Decimal(one) - now) * sign > 0]
        return {name: self._rng.choice(fitting)} if fitting else None

    def _symbols(self, settings: Settings, change: Change, symbol: str) -> dict[str, Any] | None:
        """Add an earlier symbol, or remove one. If it is the only symbol, another takes its place."""
        symbols = settings.model_dump()["symbols"]
        absent = sorted(set(SYMBOLS) - set(symbols))
        if change is Change.BACK:
            back = [one for one in absent if one in self._gone]
            name = self._rng.choice(back) if back else ""
            return {"symbols": symbols | {name: self._gone[name]}} if name else None
        del symbols[symbol]
        if not symbols:
            name = self._rng.choice(absent)
            symbols[name] = self._gone.get(name) or geometry(self._rng)
        return {"symbols": symbols}


def _shape(own: Mapping[str, Any]) -> dict[str, Any]:
    return {name: own[name] for name in SHAPE if name in own}


def _base_size(rng: random.Random, symbol: str) -> dict[str, Any]:
    step = Decimal("0.0001") if symbol != "BNB/USDT" else Decimal("0.01")
    amount = (Decimal(rng.choice(_SIZES)) / ABOUT[symbol]).quantize(step, ROUND_FLOOR)
    return {"quote_per_cell": None, "base_per_cell": max(amount, 4 * step)}


_OWN: Mapping[Change, Callable[[random.Random, str], dict[str, Any]]] = {
    Change.QUOTE_SIZE: lambda rng, _: {"quote_per_cell": rng.choice(_SIZES), "base_per_cell": None},
    Change.BASE_SIZE: _base_size,
    Change.NO_SIZE: lambda *_: {"quote_per_cell": None, "base_per_cell": None},
    Change.CAP: lambda rng, _: {"max_usage_pct": rng.choice(_CAPS)},
    Change.WEIGHT: lambda rng, _: {"weight": rng.choice(_WEIGHTS)},
    Change.GRID: lambda rng, _: geometry(rng),
    Change.GRID_BACK: lambda *_: {},
}
_POT: Mapping[Change, tuple[str, tuple[str, ...], int]] = {
    Change.FUNDS_RAISED: ("total_funds", _FUNDS, 1),
    Change.FUNDS_LOWERED: ("total_funds", _FUNDS, -1),
    Change.USAGE_RAISED: ("global_max_usage", _USAGES, 1),
    Change.USAGE_LOWERED: ("global_max_usage", _USAGES, -1),
    Change.STRATEGY: ("allocation_strategy", _STRATEGIES, 0),
}
