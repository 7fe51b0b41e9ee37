"""`gridflow reload` and `gridflow deploy`: put a changed file in force while trading goes on."""

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click

from flows.runtime.commands.connections import check_prefect, is_durable, note_durable, run_with_redis
from flows.runtime.commands.options import common_options, json_option
from flows.runtime.commands.preflight import start_problems
from flows.runtime.stack.prefect_server import common_environment
from flows.runtime.stack.publishing import put_settings_in_force
from flows.runtime.worker.deployments import planned_deployments
from flows.runtime.worker.prefect_yaml import prefect_yaml
from tasks.base.errors import ConfigError, Problem, StackError
from tasks.base.keys import Keys
from tasks.base.money import plain
from tasks.base.redis_client import RedisClient
from tasks.control.change_effects import Published
from tasks.control.reload import ChangePlan, as_started, plan_change
from tasks.exchange import listing
from tasks.exchange.models import Market
from tasks.settings.environment import override_environment, state_dir
from tasks.settings.load import load
from tasks.settings.model import Settings
from tasks.settings.running import has_redis, prefect_api, recorded_stack, running_stack
from tasks.tick.prefect_record import write_retention

_DEPLOY_SECONDS = 120.0


class _Changed(NamedTuple):
    """The settings as they are in force now, what was announced, and what was done; None after a dry run."""

    settings: Settings
    plan: ChangePlan
    published: Published | None


@click.command()
@common_options
@json_option
@click.option("--liquidate", is_flag=True, help="Sell at once what symbols that left the settings still hold.")
@click.option("--dry-run", is_flag=True, help="Only show what would happen.")
def reload(config: Path | None, state: Path | None, as_json: bool, liquidate: bool, dry_run: bool) -> None:
    """Put the file's settings in force without a restart. Every worker follows at its next tick.

    First shows each changed setting, the orders that are replaced and the money that is freed. Orders follow at most
    ten a tick and symbol. Workers update the Prefect deployments within a minute. Exit code 2, and nothing is changed,
    where the file is wrong or a change is not possible while money is committed.
    """
    settings = load(config, start_problems)
    _refuse_other_account(settings, state)
    say = partial(click.echo, err=as_json)

    async def work(redis: RedisClient) -> _Changed:
        changed = await _change(redis, settings, liquidate, say, _known_filters(settings, state), only_look=dry_run)
        if changed.published is not None:
            note_durable(await is_durable(redis, settings, state))
        return changed

    done = run_with_redis(work, settings, state)
    if as_json:
        click.echo(json.dumps(_as_json(done)))
    elif not done.plan.changes:
        click.echo("Nothing changes: the file's settings are in force.")
    elif done.published is not None:
        click.echo(f"In force as version {done.published.version}. Every worker follows at its next tick.")
    else:
        click.echo("Nothing was changed.")


