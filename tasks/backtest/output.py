"""A result as JSON, and its fills as a file."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tasks.backtest.result import BacktestFill, Result
from tasks.base.errors import ConfigError, Problem
from tasks.base.money import plain

FILL_COLUMNS = (
    "time",
    "side",
    "price",
    "qty",
    "fee",
    "cell",
    "symbol",
    "fee_currency",
    "role",
    "profit",
)
_MARK = "\x00"
_MARKED = re.compile(r'"\\u0000([-0-9.]+)\\u0000"')


def as_json(values: Mapping[str, Any]) -> str:
    """One JSON object. Decimals are numbers with all their digits."""
    return _MARKED.sub(r"\1", json.dumps(values, default=_number))


def _number(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{_MARK}{plain(value)}{_MARK}"
    raise TypeError(f"{type(value).__name__} is not JSON")


def summary(result: Result) -> dict[str, Any]:
    """The result in one level, and each symbol's."""
    bases = {name: one.base for name, one in result.symbols.items()}
    return {
        "engine": result.engine,
        "start_ms": result.start_ms,
        "end_ms": result.end_ms,
        "buys": result.buys,
        "sells": result.sells,
        "quote": result.quote,
        "base": next(iter(bases.values())) if len(bases) == 1 else bases,
        "grid_profit": result.grid_profit,
        "floating_pnl": result.floating_pnl,
        "fees": result.fees,
        "equity": result.equity,
        "identity_error": result.identity_error,
        "account_difference": result.account_difference,
        "blocked": dict(result.blocked),
        "rebalances": result.rebalances,
        "most_committed": result.most_committed,
        "symbols": {name: vars(one) for name, one in result.symbols.items()},
    }


def fill_rows(fills: Iterable[BacktestFill]) -> Iterator[dict[str, str | int]]:
    """One row a fill: time in ms, amounts as exact text."""
    for fill in fills:
        values = (
            fill.at_ms,
            fill.side.value,
            plain(fill.price),
            plain(fill.qty),
            plain(fill.fee),
            fill.cell,
            fill.symbol,
            fill.fee_currency,
            "maker" if fill.maker else "taker",
            plain(fill.profit),
        )
        yield dict(zip(FILL_COLUMNS, values, strict=True))


def write_fills(path: Path, fills: Iterable[BacktestFill]) -> None:
    """Write a csv, json or parquet file, by the name's end. Raises ConfigError where it cannot be written."""
    write_rows(path, FILL_COLUMNS, list(fill_rows(fills)), "--trades")


def write_rows(path: Path, columns: Iterable[str], rows: list[dict[str, Any]], option: str) -> None:
    """Write rows as csv, json or parquet, by the name's end. Raises ConfigError with `option` as its field."""
    try:
        if path.suffix == ".parquet":
            from pyarrow import Table, parquet  # takes a tenth of a second

            parquet.write_table(Table.from_pylist(rows), path)
        elif path.suffix == ".json":
            path.write_text(json.dumps(rows, default=_number), encoding="utf-8")
        else:
            with path.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, list(columns), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
    except OSError as error:
        rule = f"cannot be written ({error.strerror or error})"
        problem = Problem(option, str(path), rule, "Name a file in a folder that exists and that you may write to")
        raise ConfigError([problem], "the command line") from None
