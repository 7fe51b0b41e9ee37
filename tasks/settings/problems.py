"""From pydantic's errors to Problems: field, value, rule, remedy. Values that may be secrets are never shown."""

from itertools import takewhile
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tasks.base.errors import Problem
from tasks.settings.section import Place

HIDDEN = "(hidden)"
_SECRET_FIELDS = {"api_key", "secret", "password", "token", "redis_url"}
_UNREAD = {"extra_forbidden", "model_type", "dict_type"}  # what stands there is no field of ours: it may be a secret
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
_REMEDY = "Give such a value; `gridflow init` writes every field's unit and bounds"
_REMEDIES = {
    "extra_forbidden": "Remove it or mend its spelling; `gridflow init` writes every known key",
    "model_type": "Write a [table] in the file, a JSON object in the environment",
    "dict_type": "Write a [table] in the file, a JSON object in the environment",
    "enum": "Use one of those named",
    "literal_error": "Use one of those named",
    "form": "Write it in that form",
}


def shown(place: Place, value: Any) -> str:
    """What an error may tell of the value at `place`; an @ may stand behind a password."""
    text = str(value)
    if "@" in text or any(part in _SECRET_FIELDS for part in place):
        return HIDDEN
    if isinstance(value, dict | list):
        return f"({type(value).__name__} of {len(value)})"
    return (text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…") or '""'


def dotted(place: Place) -> str:
    """The place as the file writes it: `symbols."BTC/USDT".cells`."""
    parts = [f'"{part}"' if place[:number] == ("symbols",) else part for number, part in enumerate(place)]
    return ".".join(parts) or "(all)"


def places_of(error: ValidationError) -> list[Place]:
    """Where the faulty fields are; of a list as a whole."""
    places = (takewhile(lambda part: isinstance(part, str), item["loc"]) for item in error.errors(include_url=False))
    return [tuple(map(str, place)) for place in places]


def problems_of(error: ValidationError) -> list[Problem]:
    """Every problem in a validation error, in field order."""
    return [_problem(item) for item in error.errors(include_url=False)]


def _place(item: ErrorDetails) -> Place:
    return tuple(str(part) for part in item["loc"])


def _problem(item: ErrorDetails) -> Problem:
    kind, place = item["type"], _place(item)
    value = HIDDEN if kind in _UNREAD else shown(place, item["input"])
    rule = _RULES[kind].format(**item.get("ctx", {})) if kind in _RULES else item["msg"]
    return Problem(dotted(place), value, rule, _REMEDIES.get(kind, _REMEDY))
