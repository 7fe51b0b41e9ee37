"""The HTTP API over an account that has traded: every route good, bad, without a token, and with hostile input."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
import redis as sync_redis
import schemathesis
import uvicorn
from hypothesis import HealthCheck
from schemathesis.checks import response_schema_conformance

from dashboard import connection
from dashboard.api import control as control_routes
from dashboard.api import security, status
from dashboard.api.app import build_api, open_api
from dashboard.connection import Reader
from tasks.base.keys import Keys
from tasks.control.access import Access
from tasks.control.prefect_runs import PrefectRuns
from tasks.exchange.models import Side
from tasks.history.database import Database, history_url
from tasks.history.queries import FillFilter
from tasks.ledger.models import Fill
from tasks.settings.model import Settings
from tasks.views import history
from tests.support.own_loop import in_own_loop
from tests.support.prefect_stand_in import RUN_ID, PrefectStandIn
from tests.support.round_trips import counted_round_trips
from tests.support.seeding import account, archive, traded_redis
from tests.support.servers import RestartableRedis, free_port, listens
from tests.support.waiting import until

KEYS = Keys("main")
SYMBOLS = ["BNB/USDT", "BTC/USDT", "ETH/USDT"]
OPEN = {"/auth/token"}


class Api:
    """A client of the API, with a token."""

    def __init__(self, redis: RestartableRedis, state: Path, **dashboard: Any) -> None:
        own = account().model_dump() | {"redis_url": redis.url, "dashboard": dashboard}
        self.settings, self.state = Settings.model_validate(own), state
        self.access = Access(self.settings, state)
        self.access.begin()
        self.token = self.access.token(timedelta(hours=1)).text
        self._app = httpx.ASGITransport(build_api(self.settings), raise_app_exceptions=False)

    def ask(self, method: str, path: str, token: str | None = "", **more: Any) -> Any:
        """The answer. `token`: '' the right one, None none."""
        text = self.token if token == "" else token
        headers = {"Authorization": f"Bearer {text}"} if text else {}
        return self.send(method, path, headers=headers | more.pop("headers", {}), **more)

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """A request as it is."""

        async def work() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._app, base_url="http://gridflow") as client:
                return await client.request(method, path, **more)

        return asyncio.run(work())

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a good answer."""
        answer = self.ask("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def problem(self, code: int, method: str, path: str, **more: Any) -> str:
        """The detail of a refusal in the one shape of errors."""
        answer = self.ask(method, path, **more)
        assert answer.status_code == code, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        body = answer.json()
        assert {"type", "title", "status", "detail"} <= body.keys()
        assert body["status"] == code
        return str(body["detail"])


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestartableRedis]:
    """A Redis with an account that has traded."""
    with traded_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def state(redis: RestartableRedis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with its history and two log files."""
    folder = tmp_path_factory.mktemp("state")
    in_own_loop(archive(redis.url, folder))
    (folder / "logs").mkdir()
    lines = [f"2026-01-01 00:00:0{second} INFO     tasks.tick line {second} a=1" for second in range(5)]
    (folder / "logs" / "worker.log").write_text("\n".join([*lines, "Traceback: ERROR of a library"]))
    record = {
        "at": "2026-01-01T00:00:00.000+00:00",
        "level": "error",
        "logger": "tasks.tick",
        "message": "m",
        "symbol": "X",
    }
    (folder / "logs" / "worker.jsonl.1").write_text(json.dumps(record) + "\n{broken\n")
    (folder / "logs" / "secret.txt").write_text("no log")
    (folder / "logs" / "link.log").symlink_to("/etc/passwd")
    return folder


@pytest.fixture
def api(redis: RestartableRedis, state: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    """A client whose limits are new."""
    return serving(redis, state, monkeypatch)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """The last reader of a test ends with it."""
    yield
    for reader in connection._readers:
        reader.close()
    connection._readers.clear()


def serving(redis: RestartableRedis, state: Path, monkeypatch: pytest.MonkeyPatch, **dashboard: Any) -> Api:
    """The API of this process, as another process would have it."""
    monkeypatch.setenv("GRIDFLOW_STATE", str(state))
    found = Api(redis, state, **dashboard)
    for earlier in connection._readers:
        earlier.close()
    connection._readers[:] = [Reader(found.settings)]
    for cached in (security.access, security._tries, status._known):
        cached.cache_clear()
    return found


def fills(state: Path, wanted: FillFilter) -> list[Fill]:
    """All fills of the history that a filter holds, newest first."""

    async def read() -> list[Fill]:
        database = Database(history_url(account(), state))
        found = [fill async for fill in history.all_trades(database, "main", wanted)]
        await database.close()
        return found

    return asyncio.run(read())


async def in_pieces(text: bytes) -> AsyncIterator[bytes]:
    """A body without a length."""
    yield text


def routes() -> list[tuple[str, str]]:
    """(method, path) of every route that needs a token."""
    found = open_api().openapi()["paths"]
    return [
        (method.upper(), path.replace("{symbol}", "BTC/USDT"))
        for path, methods in found.items()
        for method in methods
        if path not in OPEN
    ]


@pytest.mark.parametrize(("method", "path"), routes())
def test_every_route_needs_a_token(api: Api, method: str, path: str) -> None:
    """Without one, with a wrong one, and with one for another scheme."""
    body: dict[str, Any] = {"json": {"symbols": []}} if method == "POST" else {}
    assert "token is needed" in api.problem(401, method, path, token=None, **body)
    assert "not valid" in api.problem(401, method, path, token="x.y.z", **body)
    answer = api.send(method, path, headers={"Authorization": f"Basic {api.token}"}, **body)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_password_gives_a_token(api: Api) -> None:
    """Too many wrong ones are refused for a while, and so is a right one then."""
    password = api.access.new_password()
    given = api.send("POST", "/auth/token", json={"password": password}).json()
    assert (given["token_type"], given["expires_in"]) == ("bearer", 12 * 3600)
    assert api.ask("GET", "/trades/symbols", token=given["access_token"]).status_code == 200
    for _ in range(5):
        said = api.problem(401, "POST", "/auth/token", token=None, json={"password": "not this one"})
        assert "not this one" not in said
    answer = api.send("POST", "/auth/token", json={"password": password})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60
    for wrong in ({}, {"password": ""}, {"password": 7}, {"password": "x" * 2000}, [password]):
        assert password not in api.problem(422, "POST", "/auth/token", token=None, json=wrong)


def test_status_shows_the_account_the_machine_and_every_symbol(api: Api, state: Path) -> None:
    """Amounts are numbers, with the exact text beside them."""
    found = api.get("/dashboard/status")
    assert found["success"] is True
    totals, symbols = found["data"]["dashboard"], found["data"]["symbols"]
    assert [one["symbol"] for one in symbols] == SYMBOLS
    assert totals["total_value"] == pytest.approx(10_000 + totals["total_pnl"])
    assert float(totals["total_value_exact"]) == totals["total_value"]
    assert totals["active_positions"] == sum(one["balance"]["base"] > 0 for one in symbols) > 0
    assert {"cpu_usage", "memory_usage", "uptime"} <= found["data"]["system"].keys()
    newest = fills(state, FillFilter(symbol="BTC/USDT"))[0]
    (btc,) = [one for one in symbols if one["symbol"] == "BTC/USDT"]
    assert btc["last_trade"]["trade_id"] == newest.trade_id
    assert btc["status"] in ("trading", "dark")


def test_quick_stats_agree_with_the_status_in_one_round_trip(api: Api) -> None:
    """Once the symbols are known."""
    whole = api.get("/dashboard/status")["data"]["dashboard"]
    quick = api.get("/dashboard/quick-stats")
    same = ("total_value", "total_pnl", "grid_profit", "floating", "fees")
    assert {name: quick[f"{name}_exact"] for name in same} == {name: whole[f"{name}_exact"] for name in same}
    assert quick["active_positions"] == whole["active_positions"]
    assert quick["open_orders"] == whole["open_orders"]
    assert quick["symbols"] == 3
    with counted_round_trips() as trips:
        api.get("/dashboard/quick-stats")
    assert trips.count == 1


def test_trades_are_paged_filtered_and_summed(api: Api, state: Path) -> None:
    """Each filter, in any case, against the fills themselves."""
    everything = fills(state, FillFilter())
    middle = everything[len(everything) // 2]
    at = datetime.fromtimestamp(middle.at_ms / 1000, UTC)
    cases: list[tuple[dict[str, Any], FillFilter]] = [
        ({}, FillFilter()),
        ({"symbol": "ETH/USDT", "side": "BUY"}, FillFilter(symbol="ETH/USDT", side=Side.BUY)),
        ({"side": "sell", "date_from": at.isoformat()}, FillFilter(side=Side.SELL, from_ms=middle.at_ms)),
        ({"date_to": at.replace(tzinfo=None).isoformat()}, FillFilter(to_ms=middle.at_ms)),
    ]
    for query, wanted in cases:
        expected = fills(state, wanted)
        pages = [api.get("/trades/list", page=page, page_size=40, **query) for page in (1, 2, 3)]
        shown = [row["trade_id"] for page in pages for row in page["items"]]
        assert shown == [fill.trade_id for fill in expected[:120]], query
        first = pages[0]
        assert first["total"] == first["summary"]["total_trades"] == len(expected)
        assert Decimal(first["summary"]["total_volume_exact"]) == sum(fill.quote for fill in expected)
        assert Decimal(first["summary"]["pnl_exact"]) == sum(fill.profit for fill in expected)
    row, fill = api.get("/trades/list")["items"][0], everything[0]
    assert (row["side"], Decimal(row["price_exact"]), row["price"]) == (
        fill.side.value.upper(),
        fill.price,
        float(fill.price),
    )
    assert api.get("/trades/symbols") == {"symbols": SYMBOLS}
    assert api.ask("GET", "/trades/export.csv", params={"symbol": "BTC/USDT"}).text.count("\n") == 1 + len(
        fills(state, FillFilter(symbol="BTC/USDT"))
    )


@pytest.mark.parametrize(("period", "days"), [("daily", 1), ("weekly", 7), ("monthly", 30)])
def test_statistics_of_a_period(api: Api, state: Path, period: str, days: int) -> None:
    """A point for each day; profit and trades add up to those of the fills."""
    found = api.get("/trades/statistics", period=period)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = int((today - timedelta(days=days - 1)).timestamp() * 1000)
    expected = fills(state, FillFilter(from_ms=first))
    assert (found["period"], len(found["daily_chart"])) == (period, days)
    assert sum(point["trades"] for point in found["daily_chart"]) == len(expected)
    assert sum(Decimal(point["pnl_exact"]) for point in found["daily_chart"]) == sum(one.profit for one in expected)
    statistics = found["statistics"]
    assert statistics["total_trades"] == len(expected)
    assert {"win_rate", "total_pnl", "max_drawdown", "sharpe_ratio"} <= statistics.keys()
    one = api.get("/trades/statistics", period=period, symbol="BTC/USDT")
    assert one["statistics"]["total_trades"] == sum(fill.symbol == "BTC/USDT" for fill in expected)


def test_logs_of_redis_and_of_files(api: Api) -> None:
    """By level and keyword; a broken line is a line."""
    found = api.get("/logs/list", page_size=2)
    assert (len(found["items"]), found["total"]) == (2, 4)
    assert [row["level"] for row in api.get("/logs/list", level="error")["items"]] == ["ERROR"]
    assert [row["fields"]["side"] for row in api.get("/logs/list", keyword="42100.5")["items"]] == ["sell"]
    assert api.get("/logs/files") == {"files": ["worker.jsonl.1", "worker.log"]}
    plain = api.get("/logs/list", file="worker.log")["items"]
    assert [row["message"] for row in plain[:2]] == ["Traceback: ERROR of a library", "line 4 a=1"]
    assert [row["level"] for row in plain[:2]] == ["ERROR", "INFO"]
    rows = api.get("/logs/list", file="worker.jsonl.1")["items"]
    assert [(row["level"], row["message"]) for row in rows] == [("INFO", "{broken"), ("ERROR", "m")]
    assert rows[1]["fields"] == {"symbol": "X"}
    assert [row["time"] for row in rows] == [None, "2026-01-01T00:00:00Z"]


@pytest.mark.parametrize(
    "name", ["../access.json", "/etc/passwd", "..", "", "link.log", "secret.txt", "worker.log/../worker.log", "a\x00b"]
)
def test_a_file_name_is_never_a_path(api: Api, name: str) -> None:
    """Only what the list names is read."""
    assert "no such file" in api.problem(404, "GET", "/logs/list", params={"file": name})


def test_allocation_blocked_and_ladder(api: Api) -> None:
    """What is shared, what was refused, and why a cell is idle."""
    pot = api.get("/allocation")
    assert [one["symbol"] for one in pot["symbols"]] == SYMBOLS
    assert sum(Decimal(one["allocated_exact"]) for one in pot["symbols"]) == Decimal(pot["allocated_exact"])
    assert api.get("/allocation/history", limit=1)["items"][0]["changes"]
    blocked = api.get("/blocked")
    assert {one["reason"] for one in blocked["counts"]} == {"SYMBOL_LIMIT"}
    assert {one["symbol"] for one in blocked["items"]} == {"BTC/USDT", "ETH/USDT"}
    ladder = api.get("/grid/BTC/USDT")
    assert ladder == api.get("/grid/btc-usdt")
    assert len(ladder["levels"]) == len(ladder["cells"]) + 1 == 21
    assert [cell["buy_price"] for cell in ladder["cells"]] == sorted(ladder["levels"][:-1], reverse=True)
    idle = [cell for cell in ladder["cells"] if cell["reason"]]
    assert all(cell["why"] and cell["order_id"] is None for cell in idle)
    assert "configured are" in api.problem(404, "GET", "/grid/FOO/USDT")


def test_an_operator_pauses_resumes_and_stops(api: Api, redis: RestartableRedis) -> None:
    """Each is written down as done by the API."""

    def actions() -> list[dict[str, Any]]:
        with sync_redis.Redis.from_url(redis.url, decode_responses=True) as client:
            found: Any = client.xrange(KEYS.outbox)
        return [json.loads(fields["body"]) for _, fields in found if fields["kind"] == "action"]

    before = len(actions())
    assert api.ask("POST", "/control/pause", json={"symbols": ["BTC/USDT"]}).json()["success"]
    assert api.get("/allocation")["symbols"][1]["paused"] is True
    assert api.ask("POST", "/control/stop").status_code == 200
    assert api.get("/dashboard/quick-stats")["stopped"] is True
    assert api.get("/dashboard/status")["data"]["symbols"][0]["status"] == "stopped"
    assert api.ask("POST", "/control/resume", json={}).status_code == 200
    assert api.ask("POST", "/control/resume", json={"symbols": ["BTC/USDT"]}).status_code == 200
    assert api.get("/dashboard/quick-stats")["stopped"] is False
    done = actions()[before:]
    assert [(one["actor"], one["action"]) for one in done] == [
        ("api", "pause"),
        ("api", "stop"),
        ("api", "resume"),
        ("api", "resume"),
    ]
    assert "FOO/USDT" in api.problem(422, "POST", "/control/pause", json={"symbols": ["FOO/USDT"]})


def test_a_rebalance_starts_a_flow_run(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id and its page; 503 where the Prefect server does not answer."""
    server = PrefectStandIn()
    monkeypatch.setattr(control_routes, "prefect", lambda: PrefectRuns(server.api, 5))
    assert "does not answer" in api.problem(503, "POST", "/control/rebalance")
    server.start()
    try:
        answer = api.ask("POST", "/control/rebalance")
        assert answer.status_code == 202
        assert answer.json()["run_id"] == RUN_ID
        assert answer.json()["link"].endswith(f"/runs/flow-run/{RUN_ID}")
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/trades/list", {"page": "0"}),
        ("/trades/list", {"page": "9" * 30}),
        ("/trades/list", {"page_size": "501"}),
        ("/trades/list", {"side": "both"}),
        ("/trades/list", {"date_from": "yesterday"}),
        ("/trades/list", {"symbol": "x" * 41}),
        ("/trades/statistics", {"period": "yearly"}),
        ("/logs/list", {"level": "LOUD"}),
        ("/blocked", {"limit": "-1"}),
    ],
)
def test_wrong_values_are_refused_by_field(api: Api, path: str, query: dict[str, str]) -> None:
    """422, with the field and its rule."""
    (name,) = query
    answer = api.ask("GET", path, params=query)
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [name]


