"""What every section of the settings shares."""

from decimal import Decimal
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Place: TypeAlias = tuple[str, ...]  # where a field is: ("symbols", "BTC/USDT", "cells"); () is the whole
Share = Annotated[Decimal, Field(gt=0, le=1)]
Price = Annotated[Decimal, Field(gt=0)]
Fee = Annotated[Decimal, Field(ge=0, lt=Decimal("0.1"))]


class Section(BaseModel):
    """Unknown keys are refused, and an error's text holds no value: it may be a key."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)
