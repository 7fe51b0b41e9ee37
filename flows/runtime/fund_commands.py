"""`gridflow pause`, `resume` and `rebalance`: what an operator does with the pot."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import click

from flows.runtime.options import common_options, json_option, prefect_api, redis_client
from flows.runtime.runs import run_deployment
from tasks.base.deployment_names import DeploymentNames
from tasks.base.settings import Settings, load


@click.command()
@common_options
@click.argument("symbols", nargs=-1)
def pause(config: Path | None, state: Path | None, symbols: tuple[str, ...]) -> None:
    """Grant no new buys, for all symbols or for SYMBOLS. Orders that rest stay; sells go on."""
    _set_paused(load(config), state, symbols, paused=True)


@click.command()
@common_options
@click.argument("symbols", nargs=-1)
def resume(config: Path | None, state: Path | None, symbols: tuple[str, ...]) -> None:
    """Take a pause back, for all symbols (and an operator's stop with it) or for SYMBOLS."""
    _set_paused(load(config), state, symbols, paused=False)


@click.command()
@common_options
@json_option
@click.option("--timeout", "seconds", type=click.FloatRange(min=1), default=120, show_default=True, help="Seconds.")
def rebalance(config: Path | None, state: Path | None, as_json: bool, seconds: float) -> None:
    """Share the pot anew, now: runs the deployment rebalance/manual and waits for its end."""
    deployment = DeploymentNames(load(config).account).rebalance_manual
    ended = run_deployment(prefect_api(state), deployment, seconds)
    if as_json:
        click.echo(json.dumps(asdict(ended)))
    else:
        click.echo(f"Rebalance {ended.name}: {ended.state}" + (f" ({ended.message})" if ended.message else ""))
    if not ended.ok:
        raise SystemExit(1)


def _set_paused(settings: Settings, state: Path | None, symbols: tuple[str, ...], paused: bool) -> None:
    async def work() -> None:
        from tasks.funds.steps import set_paused, set_stopped

        async with redis_client(settings, state) as redis:
            await set_paused(settings, redis, list(symbols), paused)
            if not paused and not symbols:
                await set_stopped(settings, redis, False)

    asyncio.run(work())
    click.echo(f"{'Paused' if paused else 'Resumed'}: {', '.join(symbols) or 'all symbols'}")
