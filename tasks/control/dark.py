"""Tells of dark symbols where no worker is left to do it."""

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.settings.in_force import in_force
from tasks.settings.model import Settings
from tasks.tick.active_symbols import symbols_of
from tasks.tick.dark_watch import DarkWatch
from tasks.tick.heartbeat import dead_after_ms, read_workers


class LastWatch:
    """A watch by a process that trades nothing. It rests while any worker lives: workers tell of dark symbols."""

    def __init__(self, settings: Settings, me: str) -> None:
        """`me`: an id that no worker has."""
        self._settings, self._watch = settings, DarkWatch(me)

    async def look(self, redis: RedisClient) -> None:
        """Tell of each symbol that nobody ticks, once, whoever sees it first. One round trip while a worker lives."""
        own, keys = self._settings, Keys(self._settings.account)
        lease_ms = int(own.trading.lease_seconds * 1000)
        if (await read_workers(redis, keys)).living(dead_after_ms(lease_ms)):
            self._watch.rest()
            return
        if not await redis.hexists(keys.funds, "version"):  # nothing has ever traded here, or Redis was lost
            self._watch.rest()
            return
        settings = (await in_force(redis, own, only_look=True)).settings
        await self._watch.look_at(
            redis, keys, lambda: symbols_of(redis, keys, settings), int(settings.trading.lease_seconds * 1000)
        )
