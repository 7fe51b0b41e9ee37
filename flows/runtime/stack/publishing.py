"""Putting settings in force for every worker of an account, and saying what that means for its symbols."""

from collections.abc import Callable, Sequence

from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings


async def put_settings_in_force(
    redis: RedisClient, settings: Settings, liquidate: bool, say: Callable[[str], None]
) -> Sequence[str]:
    """Publish the settings, share the pot by them, and say which symbols retire; those symbols.

    Raises StateError where the account holds the books of another kind of trading, or records of another format.
    """
    from tasks.control.steps import put_in_force  # the stages it needs cost memory that a command may not need

    published = await put_in_force(redis, settings, liquidate=liquidate)
    if published.rebalance.applied:
        moved = [
            f"{change.symbol} {change.before:,.2f} → {change.after:,.2f}"
            for change in published.rebalance.changes
            if change.before != change.after
        ]
        say(f"The pot is shared anew: {', '.join(moved)}")
    if published.retiring:
        how = "at the market's price" if liquidate else "at their levels"
        say(
            f"No longer in the settings, but holding something: {', '.join(published.retiring)}. "
            f"They buy nothing and sell what they hold {how}"
        )
    return published.retiring
