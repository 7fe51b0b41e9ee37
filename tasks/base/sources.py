"""Where values of the settings come from, before anything is checked: a TOML file and variables."""

import json
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tasks.base.errors import Problem
from tasks.base.known import Place

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


def variable_values(environ: Mapping[str, str], known: set[str]) -> tuple[Values, list[Problem]]:
    """GRIDFLOW_… variables as nested values, and those whose setting is not `known`.

    Sorted, so that a section's own variable (a JSON object) comes before those of its fields, which outrank it.
    """
    values: Values = {}
    found = []
    for name in sorted(name for name in environ if name.upper().startswith(PREFIX)):
        place = tuple(name[len(PREFIX) :].lower().split("__"))
        if place[0] in known:
            _put(values, place, _value(environ[name]))
        else:
            remedy = f"Unset it, or use one of: {', '.join(sorted(known))}"
            found.append(Problem(name, "(environment)", "no such setting", remedy))
    return values, found


def _value(text: str) -> Any:
    """JSON objects and lists as such; all else, broken JSON too, is text, which its field takes or refuses."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError:
        return text


def _put(values: Values, place: Place, value: Any) -> None:
    for part in place[:-1]:
        inner = values.get(part)
        if not isinstance(inner, dict):
            inner = values[part] = {}
        values = inner
    values[place[-1]] = value


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
