"""`gridflow pause` and `resume`: whether the pot grants new buys."""

from pathlib import Path

import click

from flows.runtime.commands.connections import is_durable, note_durable, run_with_redis
from flows.runtime.commands.options import common_options, settings_in_force
from tasks.base.redis_client import RedisClient


@click.command()
@common_options
@click.argument("symbols", nargs=-1)
def pause(config: Path | None, state: Path | None, symbols: tuple[str, ...]) -> None:
    """Grant no new buys, for all symbols or for SYMBOLS. Resting orders stay; sells go on."""
    from tasks.control import steps as control  # imports the trading stages

    settings = settings_in_force(config, state)

    async def work(redis: RedisClient) -> bool:
        await control.pause(redis, settings, symbols)
        return await is_durable(redis, settings, state)

    note_durable(run_with_redis(work, settings, state))
    click.echo(f"Paused: {_named(symbols)}")


@click.command()
@common_options
@click.argument("symbols", nargs=-1)
def resume(config: Path | None, state: Path | None, symbols: tuple[str, ...]) -> None:
    """End a pause, for SYMBOLS or for the whole pot; for the whole pot also an operator's stop."""
    from tasks.control import steps as control

    settings = settings_in_force(config, state)

    async def work(redis: RedisClient) -> bool:
        await control.resume(redis, settings, symbols)
        return await is_durable(redis, settings, state)

    note_durable(run_with_redis(work, settings, state))
    click.echo(f"Resumed: {_named(symbols)}")


def _named(symbols: tuple[str, ...]) -> str:
    return ", ".join(symbols) or "all symbols"
