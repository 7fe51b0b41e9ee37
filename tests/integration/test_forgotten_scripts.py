"""A Redis that restarts at the worst moments forgets its scripts: each call still goes through."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect, script
from tasks.exchange.limits.scripts import ScriptCall, run_scripts
from tasks.paper.scripts import Call, PaperKeys, Scripts


@pytest.fixture
async def forgetful(redis: RedisClient, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisClient]:
    """A client whose server forgets all scripts after each single command, as after a restart."""
    client: Any = connect(redis_url)
    run = client.execute_command

    async def and_forget(*args: Any, **options: Any) -> Any:
        try:
            return await run(*args, **options)
        finally:
            await redis.script_flush("SYNC")

    monkeypatch.setattr(client, "execute_command", and_forget)
    await redis.script_flush("SYNC")
    yield client
    await client.aclose()


async def test_one_call(forgetful: RedisClient) -> None:
    """A script of the pot, the books or a lease."""
    await forgetful.set("lease", "me")
    assert await script(forgetful, "tasks.base", "end_lease")(keys=["lease"], args=["me"]) == 1
    assert await forgetful.get("lease") is None


async def test_several_calls_of_the_rate_budget(forgetful: RedisClient) -> None:
    """All in one round trip: each is made once."""
    calls = [ScriptCall("ban", [key], [60_000]) for key in ("ban", "other")]
    assert await run_scripts(forgetful, calls) == [60_000, 60_000]


async def test_several_calls_of_the_paper_exchange(forgetful: RedisClient) -> None:
    """In one round trip too."""
    keys = PaperKeys(Keys("main"))
    call = Call("open_market", [keys.market, keys.balances], ["0", "1000"])
    assert await Scripts(forgetful).run([call, call]) == [[], []]
