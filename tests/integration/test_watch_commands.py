"""`gridflow top` and `gridflow dashboard`."""

import asyncio
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.runtime.cli import cli
from tasks.base.redis_client import connect
from tests.support.desk import BTC, open_desk, settings, walk
from tests.support.servers import RestartableRedis

pytestmark = pytest.mark.usefixtures("traded")


@pytest.fixture
def server(tmp_path: Path) -> RestartableRedis:
    """A Redis that may be away."""
    return RestartableRedis(tmp_path)


@pytest.fixture
def traded(server: RestartableRedis, monkeypatch: pytest.MonkeyPatch) -> object:
    """An account that has ticked; the commands find its Redis."""
    server.start()

    async def trade() -> None:
        redis = connect(server.url)
        desk = await open_desk(redis, settings(), {BTC: walk(30)})
        trader = await desk.trader()
        for _ in range(3):
            await trader.tick()
            await desk.exchange.advance(1)
        await desk.close()
        await redis.aclose()

    asyncio.run(trade())
    monkeypatch.setenv("GRIDFLOW_REDIS_URL", server.url)
    yield
    server.stop()


def gridflow(*words: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, list(words))


def test_top_shows_the_account() -> None:
    """What `gridflow status` shows, under the time that it is of."""
    done = gridflow("top", "--times", "1")
    assert done.exit_code == 0, done.output
    assert "gridflow top · " in done.output
    assert "BTC/USDT" in done.output


def test_top_keeps_the_last_figures_while_redis_is_away(
    server: RestartableRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the time that they are of; it goes on by itself."""
    looks = 0
    sleep = asyncio.sleep

    async def between(seconds: float) -> None:
        nonlocal looks
        if seconds == 0.5:
            looks += 1
            server.stop() if looks == 1 else server.start()
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", between)
    done = gridflow("top", "--times", "3", "--every", "0.5")
    assert done.exit_code == 0, done.output
    assert "does not answer" in done.output
    assert "The figures below are of" in done.output
    assert done.output.count("BTC/USDT") >= 3


def test_dashboard_becomes_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On loopback, for this state folder."""
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, words: became.append(words))
    done = gridflow("dashboard", "--port", "8999", "--state", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert became[0][1:] == [
        *("-m", "uvicorn", "dashboard.server:app", "--host", "127.0.0.1", "--port", "8999", "--log-level", "warning")
    ]
    assert os.environ["GRIDFLOW_STATE"] == str(tmp_path)
    assert "http://127.0.0.1:8999" in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", ""])
def test_dashboard_listens_elsewhere_only_with_a_password_and_tls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str
) -> None:
    """It names the value, the rules and the remedies; and starts once they are followed."""
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, words: became.append(words))
    words = ("dashboard", "--host", host, "--state", str(tmp_path))
    refused = str(gridflow(*words).exception)
    assert "needs a password first" in refused
    assert "needs TLS, or a proxy that has it" in refused
    assert "gridflow token --new-password" in refused
    assert became == []
    for name, value in (
        ("PASSWORD", "a long password"),
        ("TLS_CERTIFICATE", "c.pem"),
        ("HOSTS", '["grid.example.org"]'),
    ):
        monkeypatch.setenv(f"GRIDFLOW_DASHBOARD__{name}", value)
    assert "tls_key" in str(gridflow(*words).exception)
    monkeypatch.setenv("GRIDFLOW_DASHBOARD__TLS_KEY", "k.pem")
    done = gridflow(*words)
    assert done.exit_code == 0, done.output
    assert became[0][-4:] == ["--ssl-certfile", "c.pem", "--ssl-keyfile", "k.pem"]
