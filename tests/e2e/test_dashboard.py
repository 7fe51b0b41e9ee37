"""What a person sees in a browser, what Prometheus reads, and what happens when Redis or Prefect is away."""

import asyncio
import csv
import io
import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import httpx
import pytest
import redis as sync_redis
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from prometheus_client.parser import text_string_to_metric_families

from tasks.base.keys import Keys
from tasks.base.money import from_units
from tasks.base.outbox import RecordKind, fields_of
from tasks.base.redis_client import connect
from tasks.history import outbox
from tasks.ledger.models import Fill
from tasks.tick.heartbeat import Heartbeat, beat, end_beating
from tests.e2e.site import PASSWORD, UVICORN, Site
from tests.support.browser import open_page
from tests.support.own_loop import in_own_loop
from tests.support.prefect_stand_in import OUTCOME, RUN_ID, PrefectStandIn
from tests.support.seeding import HOSTILE, STARTS, archive
from tests.support.servers import RestartableRedis
from tests.support.waiting import BUSY, until

KEYS = Keys("main")
WAIT_MS = 45_000  # a busy machine draws the first page slowly
SEEN_MS = 15_000  # in which every screen says that a part is away
SERIOUS = ("serious", "critical")
SCREENS = {
    "Overview": "Committed",
    "Grid": "Cells of",
    "Trades": "fills, the newest first",
    "Allocation": "too-much-0",
    "Backtest": "candles from",
    "Logs": "order outcome unknown",
    "Settings": "total_funds",
}
SERVER = Path(__file__).parents[2] / "dashboard" / "server.py"


def _cell(page: Page, text: str) -> None:
    """Wait for a table cell with this very text."""
    exactly = re.compile(rf"^\s*{re.escape(text)}\s*$")
    page.locator(".gf-table :is(td, th)").filter(has_text=exactly).first.wait_for(timeout=WAIT_MS)


def _query(page: Page) -> dict[str, list[str]]:
    """The filters in the address."""
    return parse_qs(urlsplit(str(page.evaluate("location.href"))).query)


def _newest(client: "sync_redis.Redis", symbol: str) -> Fill:
    return Fill.model_validate_json(client.lindex(KEYS.newest_fills(symbol), 0))  # type: ignore[arg-type]


def _metrics(site: Site) -> dict[str, dict[tuple[str, ...], float]]:
    status, text = site.get("/metrics")
    assert status == 200, text
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_trades_shows_the_fills_and_renews_itself(site: Site, account: RestartableRedis, page: Page) -> None:
    """The newest fill of a symbol is there; one that is booked while the page is open appears without a click."""
    page.goto(f"{site.url}/trades")
    with sync_redis.Redis.from_url(account.url, decode_responses=True) as client:
        newest = _newest(client, "BTC/USDT")
        _cell(page, newest.client_id)
        expect(page.get_by_text("PAPER")).to_be_visible()
        booked = int(sum(_metrics(site)["gridflow_fills_total"].values()))
        expect(page.get_by_text(f"{booked:,} fills, the newest first")).to_be_visible()
        fresh = newest.model_copy(
            update={
                "trade_id": "fresh",
                "client_id": "fresh-order",
                "price": Decimal("43210.98"),
                "at_ms": newest.at_ms + 1,
            }
        )
        client.xadd(KEYS.outbox, fields_of(RecordKind.FILL, fresh.model_dump_json()))
    in_own_loop(archive(account.url, site.state))
    _cell(page, "fresh-order")
    _cell(page, "43,210.98")
    expect(page.get_by_text(f"{booked + 1:,} fills, the newest first")).to_be_visible()
    shown = page.locator("tr", has_text="fresh-order").locator("time")
    berlin = datetime.fromtimestamp(fresh.at_ms / 1000, ZoneInfo("Europe/Berlin"))
    expect(shown).to_have_text(f"{berlin:%Y-%m-%d %H:%M:%S}")
    expect(shown).to_have_attribute("title", f"{datetime.fromtimestamp(fresh.at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC")


