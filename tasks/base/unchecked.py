"""Records from values that are known to be right. A tick makes hundreds, a backtest a hundred thousand. Pure."""

from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel

Record = TypeVar("Record", bound=BaseModel)

_new = object.__new__
# The slots that pydantic keeps of each record. Records have neither private nor extra fields.
_set_fields = BaseModel.__dict__["__dict__"].__set__
_set_names = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__


def unchecked(kind: type[Record], **values: Any) -> Record:
    """A record without validation, as `model_construct` makes it, but several times as quick. Fields have no alias."""
    template, names = _fields(kind)
    record = _new(kind)
    _set_fields(record, {**template, **values})
    _set_names(record, names)
    _set_extra(record, None)
    _set_private(record, None)
    return record


def changed(record: Record, **values: Any) -> Record:
    """A copy with other values, as `model_copy` makes it, but twice as quick."""
    kind = type(record)
    copy = _new(kind)
    _set_fields(copy, {**record.__dict__, **values})
    _set_names(copy, _fields(kind)[1])
    _set_extra(copy, None)
    _set_private(copy, None)
    return copy


@cache
def _fields(kind: type[BaseModel]) -> tuple[dict[str, Any], set[str]]:
    """All fields in their order, so that JSON has it too, with their default values; and their names.

    `...` stands where a value must be given. Records are immutable, so they may share both.
    """
    fields = kind.model_fields.items()
    defaults = {
        name: ... if field.is_required() else field.get_default(call_default_factory=True) for name, field in fields
    }
    return defaults, set(defaults)
