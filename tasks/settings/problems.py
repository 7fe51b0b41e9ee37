"""From pydantic's errors to Problems: field, value, rule, remedy. The value of a secret is never shown."""

import re
from itertools import takewhile
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tasks.base.errors import Problem
from tasks.settings.grids import KINDS
from tasks.settings.hints import choice_remedy, key_remedy, value_remedy
from tasks.settings.places import Place, dotted
from tasks.settings.secret_values import may_be_secret

HIDDEN = "(hidden)"
_UNKNOWN_KIND = "union_tag_invalid"  # pydantic's name for a `grid` that is none of the kinds
_NAME_MARK = "[key]"  # pydantic's mark of an error in the name of a table
_MAX_SHOWN = 80

_NUMBER, _WHOLE, _SWITCH, _TABLE = (
    "must be a number",
    "must be a whole number",
    "must be true or false",
    "must be a table",
)
_RULES = {
    "extra_forbidden": "no such setting",
    "model_type": _TABLE,
    "model_attributes_type": _TABLE,
    "dict_type": _TABLE,
    "string_type": "must be text",
    "path_type": "must be text",
    "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "bool_type": _SWITCH,
    "bool_parsing": _SWITCH,
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
}
_TABLES = {kind for kind, rule in _RULES.items() if rule == _TABLE}
_NEVER_SHOWN = {"extra_forbidden", *_TABLES}  # the value belongs to no field of ours, so it may be a secret
_CHOICES = {"enum", "literal_error", _UNKNOWN_KIND}
_TABLE_REMEDY = "Write a [table] in the file, a JSON object in the environment"


def shown(place: Place, value: Any) -> str:
    """The value at `place` as an error may show it. A value with an @ is hidden: a password may stand before it."""
    text = str(value)
    if "@" in text or may_be_secret(place):
        return HIDDEN
    if isinstance(value, dict | list):
        return f"({type(value).__name__} of {len(value)})"
    return (text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…") or '""'


def invalid_places(error: ValidationError) -> list[Place]:
    """The place of every invalid field. A list is invalid as a whole."""
    return [tuple(map(str, takewhile(lambda part: isinstance(part, str), _parts(item)))) for item in _items(error)]


def problems_of(error: ValidationError) -> list[Problem]:
    """Every problem in a validation error, in the order of the fields."""
    return [_problem(item) for item in _items(error)]


def _items(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False)


def _parts(item: ErrorDetails) -> tuple[int | str, ...]:
    """Where the error is, as the file writes it.

    pydantic adds the kind of the grid after the name of a symbol and of one of its grids, and marks a wrong name.
    """
    parts = item["loc"]
    if parts[:1] == ("symbols",):
        parts = parts[:2] + parts[3:]
    if parts[:1] == ("symbols",) and parts[2:3] == ("grids",):
        parts = tuple(part for part in parts[:4] + parts[5:] if part != _NAME_MARK)
    return (*parts, "grid") if item["type"] == _UNKNOWN_KIND else parts


def _problem(item: ErrorDetails) -> Problem:
    kind, place = item["type"], tuple(map(str, _parts(item)))
    context = item.get("ctx", {})
    value = item["input"]["grid"] if kind == _UNKNOWN_KIND else item["input"]
    text = HIDDEN if kind in _NEVER_SHOWN else shown(place, value)
    if kind == _UNKNOWN_KIND:
        rule = f"must be {' or '.join(', '.join(map(repr, KINDS)).rsplit(', ', 1))}"
    else:
        rule = _RULES[kind].format(**context) if kind in _RULES else item["msg"]
    return Problem(dotted(place), text, rule, _remedy(kind, place, value, rule))


def _remedy(kind: str, place: Place, value: Any, rule: str) -> str:
    """What to write instead. Says nothing of the value of a secret."""
    if kind in _TABLES:
        return _TABLE_REMEDY
    if kind == "extra_forbidden":
        return key_remedy(place)
    if kind in _CHOICES:
        return choice_remedy(value, re.findall(r"'([^']+)'", rule))
    return value_remedy(place, "" if may_be_secret(place) else value)
