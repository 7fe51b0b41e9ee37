"""Heartbeats of workers in Redis: who is there, by Redis's clock."""

import json
from typing import Any

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.tick.heartbeat import Heartbeat, HeldWindow, beat, end_beating, read_workers
from tasks.views.steps import read_status
from tests.support.desk import BTC, open_desk, settings, walk

KEYS = Keys("main")


def heartbeat(worker: str, **more: Any) -> Heartbeat:
    """A worker that runs one window."""
    window = HeldWindow(symbol="BTC/USDT", since_ms=5)
    return Heartbeat(worker=worker, version="1", host="h", pid=1, started_ms=1, windows=(window,), **more)


async def test_everybody_sees_everybody_until_he_leaves(either_redis_url: str) -> None:
    """A beat answers with all heartbeats; one that ends in order is gone at once. On Valkey and on Redis 7."""
    redis = connect(either_redis_url)
    try:
        assert (await beat(redis, keys=KEYS, heartbeat=heartbeat("a"))).heartbeats[0].worker == "a"
        both = await beat(redis, keys=KEYS, heartbeat=heartbeat("b", draining=True, runs=("r",)))
        assert [each.worker for each in both.living(10_000)] == ["a", "b"]
        assert both.heartbeats[1] == heartbeat("b", draining=True, runs=("r",), at_ms=both.now_ms)
        assert (await read_workers(redis, KEYS)).heartbeats == both.heartbeats
        await end_beating(redis, keys=KEYS, worker="b")
        assert [each.worker for each in (await read_workers(redis, KEYS)).heartbeats] == ["a"]
    finally:
        await redis.aclose()


async def test_an_old_heartbeat_is_dead_and_later_forgotten(redis: RedisClient) -> None:
    """Dead after ten seconds, deleted by others after ten minutes."""
    now_ms = (await beat(redis, keys=KEYS, heartbeat=heartbeat("a"))).now_ms
    for age_ms, found in ((9_000, ["a", "old"]), (11_000, ["a", "old"]), (601_000, ["a"])):
        body = heartbeat("old").model_dump_json()
        await redis.hset(KEYS.workers, "old", f"{now_ms - age_ms} {body}")
        workers = await beat(redis, keys=KEYS, heartbeat=heartbeat("a"))
        assert [each.worker for each in workers.heartbeats] == found
        assert [each.worker for each in workers.living(10_000)] == (["a", "old"] if age_ms < 10_000 else ["a"])


async def test_a_heartbeat_of_a_later_version_counts(redis: RedisClient) -> None:
    """A field that this version does not know must not make a living worker look dead."""
    later = json.loads(heartbeat("later").model_dump_json()) | {"mood": "fine"}
    now_ms = (await beat(redis, keys=KEYS, heartbeat=heartbeat("a"))).now_ms
    await redis.hset(KEYS.workers, "later", f"{now_ms} {json.dumps(later)}")
    await redis.hset(KEYS.workers, "broken", f"{now_ms} not JSON")
    assert [each.worker for each in (await read_workers(redis, KEYS)).heartbeats] == ["a", "later"]


async def test_the_status_names_the_run_that_ticks_a_symbol(redis: RedisClient) -> None:
    """As its worker says, for as long as that is alive."""
    desk = await open_desk(redis, settings(), {BTC: walk(5)})
    window = HeldWindow(symbol=BTC, since_ms=5, run="a-run")
    alive = Heartbeat(worker="a", version="1", host="h", pid=1, started_ms=1, windows=(window,))
    await beat(redis, keys=KEYS, heartbeat=alive)
    assert (await read_status(settings(), redis)).symbols[0].flow_run == "a-run"
    await end_beating(redis, keys=KEYS, worker="a")
    assert (await read_status(settings(), redis)).symbols[0].flow_run == ""
    await desk.close()