def test_trades_can_be_filtered_and_downloaded(site: Site, page: Page) -> None:
    """By symbol, side and day, page after page; and a CSV with exact amounts of all that the filters hold."""
    everything = list(csv.DictReader(io.StringIO(site.get("/export/fills.csv")[1])))
    times = [row["time_utc"] for row in everything]
    assert times == sorted(times, reverse=True)
    assert times[0].endswith("Z")
    page.goto(f"{site.url}/trades")
    expect(page.get_by_text(f"{len(everything):,} fills, the newest first")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Page 2", exact=True).click()
    expect(page.get_by_text("page 2 of")).to_be_visible(timeout=WAIT_MS)
    _cell(page, everything[100]["client_id"])
    page.get_by_role("combobox", name="Symbol").click(timeout=WAIT_MS)
    page.get_by_role("option", name="ETH/USDT").click()
    page.get_by_role("combobox", name="Side").click(timeout=WAIT_MS)
    page.get_by_role("option", name="sell").click()
    sold = [row for row in everything if (row["symbol"], row["side"]) == ("ETH/USDT", "sell")]
    expect(page.get_by_text(f"{len(sold):,} fills, the newest first · page 1")).to_be_visible(timeout=WAIT_MS)
    link = page.get_by_role("link", name="Download CSV")
    path = "/export/fills.csv?symbol=ETH%2FUSDT&side=sell"
    expect(link).to_have_attribute("href", path, timeout=WAIT_MS)
    until(lambda: {"side": ["sell"], "symbol": ["ETH/USDT"]}.items() <= _query(page).items(), 20)
    page.reload()  # the address keeps the filters
    expect(page.get_by_text(f"{len(sold):,} fills, the newest first · page 1")).to_be_visible(timeout=WAIT_MS)
    expect(link).to_have_attribute("href", path, timeout=WAIT_MS)
    assert list(csv.DictReader(io.StringIO(site.get(path)[1]))) == sold
    assert all(Decimal(row["price"]) * Decimal(row["qty"]) == Decimal(row["quote"]) for row in sold)
    noon = int(datetime.fromisoformat(sold[0]["time_utc"]).timestamp() * 1000)
    later = list(csv.DictReader(io.StringIO(site.get(f"{path}&from={noon}")[1])))
    assert later == [row for row in sold if row["time_utc"] >= sold[0]["time_utc"]]
    assert site.get("/export/fills.csv?symbol=NO/SUCH")[0] == 404
    assert site.get("/export/fills.csv?from=yesterday") == (400, "from: 'yesterday' is no time in ms since the epoch\n")
    page.get_by_role("spinbutton", name="year, To (UTC)").click()
    page.keyboard.type("20110102")
    page.keyboard.press("Escape")
    expect(page.get_by_text("0 fills, the newest first")).to_be_visible(timeout=WAIT_MS)


def test_allocation_shows_shares_rebalances_and_refusals(site: Site, account: RestartableRedis, page: Page) -> None:
    """Every symbol's allocation as Redis holds it, the reason of a rebalance, and what was blocked.

    Nobody ticks the account until ticks are written: until then its badge is not green.
    """
    page.goto(f"{site.url}/allocation")
    with sync_redis.Redis.from_url(account.url, decode_responses=True) as client:
        for symbol in STARTS:
            units = int(client.hget(KEYS.funds_symbol(symbol), "allocated") or 0)
            _cell(page, f"{from_units(units):,.2f}")
        expect(page.get_by_text("3 of 3 symbol(s) dark")).to_be_visible()
        trading = page.get_by_text("Trading", exact=True)
        expect(trading).to_have_count(0)
        for symbol in STARTS:
            _cell(page, "dark")
            report = json.loads(client.get(KEYS.last_tick(symbol)) or "")
            client.set(KEYS.last_tick(symbol), json.dumps(report | {"at_ms": report["at_ms"] + 3_600_000}))
        expect(trading).to_be_visible(timeout=WAIT_MS)
        client.hset(KEYS.funds_symbol("ETH/USDT"), "paused", "1")
        _cell(page, "paused")
        client.hset(KEYS.funds_symbol("ETH/USDT"), "paused", "0")
    for text in ("scheduled", "dynamic", "SYMBOL_LIMIT", "too-much-0"):
        _cell(page, text)
    expect(page.get_by_text("strategy dynamic")).to_be_visible()


def test_logs_are_text_and_can_be_searched(site: Site, page: Page) -> None:
    """What an exchange answered is shown as it is: no tag, no link and no image comes of it."""
    page.goto(f"{site.url}/logs")
    _cell(page, f"symbol=BNB/USDT error={HOSTILE}")
    assert page.locator("img[src='x']").count() == 0
    assert page.locator("a[href*='example.org']").count() == 0
    _cell(page, "order outcome unknown")
    page.get_by_label("Contains").fill("eth/usdt")
    page.get_by_label("Contains").press("Enter")
    expect(page.get_by_text("1 records, newest first")).to_be_visible(timeout=WAIT_MS)
    page.get_by_label("Contains").fill("")
    page.get_by_label("Contains").press("Enter")
    page.get_by_role("combobox", name="Level and above").click()
    page.get_by_role("option", name="ERROR").click()
    expect(page.get_by_text("1 records, newest first")).to_be_visible(timeout=WAIT_MS)
    _cell(page, "tick failed; the next tick reads everything again")
    until(lambda: _query(page).get("level") == ["ERROR"], 20)


def test_metrics_agree_with_redis(site: Site, account: RestartableRedis) -> None:
    """The allocator's five, computed here from the raw records."""
    found = _metrics(site)
    with sync_redis.Redis.from_url(account.url, decode_responses=True) as client:
        pot = client.hgetall(KEYS.funds)
        shares = {symbol: client.hgetall(KEYS.funds_symbol(symbol)) for symbol in STARTS}
        rebalances = int(client.hget(KEYS.counters, "rebalances") or 0)
    committed = int(pot["used"]) + int(pot["reserved"])
    assert found["gridflow_global_fund_usage_pct"][()] == pytest.approx(100 * committed / int(pot["pool"]))
    used = allocated = 0
    for symbol, share in shares.items():
        own_used, own = int(share["used"]), int(share["allocated"])
        usage = 100 * (own_used + int(share["reserved"])) / own
        assert found["gridflow_per_symbol_usage_pct"][symbol,] == pytest.approx(usage)
        used, allocated = used + own_used, allocated + own
    assert found["gridflow_allocation_efficiency"][()] == pytest.approx(used / allocated)
    assert found["gridflow_rebalance_count_total"][()] == rebalances == 2
    blocked = {frozenset(labels): count for labels, count in found["gridflow_blocked_trades_count_total"].items()}
    assert blocked[frozenset(("BTC/USDT", "SYMBOL_LIMIT"))] == 1
    assert blocked[frozenset(("BNB/USDT", "SYMBOL_LIMIT"))] == 0
    assert found["gridflow_equity"][()] == pytest.approx(10_000 + found["gridflow_equity_change"][()])


def test_rebalance_now_runs_the_deployment_and_shows_its_end(site: Site, prefect: PrefectStandIn, page: Page) -> None:
    """Without Prefect a clear message; with it the run's end state, what it said, and a link to it."""
    page.goto(f"{site.url}/allocation")
    button = page.get_by_role("button", name="Rebalance now")
    button.click(timeout=WAIT_MS)
    expect(page.get_by_text("does not answer as expected")).to_be_visible(timeout=WAIT_MS)
    prefect.start()
    button.click()
    expect(page.get_by_text("Rebalance brave-newt: Completed")).to_be_visible(timeout=WAIT_MS)
    expect(page.get_by_text(OUTCOME)).to_be_visible()
    _cell(page, "scheduled")
    expect(page.get_by_text("does not answer as expected")).to_have_count(0)
    link = page.get_by_role("link", name="Show the run in Prefect")
    expect(link).to_have_attribute("href", f"{prefect.api.removesuffix('/api')}/runs/flow-run/{RUN_ID}")
    assert sum("create_flow_run" in call for call in prefect.asked) == 1


def test_redis_and_the_worker_away_and_back(site: Site, account: RestartableRedis, page: Page) -> None:
    """What is away, since when, what works and what to do; the last figures stay, greyed; then all is as it was.

    A worker that comes, leaves in order and comes again is seen on the page that is open all the time.
    503 for Prometheus, no traceback anywhere; the trades are still there: they come from the history.
    """
    page.goto(site.url)
    expect(page.get_by_text("Equity, USDT").first).to_be_visible(timeout=WAIT_MS)
    account.stop()
    try:
        notice = page.locator(".gf-notice", has_text="Redis:")
        expect(notice).to_be_visible(timeout=SEEN_MS)
        for words in ("does not answer", "since", "Still works", "What to do", "goes on by itself"):
            expect(notice).to_contain_text(words, timeout=WAIT_MS)
        expect(page.locator(".gf-old .gf-tiles")).to_be_visible(timeout=WAIT_MS)
        status, text = site.get("/metrics")
        assert (status, "does not answer" in text) == (503, True)
        assert site.get("/export/fills.csv")[0] == 200, "the history does not need Redis"
        page.get_by_role("link", name="Trades").click()
        expect(page.get_by_text("fills, the newest first")).to_be_visible(timeout=WAIT_MS)
    finally:
        account.start()
    expect(page.locator(".gf-notice", has_text="Redis:")).to_have_count(0, timeout=WAIT_MS)
    assert site.get("/metrics")[0] == 200
    gone = page.locator(".gf-notice", has_text="Workers: no worker runs")
    for _ in range(2):
        expect(gone).to_contain_text("Resting orders stay on the exchange", timeout=WAIT_MS)
        expect(gone).to_contain_text("What to do")
        with _worker(account.url):
            expect(gone).to_have_count(0, timeout=WAIT_MS)
    assert "Traceback" not in page.inner_text("body")
    # Streamlit itself may log a web socket that went away; none of our own lines may stand in a traceback.
    assert "/dashboard/" not in "".join(part.split("\n\n")[0] for part in site.said.split("Traceback")[1:])


def test_the_database_away_and_back(site: Site, page: Page) -> None:
    """What is of the present stays; the rest says what is missing, and comes back by itself."""
    page.goto(f"{site.url}/trades")
    expect(page.get_by_text("fills, the newest first")).to_be_visible(timeout=WAIT_MS)
    file = site.state / "history.db"
    held = sqlite3.connect(file, isolation_level=None)
    try:
        held.execute("PRAGMA locking_mode = EXCLUSIVE")
        held.execute("BEGIN EXCLUSIVE")
        expect(page.locator(".gf-notice", has_text="Database:")).to_contain_text("Still works", timeout=SEEN_MS)
        expect(page.get_by_text("Fills come back with the history database.")).to_be_visible(timeout=WAIT_MS)
        expect(page.get_by_text("PAPER")).to_be_visible()
    finally:
        held.close()
    expect(page.get_by_text("fills, the newest first")).to_be_visible(timeout=WAIT_MS)
    expect(page.locator(".gf-notice", has_text="Database:")).to_have_count(0, timeout=WAIT_MS)


def test_only_this_machine_is_answered(site: Site) -> None:
    """A name that merely points at 127.0.0.1 is refused: a foreign page must not press buttons here."""
    assert site.get("/metrics", host="evil.example")[0] == 403
    assert site.get("/", host="evil.example:80")[0] == 403
    assert site.get("/", signed_in=False)[0] == 401
    assert site.get("/_stcore/host-config", signed_in=False)[0] == 401
    assert site.get("/export/fills.csv", signed_in=False)[0] == 401
    assert site.get("/_stcore/health", signed_in=False)[0] == 200
    assert site.get("/_stcore/agent/openapi.json")[0] == 200
    assert site.get("/_stcore/agent/interact")[0] in (403, 404, 405), "no agent interface"
    assert site.get("/metrics", host=f"localhost:{site.port}")[0] == 200


@pytest.mark.parametrize(
    "command",
    [
        (*UVICORN, "--host", "0.0.0.0", "--port", "0"),
        ("-m", "streamlit", "run", str(SERVER), "--server.address", "0.0.0.0", "--server.port", "0"),
    ],
    ids=["uvicorn", "streamlit"],
)
def test_it_refuses_to_listen_on_the_network(site: Site, command: tuple[str, ...]) -> None:
    """Without a password and TLS: it ends at once and says why, and what to do."""
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=site.folder,
        env=site.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode != 0
    said = ended.stdout + ended.stderr
    assert "Refusing to listen" in said
    assert "0.0.0.0: an address beyond this machine needs TLS" in said
    assert "Traceback" not in ended.stdout + ended.stderr


def test_streamlit_run_serves_the_same(site: Site, tmp_path: Path) -> None:
    """No question about an e-mail address, no statistics sent, the same metrics."""
    other = Site(tmp_path, site.environment["GRIDFLOW_REDIS_URL"], site.environment["PREFECT_API_URL"])
    try:
        other.start("-m", "streamlit", "run", str(SERVER), "--server.port", str(other.port))
        assert other.get("/metrics")[0] == 200
        assert other.get("/")[0] == 200
        assert "mail" not in other.said
    finally:
        other.stop()


def test_every_screen_by_its_link(site: Site, page: Page, tmp_path: Path) -> None:
    """Light, dark and as wide as a phone: no error on the console, no serious fault of accessibility, nothing wider
    than the screen. Pytest keeps the pictures in the test's folder.
    """
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(site.url)
    for screen, content in SCREENS.items():
        if screen != "Overview":
            page.get_by_role("link", name=screen, exact=True).click()
        expect(page.get_by_role("heading", name=screen, level=1)).to_be_visible(timeout=WAIT_MS)
        expect(page.locator(".gf", has_text=content).first).to_be_visible(timeout=WAIT_MS)
        for looks in ("light", "dark"):
            page.emulate_media(color_scheme=looks)
            page.wait_for_timeout(500)  # charts are drawn
            page.screenshot(path=tmp_path / f"{screen}-{looks}.png")
            assert _serious_faults(page) == [], (screen, looks)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(300)
        page.screenshot(path=tmp_path / f"{screen}-phone.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, screen
        page.set_viewport_size({"width": 1400, "height": 1800})
    assert said == []


def _serious_faults(page: Page) -> list[tuple[str, list[object]]]:
    """What axe-core finds that keeps somebody from using the page: rule, and where."""
    faults = Axe().run(page).response["violations"]
    return [(one["id"], [node["target"] for node in one["nodes"]]) for one in faults if one["impact"] in SERIOUS]


def test_a_person_signs_in_and_out(site: Site, browser: Browser) -> None:
    """To the page and the filters that were asked for; without the cookie no web socket opens."""
    with open_page(browser) as page:
        page.goto(f"{site.url}/trades?side=buy")
        expect(page).to_have_url(re.compile("/session/sign-in"))
        assert _serious_faults(page) == []
        page.get_by_label("Password").fill("not this one")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("The password is wrong.")
        assert _socket(page, site) == "refused"
        page.goto(f"{site.url}/trades?side=buy")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(r"/trades\?side=buy"))
        expect(page.get_by_text("fills, the newest first")).to_be_visible(timeout=WAIT_MS)
        expect(page.locator(".gf-sell")).to_have_count(0, timeout=WAIT_MS)
        assert page.evaluate("document.cookie").count("gridflow_main") == 0, "no script reads the cookie"
        page.get_by_role("link", name="Sign out").click()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_text("You are signed out.")).to_be_visible()
        page.goto(site.url)
        expect(page).to_have_url(re.compile("/session/sign-in"))


