"""Takes the pictures of the README: `python -m tests.support.pictures`. They lie beside the dashboard's code."""

from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser

from tasks.base.clock import to_ms, utc_now
from tasks.base.keys import Keys
from tasks.base.redis_client import connect
from tasks.tick.heartbeat import Heartbeat, beat
from tests.e2e.site import Site
from tests.support.browser import chromium
from tests.support.own_loop import in_own_loop
from tests.support.seeding import archive, traded_redis

FOLDER = Path(__file__).parents[2] / "dashboard" / "pictures"
WIDTH, HEIGHT = 1280, 900
PICTURES = {
    "overview": ("", "light"),
    "grid": ("grid?market=BTC%2FUSDT&prices=1+d", "dark"),
    "allocation": ("allocation", "light"),
}


async def look_alive(url: str) -> None:
    """A worker beats and the newest ticks are of now: the seeded account has stood still since it was made."""
    redis, keys = connect(url), Keys("main")
    try:
        worker = Heartbeat(worker="w", version="0.1.0", host="trader-1", pid=4711, started_ms=to_ms(utc_now()))
        await beat(redis, keys=keys, heartbeat=worker)
        for symbol in await redis.smembers(keys.symbols):
            key = keys.last_tick(str(symbol))
            report = str(await redis.get(key))
            start = report.index('"at_ms":') + len('"at_ms":')
            end = report.index(",", start)
            await redis.set(key, f"{report[:start]}{to_ms(utc_now())}{report[end:]}")
    finally:
        await redis.aclose()


def take(browser: Browser, site: Site, url: str) -> None:
    """One picture of each screen."""
    FOLDER.mkdir(exist_ok=True)
    for name, (path, looks) in PICTURES.items():
        dark = looks == "dark"
        context = browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="dark" if dark else "light"
        )
        cookie, value = site.cookie()
        context.add_cookies([{"name": cookie, "value": value, "url": site.url, "httpOnly": True, "sameSite": "Lax"}])
        page = context.new_page()
        in_own_loop(look_alive(url))
        page.goto(f"{site.url}/{path}")
        page.locator(".gf-tiles").first.wait_for()
        page.add_style_tag(content="a[href='/session/sign-out'] { display: none; }")
        in_own_loop(look_alive(url))
        page.wait_for_timeout(4000)
        page.screenshot(path=FOLDER / f"{name}.png")
        context.close()


def main() -> None:
    """Seed an account, serve it, take the pictures."""
    with TemporaryDirectory(prefix="gridflow-") as name:
        folder = Path(name)
        (folder / "redis").mkdir()
        with traded_redis(folder / "redis") as server:
            site = Site(folder, server.url, "http://127.0.0.1:9/api")
            in_own_loop(archive(server.url, site.state))
            site.start()
            try:
                with chromium() as browser:
                    take(browser, site, server.url)
            finally:
                site.stop()


if __name__ == "__main__":
    main()
