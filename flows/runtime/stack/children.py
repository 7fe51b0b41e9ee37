"""The processes of the one-machine stack: command, environment, readiness and liveness check of each."""

import importlib.util
import signal
import sys
from pathlib import Path

from flows.runtime.stack import health_checks
from flows.runtime.stack.health_checks import http_responds, port_is_open, redis_is_ready
from flows.runtime.stack.ports import HOST
from flows.runtime.stack.postgres import Postgres
from flows.runtime.stack.prefect_server import api_url, common_environment, server_command, server_environment
from flows.runtime.stack.stop_report import worker_stop_file
from flows.runtime.stack.supervisor import Child
from flows.runtime.stack.valkey import redis_url, valkey_command
from tasks.settings.environment import child_environment, without_worker_secrets

WORKER = "Worker"
DASHBOARD = "Dashboard"
PREFECT_SERVER = "Prefect server"
POSTGRES = "PostgreSQL"
VALKEY = "Valkey"
STOP_ORDER = (WORKER, DASHBOARD, PREFECT_SERVER, POSTGRES, VALKEY)
WORKER_MODULE = "flows.runtime.stack.worker_process"
ONLY_STOP = "--only-stop"
RECYCLE = 75  # exit code of a worker that asks for a restart (EX_TEMPFAIL)

# A Python process with many threads otherwise keeps an arena of freed memory per thread.
_LOW_MEMORY = {"MALLOC_ARENA_MAX": "2", "PYTHONUNBUFFERED": "1"}


def valkey(state: Path, logs: Path, port: int) -> Child:
    """The embedded Valkey."""

    async def ready() -> bool:
        return await port_is_open(port) and await redis_is_ready(redis_url(port))

    return Child(
        name=VALKEY,
        command=valkey_command(state / "valkey", port),
        environment=child_environment({}, ours=False),
        log=logs / "valkey.log",
        where=f" on {redis_url(port)}",
        ready=ready,
        alive=lambda: health_checks.valkey_responds(port),
        stop_seconds=30,
    )


def postgres(server: Postgres, logs: Path) -> Child:
    """The embedded PostgreSQL; SIGINT is its fast shutdown."""

    async def ready() -> bool:
        return server.is_ready()

    return Child(
        name=POSTGRES,
        command=server.command,
        environment=child_environment({}, ours=False),
        log=logs / "postgres.log",
        where=f" in {server.data}",
        ready=ready,
        alive=lambda: health_checks.postgres_responds(server),
        stop_signal=signal.SIGINT,
        stop_seconds=30,
        user=server.user,
        folder=server.data,
        before_start=server.end_stale_server,
    )


def prefect_server(state: Path, logs: Path, port: int, database: Postgres) -> Child:
    """The Prefect server; its first start also makes the database's tables."""
    settings = server_environment(state / "prefect", port, database.async_url)
    return Child(
        name=PREFECT_SERVER,
        command=server_command(port),
        environment=child_environment(_LOW_MEMORY | settings, ours=False),
        log=logs / "prefect-server.log",
        where=f" on {api_url(port).removesuffix('/api')}",
        ready=http_responds(port, "/api/health"),
        alive=http_responds(port, "/api/health"),
        ready_seconds=180,
    )


def worker(state: Path, logs: Path, port: int, redis: str, module: str = WORKER_MODULE) -> Child:
    """The worker: deploys, runs the flows and, at the end, cancels open orders."""
    ready_file, refusal = worker_ready_file(state), worker_refusal_file(state)
    worker_deployed_file(state).unlink(missing_ok=True)

    async def ready() -> bool:
        return ready_file.exists()

    beats = beat_files(state)

    def forget() -> None:
        for file in (ready_file, refusal, worker_stop_file(state), *beats):
            file.unlink(missing_ok=True)

    return Child(
        name=WORKER,
        command=[sys.executable, "-m", module],
        environment=child_environment(
            _LOW_MEMORY
            | common_environment(state / "prefect", api_url(port))
            | {
                "GRIDFLOW_REDIS_URL": redis,
                "GRIDFLOW_STATE": str(state),
                "PREFECT_WORKER_QUERY_SECONDS": "2",
                "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
            }
        ),
        log=logs / "worker.log",
        ready=ready,
        alive=health_checks.files_touched(beats),
        recycles=RECYCLE,
        ready_seconds=240,
        stop_seconds=120,
        before_start=forget,
        refusal=refusal,
    )


def worker_ready_file(state: Path) -> Path:
    """Created by the worker when it begins to take runs."""
    return state / "worker.ready"


def worker_deployed_file(state: Path) -> Path:
    """Created by the worker once it has deployed in this run of the stack."""
    return state / "worker.deployed"


def worker_refusal_file(state: Path) -> Path:
    """The reason why the worker could not start; exists only after it ended for that."""
    return state / "worker.refused"


def beat_files(state: Path) -> tuple[Path, Path]:
    """Touched each second by the worker's main loop and by its trading loop."""
    return state / "worker.main.beat", state / "worker.trading.beat"


def dashboard(state: Path, logs: Path, port: int, prefect_port: int, redis: str) -> Child:
    """The dashboard: screens and metrics in one process. It gets no keys: it sends nothing to the exchange."""
    urls = {"GRIDFLOW_REDIS_URL": redis, "GRIDFLOW_STATE": str(state)}
    return Child(
        name=DASHBOARD,
        command=dashboard_command(HOST, port),
        environment=without_worker_secrets(
            child_environment(_LOW_MEMORY | common_environment(state / "prefect", api_url(prefect_port)) | urls)
        ),
        log=logs / "dashboard.log",
        where=f" on {dashboard_url(port)}",
        ready=lambda: port_is_open(port),
        alive=http_responds(port, "/_stcore/health", any_status=True),
    )


def dashboard_command(host: str, port: int, tls: tuple[Path | None, Path | None] = (None, None)) -> list[str]:
    """What serves the dashboard on that address. `tls`: files of the certificate and its key."""
    application = ["uvicorn", "dashboard.server:app", "--host", host, "--port", str(port), "--log-level", "warning"]
    certificate, key = tls
    if certificate is not None and key is not None:
        application += ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    return [sys.executable, "-m", *application]


def dashboard_url(port: int) -> str:
    """Where the dashboard answers."""
    return f"http://{HOST}:{port}"


def has_dashboard() -> bool:
    """Whether the dashboard is installed."""
    return importlib.util.find_spec("dashboard.server") is not None
