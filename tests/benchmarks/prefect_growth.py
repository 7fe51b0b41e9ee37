"""How large Prefect's database becomes: bytes per run, and the bound of a week of 100 symbols.

Run by hand: `python -m tests.benchmarks.prefect_growth`. A real worker makes some runs; their rows are then copied in
bulk until each table is large enough for its bytes per run, indexes included, to be steady. Takes about a minute.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from flows.runtime.stack.prefect_server import EVENT_HOURS, RUN_DAYS
from tests.support.prefect_stack import prefect_stack
from tests.support.prefect_worker import Worker

_RUNS = 40
_COPIES = 250
_SYMBOLS, _WINDOW_SECONDS = 100, 300
_DAY_SECONDS = 86_400
# Columns with a new value in each copy: those that are keys, and those that refer to them.
_KEYS = {
    "flow_run": ("id", "state_id", "idempotency_key"),
    "flow_run_state": ("id", "flow_run_id"),
    "log": ("id", "flow_run_id"),
    "events": ("id",),
    "event_resources": ("id", "event_id"),
}
_OF_EVENTS = ("events", "event_resources")


async def _copied(connection: asyncpg.Connection, table: str) -> int:
    """Copy the table's rows _COPIES times; the bytes that it grew by."""
    rows = await connection.fetch(
        "select column_name, data_type from information_schema.columns where table_name = $1 "
        "and table_schema = 'public' and is_generated = 'NEVER'",
        table,
    )
    columns = {row["column_name"]: row["data_type"] for row in rows}

    def value(name: str) -> str:
        if name not in _KEYS[table]:
            return f't."{name}"'
        kind = "uuid" if columns[name] == "uuid" else "text"
        return f'case when t."{name}" is null then null else md5(t."{name}"::text || n)::{kind} end'

    before = await connection.fetchval("select pg_total_relation_size($1::regclass)", table)
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(map(value, columns))
    await connection.execute(
        f"insert into {table} ({names}) select {values} from {table} t, generate_series(1, {_COPIES}) n"
    )
    grown: int = await connection.fetchval("select pg_total_relation_size($1::regclass)", table) - before
    return grown


async def measure(url: str) -> dict[str, float]:
    """Bytes per run, by table."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute("set session_replication_role = replica")  # rows refer to each other
        await connection.execute("delete from flow_run where end_time is null")
        runs = await connection.fetchval("select count(*) from flow_run")
        return {table: await _copied(connection, table) / (runs * _COPIES) for table in _KEYS}
    finally:
        await connection.close()


def report(per_run: dict[str, float]) -> str:
    """The figures as text."""
    events = sum(per_run[table] for table in _OF_EVENTS)
    runs = sum(per_run.values()) - events
    runs_a_day = _DAY_SECONDS / _WINDOW_SECONDS * _SYMBOLS + _DAY_SECONDS / 300 + 24
    kept = runs_a_day * (RUN_DAYS * runs + EVENT_HOURS / 24 * events) + runs_a_day / 24 * (runs + events)
    lines = [f"{table:16} {size:8,.0f} bytes a run" for table, size in per_run.items()]
    lines.append(f"1,000 runs: {runs / 1000:.1f} MB, and {events / 1000:.1f} MB of events")
    lines.append(f"{_SYMBOLS} symbols, windows of {_WINDOW_SECONDS} s: {runs_a_day:,.0f} runs a day")
    lines.append(f"most that is kept ({RUN_DAYS} days of runs, {EVENT_HOURS} h of events): {kept / 1e6:,.0f} MB")
    lines.append(f"a week without retention: {7 * runs_a_day * (runs + events) / 1e6:,.0f} MB")
    return "\n".join(lines)


def main() -> None:
    """Make the runs, copy their rows, print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may run as another user
        with prefect_stack(Path(folder) / "stack") as stack:
            state = Path(folder) / "worker"
            state.mkdir()
            worker = Worker(stack, state)
            runs = [worker.start_run("write-file/manual", path=str(state / "pid")) for _ in range(_RUNS)]
            for run in runs:
                worker.wait_for(run, "COMPLETED", seconds=60)
            worker.end()
            time.sleep(10)  # the server stores events later
            sys.stdout.write(report(asyncio.run(measure(stack.database_url))) + "\n")


if __name__ == "__main__":
    main()
