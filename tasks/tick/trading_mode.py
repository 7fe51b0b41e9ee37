"""The trading mode that an account's books belong to: paper, or real orders on one exchange. Never both."""

from tasks.base.errors import StateError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings


def is_live(settings: Settings) -> bool:
    """Whether real orders are sent: the settings and the command line both say so."""
    return settings.exchange.live and settings.live


def mode_of(settings: Settings) -> str:
    """`paper`, or `live:<exchange>`, with `:sandbox` behind it on a test net."""
    exchange = settings.exchange
    if not is_live(settings):
        return "paper"
    return f"live:{exchange.id}{':sandbox' if exchange.sandbox else ''}"


async def stored_mode(redis: RedisClient, keys: Keys) -> str | None:
    """The mode of the books in Redis; None before the first trading."""
    found = await redis.get(keys.mode)
    return None if found is None else str(found)


async def claim_books(redis: RedisClient, keys: Keys, settings: Settings) -> None:
    """Mark the books with this process's mode. Raises StateError, and changes nothing, where they have another."""
    wanted = mode_of(settings)
    await redis.set(keys.mode, wanted, nx=True)
    held = await stored_mode(redis, keys)
    if held != wanted:
        remedy = (
            "pass --live to the command (GRIDFLOW_LIVE=true to a worker)" if wanted == "paper" else "leave --live out"
        )
        raise StateError(
            f"account {keys.account!r} holds the books of {held!r}, and this would be {wanted!r}: "
            f"{remedy}, or use another `account` or --state"
        )
