"""The right exchange for the settings: real orders only with both consents, paper otherwise."""

from tasks.base.clock import Clock, utc_now
from tasks.base.keys import AddressKeys, Keys
from tasks.base.redis import RedisClient
from tasks.exchange.client import CcxtClient
from tasks.exchange.connect import live_exchange, refuse
from tasks.exchange.limits.budget import Budget, allowance_of, attach_budget
from tasks.exchange.live_checks import id_problems
from tasks.exchange.port import ExchangePort
from tasks.exchange.shared_client import SharedReads
from tasks.settings.model import Settings


async def open_exchange(
    settings: Settings, redis: RedisClient, clock: Clock = utc_now, *, beat: bool = True
) -> ExchangePort:
    """The live exchange where `exchange.live` and --live both say so, else the paper exchange.

    `beat`: keep the paper market's clock running; a command that only looks passes False. Raises ConfigError for an
    exchange that is unknown, or that real orders cannot go to.
    """
    if settings.exchange.live and settings.live:
        exchange = live_exchange(settings.exchange)
        attach_budget(exchange, shared_budget(settings, redis))
        client = CcxtClient(exchange)
        age_ms = int(settings.trading.tick_min_seconds * 900)  # a little less than the shortest time between ticks
        return SharedReads(client, redis, Keys(settings.account), list(settings.symbols), age_ms, clock)
    refuse(id_problems(settings.exchange))
    from tasks.paper.opening import open_paper_exchange  # only paper trading needs it

    return CcxtClient(await open_paper_exchange(settings, redis, clock, beat=beat))


def shared_budget(settings: Settings, redis: RedisClient) -> Budget:
    """The rate budget that this account's processes share; a test net counts by itself."""
    name = settings.exchange.id + ("-sandbox" if settings.exchange.sandbox else "")
    return Budget(redis, Keys(settings.account), AddressKeys(name), allowance_of(settings.exchange.id))
