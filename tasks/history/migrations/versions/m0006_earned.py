"""Fills tell what base a sell kept at no cost."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"


def upgrade() -> None:
    """Fills of before kept none."""
    op.add_column("gridflow_fills", sa.Column("earned", sa.Text(), nullable=False, server_default="0"))
