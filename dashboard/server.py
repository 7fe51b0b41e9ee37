"""The dashboard's one ASGI app: the Streamlit screens, the HTTP API, `/metrics` for Prometheus and the CSV export.

`gridflow up` starts it as `uvicorn dashboard.server:app --host 127.0.0.1 --port 8501`; `streamlit run
dashboard/server.py` serves the same. Beyond this machine it listens only with a password and TLS, or behind a proxy
that has it (see `tasks.control.exposure`).
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from streamlit import config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from dashboard import export
from dashboard.api.app import build_api
from dashboard.api.security import TokensOutOfAccessLogs, access
from dashboard.connection import reader
from dashboard.gate import Gate
from dashboard.guard import listening_on
from dashboard.last_watch import start_last_watch
from dashboard.metrics import open_metrics
from dashboard.screens import pages  # noqa: F401 - loads the screens
from dashboard.settling import collect_ourselves, settle
from dashboard.sign_in import Sessions, build_sessions
from dashboard.streamlit_options import protect
from tasks.base.errors import ConfigError, StateError
from tasks.control.exposure import Listening, allowed_hosts, check_exposure
from tasks.settings.environment import uvicorn_variables
from tasks.settings.logs import start_logging
from tasks.settings.model import Settings


def _settings() -> Settings:
    try:
        return reader().settings
    except ConfigError as error:
        raise SystemExit(f"The dashboard cannot start: {error}") from None


def _listening(settings: Settings) -> Sequence[Listening]:
    """The addresses to listen on. Ends the process where one is not protected enough."""
    found = listening_on(
        sys.argv[1:], uvicorn_variables(), config.get_option("server.address"), config.get_option("server.sslCertFile")
    )
    try:
        for one in found:
            check_exposure(one, settings.dashboard, has_password=access().has_password())
    except ConfigError as error:
        raise SystemExit(f"Refusing to listen. {error}") from None
    return found


def _begin_access() -> None:
    """Make the first password, where nobody has made one. Only a person at a terminal sees it."""
    try:
        password = access().begin()
    except StateError as error:
        raise SystemExit(f"The dashboard cannot start: {error}") from None
    if password and sys.stderr.isatty():
        sys.stderr.write(f"Password of the API and the pages, shown only now: {password}\n")
    elif password:
        logging.getLogger("dashboard").warning("a password was made; `gridflow token --new-password` shows another one")


start_logging(_settings(), "dashboard")
logging.getLogger("uvicorn.access").addFilter(TokensOutOfAccessLogs())
_SESSIONS = Sessions(access())
_HOSTS: list[str] = []  # filled below, before the first request

app = st.App(
    Path(__file__).resolve().parent / "home.py",
    routes=[
        Mount("/api", build_api(_settings())),
        Mount("/session", build_sessions(_settings(), _SESSIONS)),
        Route("/metrics", open_metrics, methods=["GET"]),
        Route(export.PATH, export.fills, methods=["GET"]),
    ],
    middleware=[
        Middleware(ProxyHeadersMiddleware, trusted_hosts=list(_settings().dashboard.trusted_proxies)),
        Middleware(
            Gate,
            account=_settings().account,
            hosts=_HOSTS,
            always=_settings().dashboard.sign_in == "always",
            is_valid=_SESSIONS.is_valid,
        ),
    ],
)

# Streamlit reads its options when the first one is asked for; only an app that exists tells it where they lie.
_HOSTS.extend(allowed_hosts(_settings().dashboard, _listening(_settings())))
protect(_HOSTS)
collect_ourselves()
_begin_access()
start_last_watch()
settle()