@click.command()
@common_options
@json_option
@click.option("--liquidate", is_flag=True, help="Sell at once what symbols that left the settings still hold.")
@click.option(
    "--retention",
    type=click.IntRange(1, 3650),
    metavar="DAYS",
    help="Have workers delete runs from the Prefect server that ended more than DAYS days ago; kept for later deploys.",
)
@click.option(
    "--write-yaml",
    "yaml",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Deploy nothing: write the deployments to FILE (prefect.yaml), for `prefect deploy --all`.",
)
def deploy(
    config: Path | None, state: Path | None, as_json: bool, liquidate: bool, retention: int | None, yaml: Path | None
) -> None:
    """Put the settings in force for every worker, and create or update the Prefect deployments.

    What an operator paused stays paused. Where no Redis is known, only the deployments are updated.
    """
    settings = load(config)
    if yaml is not None:
        yaml.write_text(prefect_yaml(settings), encoding="utf-8")
        click.echo(json.dumps({"written": str(yaml)}) if as_json else f"Wrote {yaml}. Deploy it: prefect deploy --all")
        return
    api = prefect_api(state)
    check_prefect(api, state)
    if retention is not None and not has_redis(settings, state):
        raise StackError("--retention is kept in Redis, and none is known. Set GRIDFLOW_REDIS_URL")
    changed = _put_in_force(settings, state, liquidate)
    if retention is not None:
        keep_runs = partial(write_retention, keys=Keys(settings.account), days=retention)
        run_with_redis(keep_runs, settings, state)
    if running_stack(state) is not None:
        override_environment(common_environment(state_dir(state) / "prefect", api))
    from flows.runtime.worker.deploy import deploy as deploy_all  # imports Prefect, which reads the environment
    from flows.runtime.worker.old_runs import events_kept

    wanted = settings if changed is None else changed.settings
    retiring = changed.published.retiring if changed is not None and changed.published is not None else ()

    async def work() -> None:
        async with asyncio.timeout(_DEPLOY_SECONDS):
            report = await deploy_all(planned_deployments(wanted, retiring), wanted.account)
        done = {what: getattr(report, what) for what in ("created", "changed", "removed", "unchanged")}
        if as_json:
            in_force = _as_json(changed) if changed is not None else None
            click.echo(json.dumps({"settings": in_force, "deployments": done, "retention_days": retention}))
        else:
            for what, names in done.items():
                for name in names:
                    click.echo(f"{what:9} {name}")
        if retention is not None:
            click.echo(f"Runs stay for {retention} days, events for {await events_kept()}.", err=True)

    try:
        asyncio.run(work())
    except TimeoutError:
        raise StackError(f"The Prefect server {api} did not accept every deployment in time: deploy again") from None


def _refuse_other_account(settings: Settings, state: Path | None) -> None:
    """Raise ConfigError where the file is for another account than the stack that runs trades."""
    stack = recorded_stack(state)
    running = stack.settings.get("account", settings.account) if stack is not None else settings.account
    if running != settings.account:
        rule = f"the stack that runs trades account {running!r}: a pot keeps its account"
        remedy = "Set it back, or start a second stack with another --state"
        raise ConfigError([Problem("account", settings.account, rule, remedy)], "the new settings; nothing was changed")


def _put_in_force(settings: Settings, state: Path | None, liquidate: bool) -> _Changed | None:
    """Publish the settings; None where no Redis is known."""
    if not has_redis(settings, state):
        click.echo("No Redis is known (set GRIDFLOW_REDIS_URL): the settings were not put in force", err=True)
        return None
    say = partial(click.echo, err=True)
    filters = _known_filters(settings, state)
    return run_with_redis(lambda redis: _change(redis, settings, liquidate, say, filters), settings, state)


def _known_filters(settings: Settings, state: Path | None) -> Mapping[str, Market]:
    """The exchange's filters as `check` or `up` last read them; none where it never answered here."""
    found = listing.kept(settings, state_dir(state))
    return found.markets if found is not None else {}


async def _change(
    redis: RedisClient,
    settings: Settings,
    liquidate: bool,
    say: Callable[[str], None],
    filters: Mapping[str, Market],
    only_look: bool = False,
) -> _Changed:
    """Show what will happen, then publish. `only_look`: only show it."""
    wanted = await as_started(redis, settings)
    plan = await plan_change(redis, wanted, markets=filters)
    for line in plan.lines():
        say(line)
    published = None if only_look else await put_settings_in_force(redis, wanted, liquidate, say)
    return _Changed(wanted, plan, published)


def _as_json(changed: _Changed) -> dict[str, Any]:
    """What was announced and done; amounts in quote as text. `version` and `rebalance` are null after a dry run."""
    published = changed.published
    if published is None:
        return changed.plan.as_json() | {"version": None, "retiring": None, "rebalance": None}
    report = published.rebalance
    moved = [
        {"symbol": one.symbol, "before": plain(one.before), "after": plain(one.after)}
        for one in report.changes
        if one.before != one.after
    ]
    return changed.plan.as_json() | {
        "version": published.version,
        "retiring": list(published.retiring),
        "rebalance": {"applied": report.applied, "outcome": report.outcome, "changes": moved},
    }
