"""Time in the fault runs: it stands while anything can run, jumps when nothing can, and Redis shares it."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tasks.base.keys import Keys
from tasks.funds import store
from tasks.funds.models import FundCode, Reservation
from tests.support.mortal import Killed, Mortal
from tests.support.pot import allow, codes_of
from tests.support.virtual.loop import START, Standstill, run_virtually, virtual_clock
from tests.support.virtual.pot_watch import PotWatch
from tests.support.virtual.redis import VirtualRedis, virtual_redis

HOUR = 3600


@pytest.fixture
def world(tmp_path: Path) -> Iterator[VirtualRedis]:
    """A Redis server in virtual time."""
    with virtual_redis(tmp_path) as running:
        yield running


def test_hours_pass_at_once_and_in_order() -> None:
    """Timers fire in order at their own moments, however long work takes in between."""
    seen: list[tuple[str, float]] = []

    async def wake(name: str, after: float) -> None:
        await asyncio.sleep(after)
        time.sleep(0.01)  # noqa: ASYNC251 - real time, which must not count
        seen.append((name, virtual_clock().passed))

    async def everybody() -> None:
        await asyncio.gather(wake("late", 2 * HOUR), wake("early", HOUR), wake("with it", 2 * HOUR))

    began = time.monotonic()
    run_virtually(everybody, seed=1)
    assert seen == [("early", HOUR), ("late", 2 * HOUR), ("with it", 2 * HOUR)]
    assert time.monotonic() - began < HOUR


def test_what_nobody_can_end_is_an_error_and_no_hang() -> None:
    """All wait, and no timer is left."""
    with pytest.raises(Standstill):
        run_virtually(lambda: asyncio.Event().wait(), seed=1)


def test_threads_are_not_waited_for() -> None:
    """What would go to a thread runs at once, with its answer or its error."""

    async def ask() -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(lambda: 7)

    assert run_virtually(ask, seed=1) == 7


def test_a_loop_of_real_time_has_no_virtual_clock() -> None:
    """It says so."""

    async def ask() -> None:
        virtual_clock()

    with pytest.raises(TypeError, match="run_virtually"):
        asyncio.run(ask())


def test_redis_has_the_loop_s_time(world: VirtualRedis) -> None:
    """TIME inside and outside of scripts, and keys that expire: to the millisecond, and never by themselves."""

    async def look() -> None:
        client = world.client(random.Random(1))
        await client.ping()
        await asyncio.sleep(HOUR + 0.25 - virtual_clock().passed)
        seconds, micros = await client.time()
        assert seconds == START.timestamp() + HOUR
        assert 250_000 <= micros < 260_000  # a ping to a connection long idle, and the way there
        assert int((await client.eval("return redis.call('TIME')", 0))[0]) == seconds
        await client.set("key", "held", px=10_000)
        time.sleep(0.05)  # noqa: ASYNC251 - real time, which must not count
        assert await client.pttl("key") > 9_990
        await asyncio.sleep(9.9)
        assert await client.get("key") == "held"
        await asyncio.sleep(0.15)
        assert await client.get("key") is None
        await client.aclose()

    run_virtually(look, seed=1)


def test_calls_reach_redis_in_the_order_their_ways_take(world: VirtualRedis) -> None:
    """Many at once, on connections of their own: one order, decided by the seed alone."""

    async def race(seed: int) -> list[str]:
        await world.forget()
        client = world.client(random.Random(seed))
        await asyncio.gather(*(client.rpush("order", str(number)) for number in range(20)))
        found = [str(text) for text in await client.lrange("order", 0, -1)]
        await client.aclose()
        return found

    one, again, other = (run_virtually(lambda s=seed: race(s), seed) for seed in (1, 1, 2))  # type: ignore[misc]
    assert one == again
    assert one != other
    assert sorted(one, key=int) == [str(number) for number in range(20)]


def test_every_grant_is_held_against_the_limits_in_force(world: VirtualRedis) -> None:
    """60 of 100 is granted: nothing to say. The pool falls to 50: neither. One more unit then is one too many."""
    keys = Keys("main")

    async def grant() -> list[str]:
        await world.forget()
        client = world.client(random.Random(1))
        world.after_script = watch = PotWatch(str(world.path), keys, ["BTC/USDT"])
        await allow(client, keys, 100, {"BTC/USDT": 100})
        items = [
            Reservation(id=name, slot=name, sequence=0, units=60, intent="", cell_key=name, cell="") for name in "ab"
        ]
        answers = await store.reserve(client, keys=keys, symbol="BTC/USDT", fence=0, now_ms=0, items=items)
        assert codes_of(answers) == [FundCode.OK, FundCode.SYMBOL_LIMIT]
        await client.hset(keys.funds, "pool", "50")
        await store.release(client, keys=keys, symbol="BTC/USDT", fence=0, ids=[])
        assert (watch.wrong, watch.grants, watch.most_pool) == ([], 1, 100)
        await client.hincrby(keys.funds, "reserved", 1)
        await client.hincrby(keys.funds_symbol("BTC/USDT"), "reserved", 1)
        await store.release(client, keys=keys, symbol="BTC/USDT", fence=0, ids=[])
        world.after_script = None
        watch.close()
        await client.aclose()
        return watch.wrong

    assert run_virtually(grant, 1) == ["BTC/USDT: granted, and 61 is above the pool of 50"]


def test_one_who_dies_asked_or_never_asked(world: VirtualRedis) -> None:
    """On the way there nothing has happened; on the way back it has, and nobody heard."""

    async def count(life: int) -> int:
        await world.forget()
        client = world.client(random.Random(1))
        await client.ping()

        async def bump() -> None:
            await client.incr("count")

        with pytest.raises(Killed):
            await Mortal(bump(), life, Killed)
        answer = int(await client.get("count") or 0)
        await client.aclose()
        return answer

    assert run_virtually(lambda: count(1), 1) == 0
    assert run_virtually(lambda: count(2), 1) == 1


def test_a_server_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """No answer comes any more."""
    with virtual_redis(tmp_path) as gone:
        pass

    async def ask() -> None:
        client = gone.client(random.Random(1))
        with pytest.raises((RedisConnectionError, OSError)):
            await client.ping()
        await client.aclose()

    run_virtually(ask, seed=1)
