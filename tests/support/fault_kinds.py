"""Grids of a fault run whose range moves (trailing or adaptive), and grids that earn in base."""

import random
from decimal import Decimal
from typing import Any

from tasks.settings.model import Settings

SHAPE = (
    "grid",
    "lower",
    "upper",
    "range_pct",
    "cells",
    "trail_up_to",
    "trail_down_to",
    "spacing_pct",
    "min_spacing_pct",
    "max_spacing_pct",
    "recentre",
)
_LIMITS = {"trail_up_to": Decimal("1.2"), "trail_down_to": Decimal("0.8")}
ABOUT = {"BTC/USDT": Decimal(42_500), "ETH/USDT": Decimal(2_250), "BNB/USDT": Decimal(315)}


def with_moving_grids(settings: Settings, rng: random.Random) -> Settings:
    """The settings with a drawn kind for each symbol: most of them move."""
    whole = settings.model_dump()
    for symbol, own in whole["symbols"].items():
        kept = {name: value for name, value in own.items() if name not in SHAPE}
        whole["symbols"][symbol] = kept | rng.choice((_trailing, _trailing, _adaptive, _infinity))(rng, symbol)
        if whole["symbols"][symbol]["grid"] != "infinity" and rng.random() < 0.3:
            whole["symbols"][symbol]["size_factor"] = rng.choice(("1.05", "1.1"))
    return Settings.model_validate(whole)


def with_earnings(settings: Settings, rng: random.Random) -> Settings:
    """The settings with what each symbol earns drawn: quote or base. An infinity grid earns in quote."""
    whole = settings.model_dump()
    tables = (own.get("grids", {"": own}) for own in whole["symbols"].values())
    for own in (grid for grids in tables for grid in grids.values()):
        drawn = rng.choice(("base", "base", "quote"))
        own["earn"] = drawn if own["grid"] != "infinity" else "quote"
    return Settings.model_validate(whole)


def _trailing(rng: random.Random, symbol: str) -> dict[str, Any]:
    names = rng.choice((("trail_up_to",), ("trail_down_to",), ("trail_up_to", "trail_down_to")))
    return {
        "grid": rng.choice(("arithmetic", "geometric")),
        "range_pct": rng.choice(("0.01", "0.015")),
        "cells": rng.randint(3, 6),
        **{name: ABOUT[symbol] * _LIMITS[name] for name in names},
    }


def _adaptive(rng: random.Random, symbol: str) -> dict[str, Any]:
    spacing = {"spacing_pct": rng.choice(("0.004", "0.006"))} if rng.random() < 0.5 else {}
    return spacing | {
        "grid": "adaptive",
        "cells": rng.randint(3, 7),
        "min_spacing_pct": "0.004",
        "max_spacing_pct": "0.01",
        "recentre": rng.choice(("both", "both", "up", "down")),
    }


def _infinity(rng: random.Random, symbol: str) -> dict[str, Any]:
    return {
        "grid": "infinity",
        "lower": ABOUT[symbol] * Decimal(rng.choice(("0.8", "0.97"))),
        "spacing_pct": rng.choice(("0.05", "0.1")),  # so few cells that each can be bought
        "cells": rng.randint(4, 6),
        "start": "balanced",
        "base_per_cell": None,
    }
