"""The dashboard's one ASGI app: the Streamlit screens, `/metrics` for Prometheus and the CSV export.

`gridflow up` starts it as `uvicorn dashboard.server:app --host 127.0.0.1 --port 8501`; `streamlit run
dashboard/server.py` serves the same. It listens on loopback only (see `dashboard.guard`).
"""

import sys
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Route
from streamlit import config

from dashboard import export
from dashboard.connection import reader
from dashboard.guard import LoopbackOnly, refuse_open_address
from dashboard.metrics import metrics
from tasks.base.errors import ConfigError
from tasks.settings.logs import start_logging

app = st.App(
    Path(__file__).resolve().parent / "home.py",
    routes=[Route("/metrics", metrics, methods=["GET"]), Route(export.PATH, export.fills, methods=["GET"])],
    middleware=[Middleware(LoopbackOnly)],
)

refuse_open_address(sys.argv[1:], config.get_option("server.address"))
config.set_option("browser.gatherUsageStats", False)  # whatever a user's own Streamlit file says
try:
    start_logging(reader().settings, "dashboard")
except ConfigError as error:
    raise SystemExit(f"The dashboard cannot start: {error}") from None