def _socket(page: Page, site: Site) -> str:
    """What a web socket of Streamlit does, from a page of the same origin."""
    page.goto(f"{site.url}/metrics")
    answer: str = page.evaluate(
        """address => new Promise(resolve => {
            const socket = new WebSocket(address);
            socket.onopen = () => { socket.close(); resolve("open"); };
            socket.onerror = () => resolve("refused");
        })""",
        f"{site.url.replace('http', 'ws', 1)}/_stcore/stream",
    )
    return answer


def test_it_needs_nothing_from_elsewhere(site: Site, account: RestartableRedis, page: Page) -> None:
    """Every request a screen with its tables makes goes to the dashboard itself: no font, no script, no statistics."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with sync_redis.Redis.from_url(account.url, decode_responses=True) as client:
        fill = _newest(client, "ETH/USDT").client_id
    for screen, seeded in (("trades", fill), ("allocation", "too-much-0"), ("logs", "order outcome unknown")):
        page.goto(f"{site.url}/{screen}")
        _cell(page, seeded)
    time.sleep(1)
    elsewhere = [url for url in asked if not url.startswith((site.url, "data:", "blob:"))]
    assert elsewhere == []


def test_live_events_in_a_browser_and_an_end_with_open_streams(
    site: Site, account: RestartableRedis, page: Page
) -> None:
    """The browser's own EventSource gets a fill as soon as it is copied; 50 open streams do not hold the end up.

    The token stands in the address, and in no log.
    """
    token = site.token()
    page.goto(site.url + "/metrics")  # a page of the same origin
    page.evaluate(
        """token => {
            window.got = [];
            const source = new EventSource("/api/sse/events?token=" + token);
            for (const name of ["fill", "status"]) source.addEventListener(name, event => window.got.push(event));
        }""",
        token,
    )
    page.wait_for_function("window.got.some(event => event.type == 'status')", timeout=WAIT_MS)
    keys = KEYS.outbox, KEYS.live
    with sync_redis.Redis.from_url(account.url, decode_responses=True) as client:
        entry = client.xadd(keys[0], fields_of(RecordKind.FILL, json.dumps({"trade_id": "in-the-browser"})))
    in_own_loop(_relay(account.url))
    page.wait_for_function("window.got.some(event => event.data.includes('in-the-browser'))", timeout=WAIT_MS)
    assert page.evaluate("window.got.find(event => event.type == 'fill').lastEventId") == entry
    with ExitStack() as streams:
        for _ in range(50):
            client = streams.enter_context(httpx.Client(trust_env=False, timeout=60))
            opened = streams.enter_context(client.stream("GET", f"{site.url}/api/sse/events", params={"token": token}))
            assert opened.status_code == 200
        began = time.monotonic()
        site.stop()
        assert time.monotonic() - began < 2 * BUSY
    assert token not in site.said
    site.start()


@contextmanager
def _worker(url: str) -> Iterator[None]:
    """A worker that beats until it ends in order."""
    ended = threading.Event()

    async def work() -> None:
        redis, me = connect(url), Heartbeat(worker="w", version="1", host="here", pid=1, started_ms=1)
        while not ended.is_set():
            await beat(redis, keys=KEYS, heartbeat=me)
            await asyncio.sleep(0.5)
        await end_beating(redis, keys=KEYS, worker=me.worker)
        await redis.aclose()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, work())
        try:
            yield
        finally:
            ended.set()
            running.result()


async def _relay(url: str) -> None:
    redis = connect(url)
    await outbox.relay(redis, KEYS)
    await redis.aclose()
