"""What a rebalance by hand would move now."""

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.models import RebalanceReport
from tasks.funds.rebalancing import MANUAL
from tasks.settings.in_force import in_force
from tasks.settings.model import Settings
from tasks.tick.sharing import performance, realised_for


async def planned_rebalance(settings: Settings, redis: RedisClient, clock: Clock = utc_now) -> RebalanceReport:
    """The report that a manual rebalance would give now; writes nothing. The number of round trips is fixed."""
    own = (await in_force(redis, settings, only_look=True)).settings
    allocator = GlobalFundAllocator.from_settings(own, redis, clock)
    status = await allocator.get_global_status_summary()
    facts = await performance(redis, Keys(settings.account), list(own.symbols), to_ms(clock()))
    realised = await realised_for(redis, Keys(settings.account), own, MANUAL)
    return allocator.planned(status, facts, MANUAL, realised)
