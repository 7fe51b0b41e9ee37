"""Real orders are refused on a Redis that may lose data, on real servers; paper trading goes on."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner

from flows.runtime.cli import cli
from flows.runtime.trading import TradingService
from tasks.base.errors import ConfigError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.settings.in_force import shared_part
from tasks.settings.model import Settings
from tasks.tick.redis_check import check_redis
from tests.support.binance.config import API_KEY, SECRET
from tests.support.desk import settings

PAPER = settings(paper={"market": "synthetic"})


def live(url: str, **changes: Any) -> Settings:
    """Settings that send real orders, to an exchange that is not there."""
    exchange = {"id": "binance", "live": True, "api_url": "http://127.0.0.1:1", "api_key": API_KEY, "secret": SECRET}
    return settings(redis_url=url, exchange=exchange, live=True, **changes)


@pytest.fixture
async def either(either_redis_url: str) -> AsyncIterator[RedisClient]:
    """A client of a server of each kind, with an append-only file and no eviction; both as before at the end."""
    client = connect(either_redis_url)
    before = await client.config_get("appendonly", "maxmemory-policy", "maxmemory")
    await client.config_set("appendonly", "yes")
    yield client
    for name, value in before.items():
        await client.config_set(str(name), str(value))
    await client.aclose()


async def refused(client: RedisClient, own: Settings) -> list[tuple[str, str]]:
    """Field and value of each problem. Each says the rule and both remedies."""
    with pytest.raises(ConfigError) as caught:
        await check_redis(client, own)
    assert str(caught.value).count('redis_risk = "accepted"') == len(caught.value.problems)
    return [(problem.field, problem.value) for problem in caught.value.problems]


async def test_a_durable_redis_is_taken(either: RedisClient, either_redis_url: str) -> None:
    """An append-only file and noeviction, which is the servers' own default."""
    await check_redis(either, live(either_redis_url))


async def test_no_append_only_file_is_refused(either: RedisClient, either_redis_url: str) -> None:
    """A restart would forget the journal. Snapshots alone do not count."""
    await either.config_set("appendonly", "no")
    assert await refused(either, live(either_redis_url)) == [("appendonly", "no")]
    await check_redis(either, live(either_redis_url, redis_risk="accepted"))


@pytest.mark.parametrize("most_memory", ["0", "100mb"])
async def test_eviction_is_refused(either: RedisClient, either_redis_url: str, most_memory: str) -> None:
    """With maxmemory 0 too, where nothing is evicted yet."""
    await either.config_set("maxmemory", most_memory)
    await either.config_set("maxmemory-policy", "allkeys-lru")
    assert await refused(either, live(either_redis_url)) == [("maxmemory-policy", "allkeys-lru")]
    await check_redis(either, live(either_redis_url, redis_risk="accepted"))


async def test_a_redis_that_does_not_say_is_refused(either: RedisClient, either_redis_url: str) -> None:
    """A user without the right to INFO."""
    await either.acl_setuser(
        "reader", enabled=True, passwords=["+word"], commands=["+@all", "-info"], keys=["*"], reset=True
    )
    reader = connect(either_redis_url.replace("redis://", "redis://reader:word@"))
    try:
        unread = [("appendonly", "(unreadable)"), ("maxmemory-policy", "(unreadable)")]
        assert await refused(reader, live(either_redis_url)) == unread
        await check_redis(reader, live(either_redis_url, redis_risk="accepted"))
    finally:
        await reader.aclose()
        await either.acl_deluser("reader")


def test_a_worker_refuses_before_it_claims_the_books(redis_url: str) -> None:
    """Nothing is written; the same server takes paper trading."""
    import redis as sync_redis

    service = TradingService(live(redis_url))
    try:
        with pytest.raises(ConfigError, match="appendonly = no: a restart of Redis could lose"):
            service.open()
    finally:
        service.close()
    with sync_redis.Redis.from_url(redis_url) as client:
        assert not client.exists(Keys("main").mode)
        paper = TradingService(PAPER.model_copy(update={"redis_url": live(redis_url).redis_url}))
        try:
            paper.open()
        finally:
            paper.close()
        assert client.get(Keys("main").mode) == b"paper"


def test_check_says_it(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """`gridflow check` asks the Redis that the settings name, where they want real orders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDFLOW_REDIS_URL", redis_url)
    assert CliRunner().invoke(cli, ["check"]).exit_code == 0
    for name, value in (("LIVE", "true"), ("API_KEY", API_KEY), ("SECRET", SECRET)):
        monkeypatch.setenv(f"GRIDFLOW_EXCHANGE__{name}", value)
    told = CliRunner().invoke(cli, ["check"])
    assert isinstance(told.exception, ConfigError) or told.exit_code == 2
    assert "appendonly = no" in (str(told.exception) + told.output)
    monkeypatch.setenv("GRIDFLOW_REDIS_RISK", "accepted")
    assert CliRunner().invoke(cli, ["check"]).exit_code == 0


def test_each_process_accepts_the_risk_for_itself() -> None:
    """The field is not part of the settings in force."""
    assert "redis_risk" not in shared_part(settings())
