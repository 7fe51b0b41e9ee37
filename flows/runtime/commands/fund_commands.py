"""`gridflow pause` and `resume`: may the pot buy?"""

from pathlib import Path

import click

from flows.runtime.commands.answers import bounded
from flows.runtime.commands.options import common_options, settings_in_force
from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings


@click.command()
@common_options
@click.argument("symbols", nargs=-1)
def pause(config: Path | None, state: Path | None, symbols: tuple[str, ...]) -> None:
    """Grant no new buys, for all symbols or for SYMBOLS. Orders that rest stay; sells go on."""
    _set_paused(settings_in_force(config, state), state, symbols, paused=True)


@click.command()
@common_options
@click.argument("symbols", nargs=-1)
def resume(config: Path | None, state: Path | None, symbols: tuple[str, ...]) -> None:
    """Take a pause back, for all symbols (and an operator's stop with it) or for SYMBOLS."""
    _set_paused(settings_in_force(config, state), state, symbols, paused=False)


def _set_paused(own: Settings, state: Path | None, symbols: tuple[str, ...], paused: bool) -> None:
    from tasks.funds.steps import set_paused, set_stopped

    async def work(redis: RedisClient) -> None:
        from tasks.settings.in_force import in_force

        settings = (await in_force(redis, own, only_look=True)).settings
        await set_paused(settings, redis, list(symbols), paused)
        if not paused and not symbols:
            await set_stopped(settings, redis, False)

    bounded(work, own, state)
    click.echo(f"{'Paused' if paused else 'Resumed'}: {', '.join(symbols) or 'all symbols'}")
