"""The commented settings file that `gridflow init` writes, made from the fields of the settings themselves."""

from collections.abc import Iterable
from inspect import isclass
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasks.settings.grids import DEFAULT_KIND, KINDS, SymbolSettings
from tasks.settings.model import Settings
from tasks.settings.places import EACH, Place
from tasks.settings.secret_values import secret_fields
from tasks.settings.sources import variable_name
from tasks.settings.toml_text import toml

_HEAD = """\
# Gridflow settings. Every line `# name = value` is a default, or an example where it says so.
# Secrets belong in the environment, and so may every other setting:
"""


def settings_file() -> str:
    """The text of a settings file with every field's unit, bounds and meaning; loading it gives the defaults."""
    whole = Settings.model_fields
    lines = [*_HEAD.splitlines(), *_secrets(), f"# live is not set here: {whole['live'].description}", ""]
    lines += _lines(Settings, (), skip=("symbols", "live"))
    symbols = Settings().symbols
    lines += [
        "",
        f"# symbols: {whole['symbols'].description}. Without any table, these three trade just as written here.",
    ]
    for number, (name, symbol) in enumerate(symbols.items()):
        lines += ["", f'[symbols."{name}"]', *(_set_lines(symbol) if number else _explained(symbol))]
    return "\n".join(lines) + "\n"


def _secrets() -> list[str]:
    """One line for each secret: what it is, and the variable that sets it."""
    named = (([part for part in place if part != EACH][-1], place, info) for place, info in secret_fields().items())
    return [f"#   {name}: {info.description}; keep it in {variable_name(place)}" for name, place, info in named]


def _lines(model: type[BaseModel], place: Place, skip: Iterable[str] = ()) -> list[str]:
    """Two lines for each field, both comments: what it is, and its default. Then each section below, with its head."""
    lines: list[str] = []
    sections: list[str] = []
    for name, info in model.model_fields.items():
        inner, section = (*place, name), _section_of(info)
        if name in skip or not {inner, (*inner, EACH)}.isdisjoint(secret_fields()):
            continue
        if section is None:
            lines += [f"# {info.description}", _as_comment(name, info)]
        else:
            sections += ["", f"[{'.'.join(inner)}]", *_lines(section, inner)]
    return lines + sections


def _section_of(info: FieldInfo) -> type[BaseModel] | None:
    """The class of a field that is a section; None for any other field."""
    kinds = (info.annotation, *get_args(info.annotation))
    return next((kind for kind in kinds if isclass(kind) and issubclass(kind, BaseModel)), None)


def _as_comment(name: str, info: FieldInfo) -> str:
    if info.default is not None:
        return f"# {name} = {toml(info.default)}"
    assert info.examples, f"{name} has neither a default nor an example"
    return f"# {name} = {toml(info.examples[0])}  # an example: not set by default"


def _explained(symbol: SymbolSettings) -> list[str]:
    """Every field of a symbol: what it is, and its value here. Then the fields that only other kinds of grids have."""
    lines = []
    fields = _fields(type(symbol))
    for name, info in fields.items():
        lines += [
            f"# {_kinds() if name == 'grid' else info.description}{_left_out(name, symbol, info)}",
            _line(name, symbol) if _is_set(name, symbol) else _as_comment(name, info),
        ]
    for kind, model in KINDS.items():
        others = {name: info for name, info in _fields(model).items() if name not in fields}
        fields |= others
        for name, info in others.items():
            lines += [f'# with grid = "{kind}": {info.description}', _as_comment(name, info)]
    return lines


def _left_out(name: str, symbol: SymbolSettings, info: FieldInfo) -> str:
    """What applies to a table that leaves the field out, where that is another value than here."""
    default = DEFAULT_KIND if name == "grid" else info.default
    if default is None or default == getattr(symbol, name) or not _is_set(name, symbol):
        return ""
    return f"; a table without this line: {default}"


def _fields(model: type[SymbolSettings]) -> dict[str, FieldInfo]:
    """The fields of a symbol's table that belong in the file: all but secrets."""
    return {name: info for name, info in model.model_fields.items() if ("symbols", EACH, name) not in secret_fields()}


def _kinds() -> str:
    kinds = " or ".join(", ".join(KINDS).rsplit(", ", 1))
    return f"{SymbolSettings.model_fields['grid'].description}: {kinds}"


def _set_lines(symbol: SymbolSettings) -> list[str]:
    return [_line(name, symbol) for name in _fields(type(symbol)) if _is_set(name, symbol)]


def _is_set(name: str, symbol: SymbolSettings) -> bool:
    return name == "grid" or name in symbol.model_fields_set


def _line(name: str, symbol: SymbolSettings) -> str:
    return f"{name} = {toml(getattr(symbol, name))}"
