"""Who may reach the dashboard, told from the connection alone.

At start: an address beyond this machine is refused unless `tasks.control.exposure` finds it protected. On each
connection: the Host header must be a known name, so that no web page can reach the dashboard through a DNS name that
points at it, and what comes from elsewhere must have come over TLS.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from starlette.types import Scope

from tasks.base.addresses import is_loopback
from tasks.control.exposure import Listening

_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip")


class Origin(Enum):
    """Where a request comes from."""

    HERE = "this machine"
    ELSEWHERE = "elsewhere"
    WRONG_HOST = "the Host header names no host that this dashboard answers to. Add it to dashboard.hosts"
    NO_TLS = (
        "from elsewhere it answers over HTTPS only. A proxy on another machine must be in dashboard.trusted_proxies"
    )


def option(arguments: Sequence[str], name: str) -> str | None:
    """The value of an option in a command line, as `--name value` or `--name=value`; None where there is none."""
    for position, argument in enumerate(arguments):
        if argument.startswith(f"{name}="):
            return argument.removeprefix(f"{name}=")
        if argument == name and position + 1 < len(arguments):
            return arguments[position + 1]
    return None


def listening_on(
    arguments: Sequence[str], environment: Mapping[str, str], streamlit_address: str | None, streamlit_tls: str | None
) -> list[Listening]:
    """The addresses that uvicorn's command line or variables and Streamlit's settings name."""
    host = option(arguments, "--host") or environment.get("UVICORN_HOST")
    if host is not None:  # uvicorn does not look at Streamlit's address
        tls = option(arguments, "--ssl-certfile") or environment.get("UVICORN_SSL_CERTFILE")
        return [Listening(host, "--host", bool(tls))]
    if streamlit_address is not None:
        return [Listening(streamlit_address, "server.address", bool(streamlit_tls))]
    return []


def host_of(scope: Scope) -> str | None:
    """The name in the Host header, without port and brackets; None where there is none."""
    text = header(scope, b"host")
    if text is None:
        return None
    name = text[1 : text.index("]")] if text.startswith("[") and "]" in text else text.rsplit(":", 1)[0]
    return name.lower().rstrip(".")


def header(scope: Scope, wanted: bytes) -> str | None:
    """The first header of that name (lower case)."""
    found: Any = next((value for name, value in scope.get("headers", []) if name == wanted), None)
    return None if found is None else str(found.decode("latin-1"))


def origin_of(scope: Scope, hosts: Sequence[str]) -> Origin:
    """Where a request comes from. `hosts`: names, beside those of this machine, that its Host header may hold.

    HERE: it arrived on a loopback address or a Unix socket, from one, for a name of this machine, and past no proxy.
    """
    host = host_of(scope)
    is_own_name = host is None or is_loopback(host)
    if not is_own_name and host not in hosts:
        return Origin.WRONG_HOST
    if is_own_name and _is_from_here(scope):
        return Origin.HERE
    return Origin.ELSEWHERE if scope.get("scheme") in ("https", "wss") else Origin.NO_TLS


def _is_from_here(scope: Scope) -> bool:
    server, client = scope.get("server"), scope.get("client")
    if server is None or any(name in _FORWARDED for name, _ in scope.get("headers", [])):
        return False
    over_socket_file = server[1] is None
    return over_socket_file or (is_loopback(server[0]) and (client is None or is_loopback(client[0])))
