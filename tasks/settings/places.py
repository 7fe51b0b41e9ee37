"""Where a field of the settings is, and parts of settings by place. Pure."""

from collections.abc import Iterable
from typing import Any, TypeAlias

from pydantic import BaseModel

Place: TypeAlias = tuple[str, ...]  # where a field is: ("symbols", "BTC/USDT", "cells"); () is the whole
Values: TypeAlias = dict[str, Any]

EACH = "*"  # in the place of a field: every name of a table, as in ("symbols", EACH, "cells")


def dotted(place: Place) -> str:
    """The place as the file writes it: `symbols."BTC/USDT".cells`."""
    parts = [f'"{part}"' if place[:number] == ("symbols",) else part for number, part in enumerate(place)]
    return ".".join(parts) or "(all)"


def grid_place(symbol: str, grid: str = "") -> Place:
    """The place of a grid: the symbol's own table, or that of one of its grids by name."""
    return ("symbols", symbol, "grids", grid) if grid else ("symbols", symbol)


def selection(fields: Iterable[Place]) -> Values:
    """The fields in the form that pydantic's `include` and `exclude` take."""
    found: Values = {}
    for field in fields:
        table = found
        for name in field[:-1]:
            table = table.setdefault(_name(name), {})
        table[_name(field[-1])] = True
    return found


def with_own(values: Values, own: BaseModel, fields: Iterable[Place]) -> Values:
    """`values` with these fields as `own` has them.

    A table that EACH stands for, a symbol's for example, is filled only where `values` has it too.
    """
    chosen = selection(fields)
    return _filled(values, own.model_dump(include=chosen), chosen)


def _filled(values: Values, own: Values, chosen: Values) -> Values:
    found = dict(values)
    for name, value in own.items():
        inner = chosen[name] if name in chosen else chosen[_name(EACH)]
        if inner is True or isinstance(value, list):
            found[name] = value
        elif isinstance(value, dict) and (name in chosen or name in values):
            found[name] = _filled(values.get(name) or {}, value, inner)
    return found


def _name(part: str) -> str:
    return "__all__" if part == EACH else part
