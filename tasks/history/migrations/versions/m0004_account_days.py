"""Totals of each day of all symbols together."""

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op

from tasks.base.money import ZERO, exact, plain

revision = "0004"
down_revision: str | None = "0003"

_KEY = ("account", "side", "day")
_NUMBERS = ("fills", "rounds", "wins", "held_ms")
_AMOUNTS = ("volume", "fees", "profit", "won", "lost")


def upgrade() -> None:
    """Add up the totals of the symbols."""
    table = op.create_table(
        "gridflow_account_days",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fills", sa.Integer(), nullable=False),
        sa.Column("volume", sa.Text(), nullable=False),
        sa.Column("fees", sa.Text(), nullable=False),
        sa.Column("profit", sa.Text(), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("wins", sa.Integer(), nullable=False),
        sa.Column("won", sa.Text(), nullable=False),
        sa.Column("lost", sa.Text(), nullable=False),
        sa.Column("held_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*_KEY),
    )
    days = sa.table("gridflow_days", *(sa.column(name) for name in (*_KEY, *_NUMBERS, *_AMOUNTS)))
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    with exact():
        for row in op.get_bind().execute(sa.select(days)).mappings():
            key = tuple(row[name] for name in _KEY)
            before = found.setdefault(key, dict.fromkeys(_NUMBERS, 0) | dict.fromkeys(_AMOUNTS, ZERO))
            for name in _NUMBERS:
                before[name] += row[name]
            for name in _AMOUNTS:
                before[name] += Decimal(row[name])
    rows = [
        dict(zip(_KEY, key, strict=True)) | sums | {name: plain(sums[name]) for name in _AMOUNTS}
        for key, sums in found.items()
    ]
    if rows:
        op.bulk_insert(table, rows)
