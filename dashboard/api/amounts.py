"""Amounts in JSON: a number for programs that calculate with floats, and the exact text beside it."""

from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.base.money import plain


class Answer(BaseModel):
    """Base of what the API answers."""

    model_config = ConfigDict(frozen=True)


def both(**amounts: Decimal | None) -> dict[str, Any]:
    """For each amount a field with the nearest float, and one named `…_exact` with its text; None stays None."""
    found: dict[str, Any] = {}
    for name, amount in amounts.items():
        found[name] = None if amount is None else float(amount)
        found[f"{name}_exact"] = None if amount is None else plain(amount)
    return found
