"""Settings as TOML text. Pure."""

from decimal import Decimal
from typing import Any

from tasks.base.money import plain
from tasks.settings.grids import SymbolSettings


def toml(value: Any) -> str:
    """A value of a setting. Amounts are text, so that no digit is lost."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f'"{plain(value)}"'
    if isinstance(value, dict):
        return "{}"  # an empty table; the description shows an example
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    return str(value) if isinstance(value, int) else f'"{value}"'


def set_fields(symbol: SymbolSettings) -> list[str]:
    """The fields of a symbol that were set, and its kind of grid, in the order of the model."""
    return [name for name in type(symbol).model_fields if name == "grid" or name in symbol.model_fields_set]


def symbol_table(name: str, symbol: SymbolSettings) -> str:
    """The symbol's table for gridflow.toml, with the fields that were set."""
    lines = [f"{field} = {toml(getattr(symbol, field))}" for field in set_fields(symbol)]
    return "\n".join([f'[symbols."{name}"]', *lines]) + "\n"
