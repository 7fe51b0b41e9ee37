"""`gridflow pause`, `resume` and `rebalance`: what an operator does with the pot."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from flows.runtime.answers import Waiting, bounded, check_prefect, warn_of_silence
from flows.runtime.options import common_options, json_option, prefect_api, recorded_stack, settings_in_force
from flows.runtime.plan import REBALANCE_MANUAL
from flows.runtime.runs import run_deployment
from tasks.base.redis import RedisClient
from tasks.base.settings import Settings


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


@click.command()
@common_options
@json_option
@click.option("--timeout", "seconds", type=click.FloatRange(min=1), default=120, show_default=True, help="Seconds.")
def rebalance(config: Path | None, state: Path | None, as_json: bool, seconds: float) -> None:
    """Share the pot anew, now: runs the deployment rebalance/manual and waits for its end."""
    settings = settings_in_force(config, state)
    api = prefect_api(state)
    check_prefect(api, state)
    if settings.redis_url is not None or recorded_stack(state) is not None:
        bounded(lambda redis: redis.ping(), settings, state)
    warn_of_silence(state)
    ended = run_deployment(api, REBALANCE_MANUAL, seconds, Waiting().tell)
    if as_json:
        click.echo(json.dumps(asdict(ended)))
    else:
        click.echo(f"Rebalance {ended.name}: {ended.state}" + (f" ({ended.message})" if ended.message else ""))
    if not ended.ok:
        raise SystemExit(1)


def _set_paused(settings: Settings, state: Path | None, symbols: tuple[str, ...], paused: bool) -> None:
    from tasks.funds.steps import set_paused, set_stopped

    async def work(redis: RedisClient) -> None:
        await set_paused(settings, redis, list(symbols), paused)
        if not paused and not symbols:
            await set_stopped(settings, redis, False)

    bounded(work, settings, state)
    click.echo(f"{'Paused' if paused else 'Resumed'}: {', '.join(symbols) or 'all symbols'}")
