"""Brings the history's tables to this version. One process does it while others wait."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from tasks.base.errors import StateError

VERSION_TABLE = "gridflow_version"
_LOCK = 4_711_815_162  # of PostgreSQL's advisory locks; any number that no other program uses
_FOLDER = Path(__file__).parent / "migrations"


def migrate(connection: Connection, to: str = "head") -> None:
    """Upgrade the tables to this version, in the connection's transaction.

    `to`: the revision; tests name an earlier one. Raises StateError where a newer version of Gridflow made the tables.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # other processes wait for busy_timeout
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    if is_current(connection):
        return
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def is_current(connection: Connection) -> bool:
    """Whether the tables have this version. Raises StateError where they have a newer one."""
    found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    scripts = ScriptDirectory(str(_FOLDER))
    newest = scripts.get_current_head()
    if found is None or found == newest:
        return found == newest
    if found not in {one.revision for one in scripts.walk_revisions()}:
        raise StateError(
            f"the history database has version {found}, and this version of Gridflow knows up to {newest}: start it "
            "with the newer version of Gridflow, or set database_url (GRIDFLOW_DATABASE_URL) to another database"
        )
    return False
