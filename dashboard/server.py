"""The dashboard's one ASGI app: the Streamlit screens, the HTTP API, `/metrics` for Prometheus and the CSV export.

`gridflow up` starts it as `uvicorn dashboard.server:app --host 127.0.0.1 --port 8501`; `streamlit run
dashboard/server.py` serves the same. It listens on loopback only (see `dashboard.guard`).
"""

import logging
import sys
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from streamlit import config

from dashboard import export
from dashboard.api.app import build_api
from dashboard.api.security import TokensOutOfAccessLogs, access
from dashboard.connection import reader
from dashboard.guard import LoopbackOnly, refuse_open_address
from dashboard.metrics import open_metrics
from tasks.base.errors import ConfigError, StateError
from tasks.settings.logs import start_logging
from tasks.settings.model import Settings


def _settings() -> Settings:
    try:
        return reader().settings
    except ConfigError as error:
        raise SystemExit(f"The dashboard cannot start: {error}") from None


def _begin_access() -> None:
    """Make the first password, where nobody has made one. Only a person at a terminal sees it."""
    try:
        password = access().begin()
    except StateError as error:
        raise SystemExit(f"The dashboard cannot start: {error}") from None
    if password and sys.stderr.isatty():
        sys.stderr.write(f"Password of the API, shown only now: {password}\n")
    elif password:
        logging.getLogger("dashboard").warning("a password was made; `gridflow token --new-password` shows another one")


refuse_open_address(sys.argv[1:], config.get_option("server.address"))
config.set_option("browser.gatherUsageStats", False)  # whatever a user's own Streamlit file says
start_logging(_settings(), "dashboard")
logging.getLogger("uvicorn.access").addFilter(TokensOutOfAccessLogs())
_begin_access()

app = st.App(
    Path(__file__).resolve().parent / "home.py",
    routes=[
        Mount("/api", build_api(_settings())),
        Route("/metrics", open_metrics, methods=["GET"]),
        Route(export.PATH, export.fills, methods=["GET"]),
    ],
    middleware=[Middleware(LoopbackOnly)],
)
