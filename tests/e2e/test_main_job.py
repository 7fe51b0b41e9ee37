"""The main job as a user runs it: `gridflow up` trades three symbols through Prefect, and everything can be seen."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
import pytest
import redis as sync_redis
from playwright.sync_api import Page, expect

from tasks.base.keys import Keys
from tasks.base.redis_client import connect
from tasks.control.prefect_runs import PrefectRuns
from tasks.ledger.models import Fill
from tasks.settings.running import read_record
from tests.support.candles import write_candles
from tests.support.own_loop import in_own_loop
from tests.support.redis_contents import contents
from tests.support.secret_settings import MARK, secret_environment
from tests.support.waiting import until

GRIDFLOW = str(Path(sys.executable).with_name("gridflow"))
SYMBOLS = ["BNB/USDT", "BTC/USDT", "ETH/USDT"]
SETTINGS = """
[trading]
window_seconds = 10
tick_min_seconds = 1
tick_max_seconds = 3
"""


@dataclass
class Running:
    """A stack under way, and how to ask it things."""

    process: subprocess.Popen[bytes]
    arguments: list[str]
    folder: Path

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run another gridflow command on the same state, as in a second shell."""
        return subprocess.run(
            [GRIDFLOW, *command, *self.arguments], capture_output=True, text=True, check=False, timeout=240
        )

    def status(self) -> dict[str, Any]:
        """`gridflow status --json`."""
        answer = self.ask("status", "--json")
        assert answer.returncode == 0, answer.stderr
        found: dict[str, Any] = json.loads(answer.stdout)
        return found

    def has_filled(self) -> bool:
        """Whether every symbol has fills in the books."""
        assert self.process.poll() is None, (self.folder / "err").read_text()
        record = read_record(self.folder / "state")
        if record is None or "First tick" not in (self.folder / "err").read_text():
            return False
        with sync_redis.Redis.from_url(record.redis, decode_responses=True) as client:
            fills: Any = client.hmget(Keys("main").stats, [f"fills|{symbol}" for symbol in SYMBOLS])
        return all(int(count or 0) > 0 for count in fills)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`gridflow up` over replayed candles, past its first fills."""
    folder = tmp_path_factory.mktemp("up")
    config = folder / "gridflow.toml"
    config.write_text(SETTINGS, encoding="utf-8")
    data = write_candles(folder / "candles", 5000)
    arguments = ["--config", str(config), "--state", str(folder / "state")]
    command = [GRIDFLOW, "up", *arguments, "--market", "replay", "--data", str(data), "--speed", "600"]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        environment = os.environ | secret_environment()
        process = subprocess.Popen([*command, "--json"], stdout=out, stderr=err, env=environment)
    running = Running(process, arguments, folder)
    try:
        until(running.has_filled, 60, "fills of each symbol")
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(240)


def test_status_names_the_urls_and_the_money(up: Running) -> None:
    """Equity, commitments, cells by state and ticks of every symbol."""
    status = up.status()
    assert set(status["urls"]) == {"redis", "prefect_api", "prefect_ui", "dashboard"}
    assert Decimal(status["identity_error"]) == 0
    assert Decimal(status["committed"]) <= Decimal(status["pool"])
    for one in status["symbols"]:
        assert one["ticks"] > 0
        assert sum(one["cells"].values()) == 20
        assert one["last_tick_duration_ms"] is not None
    assert "BTC/USDT" in up.ask("status").stdout


def test_the_api_shows_it_and_tells_of_fills_as_they_happen(up: Running) -> None:
    """With a token of the command. `up` has shown the password once."""
    assert (up.folder / "err").read_text().count("Password of the API and the pages, shown only now: ") == 1
    url = f"{up.status()['urls']['dashboard']}/api"
    token = up.ask("token").stdout.splitlines()[-1]
    header = {"Authorization": f"Bearer {token}"}
    found = httpx.get(f"{url}/dashboard/status", headers=header, trust_env=False).json()["data"]
    assert [one["symbol"] for one in found["symbols"]] == SYMBOLS
    assert {one["status"] for one in found["symbols"]} == {"trading"}
    with httpx.stream("GET", f"{url}/sse/events", params={"token": token}, timeout=60, trust_env=False) as stream:
        assert next(line for line in stream.iter_lines() if line == "event: fill")


def test_prefect_shows_the_deployments_and_the_windows(up: Running) -> None:
    """The deployments of the design, and COMPLETED runs of each symbol's window."""
    api = up.status()["urls"]["prefect_api"]
    deployments = httpx.post(f"{api}/deployments/filter", json={}, trust_env=False).json()
    names = {one["name"] for one in deployments}
    assert names == {"btc-usdt", "eth-usdt", "bnb-usdt", "hourly", "manual", "five-minutes"}
    assert len(deployments) == 8
    by_id = {one["id"]: one["name"] for one in deployments}
    completed: set[str] = set()
    deadline = time.monotonic() + 160
    wanted = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    while time.monotonic() < deadline and not {"btc-usdt", "eth-usdt", "bnb-usdt"} <= completed:
        runs = httpx.post(f"{api}/flow_runs/filter", json=wanted, trust_env=False).json()
        completed = {by_id.get(run["deployment_id"], "") for run in runs}
        time.sleep(0.5)
    assert {"btc-usdt", "eth-usdt", "bnb-usdt"} <= completed
    windows = [run for run in runs if by_id.get(run["deployment_id"]) == "btc-usdt"]
    assert all({"BTC/USDT", "paper"} <= set(run["tags"]) for run in windows)  # Prefect adds auto-scheduled
    assert all(re.fullmatch(r"BTC/USDT \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", run["name"]) for run in windows)


