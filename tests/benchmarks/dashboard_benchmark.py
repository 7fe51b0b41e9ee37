"""The dashboard with 100 symbols and 100,000 trades: `python -m tests.benchmarks.dashboard_benchmark [MINUTES]`.

A real server (uvicorn) over a real Redis and SQLite. Measures: the time until each screen is usable in Chromium, cold
(a new browser) and warm (from another screen); 95th percentiles of the API; then, for MINUTES (default 1), two open
tabs: the server's CPU and memory. Memory is also given as a slope an hour; a short run says little of it.
"""

import asyncio
import sys
import time
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

import httpx
import psutil
from playwright.sync_api import Browser, Page

from tests.e2e.site import Site
from tests.support.browser import chromium, open_page
from tests.support.large_account import fill_history, fill_redis, settings
from tests.support.servers import RestartableRedis

SYMBOLS, TRADES, TIMES = 100, 100_000, 60
SCREENS = {
    "Overview": ("", ".gf-cards .gf-price"),
    "Grid": ("grid", ".gf-price-row"),
    "Trades": ("trades", "[aria-label=Fills] td"),
    "Allocation": ("allocation", ".gf-table td"),
    "Backtest": ("backtest", ".gf-below"),
    "Logs": ("logs", ".gf-none, .gf-table td"),
    "Settings": ("settings", ".gf-table td"),
}
ROUTES = {
    "trades page": "trades/list?page_size=50",
    "trades page 900": "trades/list?page_size=50&page=900",
    "statistics, 30 days": "trades/statistics?period=monthly",
    "quick stats": "dashboard/quick-stats",
    "status": "dashboard/status",
}


def signed_in(page: Page, site: Site) -> None:
    """Give the tab its cookie."""
    name, value = site.cookie()
    page.context.add_cookies([{"name": name, "value": value, "url": site.url, "httpOnly": True, "sameSite": "Lax"}])


def screens(browser: Browser, site: Site) -> None:
    """Seconds until each screen shows its content."""
    with open_page(browser) as warm:
        signed_in(warm, site)
        warm.goto(site.url)
        warm.locator(SCREENS["Overview"][1]).first.wait_for()
        for name, (path, content) in SCREENS.items():
            with open_page(browser) as cold:
                signed_in(cold, site)
                begun = time.perf_counter()
                cold.goto(f"{site.url}/{path}")
                cold.locator(content).first.wait_for()
                first = time.perf_counter() - begun
            begun = time.perf_counter()
            warm.get_by_role("link", name=name, exact=True).click()
            warm.get_by_role("heading", name=name, level=1).wait_for()
            warm.locator(content).first.wait_for()
            print(f"{name}: {first:.2f} s cold, {time.perf_counter() - begun:.2f} s warm", flush=True)


def routes(site: Site) -> None:
    """95th percentiles of the API, one request after the other."""
    headers = {"Authorization": f"Bearer {site.token()}"}
    with httpx.Client(base_url=f"{site.url}/api/", headers=headers, trust_env=False) as client:
        for name, path in ROUTES.items():
            took = []
            for _ in range(TIMES):
                begun = time.perf_counter()
                assert client.get(path).status_code == 200, path
                took.append((time.perf_counter() - begun) * 1000)
            print(f"{name}: p50 {sorted(took)[TIMES // 2]:.0f} ms, p95 {quantiles(took, n=20)[-1]:.0f} ms", flush=True)


def open_tabs(browser: Browser, site: Site, minutes: float) -> None:
    """CPU and memory of the server while two tabs are open."""
    process = next(one for one in psutil.Process().children() if "uvicorn" in " ".join(one.cmdline()))
    with open_page(browser) as one, open_page(browser) as two:
        for tab, path in ((one, ""), (two, "trades")):
            signed_in(tab, site)
            tab.goto(f"{site.url}/{path}")
            tab.locator(".gf-tiles").first.wait_for()
        one.wait_for_timeout(10_000)
        before, begun, memory = process.cpu_times(), time.monotonic(), process.memory_info().rss
        one.wait_for_timeout(minutes * 60_000)
        after, took, now = process.cpu_times(), time.monotonic() - begun, process.memory_info().rss
    cpu = (after.user + after.system - before.user - before.system) / took
    grown = (now - memory) / 1e6
    print(f"two open tabs: {cpu:.1%} of a core in the server, {cpu / 2:.1%} a tab")
    print(f"memory {now / 1e6:.0f} MB, {grown:+.1f} MB in {took / 60:.1f} min, {grown * 3600 / took:+.1f} MB an hour")


def main() -> None:
    """Make the account, measure, print."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    with TemporaryDirectory(prefix="gridflow-") as name:
        folder = Path(name)
        (folder / "redis").mkdir()
        server = RestartableRedis(folder / "redis")
        server.start()
        own = settings(SYMBOLS, server.url)
        site = Site(folder, server.url, "http://127.0.0.1:9/api")
        config = folder / "gridflow.toml"
        grid = 'grid = "geometric"\nrange_pct = "0.04"\ncells = 20\n'
        tables = "".join(f'[symbols."{symbol}"]\n{grid}' for symbol in own.symbols)
        config.write_text(f'total_funds = "1000000"\n{tables}', encoding="utf-8")
        try:
            asyncio.run(fill_redis(own))
            asyncio.run(fill_history(own, site.state, TRADES))
            site.start()
            with chromium() as browser:
                screens(browser, site)
                routes(site)
                open_tabs(browser, site, minutes)
        finally:
            site.stop()
            server.stop()


if __name__ == "__main__":
    main()
