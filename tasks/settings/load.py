"""Reads the settings: `gridflow.toml` and `GRIDFLOW_…` variables, nested by `__`. A variable outranks the file.

`load` returns settings that can run, or raises one ConfigError with every problem.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from tasks.base.errors import ConfigError, Problem
from tasks.settings.checks import rule_problems
from tasks.settings.environment import STATE_VARIABLE
from tasks.settings.grids import KINDS
from tasks.settings.model import Settings
from tasks.settings.places import Place, Values, selection, with_own
from tasks.settings.problems import invalid_places, problems_of, shown
from tasks.settings.secret_values import secret_fields
from tasks.settings.sources import file_values, merged, unknown_variables, variable_values, without
from tasks.settings.validated import Validated

CONFIG_VARIABLE = "GRIDFLOW_CONFIG"
DEFAULT_CONFIG = Path("gridflow.toml")
_ALL_INVALID: frozenset[Place] = frozenset({()})


def _no_checks(_: Validated) -> list[Problem]:
    return []


def load(
    config: Path | None = None,
    extra_checks: Callable[[Validated], list[Problem]] = _no_checks,
    without_fields: Sequence[Place] = (),
) -> Settings:
    """Settings from `config` (else $GRIDFLOW_CONFIG, else ./gridflow.toml where it exists) and the environment.

    Checks every field, every rule between fields, and `extra_checks`: rules of a later stage, which read valid fields
    only. `without_fields` are left out, and no rule reads them. Raises ConfigError with every problem found.
    """
    named = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    path = named or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    variables = variable_values(Settings)
    unknown = unknown_variables(_variables(), set(Settings.model_fields))
    content, unreadable = file_values(path) if path else ({}, [])
    values = merged(without(content, ("live",)), variables)
    for place in without_fields:
        values = without(values, place)
    # Any field may have another value in a file that cannot be read, so no rule reads any field then.
    validated, wrong = _checked(values, _ALL_INVALID if unreadable else frozenset(without_fields))
    found = [*unknown, *unreadable, *_consent_in_file(content), *wrong, *extra_checks(validated)]
    if found:
        raise ConfigError(found, _source(path, bool(variables or unknown)))
    return validated.settings


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


def _checked(values: Values, invalid: frozenset[Place]) -> tuple[Validated, list[Problem]]:
    """The settings with a default for every invalid field, and everything that is wrong with fields and rules.

    Where the kind of a grid is unknown, its other fields are checked as each kind would. What all kinds refuse counts.
    """
    try:
        validated = Validated(Settings.model_validate(values), invalid)
    except ValidationError as error:
        places, found = invalid_places(error), problems_of(error)
    else:
        return validated, rule_problems(validated)
    values = _with_defaults(values, places)
    unknown = [place for place in places if place[0] == "symbols" and place[2:] and place[-1] == "grid"]
    tried = [_with_kind(values, unknown, kind) for kind in KINDS]
    answers = [_checked(each, invalid | set(places)) for each in (tried if unknown else [values])]
    validated, wrong = answers[0]
    return validated, found + [problem for problem in wrong if all(problem in others for _, others in answers)]


def _with_kind(values: Values, places: list[Place], kind: str) -> Values:
    """The values with this kind at each place of an unknown one."""
    for place in places:
        table: Values | str = kind
        for name in reversed(place):
            table = {name: table}
        assert isinstance(table, dict)
        values = merged(values, table)
    return values


def _with_defaults(values: Values, invalid: list[Place]) -> Values:
    """The values without those at invalid places. A symbol stays: its name may be wrong as well."""
    for place in invalid:
        values = without(values, place)
    no_tables = [place[1] for place in invalid if place[0] == "symbols" and len(place) == 2]
    return merged(values, {"symbols": {name: {} for name in no_tables}}) if no_tables else values


def public_values(settings: Settings) -> Values:
    """The settings as JSON values, without fields that are not set and without secrets. `from_values` reads them."""
    shown_fields = settings.model_dump(exclude_none=True, exclude=selection(secret_fields()))
    values: Values = to_jsonable_python(shown_fields)
    return values


def from_values(values: Values, own: Settings | None = None) -> Settings:
    """Settings from what `public_values` returned, with the secrets of `own`.

    Checks each field and its bounds, but no rule between fields: some rules need secrets, which `own` may not have.
    Raises ConfigError for values of another version that do not fit.
    """
    try:
        return Settings.model_validate(with_own(values, own, secret_fields()) if own else values)
    except ValidationError as error:
        raise ConfigError(problems_of(error), "the stored settings") from None
