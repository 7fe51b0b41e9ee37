"""What an operator does with the pot: pause, resume, stop, put settings in force, sell a symbol off, preview an order.

See `runs` for what goes through a Prefect run, and `books` for audit, repair and write-off.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.errors import ConfigError, Problem
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.control.actions import Actor, recorded
from tasks.control.change_effects import Published
from tasks.control.reload import changes_to, refuse_changes
from tasks.funds import store
from tasks.funds.allocator import GlobalFundAllocator
from tasks.settings.in_force import in_force, publish
from tasks.settings.model import Settings
from tasks.tick.active_symbols import retiring_symbols
from tasks.tick.record_format import upgrade_records
from tasks.tick.sharing import performance
from tasks.tick.trading_mode import claim_books


async def pause(
    redis: RedisClient, settings: Settings, symbols: Sequence[str] = (), *, by: Actor = Actor.CLI, once: str = ""
) -> None:
    """Grant no new buys to `symbols`, or to the whole pot when none is named. Resting orders stay; sells go on.

    `once`: id of the action; a second call with it changes nothing. Raises ConfigError for a symbol that is not
    configured.
    """
    work = partial(_set_paused, redis, settings, symbols, True, once)
    await recorded(redis, Keys(settings.account), by, "pause", symbols, work, once=once)


async def resume(
    redis: RedisClient, settings: Settings, symbols: Sequence[str] = (), *, by: Actor = Actor.CLI, once: str = ""
) -> None:
    """Take pause and fired stop of `symbols` back; when none is named, the pot's pause and an operator's stop.

    `once`: see `pause`. Raises ConfigError for a symbol that is not configured.
    """
    work = partial(_resume, redis, settings, symbols, once)
    await recorded(redis, Keys(settings.account), by, "resume", symbols, work, once=once)


async def _resume(redis: RedisClient, settings: Settings, symbols: Sequence[str], once: str = "") -> None:
    await _set_paused(redis, settings, symbols, False, once)
    if symbols:  # they hold again what they buy
        keys, again = Keys(settings.account), once and f"{once}|liquidate"
        await store.set_operator_flag(redis, keys=keys, symbols=symbols, flag="liquidate", value=False, once=again)
        again = once and f"{once}|fired"
        await store.set_operator_flag(redis, keys=keys, symbols=symbols, flag="fired", value=False, once=again)
    else:
        await _set_stopped(redis, settings, False, once and f"{once}|stopped")


async def resume_everything(redis: RedisClient, settings: Settings, *, by: Actor = Actor.CLI) -> None:
    """Take back the stop, the pot's pause, and the pause and fired stop of every configured symbol."""

    async def work() -> None:
        await _resume(redis, settings, ())
        await _resume(redis, settings, list((await in_force(redis, settings, only_look=True)).settings.symbols))

    await recorded(redis, Keys(settings.account), by, "resume everything", (), work)


async def stop(redis: RedisClient, settings: Settings, *, by: Actor = Actor.CLI, once: str = "") -> None:
    """Stop the pot until `resume`: ticks cancel what rests and place nothing. A restart does not lift it.

    `once`: see `pause`.
    """
    work = partial(_set_stopped, redis, settings, True, once)
    await recorded(redis, Keys(settings.account), by, "stop", (), work, once=once)


async def _set_paused(
    redis: RedisClient, settings: Settings, symbols: Sequence[str], paused: bool, once: str = ""
) -> None:
    configured = (await in_force(redis, settings, only_look=True)).settings.symbols
    remedy = f"Use one of: {', '.join(configured)}"
    unknown = [Problem("symbol", name, "not a configured symbol", remedy) for name in symbols if name not in configured]
    if unknown:
        raise ConfigError(unknown, "the command")
    keys = Keys(settings.account)
    await store.set_operator_flag(redis, keys=keys, symbols=symbols, flag="paused", value=paused, once=once)


