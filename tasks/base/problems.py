"""From pydantic's errors to Problems: field, value, rule, remedy. Values of secret fields are never shown."""

from typing import Any

from pydantic import ValidationError

from tasks.base.errors import Problem

_SECRET_FIELDS = {"api_key", "secret", "password", "token", "redis_url"}
_MAX_SHOWN = 80

_REMEDIES = {
    "extra_forbidden": "Remove it or mend its spelling; `gridflow init` writes every known key",
    "missing": "Add it",
    "enum": "Use one of those named",
    "literal_error": "Use one of those named",
    "string_pattern_mismatch": "Write it in that form",
}


class RuleBroken(ValueError):
    """Raised in a model validator: several problems at once, fields relative to that model."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("; ".join(map(str, problems)))


def _shown(path: tuple[int | str, ...], value: Any) -> str:
    if any(str(part) in _SECRET_FIELDS for part in path):
        return "(hidden)"
    if isinstance(value, dict | list):
        return f"({type(value).__name__} of {len(value)})"
    text = str(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def _dotted(path: tuple[int | str, ...]) -> str:
    parts = [f'"{part}"' if "/" in str(part) else str(part) for part in path if part != "[key]"]
    return ".".join(parts) or "(all)"


def problems_of(error: ValidationError) -> list[Problem]:
    """Every problem in a validation error, in field order, each once."""
    found: list[Problem] = []
    for item in error.errors(include_url=False):
        path, cause = item["loc"], item.get("ctx", {}).get("error")
        if isinstance(cause, RuleBroken):
            prefix = _dotted(path)
            for problem in cause.problems:
                field = problem.field if prefix == "(all)" else f"{prefix}.{problem.field}"
                found.append(Problem(field, problem.value, problem.rule, problem.remedy))
            continue
        kind = item["type"]
        rule = "no such setting" if kind == "extra_forbidden" else item["msg"]
        remedy = _REMEDIES.get(kind, "Give a value within the bounds")
        found.append(Problem(_dotted(path), _shown(path, item.get("input")), rule, remedy))
    return list(dict.fromkeys(found))
