"""Tables of symbols with several grids."""

import random
from collections.abc import Callable, Mapping
from typing import Any

from tasks.settings.grids import GRIDS
from tasks.settings.model import Settings

_OF_ONE_GRID = {name for kind in GRIDS.values() for name in kind.model_fields} - {"weight"}


def split(table: Mapping[str, Any], **more: Mapping[str, Any]) -> dict[str, Any]:
    """The symbol's table with its own grid in a table named `first`, and `more` of them beside it."""
    own = {name: value for name, value in table.items() if name in _OF_ONE_GRID and value is not None}
    shared = {name: value for name, value in table.items() if name not in _OF_ONE_GRID}
    return shared | {"grids": {"first": own} | {name: dict(grid) for name, grid in more.items()}}


def with_several_grids(
    settings: Settings, rng: random.Random, grid_of: Callable[[str], Mapping[str, Any]], share: float
) -> Settings:
    """The settings with several grids for that share of the symbols. `grid_of`: draws a table for a symbol."""
    whole = settings.model_dump()
    for symbol, own in whole["symbols"].items():
        if rng.random() < share:
            more = {name: {**grid_of(symbol), "weight": rng.choice(("0.5", "1", "3"))} for name in ("second", "third")}
            kept = rng.randint(1, 2)
            whole["symbols"][symbol] = split(own, **dict(list(more.items())[:kept]))
    return Settings.model_validate(whole)
