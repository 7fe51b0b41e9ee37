"""The Prefect server of the one-machine stack: command and settings."""

import sys
from pathlib import Path

from flows.runtime.stack.ports import HOST

PREFERRED_PORT = 4200
RUN_DAYS = 3  # the server deletes runs that ended longer ago, …
EVENT_HOURS = 6  # … and older events; it looks once an hour
SERVER_MODULE = "flows.runtime.stack.prefect_server_process"


def api_url(port: int) -> str:
    """Where the server's API answers; the UI is one level up."""
    return f"http://{HOST}:{port}/api"


def server_command(port: int) -> list[str]:
    """The server in one process."""
    return [sys.executable, "-m", SERVER_MODULE, str(port)]


def common_environment(home: Path, api: str) -> dict[str, str]:
    """What server, worker and commands share: one server, no phoning home, a profile of their own."""
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "DO_NOT_TRACK": "1",
    }


def server_environment(home: Path, port: int, database_url: str) -> dict[str, str]:
    """Settings of the server itself: on PostgreSQL, small pools, few future runs, old runs removed."""
    return common_environment(home, api_url(port)) | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url,
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "5",
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "10",
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_UI_API_URL": api_url(port),
        "PREFECT_UI_STATIC_DIRECTORY": str(home / "ui"),  # by default it writes into its own package
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT3M",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_SCHEDULED_TIME": "PT2H",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(RUN_DAYS * 86400),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"PT{EVENT_HOURS}H",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",  # no automations here
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_MEMO_STORE_PATH": str(home / "memo_store.toml"),
    }