async def _set_stopped(redis: RedisClient, settings: Settings, stopped: bool, once: str = "") -> None:
    keys = Keys(settings.account)
    await store.set_operator_flag(redis, keys=keys, symbols=(), flag="stopped", value=stopped, once=once)


async def put_in_force(
    redis: RedisClient,
    settings: Settings,
    *,
    liquidate: bool = False,
    clock: Clock = utc_now,
    by: Actor = Actor.CLI,
) -> Published:
    """Publish the settings for every worker and share the pot by them at once.

    `liquidate`: symbols that left the settings sell what they hold at the market's price. A pot that nobody has opened
    yet is shared when it is opened. Raises StateError where the account holds the books of another kind of trading,
    or records of another format, and ConfigError for a change that is not possible while money is committed.
    """
    work = partial(_put_in_force, redis, settings, liquidate, clock)
    return await recorded(
        redis,
        Keys(settings.account),
        by,
        "put settings in force",
        (),
        work,
        lambda done: f"version {done.version}; rebalance: {done.rebalance.outcome}",
    )


async def _put_in_force(redis: RedisClient, settings: Settings, liquidate: bool, clock: Clock) -> Published:
    keys = Keys(settings.account)
    await claim_books(redis, keys, settings)
    await refuse_changes(redis, settings, await changes_to(redis, settings))
    await upgrade_records(redis, keys, settings)
    version = await publish(redis, settings)
    allocator = GlobalFundAllocator.from_settings(settings, redis, clock)
    allocator.follow(settings, version)
    facts = await performance(redis, keys, list(settings.symbols), to_ms(clock()))
    report = await allocator.rebalance_if_needed(reason="settings", performance=facts, only_open=True)
    retiring = await retiring_symbols(redis, keys, settings)
    if liquidate and retiring:
        await _sell_off(redis, settings, retiring)
    return Published(version=version, retiring=tuple(retiring), rebalance=report)


async def sell_off(
    redis: RedisClient, settings: Settings, symbols: Sequence[str], *, by: Actor = Actor.CLI, once: str = ""
) -> None:
    """Let symbols sell what they hold at the market's price, through their ticks. `once`: see `pause`.

    A configured symbol is paused as well, so that it buys nothing until `resume`. Raises ConfigError for a symbol that
    the pot does not know.
    """
    work = partial(_sell_off, redis, settings, symbols, once)
    await recorded(redis, Keys(settings.account), by, "liquidate", symbols, work, once=once)


async def refuse_unknown_symbols(redis: RedisClient, settings: Settings, symbols: Sequence[str]) -> Settings:
    """The settings in force. Raises ConfigError for a symbol that the pot does not know: it can sell nothing."""
    settings = (await in_force(redis, settings, only_look=True)).settings
    known = [*settings.symbols, *await retiring_symbols(redis, Keys(settings.account), settings)]
    remedy = f"Use one of: {', '.join(known)}"
    problems = [Problem("symbol", symbol, "holds nothing", remedy) for symbol in symbols if symbol not in known]
    if problems:
        raise ConfigError(problems, "the command")
    return settings


async def _sell_off(redis: RedisClient, settings: Settings, symbols: Sequence[str], once: str = "") -> None:
    keys, settings = Keys(settings.account), await refuse_unknown_symbols(redis, settings, symbols)
    configured = [symbol for symbol in symbols if symbol in settings.symbols]
    if configured:  # first: a rebalance clears the other flag of a configured symbol that is not paused
        again = once and f"{once}|paused"
        await store.set_operator_flag(redis, keys=keys, symbols=configured, flag="paused", value=True, once=again)
    await store.set_operator_flag(redis, keys=keys, symbols=symbols, flag="liquidate", value=True, once=once)


async def preview_order(
    redis: RedisClient, settings: Settings, symbol: str, side: str, amount: Decimal
) -> tuple[bool, str]:
    """Whether an order of `amount` quote (fee included) would be allowed now, and why not; binds nothing."""
    return await GlobalFundAllocator.from_settings(settings, redis).check_trade_allowed(symbol, side, amount)
