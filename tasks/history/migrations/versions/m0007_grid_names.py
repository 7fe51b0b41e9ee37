"""A symbol may have several grids: each row of `grids` has the name of its grid."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"


def upgrade() -> None:
    """A symbol's only grid has no name."""
    op.add_column("gridflow_grids", sa.Column("name", sa.Text(), nullable=False, server_default=""))
