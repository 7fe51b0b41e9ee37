"""Column types of the history: exact amounts."""

from decimal import Decimal

from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator

from tasks.base.money import plain


class Exact(TypeDecorator[Decimal]):
    """A Decimal as plain text. A numeric column would lose digits in SQLite, whose numbers are floats."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else plain(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002
        return None if value is None else Decimal(value)
