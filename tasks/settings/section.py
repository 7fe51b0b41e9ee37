"""What every section of the settings shares."""

from decimal import Decimal
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[Decimal, Field(gt=0, le=1)]
Price = Annotated[Decimal, Field(gt=0)]
Fee = Annotated[Decimal, Field(ge=0, lt=Decimal("0.1"))]

NOT_SET = "(not set)"  # what an error shows of a field that has no value


class Section(BaseModel):
    """A table of settings. Unknown keys are refused. The text of an error shows no value, because it may be a key."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


class IsValid(Protocol):
    """Tells whether all the named fields of one section passed validation. A rule reads only such fields."""

    def __call__(self, *names: str) -> bool: ...


def all_valid(*names: str) -> bool:  # noqa: ARG001 - called as an IsValid
    """The `IsValid` of a section in which every field passed validation."""
    return True
