"""A backlog of flow runs as an outage leaves it, written straight into the Prefect server's database.

Through the API 1,200 runs take the server most of a minute; copies of one run take it a second.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

_COPIES = """
CREATE TEMP TABLE copies ON COMMIT DROP AS
SELECT gen_random_uuid() AS run_id, gen_random_uuid() AS state_id, n FROM generate_series(1, {copies:d}) AS n
"""
_COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = :table AND is_generated = 'NEVER'"


async def copy_each_minute_before(database_url: str, run_id: str, copies: int) -> None:
    """Copy a scheduled run, each copy due a minute before the one before it."""
    engine = create_async_engine(database_url)
    earlier = "{} - copies.n * interval '1 minute'".format
    times = {name: earlier(f's."{name}"') for name in ("expected_start_time", "next_scheduled_start_time")}
    run = {"id": "copies.run_id", "state_id": "NULL"} | times
    state = {"id": "copies.state_id", "flow_run_id": "copies.run_id"}
    newest = f"s.id = (SELECT state_id FROM flow_run WHERE id = '{run_id}')"  # a late run has more than one
    try:
        async with engine.begin() as connection:
            await connection.execute(text(_COPIES.format(copies=copies)))
            await _copy(connection, "flow_run", f"s.id = '{run_id}'", run)
            await _copy(connection, "flow_run_state", newest, state)
            await connection.execute(
                text("UPDATE flow_run SET state_id = c.state_id FROM copies c WHERE flow_run.id = run_id")
            )
    finally:
        await engine.dispose()


async def _copy(connection: AsyncConnection, table: str, which: str, changed: dict[str, str]) -> None:
    """Copy one row once for every row of `copies`, with changed values of some columns."""
    columns = [str(column) for column in await connection.scalars(text(_COLUMNS), {"table": table})]
    names = ", ".join(f'"{column}"' for column in columns)
    values = ", ".join(changed.get(column, f's."{column}"') for column in columns)
    await connection.execute(
        text(f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} s, copies WHERE {which}")
    )
