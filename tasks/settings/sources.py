"""Reads values of the settings from a TOML file and from variables. Checks nothing but the file's syntax."""

import json
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from tasks.base.errors import Problem
from tasks.settings.places import EACH, Place, Values

PREFIX = "GRIDFLOW_"


def file_values(path: Path) -> tuple[Values, list[Problem]]:
    """The values of the file by key, and what is wrong with it. A file that cannot be read has no values."""

    def refused(rule: str, remedy: str) -> tuple[Values, list[Problem]]:
        return {}, [Problem("file", str(path), rule, remedy)]

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal), []
    except FileNotFoundError:
        return refused("no such file", "Write one with `gridflow init`, or name another with --config")
    except (OSError, UnicodeDecodeError) as error:
        return refused(f"unreadable ({error})", "Make it a readable UTF-8 file")
    except tomllib.TOMLDecodeError as error:
        return refused(f"not valid TOML ({error})", "Correct that line; a table or key may stand only once")


def variable_name(field: Place) -> str:
    """The variable that sets the field. For a field in a table of names: the variable of the whole table, as JSON."""
    return PREFIX + "__".join(takewhile(lambda part: part != EACH, field)).upper()


def unknown_variables(environ: Mapping[str, str], names: set[str]) -> list[Problem]:
    """A problem for every GRIDFLOW_… variable that sets none of the top-level settings in `names`."""
    given = {name: name[len(PREFIX) :].lower() for name in sorted(environ) if name.upper().startswith(PREFIX)}
    return [
        Problem(name, "(environment)", "no such setting", _variable_remedy(field.split("__")[0], names))
        for name, field in given.items()
        if field.split("__")[0] not in names
    ]


def _variable_remedy(field: str, names: set[str]) -> str:
    near = get_close_matches(field, names, 1, 0.7)
    return (
        f"Did you mean {variable_name((near[0],))}?" if near else f"Unset it, or use one of: {', '.join(sorted(names))}"
    )


def variable_values(model: type[BaseModel]) -> Values:
    """The GRIDFLOW_… variables as nested values of the model's fields."""
    source = _Variables(model, env_prefix=PREFIX, env_nested_delimiter="__")  # type: ignore[arg-type]
    return source()


class _Variables(EnvSettingsSource):
    """Reads only the fields of the model. Text that is not JSON stays text, and its field refuses it."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:  # noqa: ARG002 - its shape
        """The value of valid JSON, else the text itself. pydantic's own method would stop at the first bad variable."""
        try:
            return json.loads(value, parse_float=Decimal)
        except ValueError:
            return value


def merged(under: Values, over: Values) -> Values:
    """Both, merged table by table. A value in `over` replaces the one in `under`."""
    both = under | over
    for name in under.keys() & over.keys():
        if isinstance(under[name], dict) and isinstance(over[name], dict):
            both[name] = merged(under[name], over[name])
    return both


def without(values: Values, place: Place) -> Values:
    """A copy without the value at `place`."""
    name, *below = place
    if below:
        inner = values.get(name)
        return values | {name: without(inner, tuple(below))} if isinstance(inner, dict) else values
    return {key: value for key, value in values.items() if key != name}
