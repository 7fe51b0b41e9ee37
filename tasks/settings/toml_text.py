"""Settings as TOML text. Pure."""

from decimal import Decimal
from typing import Any

from tasks.base.money import plain
from tasks.settings.grids import GridSettings, SeveralSettings, SymbolSettings


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


def set_fields(table: SymbolSettings | GridSettings) -> list[str]:
    """The fields of a table that were set, and its kind of grid, in the order of the model."""
    several = isinstance(table, SeveralSettings)
    unwanted = ("grid", "grids") if several else ()
    kept = table.model_fields_set if several else table.model_fields_set | {"grid"}
    return [name for name in type(table).model_fields if name in kept and name not in unwanted]


def symbol_table(name: str, symbol: SymbolSettings) -> str:
    """The symbol's table for gridflow.toml, with the fields that were set."""
    head = f'symbols."{name}"'
    tables = [_table(head, symbol)]
    if isinstance(symbol, SeveralSettings):
        tables += [_table(f"{head}.grids.{grid}", table) for grid, table in symbol.grids.items()]
    return "\n".join(tables)


def _table(head: str, table: SymbolSettings | GridSettings) -> str:
    lines = [f"{field} = {toml(getattr(table, field))}" for field in set_fields(table)]
    return "\n".join([f"[{head}]", *lines]) + "\n"