def test_the_prefect_ui_shows_a_symbol_s_windows(up: Running, page: Page, tmp_path: Path) -> None:
    """The artifact page of a symbol is the history of its windows, with a link to the dashboard."""
    urls = up.status()["urls"]
    page.goto(f"{urls['prefect_ui']}/artifacts/key/grid-btc-usdt")
    expect(page.get_by_text("grid-btc-usdt").first).to_be_visible(timeout=30_000)
    expect(page.get_by_text(re.compile(r"BTC/USDT \d{4}-")).first).to_be_visible(timeout=30_000)
    page.screenshot(path=tmp_path / "windows.png", full_page=True)
    found = httpx.post(f"{urls['prefect_api']}/artifacts/latest/filter", json={}, trust_env=False).json()
    latest = {one["key"]: one for one in found}
    assert {"grid-bnb-usdt", "grid-btc-usdt", "grid-eth-usdt"} <= latest.keys()
    assert f"[Dashboard]({urls['dashboard']})" in latest["grid-btc-usdt"]["description"]
    page.goto(f"{urls['prefect_ui']}/artifacts/artifact/{latest['grid-btc-usdt']['latest_id']}")
    for text in ("Grid profit of this window", "Idle cells", "Latest tick"):
        expect(page.get_by_text(text).first).to_be_visible(timeout=30_000)
    expect(page.get_by_role("link", name="Dashboard").first).to_have_attribute("href", re.compile(urls["dashboard"]))
    page.screenshot(path=tmp_path / "window.png", full_page=True)


def test_a_rebalance_is_started_from_its_form(up: Running, page: Page, tmp_path: Path) -> None:
    """The form explains each parameter; what it starts completes, and its name says what and when."""
    urls = up.status()["urls"]
    api = urls["prefect_api"]
    deployment = httpx.get(f"{api}/deployments/name/rebalance/manual", trust_env=False).json()["id"]
    page.goto(f"{urls['prefect_ui']}/deployments/deployment/{deployment}/run")
    for text in ("How far", "Also where nothing asks for it", "Manual goes all the way"):
        expect(page.get_by_text(text).first).to_be_visible(timeout=30_000)
    page.screenshot(path=tmp_path / "form.png", full_page=True)
    wanted = {"flow_runs": {"deployment_id": {"any_": [deployment]}}}

    def runs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.post(f"{api}/flow_runs/filter", json=wanted, trust_env=False).json()
        return found

    before = {run["id"] for run in runs()}
    page.get_by_role("button", name="Submit").click()

    def done() -> bool:
        return any(run["state_type"] == "COMPLETED" for run in runs() if run["id"] not in before)

    until(done, 60, "the run that the form started")
    (run,) = [run for run in runs() if run["id"] not in before]
    assert re.fullmatch(r"rebalance manual \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", run["name"])