def test_wrong_paths_methods_and_bodies(api: Api) -> None:
    """404, 405, 413, 422."""
    assert api.problem(404, "GET", "/nothing") == "Not Found"
    assert api.problem(404, "GET", "/trades/statistics", params={"symbol": "FOO/USDT"})
    assert api.problem(405, "DELETE", "/trades/list")
    assert "65536 bytes" in api.problem(413, "POST", "/control/pause", content=b"x" * 70_000)
    assert "names its length" in api.problem(413, "POST", "/control/pause", content=in_pieces(b"{}"))
    assert api.problem(422, "POST", "/control/pause", content=b"{", headers={"Content-Type": "application/json"})


def test_a_client_that_asks_too_often_waits(
    redis: RestartableRedis, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429, and when to ask again."""
    api = serving(redis, state, monkeypatch, requests_per_minute=3)
    for _ in range(3):
        api.get("/trades/symbols")
    answer = api.ask("GET", "/trades/symbols")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60


def test_headers_protect_and_no_origin_may_read(api: Api) -> None:
    """Of good answers and of errors."""
    for answer in (api.ask("GET", "/trades/symbols"), api.ask("GET", "/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "content-security-policy" in answer.headers
        assert "server" not in answer.headers or "uvicorn" not in answer.headers["server"]
    preflight = api.send(
        "OPTIONS", "/trades/symbols", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    )
    assert "access-control-allow-origin" not in preflight.headers


def test_metrics_with_a_token(api: Api) -> None:
    """The same page as Prometheus reads."""
    answer = api.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "gridflow_global_fund_usage_pct" in answer.text


def test_without_redis_and_without_history(
    tmp_path: Path, redis: RestartableRedis, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 says what is away; before the first trade the lists are empty."""
    fresh = serving(redis, tmp_path, monkeypatch)
    assert fresh.get("/trades/list")["items"] == []
    assert fresh.get("/trades/symbols") == {"symbols": []}
    assert fresh.get("/allocation/history") == {"items": []}
    assert fresh.get("/trades/statistics")["statistics"]["total_trades"] == 0
    away = RestartableRedis(tmp_path)
    api = serving(away, state, monkeypatch)
    for path in ("/dashboard/status", "/dashboard/quick-stats", "/allocation", "/blocked", "/logs/list"):
        assert "does not answer" in api.problem(503, "GET", path)
    assert api.get("/trades/list")["total"] > 0, "the history needs no Redis"


def test_the_program_fails_without_telling_why(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log has the traceback; the answer has not."""

    def fail(*_: object) -> None:
        raise RuntimeError("a secret thing")

    monkeypatch.setattr("dashboard.api.trades.reader", fail)
    assert "secret" not in api.problem(500, "GET", "/trades/symbols")


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    """The same API under uvicorn."""
    port = free_port()
    running = uvicorn.Server(uvicorn.Config(build_api(api.settings), port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=running.run)
    thread.start()
    until(lambda: listens(port), 10)
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join()


STREAMS = ("/sse/events", "/logs/stream")  # they do not end


def operations() -> dict[str, Any]:
    """Every operation of the schema that ends, by method and path."""
    schema = schemathesis.openapi.from_dict(open_api().openapi())
    found: list[Any] = [each.ok() for each in schema.get_all_operations()]  # type: ignore[union-attr]
    return {f"{one.method.upper()} {one.path}": one for one in found if one.path not in STREAMS}


OPERATIONS = operations()


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_input_makes_the_server_fail(redis: RestartableRedis, state: Path, url: str, api: Api, name: str) -> None:
    """Whatever fits the schema or not; a good answer is as the schema says."""
    header, operation = {"Authorization": f"Bearer {api.token}"}, OPERATIONS[name]

    @hypothesis.settings(max_examples=12, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @hypothesis.given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        answer = case.call(base_url=url, headers=header)
        assert answer.status_code < 500 or name == "POST /control/rebalance", answer.text
        if answer.status_code < 300:
            case.validate_response(answer, checks=[response_schema_conformance])

    ask()
