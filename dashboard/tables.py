"""Rows as Arrow tables, the form Streamlit sends to the browser.

Built through Arrow's JSON reader: `pyarrow.array` and lists of dicts would import pandas, which costs 45 MB.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.json as arrow_json

from dashboard.present import Row

TIME = pa.timestamp("ms", "UTC")
TEXT = pa.string()
NUMBER = pa.float64()
WHOLE = pa.int64()
FLAG = pa.bool_()


def arrow_table(rows: Sequence[Row], columns: Mapping[str, Any]) -> pa.Table:
    """The rows (at least one) as a table with these columns: name → Arrow type."""
    text = "\n".join(json.dumps({name: row[name] for name in columns}) for row in rows)
    return arrow_json.read_json(
        pa.BufferReader(text.encode()),
        read_options=arrow_json.ReadOptions(use_threads=False),
        parse_options=arrow_json.ParseOptions(explicit_schema=pa.schema(list(columns.items()))),
    )
