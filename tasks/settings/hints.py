"""What to write instead of a wrong setting: the nearest known name, an example, a share for a percentage. Pure."""

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from inspect import isclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasks.base.money import plain
from tasks.settings.grids import GRIDS, KINDS, SymbolSettings
from tasks.settings.model import Settings
from tasks.settings.places import EACH, Place, dotted

_SHARES = re.compile(r"(share|below 1|above 0 to 1)")
_PERCENT = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*%\s*")
_GROUPED = re.compile(r"\d{1,3}(?:[,_ ']\d{3})+(?:\.\d+)?")
_SYMBOL = re.compile(r"([A-Za-z0-9]{2,20}?)[/_:.-]?({quote})", re.IGNORECASE)


def fields_at(place: Place) -> dict[str, FieldInfo]:
    """The fields of the section at `place`, by name; of a symbol, those of every kind of grid. Empty: no section."""
    if len(place) == 2 and place[0] == "symbols":
        return {name: info for kind in KINDS.values() for name, info in kind.model_fields.items()}
    if _is_one_grid(place):
        return {name: info for kind in GRIDS.values() for name, info in kind.model_fields.items()}
    model: type[BaseModel] | None = Settings
    for name in place:
        model = _section_of(model.model_fields.get(name)) if model else None
    return dict(model.model_fields) if model else {}


def _is_one_grid(place: Place) -> bool:
    """Whether the place is the table of one of several grids."""
    return len(place) == 4 and place[0] == "symbols" and place[2] == "grids"


def field_at(place: Place) -> FieldInfo | None:
    """The field at `place`; None where there is none."""
    return fields_at(place[:-1]).get(place[-1]) if place else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` probably means."""
    found = get_close_matches(name.lower(), list(known), 1, 0.7)
    return found[0] if found else None


def key_remedy(place: Place) -> str:
    """What to do about a key that no section has: the nearest name, or the section that has it."""
    name, section = place[-1], place[:-1]
    if len(section) == 2 and section[0] == "symbols":
        if name == "grids":
            return "Remove `grid` from the symbol's own table: each of its grids names its own kind"
        if name in fields_at((*section, "grids", EACH)):
            return f"Move it to [{dotted((*section, 'grids'))}.NAME]: a symbol with several grids has its own in each"
    if _is_one_grid(section) and name in SymbolSettings.model_fields:
        return f"It belongs to the symbol: move it to [{dotted(section[:2])}]"
    near = nearest(name, fields_at(section))
    if near:
        return f"Did you mean {near}?"
    homes = [part for part in _section_names() if name in fields_at((part,))]
    if not section and homes:
        return f"It belongs below [{homes[0]}]"
    if section and name in Settings.model_fields:
        return "It belongs at the top of the file, above every [table]"
    return "Remove it; `gridflow init` writes every known key"


def value_remedy(place: Place, value: Any) -> str:
    """An example of a value that is right there; for a percentage, the share that it means."""
    info = field_at(place)
    if info is None:
        return "See `gridflow init`, which writes every field's unit and bounds"
    meant = _share_meant(info, str(value)) or _number_meant(str(value))
    if meant:
        return meant
    example = _example(info)
    return f"Example: {place[-1]} = {example}" if example else f"See {dotted(place)} in `gridflow init`"


def choice_remedy(value: Any, known: Iterable[str]) -> str:
    """For a value that must be one of a few."""
    near = nearest(str(value), known)
    return f'Did you mean "{near}"?' if near else "Use one of those named"


def symbol_remedy(name: str, quote: str = "USDT") -> str:
    """For a name of a symbol that has another form."""
    found = re.fullmatch(_SYMBOL.pattern.replace("{quote}", re.escape(quote)), name.strip(), re.IGNORECASE)
    return f'Did you mean "{found[1].upper()}/{found[2].upper()}"?' if found else 'Write it like "BTC/USDT"'


def example_of(place: Place) -> str:
    """A value that fits the field, as text without quotes; '' where none is known."""
    info = field_at(place)
    return _example(info).strip('"') if info else ""


def _section_names() -> list[str]:
    return [name for name, info in Settings.model_fields.items() if name != "symbols" and _section_of(info)]


def _section_of(info: FieldInfo | None) -> type[BaseModel] | None:
    kinds = (info.annotation, *get_args(info.annotation)) if info else ()
    return next((kind for kind in kinds if isclass(kind) and issubclass(kind, BaseModel)), None)


def _example(info: FieldInfo) -> str:
    value = info.examples[0] if info.examples else info.default
    if value is None or isinstance(value, BaseModel | dict | list) or "Undefined" in type(value).__name__:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return plain(value)
    return str(value) if isinstance(value, int) else f'"{value}"'


def _share_meant(info: FieldInfo, text: str) -> str:
    """A percentage where a share belongs: `95` or `95 %` for 0.95."""
    is_share = bool(info.description and _SHARES.search(info.description))
    percent = _PERCENT.fullmatch(text)
    number = percent[1].replace(",", ".") if percent else text
    try:
        amount = Decimal(number)
    except InvalidOperation:
        return ""
    if not is_share or not amount.is_finite() or not 0 < amount <= 100 or (amount <= 1 and not percent):
        return ""
    return f"It is a share: write {plain(amount / 100)} for {plain(amount)} %"


def _number_meant(text: str) -> str:
    """`10,000` or `10k` for 10000."""
    if _GROUPED.fullmatch(text):
        return f"Write it without separators: {re.sub(r'[,_ ' + chr(39) + ']', '', text)}"
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKM])", text)
    if found:
        return f"Write it in full: {plain(Decimal(found[1]) * (1_000 if found[2] in 'kK' else 1_000_000))}"
    return ""
