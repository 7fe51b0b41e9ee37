"""Fills as CSV with exact amounts. Pure."""

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal

from dashboard.present.times import iso
from tasks.base.money import plain
from tasks.ledger.models import Fill

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_CSV_FIELDS = [name for name in Fill.model_fields if name != "at_ms"]


def csv_head() -> bytes:
    """The first line of the CSV of fills."""
    return _csv([["time_utc", *_CSV_FIELDS]])


def csv_lines(fills: Iterable[Fill]) -> bytes:
    """All fields of the fills, amounts exact, times in UTC."""
    return _csv([iso(fill.at_ms), *(_csv_cell(getattr(fill, name)) for name in _CSV_FIELDS)] for fill in fills)


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def _csv_cell(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text  # no formula in a spreadsheet
