"""The commented settings file that `gridflow init` writes, made from the fields of the settings themselves."""

from collections.abc import Iterable, Mapping
from inspect import isclass
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasks.settings.grids import DEFAULT_KIND, KINDS, GridSettings, OneGrid, SymbolSettings
from tasks.settings.model import Settings
from tasks.settings.places import EACH, Place
from tasks.settings.secret_values import secret_fields
from tasks.settings.sources import variable_name
from tasks.settings.toml_text import toml

_HEAD = """\
# Gridflow settings. Every line `# name = value` is the default in force, or an example where it says so.
# Secrets belong in the environment, and so may every other setting:
"""
_SEVERAL = """\
# Several grids on one symbol: give each a table of its own, such as [symbols."BTC/USDT".grids.near], with the fields
# from the kind of grid to `weight`; the fields below `weight` stay in the symbol's table and hold for all its grids.
"""
_WITHOUT_DEFAULT = ("range_pct",)  # what a symbol's table must say: where the grid is


def settings_file() -> str:
    """The text of a settings file with every field's unit, bounds and meaning.

    A line that is no comment sets what has no default. A comment `# name = value` is the default in force.
    """
    whole = Settings.model_fields
    lines = [*_HEAD.splitlines(), *_secrets(), f"# live is not set here: {whole['live'].description}", ""]
    lines += _lines(Settings, (), skip=("symbols", "live"))
    demo = Settings().symbols
    lines += ["", f"# symbols: {whole['symbols'].description}.", *_about_demo(demo)]
    for number, (name, shown) in enumerate(demo.items()):
        symbol = KINDS[DEFAULT_KIND](**{field: getattr(shown, field) for field in _WITHOUT_DEFAULT})
        lines += ["", f'[symbols."{name}"]', *(_set_lines(symbol) if number else _explained(symbol))]
    return "\n".join(lines) + "\n"


def _about_demo(demo: Mapping[str, SymbolSettings]) -> list[str]:
    """In which values the symbols that trade without any table differ from the tables below."""
    one = next(iter(demo.values()))
    assert isinstance(one, OneGrid)
    names = [name for name, info in _fields(type(one)).items() if name in one.model_fields_set | {"grid"}]
    differing = [_line(name, one) for name in names if name not in _WITHOUT_DEFAULT and not _is_default(name, one)]
    return [
        f"# Without any table, a demo trades these symbols with {' and '.join(differing)}: orders to buy",
        "# and to sell rest at once. To continue with the demo's grids, set the same in each table.",
    ]


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


def _explained(symbol: OneGrid) -> list[str]:
    """Every field of a symbol: what it is, and its value here. Then the fields that only other kinds of grids have."""
    lines = []
    fields = _fields(type(symbol))
    for name, info in fields.items():
        lines += [
            f"# {_kinds() if name == 'grid' else info.description}",
            _line(name, symbol) if name in symbol.model_fields_set else _as_comment(name, info),
        ]
    for kind, model in KINDS.items():
        others = {name: info for name, info in _fields(model).items() if name not in fields}
        fields |= others
        for name, info in others.items():
            lines += [f'# with grid = "{kind}": {info.description}', _as_comment(name, info)]
    return [*lines, *_SEVERAL.splitlines()]


def _fields(model: type[OneGrid]) -> dict[str, FieldInfo]:
    """The fields of a symbol's table that belong in the file: all but secrets."""
    return {name: info for name, info in model.model_fields.items() if ("symbols", EACH, name) not in secret_fields()}


def _kinds() -> str:
    kinds = " or ".join(", ".join(KINDS).rsplit(", ", 1))
    return f"{GridSettings.model_fields['grid'].description}: {kinds}"


def _set_lines(symbol: OneGrid) -> list[str]:
    return [_line(name, symbol) for name in _fields(type(symbol)) if name in symbol.model_fields_set]


def _is_default(name: str, symbol: OneGrid) -> bool:
    """Whether a table without the field would say the same."""
    default = DEFAULT_KIND if name == "grid" else type(symbol).model_fields[name].default
    return bool(getattr(symbol, name) == default)


def _line(name: str, symbol: OneGrid) -> str:
    return f"{name} = {toml(getattr(symbol, name))}"
