"""What an operator can do: put settings in force, sell a symbol off, preview an order."""

from collections.abc import Sequence
from decimal import Decimal

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.errors import ConfigError, Problem
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Frozen
from tasks.funds import store
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.models import RebalanceReport
from tasks.settings.in_force import publish
from tasks.settings.model import Settings
from tasks.tick.active_symbols import retiring_symbols
from tasks.tick.record_format import upgrade_records
from tasks.tick.sharing import performance
from tasks.tick.trading_mode import claim_books


class Published(Frozen):
    """Settings put in force: their version, the symbols that retire from now on, and how the pot is shared."""

    version: int
    retiring: tuple[str, ...]
    rebalance: RebalanceReport


async def put_in_force(
    redis: RedisClient, settings: Settings, *, liquidate: bool = False, clock: Clock = utc_now
) -> Published:
    """Publish the settings for every worker and share the pot by them at once.

    `liquidate`: symbols that left the settings sell what they hold at the market's price. A pot that nobody has opened
    yet is shared when it is opened. Raises StateError where the account holds the books of another kind of trading,
    or records of another format.
    """
    keys = Keys(settings.account)
    await claim_books(redis, keys, settings)
    await upgrade_records(redis, keys, settings)
    version = await publish(redis, settings)
    allocator = GlobalFundAllocator.from_settings(settings, redis, clock)
    allocator.follow(settings, version)
    facts = await performance(redis, keys, list(settings.symbols), to_ms(clock()))
    report = await allocator.rebalance_if_needed(reason="settings", performance=facts, only_open=True)
    retiring = await retiring_symbols(redis, keys, settings)
    if liquidate and retiring:
        await sell_off(redis, settings, retiring)
    return Published(version=version, retiring=tuple(retiring), rebalance=report)


async def sell_off(redis: RedisClient, settings: Settings, symbols: Sequence[str]) -> int:
    """Let symbols that left the settings sell what they hold at the market's price; how many changed.

    Raises ConfigError for a symbol that is still configured, or that holds nothing.
    """
    keys = Keys(settings.account)
    retiring = await retiring_symbols(redis, keys, settings)
    problems = [
        Problem("symbol", symbol, "is still configured", "Remove it from the settings and run `gridflow deploy` first")
        if symbol in settings.symbols
        else Problem("symbol", symbol, "holds nothing", f"Use one of: {', '.join(retiring) or '(none is retiring)'}")
        for symbol in symbols
        if symbol not in retiring
    ]
    if problems:
        raise ConfigError(problems, "the command")
    hashes = [keys.funds_symbol(symbol) for symbol in symbols]
    return await store.set_flag(redis, hashes=hashes, flag="liquidate", value=True)


async def preview_order(
    redis: RedisClient, settings: Settings, symbol: str, side: str, amount: Decimal
) -> tuple[bool, str]:
    """Whether an order of `amount` quote (fee included) would be allowed now, and why not; binds nothing."""
    return await GlobalFundAllocator.from_settings(settings, redis).check_trade_allowed(symbol, side, amount)
