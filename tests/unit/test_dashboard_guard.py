"""Who is let in, without any server."""

from collections.abc import Mapping
from typing import Any

import pytest
from streamlit import config
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

from dashboard.gate import Gate
from dashboard.guard import Origin, listening_on, option, origin_of
from dashboard.sign_in import local_path
from dashboard.streamlit_options import protect
from tasks.base.addresses import is_loopback
from tasks.base.errors import ConfigError
from tasks.control.exposure import Listening, allowed_hosts, check_exposure
from tasks.settings.model import DashboardSettings

HERE = ("127.0.0.1", 8501)
AWAY = ("192.0.2.7", 50_000)
NAMED = "grid.example.org"
VALID = "a-valid-token"


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
    assert option(arguments, "--host") == host


def test_the_address_to_listen_on_is_found() -> None:
    """Of uvicorn's command line or variables, else of Streamlit's settings; and whether it has TLS there."""
    assert listening_on(["--host", "::"], {}, "127.0.0.1", None) == [Listening("::", "--host", False)]
    assert listening_on(["--host", "::", "--ssl-certfile=a"], {}, None, None) == [Listening("::", "--host", True)]
    assert listening_on([], {"UVICORN_HOST": "::"}, None, None) == [Listening("::", "--host", False)]
    assert listening_on([], {}, "10.0.0.1", "a.pem") == [Listening("10.0.0.1", "server.address", True)]
    assert listening_on([], {}, None, None) == []


@pytest.mark.parametrize(
    ("host", "has_tls", "settings", "has_password", "rules"),
    [
        ("127.0.0.1", False, {}, False, []),
        ("unix:///run/gridflow.sock", False, {}, False, []),
        ("10.0.0.5", True, {}, True, []),
        ("10.0.0.5", False, {"trusted_proxies": ["10.0.0.1"]}, True, []),
        ("10.0.0.5", True, {}, False, ["needs a password first"]),
        ("10.0.0.5", False, {}, True, ["needs TLS"]),
        ("10.0.0.5", False, {}, False, ["needs a password first", "needs TLS"]),
        ("0.0.0.0", True, {}, True, ["the names that browsers use"]),
        ("0.0.0.0", True, {"hosts": [NAMED]}, True, []),
    ],
)
def test_an_open_address_is_refused_unless_it_is_protected(
    host: str, has_tls: bool, settings: Mapping[str, Any], has_password: bool, rules: list[str]
) -> None:
    """Each missing protection is named, with what to do."""
    own = DashboardSettings.model_validate(settings)
    try:
        check_exposure(Listening(host, has_tls=has_tls), own, has_password=has_password)
        problems = []
    except ConfigError as error:
        problems = error.problems
    assert len(problems) == len(rules)
    for problem, rule in zip(problems, rules, strict=True):
        assert rule in problem.rule
        assert problem.value == host
        assert problem.remedy


def test_the_address_itself_is_a_name_to_ask_for() -> None:
    """But not the one that means every address."""
    own = DashboardSettings.model_validate({"hosts": [NAMED]})
    assert allowed_hosts(own, [Listening("10.0.0.5"), Listening("0.0.0.0")]) == (NAMED, "10.0.0.5")


def scope(kind: str = "http", path: str = "/", **changes: Any) -> dict[str, Any]:
    """An ASGI scope: a request of this machine."""
    headers = {"host": "127.0.0.1:8501"} | changes.pop("headers", {})
    found: dict[str, Any] = {
        "type": kind,
        "path": path,
        "server": HERE,
        "client": ("127.0.0.1", 50_000),
        "scheme": "http",
    }
    found |= {"method": "GET", "query_string": b"", **changes}
    found["headers"] = [(name.encode(), value.encode()) for name, value in headers.items() if value is not None]
    return found


@pytest.mark.parametrize(
    ("changes", "origin"),
    [
        ({}, Origin.HERE),
        ({"server": ("::1", 80), "headers": {"host": "[::1]:80"}}, Origin.HERE),
        ({"headers": {"host": None}}, Origin.HERE),
        ({"server": ("/run/x.sock", None), "client": None, "headers": {"host": "localhost"}}, Origin.HERE),
        ({"headers": {"host": "evil.example:80"}}, Origin.WRONG_HOST),
        ({"server": None}, Origin.NO_TLS),
        ({"server": ("10.0.0.5", 80)}, Origin.NO_TLS),
        ({"client": AWAY}, Origin.NO_TLS),
        ({"headers": {"x-forwarded-for": "192.0.2.7"}}, Origin.NO_TLS),
        ({"headers": {"host": NAMED}}, Origin.NO_TLS),
        ({"headers": {"host": f"{NAMED}:443"}, "scheme": "https"}, Origin.ELSEWHERE),
        ({"headers": {"host": NAMED.upper()}, "scheme": "wss"}, Origin.ELSEWHERE),
        ({"client": AWAY, "scheme": "https"}, Origin.ELSEWHERE),
    ],
)
def test_where_a_request_comes_from(changes: dict[str, Any], origin: Origin) -> None:
    """The addresses it came over, the name it asks for, and whether a proxy passed it on."""
    assert origin_of(scope(**changes), [NAMED]) is origin


