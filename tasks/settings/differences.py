"""In which fields two settings differ. Pure."""

from typing import Any, NamedTuple


class FieldChange(NamedTuple):
    """A field that differs: its dotted name, and its JSON value on each side; None where that side has none."""

    field: str
    before: Any
    after: Any


def field_changes(before: Any, after: Any, place: str = "") -> tuple[FieldChange, ...]:
    """The fields that differ, sorted by name. A table that only one side has counts as one field."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return () if before == after else (FieldChange(place, before, after),)
    found: list[FieldChange] = []
    for name in sorted(before.keys() | after.keys()):
        inner = f'{place}."{name}"' if "/" in name else f"{place}.{name}".lstrip(".")
        if name not in before or name not in after:
            found.append(FieldChange(inner, before.get(name), after.get(name)))
        else:
            found += field_changes(before[name], after[name], inner)
    return tuple(found)
