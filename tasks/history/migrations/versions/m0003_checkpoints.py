"""The books as they stood when all records before were in the history; old changes of orders are found by time."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"


def upgrade() -> None:
    """None of before."""
    op.create_table(
        "gridflow_checkpoints",
        sa.Column("account", sa.String(length=16), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "symbol"),
    )
    op.create_index("gridflow_order_changes_by_at_ms", "gridflow_order_changes", ["account", "at_ms"], unique=False)
