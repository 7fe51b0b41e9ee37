"""Loopback only: this version has no log-in, and whoever reaches a page may start a rebalance.

Two checks. At start, a listening address other than loopback is refused (uvicorn's `--host`, Streamlit's
`server.address`). On each connection, the local address must be loopback or a Unix socket, and the Host header must
name a loopback host, so that no web page can reach the dashboard through a DNS name that points at 127.0.0.1.
"""

from collections.abc import Sequence

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tasks.base.addresses import is_loopback

REFUSAL = (
    "Gridflow's dashboard has no log-in yet, so it answers on the loopback address only. "
    "Use http://127.0.0.1 on this machine, or an SSH tunnel to it (ssh -L 8501:127.0.0.1:8501 …)."
)


def host_option(arguments: Sequence[str]) -> str | None:
    """The address in a `uvicorn` command line; None where there is none."""
    for position, argument in enumerate(arguments):
        if argument.startswith("--host="):
            return argument.removeprefix("--host=")
        if argument == "--host" and position + 1 < len(arguments):
            return arguments[position + 1]
    return None


def refuse_open_address(arguments: Sequence[str], streamlit_address: str | None) -> None:
    """Raise SystemExit, with a message, when the server would listen beyond loopback."""
    for source, host in (("--host", host_option(arguments)), ("server.address", streamlit_address)):
        if host and not host.startswith("unix:") and not is_loopback(host):
            raise SystemExit(f"Refusing to listen on {host} ({source}). {REFUSAL}")


def _host_of(scope: Scope) -> str | None:
    for name, value in scope.get("headers", []):
        if name == b"host":
            text = str(value.decode("latin-1"))
            return text[: text.index("]") + 1] if text.startswith("[") and "]" in text else text.rsplit(":", 1)[0]
    return None


def allowed(scope: Scope) -> bool:
    """Whether the connection arrived on a loopback address and its Host header names one."""
    server = scope.get("server")
    if server is None:
        return False
    over_socket_file = server[1] is None
    if not over_socket_file and not is_loopback(server[0]):
        return False
    host = _host_of(scope)
    return host is None or is_loopback(host)


class LoopbackOnly:
    """ASGI middleware: answers 403 to connections that are not `allowed`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan" or allowed(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "loopback only"})
        else:
            await PlainTextResponse(REFUSAL + "\n", status_code=403)(scope, receive, send)
