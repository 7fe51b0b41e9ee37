"""The exchange for the settings: live only with `exchange.live` and --live, else paper."""

from tasks.base.clock import Clock, utc_now
from tasks.base.keys import AddressKeys, Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.client import CcxtClient
from tasks.exchange.connect import live_exchange, refuse
from tasks.exchange.limits.budget import Budget
from tasks.exchange.limits.ccxt_hooks import attach_budget
from tasks.exchange.live_checks import id_problems
from tasks.exchange.port import ExchangePort
from tasks.exchange.shared_client import SharedReads
from tasks.exchange.venues.registry import venue_of
from tasks.settings.model import Settings


async def open_exchange(
    settings: Settings, redis: RedisClient, clock: Clock = utc_now, *, beat: bool = True
) -> ExchangePort:
    """The live exchange where both `exchange.live` and --live are set, else the paper exchange.

    `beat`: keep the paper market's clock running; commands that only read pass False. Raises ConfigError for an
    exchange that is unknown, or that takes no real orders from Gridflow. For paper, see `open_paper_exchange`.
    """
    if settings.exchange.live and settings.live:
        exchange = live_exchange(settings.exchange)
        attach_budget(exchange, shared_budget(settings, redis))
        age_ms = int(settings.trading.tick_min_seconds * 900)  # a little less than the shortest time between ticks
        return SharedReads(exchange, redis, Keys(settings.account), list(settings.symbols), age_ms, clock)
    refuse(id_problems(settings.exchange))
    from tasks.paper.opening import open_paper_exchange  # imports ccxt's base exchange, which only paper trading needs

    return CcxtClient(await open_paper_exchange(settings, redis, clock, beat=beat))


def shared_budget(settings: Settings, redis: RedisClient) -> Budget:
    """The rate budget that this account's processes share; a test net has its own."""
    name = settings.exchange.id + ("-sandbox" if settings.exchange.sandbox else "")
    return Budget(redis, Keys(settings.account), AddressKeys(name), venue_of(settings.exchange.id).rate_limits)
