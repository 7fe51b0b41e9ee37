"""Brings the history's tables to this version. One process does it while others wait."""

from pathlib import Path

from sqlalchemy import Connection, inspect

from tasks.base.errors import StateError

VERSION_TABLE = "gridflow_version"
_LOCK = 4_711_815_162  # of PostgreSQL's advisory locks; any number that no other program uses
_FOLDER = Path(__file__).parent / "migrations"
_VERSION = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - a constant


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
    from alembic import command  # takes as long to import as the rest of a command, and is rarely needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def is_current(connection: Connection) -> bool:
    """Whether the tables have this version. Raises StateError where they have a newer one."""
    found = connection.exec_driver_sql(_VERSION).scalar() if inspect(connection).has_table(VERSION_TABLE) else None
    known = revisions()
    if found is not None and found not in known:
        raise StateError(
            f"the history database has version {found}, and this version of Gridflow knows up to {known[-1]}: start it "
            "with the newer version of Gridflow, or set database_url (GRIDFLOW_DATABASE_URL) to another database"
        )
    return bool(found == known[-1])


def revisions() -> list[str]:
    """Revisions of the tables, the newest last: `m0002_filled_basis.py` makes revision 0002."""
    return sorted(file.name[1:5] for file in (_FOLDER / "versions").glob("m????_*.py"))
