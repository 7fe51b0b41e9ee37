"""Where values of the settings come from, before anything is checked: a TOML file and variables."""

import json
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from tasks.base.errors import Problem
from tasks.settings.section import Place

PREFIX = "GRIDFLOW_"
Values = dict[str, Any]


def file_values(path: Path) -> tuple[Values, list[Problem]]:
    """The file's values by key; of a file that cannot be read none, and why."""

    def refused(rule: str, remedy: str) -> tuple[Values, list[Problem]]:
        return {}, [Problem("file", str(path), rule, remedy)]

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal), []
    except FileNotFoundError:
        return refused("no such file", "Write one with `gridflow init`, or name another with --config")
    except (OSError, UnicodeDecodeError) as error:
        return refused(f"unreadable ({error})", "Make it a readable UTF-8 file")
    except tomllib.TOMLDecodeError as error:
        return refused(f"not valid TOML ({error})", "Mend that line; a table or key may stand only once")


def unknown_variables(environ: Mapping[str, str], known: set[str]) -> list[Problem]:
    """GRIDFLOW_… variables whose setting is not `known`."""
    remedy = f"Unset it, or use one of: {', '.join(sorted(known))}"
    return [
        Problem(name, "(environment)", "no such setting", remedy)
        for name in sorted(environ)
        if name.upper().startswith(PREFIX) and name[len(PREFIX) :].lower().split("__")[0] not in known
    ]


def variable_values(model: type[BaseModel]) -> Values:
    """The GRIDFLOW_… variables as nested values of the model's fields."""
    source = _Variables(model, env_prefix=PREFIX, env_nested_delimiter="__")  # type: ignore[arg-type]
    return source()


class _Variables(EnvSettingsSource):
    """Wants a model's fields alone, so any model does. Text that is no JSON is left for its field to refuse."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:  # noqa: ARG002 - its shape
        """JSON as such, all else as it is: the source itself would stop at the first."""
        try:
            return json.loads(value, parse_float=Decimal)
        except ValueError:
            return value


def merged(under: Values, over: Values) -> Values:
    """Both, table by table; `over` wins."""
    both = under | over
    for name in under.keys() & over.keys():
        if isinstance(under[name], dict) and isinstance(over[name], dict):
            both[name] = merged(under[name], over[name])
    return both


def without(values: Values, place: Place) -> Values:
    """A copy without what stands at `place`."""
    name, *below = place
    if below:
        return values | {name: without(values[name], tuple(below))}
    return {key: value for key, value in values.items() if key != name}