async def asked(given: dict[str, Any], *, always: bool = False, messages: tuple[str, ...] = ()) -> list[str]:
    """What the gate lets through to the application, or answers itself.

    `messages`: what a web socket sends; `end` before one ends its session.
    """
    seen, valid = list[str](), {VALID}
    waiting = iter(messages)

    async def application(inner: Any, receive: Any, send: Any) -> None:
        seen.append("passed")
        if inner["type"] == "websocket":
            while (message := await receive())["type"] == "websocket.receive":
                seen.append(message["text"])
            seen.append(message["type"])

    async def receive() -> Any:
        text = next(waiting, None)
        if text == "end":
            valid.clear()
            text = "unseen"
        return {"type": "websocket.disconnect"} if text is None else {"type": "websocket.receive", "text": text}

    async def send(message: Any) -> None:
        seen.append(str(message.get("status") or message.get("code") or ""))
        seen.extend(value.decode() for name, value in message.get("headers", []) if name == b"location")

    gate = Gate(application, account="main", hosts=[NAMED], always=always, is_valid=valid.__contains__)
    await gate(given, receive, send)
    return [one for one in seen if one]


def cookie(token: str = VALID, port: int = 8501, account: str = "main") -> dict[str, str]:
    """The header of a browser that signed in."""
    return {"cookie": f"other=1; gridflow_{account}_{port}={token}"}


PATHS = [
    "/",
    "/grid",
    "/static/index.js",
    "/media/x.csv",
    "/_stcore/host-config",
    "/_stcore/metrics",
    "/export/fills.csv",
]


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_of_the_pages_is_served_without_the_cookie(path: str) -> None:
    """From elsewhere, and here where the settings say always; a wrong, other or foreign cookie gives nothing."""
    assert await asked(scope(path=path)) == ["passed"], "this machine needs none"
    away: dict[str, Any] = {"scheme": "https", "client": AWAY}
    for given in ({}, cookie("forged"), cookie(port=9000), cookie(account="alt")):
        assert await asked(scope(path=path, headers=given, **away)) == ["401"]
        assert await asked(scope(path=path, headers=given), always=True) == ["401"]
    assert await asked(scope(path=path, headers=cookie(), **away)) == ["passed"]
    assert await asked(scope(path=path, headers=cookie()), always=True) == ["passed"]


async def test_a_web_socket_without_the_cookie_is_refused() -> None:
    """Before it is accepted. One with the cookie ends with its session."""
    stream: dict[str, Any] = {"kind": "websocket", "path": "/_stcore/stream"}
    assert await asked(scope(**stream), always=True) == ["1008"]
    assert await asked(scope(**stream, headers=cookie("forged")), always=True) == ["1008"]
    assert await asked(scope(**stream, headers={"host": "evil.example"})) == ["1008"]
    assert await asked(scope(**stream, client=AWAY, scheme="ws")) == ["1008"], "without TLS"
    signed_in = scope(**stream, headers=cookie())
    assert await asked(signed_in, always=True, messages=("a", "b")) == ["passed", "a", "b", "websocket.disconnect"]
    ended = await asked(signed_in, always=True, messages=("a", "end"))
    assert ended == ["passed", "a", "1008", "websocket.disconnect"]


async def test_what_has_its_own_rules_passes() -> None:
    """The API asks for its token, the metrics have a setting, and health tells nothing."""
    for path in ("/api/dashboard/status", "/metrics", "/session/sign-in", "/_stcore/health"):
        assert await asked(scope(path=path), always=True) == ["passed"]
    for path in ("/apis", "/metrics2", "/_stcore/health/x", "/sessions"):
        assert await asked(scope(path=path), always=True) == ["401"]
    assert await asked(scope(path="/api/x", headers={"host": "evil.example"})) == ["403"]
    assert await asked(scope(path="/_stcore/health", headers={"host": "evil.example"})) == ["passed"]


async def test_a_person_is_sent_to_the_sign_in_page_and_back() -> None:
    """With the filters in the address."""
    person = scope(path="/trades", query_string=b"side=buy", headers={"accept": "text/html,*/*"})
    assert await asked(person, always=True) == ["303", "/session/sign-in?next=%2Ftrades%3Fside%3Dbuy"]
    assert await asked(scope(path="/", method="POST", headers={"accept": "text/html"}), always=True) == ["401"]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/grid?symbol=BTC%2FUSDT", "/grid?symbol=BTC%2FUSDT"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\\b", "/"),
        ("https://evil.example", "/"),
        ("", "/"),
        ("/session/sign-out", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
    ],
)
def test_nobody_is_sent_to_another_site(text: str, path: str) -> None:
    """Only paths of this server."""
    assert local_path(text) == path


def test_streamlit_answers_known_names_only_and_no_agents() -> None:
    """Its own check of web sockets; whatever a user's own Streamlit file says."""
    names = ("browser.gatherUsageStats", "server.enableAgentApi", "server.allowedHosts")
    before = {name: config.get_option(name) for name in names}
    config.set_option("server.enableAgentApi", True)
    try:
        protect([NAMED])
        assert not config.get_option("server.enableAgentApi")
        assert not config.get_option("browser.gatherUsageStats")
        for host in ("127.0.0.1:8501", "[::1]:8501", "localhost", f"{NAMED}:443"):
            assert is_host_allowed(host), host
        for other in ("evil.example", "127.0.0.1.nip.io", None):
            assert not is_host_allowed(other), other
    finally:
        for name, value in before.items():
            config.set_option(name, value)
