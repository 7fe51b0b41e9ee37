"""The commented settings file that `gridflow init` writes, made from the settings themselves."""

from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasks.base.money import plain
from tasks.settings.grids import SymbolSettings
from tasks.settings.model import Settings

_SECTIONS = ("exchange", "paper", "trading")
_SECRETS = {"api_key", "secret", "password", "redis_url"}
_HEAD = """\
# Gridflow settings. Every line `# name = value` is a default, or an example where it says so.
# Secrets belong in the environment, and so may every other setting:
"""


def settings_file() -> str:
    """The text of a settings file with every field's unit, bounds and meaning; loading it gives the defaults."""
    whole = Settings.model_fields
    lines = [*_HEAD.splitlines(), *_secrets(), f"# live is not set here: {whole['live'].description}", ""]
    lines += _lines(Settings, skip={*_SECTIONS, *_SECRETS, "symbols", "live"})
    for name in _SECTIONS:
        lines += ["", f"[{name}]", *_lines(type(whole[name].default), skip=_SECRETS)]
    symbols = Settings().symbols
    lines += ["", f"# symbols: {whole['symbols'].description}. Without any table, those below trade the same grid."]
    for number, (name, symbol) in enumerate(symbols.items()):
        lines += ["", f'[symbols."{name}"]', *(_set_lines(symbol) if number else _explained(symbol))]
    return "\n".join(lines) + "\n"


def _secrets() -> list[str]:
    exchange = type(Settings.model_fields["exchange"].default)
    fields: list[tuple[str, FieldInfo]] = [*Settings.model_fields.items(), *exchange.model_fields.items()]
    return [f"#   {name}: {info.description}" for name, info in fields if name in _SECRETS]


def _lines(model: type[BaseModel], skip: set[str]) -> list[str]:
    """Two lines a field, both comments: what it is, and its default."""
    fields = [(name, info) for name, info in model.model_fields.items() if name not in skip]
    return [line for name, info in fields for line in (f"# {info.description}", _as_comment(name, info))]


def _as_comment(name: str, info: FieldInfo) -> str:
    if info.default is not None:
        return f"# {name} = {_toml(info.default)}"
    assert info.examples, f"{name} has neither a default nor an example"
    return f"# {name} = {_toml(info.examples[0])}  # an example: not set by default"


def _explained(symbol: SymbolSettings) -> list[str]:
    """Every field of a symbol: what it is, and what this one has."""
    lines = []
    for name, info in SymbolSettings.model_fields.items():
        is_set = name in symbol.model_fields_set
        lines += [f"# {info.description}", _line(name, symbol) if is_set else _as_comment(name, info)]
    return lines


def _set_lines(symbol: SymbolSettings) -> list[str]:
    return [_line(name, symbol) for name in SymbolSettings.model_fields if name in symbol.model_fields_set]


def _line(name: str, symbol: SymbolSettings) -> str:
    return f"{name} = {_toml(getattr(symbol, name))}"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f'"{plain(value)}"'
    return str(value) if isinstance(value, int) else f'"{value}"'
