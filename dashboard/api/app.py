"""The API as one ASGI app, mounted at `/api`."""

from typing import Any, cast

from fastapi import FastAPI
from secure import CacheControl, ContentSecurityPolicy, ReferrerPolicy, Secure, XContentTypeOptions, XFrameOptions
from secure.middleware import SecureASGIMiddleware
from starlette.types import ASGIApp

from dashboard.api import allocation, auth, control, events, logs, metrics, status, trades
from dashboard.api.problems import handle_problems
from dashboard.api.security import Limits
from tasks.settings.model import Settings

_HEADERS = Secure(
    cache=CacheControl().no_store(),
    csp=ContentSecurityPolicy().default_src("'none'").frame_ancestors("'none'"),
    referrer=ReferrerPolicy().no_referrer(),
    xcto=XContentTypeOptions().nosniff(),
    xfo=XFrameOptions().deny(),
)
_PARTS = (auth, status, logs, trades, allocation, control, metrics, events)


def open_api() -> FastAPI:
    """The routes, without limits and headers."""
    api = FastAPI(
        title="Gridflow",
        summary="Status, trades, allocation, logs, live events and control of a Gridflow account.",
        version="1",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        root_path_in_servers=False,
    )
    handle_problems(api)
    for part in _PARTS:
        api.include_router(part.router)
    return api


def build_api(settings: Settings) -> ASGIApp:
    """The API with limits for each client and security headers. No other origin may read its answers."""
    limited: Any = Limits(open_api(), settings)
    return cast(ASGIApp, SecureASGIMiddleware(limited, secure=_HEADERS))
