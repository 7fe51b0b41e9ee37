"""Putting settings in force, and printing what that changes."""

from collections.abc import Callable

from tasks.base.redis_client import RedisClient
from tasks.control.change_effects import Published
from tasks.settings.model import Settings


async def put_settings_in_force(
    redis: RedisClient, settings: Settings, liquidate: bool, say: Callable[[str], None]
) -> Published:
    """Publish the settings, rebalance by them and print what changed.

    Raises StateError where the account holds the books of another kind of trading, or records of another format, and
    ConfigError for a change that is not possible while money is committed.
    """
    from tasks.control.steps import put_in_force  # imports the trading stages

    published = await put_in_force(redis, settings, liquidate=liquidate)
    if published.rebalance.applied:
        moved = [
            f"{change.symbol} {change.before:,.2f} → {change.after:,.2f}"
            for change in published.rebalance.changes
            if change.before != change.after
        ]
        say(f"The pot was rebalanced: {', '.join(moved)}")
    if published.retiring:
        how = "at the market's price" if liquidate else "at their levels"
        say(
            f"No longer in the settings, but still holding: {', '.join(published.retiring)}. "
            f"They buy nothing and sell what they hold {how}"
        )
    return published
