"""A symbol's grid from plain values, as a settings file has it."""

from typing import Any

from tasks.settings.grids import SymbolSettings
from tasks.settings.model import Settings

_SYMBOL = "BTC/USDT"


def symbol_settings(**values: Any) -> SymbolSettings:
    """The table of one symbol with these values, read as `load` reads it: without `grid` it is arithmetic."""
    return Settings.model_validate({"symbols": {_SYMBOL: values}}).symbols[_SYMBOL]
