"""Fills carry the running sum of their book."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    """Fills of before have none."""
    op.add_column("gridflow_fills", sa.Column("filled_basis", sa.Text(), nullable=True))
