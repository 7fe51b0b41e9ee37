"""Run by Alembic. The connection comes from `tasks.history.migrate`, inside a transaction that it has begun."""

from alembic import context

from tasks.history.migrate import VERSION_TABLE
from tasks.history.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite changes a table by copying it
    transactional_ddl=False,
)
context.run_migrations()