def test_an_operator_can_rebalance_pause_and_resume(up: Running) -> None:
    """From the command line, through Prefect where it is a run."""
    done = up.ask("rebalance", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "COMPLETED"
    assert up.ask("pause", "BTC/USDT").returncode == 0
    assert {one["symbol"]: one["paused"] for one in up.status()["symbols"]}["BTC/USDT"]
    assert up.ask("resume", "BTC/USDT").returncode == 0
    wrong = up.ask("pause", "DOGE/USDT")
    assert wrong.returncode == 2
    assert "DOGE/USDT" in wrong.stderr


def test_the_pot_can_be_audited_while_it_trades(up: Running) -> None:
    """From a second shell that was not told which market runs: joins it, compares, changes nothing."""
    for _ in range(3):
        audited = up.ask("funds", "audit", "--json")
        if audited.returncode == 0:
            break  # an order sent between the two readings may look stray for a moment
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert json.loads(audited.stdout)["ok"]
    recovered = up.ask("recover", "--json")
    assert recovered.returncode == 0, recovered.stderr
    assert not any(json.loads(recovered.stdout.strip().splitlines()[-1])["rebuilt"].values())


def test_a_rebalance_from_prefects_own_command_line(up: Running) -> None:
    """`prefect deployment run 'rebalance/manual'` against the stack's server ends COMPLETED."""
    environment = os.environ | {"PREFECT_API_URL": up.status()["urls"]["prefect_api"]}
    command = [str(Path(GRIDFLOW).with_name("prefect")), "deployment", "run", "rebalance/manual", "--watch"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "COMPLETED" in done.stdout.upper() or "finished successfully" in done.stdout


def test_a_second_up_on_the_same_state_says_so(up: Running) -> None:
    """It touches nothing and names the running one."""
    second = up.ask("up")
    assert second.returncode == 1
    assert "http://127.0.0.1" in second.stderr + second.stdout


@pytest.mark.parametrize("screen", ["", "logs"])
def test_the_dashboard_shows_it(up: Running, page: Page, screen: str, tmp_path: Path) -> None:
    """Two screens in a real browser, over the running stack, without signing in; pytest keeps the picture.

    `test_dashboard` looks at all of them.
    """
    url = up.status()["urls"]["dashboard"]
    page.goto(f"{url}/{screen}")
    expect(page.get_by_text("BTC/USDT").first).to_be_visible(timeout=80_000)
    if not screen:  # a card leads to the flow run that ticks its symbol
        run = page.get_by_role("link", name="flow run", exact=True).first
        pages = re.escape(up.status()["urls"]["prefect_ui"])
        expect(run).to_have_attribute("href", re.compile(f"^{pages}/runs/flow-run/"), timeout=30_000)
    page.wait_for_timeout(1500)
    page.screenshot(path=str(tmp_path / f"{screen or 'overview'}.png"), full_page=True)
    metrics = httpx.get(f"{url}/metrics", trust_env=False).text
    for name in (
        "gridflow_global_fund_usage_pct",
        "gridflow_per_symbol_usage_pct",
        "gridflow_rebalance_count_total",
        "gridflow_blocked_trades_count_total",
        "gridflow_allocation_efficiency",
    ):
        assert f"# TYPE {name}" in metrics


def test_the_trades_screen_shows_trades_of_each_symbol(up: Running, page: Page, tmp_path: Path) -> None:
    """One symbol after the other is chosen: an order that was filled stands in the table by its id.

    pytest keeps a picture of each in the test's temp folder.
    """
    urls = up.status()["urls"]
    page.goto(f"{urls['dashboard']}/trades")
    with sync_redis.Redis.from_url(urls["redis"], decode_responses=True) as client:
        for symbol in SYMBOLS:
            page.get_by_role("combobox", name="Symbol").click(timeout=80_000)
            page.get_by_role("option", name=symbol).click()
            until(partial(shown_orders, page, client, symbol), 20)
            page.screenshot(path=str(tmp_path / f"{symbol.replace('/', '-')}.png"), full_page=True)


def shown_orders(page: Page, client: sync_redis.Redis, symbol: str) -> set[str]:
    """Ids of the symbol's filled orders, as Redis holds them, that stand in a table of the screen."""
    fills: Any = client.lrange(Keys("main").newest_fills(symbol), 0, -1)
    cells = {text.strip() for text in page.locator(".gf-table td").all_text_contents()}
    return cells & {Fill.model_validate_json(one).client_id for one in fills}


def test_rebalance_now_ends_in_a_completed_run(up: Running, page: Page) -> None:
    """The button of the Allocation screen starts a run of Prefect; its page says COMPLETED, and so does the screen."""
    urls = up.status()["urls"]
    page.goto(f"{urls['dashboard']}/allocation")
    page.get_by_role("button", name="Rebalance now").click(timeout=80_000)
    expect(page.get_by_text(re.compile(r"Rebalance .+: Completed"))).to_be_visible(timeout=80_000)
    link = page.get_by_role("link", name="Show the run in Prefect").get_attribute("href")
    assert link is not None
    run = httpx.get(f"{urls['prefect_api']}/flow_runs/{link.rsplit('/', 1)[1]}", trust_env=False).json()
    assert run["state_type"] == "COMPLETED"


def test_the_status_can_be_logged_by_prefect(up: Running) -> None:
    """A run of log-status/five-minutes completes, and its log at Prefect names the money and each symbol."""
    api = up.status()["urls"]["prefect_api"]
    ended = PrefectRuns(api).run("log-status/five-minutes", 60)
    assert ended.ok, ended.message

    def told() -> bool:
        lines = PrefectRuns(api).log(ended.run_id)
        return all(any(line.startswith(head) for line in lines) for head in ("trading: equity ", *SYMBOLS))

    until(told, 20)


def test_prefect_stops_trading_and_resumes_it(up: Running) -> None:
    """graceful-stop/manual: windows tick on, and nothing rests or fills; resume/manual: each symbol orders again."""
    urls = up.status()["urls"]
    with sync_redis.Redis.from_url(urls["redis"], decode_responses=True) as client:
        ended = PrefectRuns(urls["prefect_api"]).run("graceful-stop/manual", 60)
        assert ended.ok, ended.message
        assert open_orders(client) == [0, 0, 0]
        fills, ticks = counted(client, "fills"), counted(client, "ticks")
        until(lambda: all(now > then for now, then in zip(counted(client, "ticks"), ticks, strict=True)), 40)
        assert open_orders(client) == [0, 0, 0]
        assert counted(client, "fills") == fills
        assert up.status()["stopped"]

        ended = PrefectRuns(urls["prefect_api"]).run("resume/manual", 60)
        assert ended.ok, ended.message
        until(lambda: all(open_orders(client)), 40)


def open_orders(client: sync_redis.Redis) -> list[int]:
    """Journalled orders of each symbol."""
    return [client.hlen(Keys("main").intents(symbol)) for symbol in SYMBOLS]


def counted(client: sync_redis.Redis, what: str) -> list[int]:
    """`ticks` or `fills` of each symbol since the account began."""
    return [int(cast(str, client.hget(Keys("main").stats, f"{what}|{symbol}"))) for symbol in SYMBOLS]


def test_ticks_inside_a_window_call_prefect_never(up: Running, redis_url: str) -> None:
    """A window of many ticks, run as its own process: between ticks only the log of the run's start goes out."""
    environment = os.environ | {
        "PREFECT_API_URL": up.status()["urls"]["prefect_api"],
        "GRIDFLOW_REDIS_URL": redis_url,
        "GRIDFLOW_PAPER__MARKET": "synthetic",
        "GRIDFLOW_TRADING__WINDOW_SECONDS": "10",
        "GRIDFLOW_TRADING__TICK_MIN_SECONDS": "0.1",
        "GRIDFLOW_TRADING__TICK_MAX_SECONDS": "0.2",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.count_calls", "BTC/USDT"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout.strip().splitlines()[-1])
    assert counted["ticks"] >= 2  # some 60 on an idle machine
    assert counted["calls"] > 0
    assert set(counted["inside"]) <= {"/api/csrf-token", "/api/logs/"}
    assert len(counted["inside"]) <= 2
    assert (counted["pages"], counted["events"]) == (1, 0), "one table a window; no event while nothing is wrong"


def test_prefects_lines_and_its_ui_are_apart(up: Running) -> None:
    """The worker's own log has no line of Prefect's, whose file has them; one of its two UIs is in the state folder."""
    logs = up.folder / "state" / "logs"
    own, prefects = ((logs / name).read_text("utf-8") for name in ("worker.log", "prefect-worker.log"))
    assert " prefect." not in own
    assert "fill booked" in own
    assert " prefect.flow_runs Beginning flow run 'BTC/USDT " in prefects
    assert "Traceback" not in own + prefects
    assert [path.name for path in (up.folder / "state/prefect/ui").iterdir() if path.is_dir()] == ["v1"]


def test_no_secret_is_shown_anywhere(up: Running, page: Page) -> None:
    """In log lines, events, alerts and records in Redis, in what Prefect stores of runs, and on pages.

    Every secret of the settings is set. No alert can be delivered, so what fails is told with its error.
    """
    urls = up.status()["urls"]
    texts = {path: path.read_text("utf-8", "replace") for path in (up.folder / "state" / "logs").iterdir()}
    texts |= {up.folder / name: (up.folder / name).read_text("utf-8") for name in ("out", "err")}
    shown = {str(path): text for path, text in texts.items()}
    shown["redis"] = in_own_loop(redis_contents(urls["redis"]))
    for kind in ("artifacts", "logs", "events", "flow_runs", "deployments", "work_pools"):
        answer = httpx.post(f"{urls['prefect_api']}/{kind}/filter", json={}, trust_env=False)
        assert answer.is_success, answer.text
        shown[kind] = answer.text
    for screen in ("logs", "allocation", "trades"):
        page.goto(f"{urls['dashboard']}/{screen}")
        expect(page.get_by_text("BTC/USDT").first).to_be_visible(timeout=80_000)
        shown[screen] = page.content()
    shown["status"] = up.ask("status", "--json").stdout
    assert [name for name, text in shown.items() if MARK in text] == []
    lines = [json.loads(line) for line in (up.folder / "state/logs/worker.jsonl").read_text("utf-8").splitlines()]
    of_tick = next(line for line in lines if line["message"] == "fill booked" and "flow_run" in line)
    assert of_tick["flow_run_url"] == f"{urls['prefect_ui']}/runs/flow-run/{of_tick['flow_run']}"
    assert (of_tick["symbol"] in SYMBOLS, int(of_tick["tick"]) > 0) == (True, True)


async def redis_contents(url: str) -> str:
    """All that the stack's Redis holds."""
    client = connect(url)
    try:
        return await contents(client)
    finally:
        await client.aclose()


def test_it_ends_in_order_with_books_that_balance(up: Running) -> None:
    """The last line is one JSON object; nothing rests, nothing is reserved, no process is left."""
    family = psutil.Process(up.process.pid).children(recursive=True)
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(240) == 0, (up.folder / "err").read_text()
    summary = json.loads((up.folder / "out").read_text().strip().splitlines()[-1])
    assert summary["symbols"] == SYMBOLS
    assert all(count > 0 for count in summary["fills"].values())
    assert all(count > 0 for count in summary["ticks"].values())
    assert summary["flow_runs_completed"] >= 3
    assert summary["identity_error"] == "0"
    assert Decimal(summary["max_committed"]) <= Decimal(summary["pool"])
    change = Decimal(summary["equity_end"]) - Decimal(summary["equity_start"])
    assert change == Decimal(summary["grid_profit"]) + Decimal(summary["floating_pnl"])
    assert summary["reservations_open_after_stop"] == 0
    assert summary["orders_open_after_stop"] == 0
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
    assert (up.folder / "state").is_dir(), "the state stays for the next start"
    logs = [path.read_text("utf-8", "replace") for path in (up.folder / "state" / "logs").iterdir()]
    assert not any(MARK in text for text in logs)
