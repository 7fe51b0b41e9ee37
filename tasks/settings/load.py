"""Settings: `gridflow.toml` and `GRIDFLOW_…` environment (nested by `__`; the environment wins).

`load` either returns settings that can run or raises one ConfigError that lists every problem.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_core import to_jsonable_python

from tasks.base.errors import ConfigError, Problem
from tasks.settings.checks import cross_problems
from tasks.settings.environment import STATE_VARIABLE
from tasks.settings.model import Settings
from tasks.settings.problems import places_of, problems_of, shown
from tasks.settings.sources import Values, file_values, merged, unknown_variables, variable_values, without
from tasks.settings.validated import Known

CONFIG_VARIABLE = "GRIDFLOW_CONFIG"
DEFAULT_CONFIG = Path("gridflow.toml")


def _nothing_more(known: Known) -> list[Problem]:  # noqa: ARG001 - what `load` looks at unless told more
    return []


def load(config: Path | None = None, more: Callable[[Known], list[Problem]] = _nothing_more) -> Settings:
    """Settings from `config` (else $GRIDFLOW_CONFIG, else ./gridflow.toml where it exists) and the environment.

    `more`: rules of a later stage, which look at sound fields only. Raises ConfigError with every problem found.
    """
    named = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    path = named or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    variables = variable_values(Settings)
    unknown = unknown_variables(_variables(), set(Settings.model_fields))
    content, unreadable = file_values(path) if path else ({}, [])
    known, refused = _known(merged(without(content, ("live",)), variables))
    if unreadable:
        known = Known(known.settings, frozenset({()}))  # what it would say is not known
    found = [*unknown, *unreadable, *_consent_in_file(content), *refused, *cross_problems(known), *more(known)]
    if found:
        raise ConfigError(found, _source(path, bool(variables or unknown)))
    return known.settings


def _variables() -> dict[str, str]:
    """The environment without the two variables that say where to look, not what to set."""
    return {name: value for name, value in os.environ.items() if name.upper() not in (CONFIG_VARIABLE, STATE_VARIABLE)}


def _source(path: Path | None, variables: bool) -> str:
    if path is None:
        return "the built-in defaults and the environment"
    return f"{path} and the environment" if variables else str(path)


def _consent_in_file(content: Values) -> list[Problem]:
    if "live" not in content:
        return []
    rule = "consent to real orders cannot stand in the file"
    remedy = "Set live under [exchange], and pass --live on the command line"
    return [Problem("live", shown(("live",), content["live"]), rule, remedy)]


def _known(values: Values) -> tuple[Known, list[Problem]]:
    """The settings with every faulty field at its default and marked as such, and what is wrong with those fields."""
    try:
        return Known(Settings.model_validate(values)), []
    except ValidationError as error:
        faulty, found = places_of(error), problems_of(error)
    for place in faulty:
        values = without(values, place)
    names = {place[1] for place in faulty if place[:1] == ("symbols",) and len(place) == 2}
    if names:  # no table at all: its name may be wrong as well
        values = merged(values, {"symbols": {name: {} for name in names}})
    return Known(Settings.model_validate(values), frozenset(faulty)), found


def public_values(settings: Settings) -> dict[str, Any]:
    """The settings as JSON values, without those that are not set and without any secret; see `from_values`."""
    values: dict[str, Any] = to_jsonable_python(_without_secrets(settings.model_dump(exclude_none=True)))
    return values


def _without_secrets(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_secrets(each) for name, each in value.items() if not isinstance(each, SecretStr)}


def from_values(values: Values) -> Settings:
    """Settings from what `public_values` gave. Rules between fields are not looked at: some want the secrets."""
    return Settings.model_validate(values)
