"""Amounts and times in JSON. An amount is a number for programs that calculate with floats, and its exact text."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.base.money import plain


class Answer(BaseModel):
    """Base of what the API answers."""

    model_config = ConfigDict(frozen=True)


def moment(at_ms: int) -> datetime:
    """A time in ms since the epoch, as the API shows it: in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def both(**amounts: Decimal | None) -> dict[str, Any]:
    """For each amount a field with the nearest float, and one named `…_exact` with its text; None stays None."""
    found: dict[str, Any] = {}
    for name, amount in amounts.items():
        found[name] = None if amount is None else float(amount)
        found[f"{name}_exact"] = None if amount is None else plain(amount)
    return found
