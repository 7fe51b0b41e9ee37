"""The base of the read models. Amounts are Decimal, in JSON plain text."""

from decimal import Decimal

from pydantic import field_serializer

from tasks.base.money import plain
from tasks.exchange.models import Frozen


class View(Frozen):
    """Base of the views: amounts are plain text in JSON, without exponents."""

    @field_serializer("*", when_used="json")
    def _plain(self, value: object) -> object:
        return plain(value) if isinstance(value, Decimal) else value
