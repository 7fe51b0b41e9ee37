"""`gridflow pause` and `resume`: whether the pot grants new buys."""

import json
from pathlib import Path

import click

from flows.runtime.commands.connections import is_durable, note_durable, run_with_redis
from flows.runtime.commands.options import common_options, json_option, settings_in_force
from tasks.base.redis_client import RedisClient


@click.command()
@common_options
@json_option
@click.argument("symbols", nargs=-1)
def pause(config: Path | None, state: Path | None, as_json: bool, symbols: tuple[str, ...]) -> None:
    """Grant no new buys, for all symbols or for SYMBOLS. Resting orders stay; sells go on."""
    from tasks.control import steps as control  # imports the trading stages

    settings = settings_in_force(config, state)

    async def work(redis: RedisClient) -> bool:
        await control.pause(redis, settings, symbols)
        return await is_durable(redis, settings, state)

    _tell("paused", symbols, run_with_redis(work, settings, state), as_json)


@click.command()
@common_options
@json_option
@click.argument("symbols", nargs=-1)
def resume(config: Path | None, state: Path | None, as_json: bool, symbols: tuple[str, ...]) -> None:
    """End a pause, for SYMBOLS or for the whole pot; for the whole pot also an operator's stop."""
    from tasks.control import steps as control

    settings = settings_in_force(config, state)

    async def work(redis: RedisClient) -> bool:
        await control.resume(redis, settings, symbols)
        return await is_durable(redis, settings, state)

    _tell("resumed", symbols, run_with_redis(work, settings, state), as_json)


def _tell(what: str, symbols: tuple[str, ...], durable: bool, as_json: bool) -> None:
    """As JSON: the symbols, or null for all; whether the history has it."""
    note_durable(durable)
    if as_json:
        click.echo(json.dumps({what: list(symbols) or None, "durable": durable}))
    else:
        click.echo(f"{what.capitalize()}: {', '.join(symbols) or 'all symbols'}")
