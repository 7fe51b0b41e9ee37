"""Who is let in, without any server."""

from typing import Any

import pytest

from dashboard.guard import allowed, host_option, refuse_open_address
from tasks.base.addresses import is_loopback


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "a.localhost", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_loopback(host: str) -> None:
    """Every way to say: this machine."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", "", "127.0.0.1.nip.io"]
)
def test_not_loopback(host: str) -> None:
    """Everything else, however alike."""
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("arguments", "host"),
    [
        (["app", "--host", "0.0.0.0"], "0.0.0.0"),
        (["--host=::", "app"], "::"),
        (["app", "--port", "1"], None),
        (["app", "--host"], None),
    ],
)
def test_the_host_option_is_found(arguments: list[str], host: str | None) -> None:
    """In both spellings of the option."""
    assert host_option(arguments) == host


def test_an_open_address_is_refused_at_start() -> None:
    """Whichever server was told."""
    refuse_open_address(["app", "--host", "127.0.0.1"], "127.0.0.1")
    refuse_open_address([], "unix:///run/gridflow.sock")
    for arguments, address in ((["--host", "0.0.0.0"], None), ([], "192.168.1.2")):
        with pytest.raises(SystemExit, match="Refusing to listen on"):
            refuse_open_address(arguments, address)


def scope(server: Any, host: bytes | None = None) -> dict[str, Any]:
    """An ASGI scope."""
    return {"type": "http", "server": server, "headers": [] if host is None else [(b"host", host)]}


@pytest.mark.parametrize(
    ("server", "host", "answer"),
    [
        (("127.0.0.1", 80), b"127.0.0.1:80", True),
        (("::1", 80), b"[::1]:80", True),
        (("127.0.0.1", 80), b"localhost", True),
        (("127.0.0.1", 80), None, True),
        (("/run/x.sock", None), b"localhost", True),
        (("10.0.0.5", 80), b"127.0.0.1", False),
        (("127.0.0.1", 80), b"evil.example:80", False),
        (None, b"localhost", False),
    ],
)
def test_a_connection_must_come_from_here_and_ask_for_here(server: Any, host: bytes | None, answer: bool) -> None:
    """The address it arrived on and the name it asks for."""
    assert allowed(scope(server, host)) is answer
