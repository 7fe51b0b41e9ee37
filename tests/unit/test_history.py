"""The history's tables and records hold what the program has."""

import re
from dataclasses import fields
from pathlib import Path

from tasks.base.outbox import Record, RecordKind
from tasks.history import tables
from tasks.history.rows import changes_between
from tasks.ledger.models import Fill
from tasks.ledger.rounds import Round
from tasks.ledger.statistics import Tally

ROOT = Path(__file__).parents[2]


def test_no_field_is_lost_on_its_way_into_a_table() -> None:
    """Every field of a fill, a round and a day's totals has its column."""
    columns = {table.name: {column.name for column in table.columns} for table in tables.METADATA.tables.values()}
    assert set(Fill.model_fields) <= columns["gridflow_fills"]
    assert set(Round.model_fields) <= columns["gridflow_rounds"]
    assert {each.name for each in fields(Tally)} - {"buys", "sells"} <= columns["gridflow_days"]


def test_scripts_name_kinds_that_the_archiver_knows() -> None:
    """Lua names them as text."""
    found: set[str] = set()
    for path in (ROOT / "tasks").rglob("*.lua"):
        code = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
        found |= set(re.findall(r"archive\([^,]+, '(\w+)'", code))
    assert {"order", "blocked", "rebalance", "event", "settings", "flag", "capital"} == found
    assert found <= {kind.value for kind in RecordKind}


def test_a_sequence_keeps_the_order_of_the_outbox() -> None:
    """The time counts first, then the place within the millisecond."""
    names = ["5-0", "5-2", "5-10", "5-999999", "6-0"]
    found = [Record(name, "fill", "").sequence for name in names]
    assert found == sorted(set(found))


def test_the_difference_of_two_settings() -> None:
    """Nested tables are compared field by field; a field of one side only has None on the other."""
    before = {"a": 1, "symbols": {"A/B": {"cells": 5}, "C/D": {}}}
    after = {"a": 1, "symbols": {"A/B": {"cells": 6}}, "new": "x"}
    assert changes_between(before, after) == {
        'symbols."A/B".cells': [5, 6],
        'symbols."C/D"': [{}, None],
        "new": [None, "x"],
    }
