"""Options every command shares, and how a command finds the settings, the Redis and the Prefect server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from flows.runtime.stack import record as stack_state
from flows.runtime.stack.takeover import left_over
from tasks.base.errors import ConfigError, StackError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.settings.environment import configured_prefect_api, configured_redis_url, state_dir
from tasks.settings.load import from_values, load
from tasks.settings.model import PaperSettings, Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])


def common_options(command: _Command) -> _Command:
    """Add --config and --state."""
    config = click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Settings file. [default: $GRIDFLOW_CONFIG, else ./gridflow.toml]",
    )
    state = click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the one-machine stack's state. [default: $GRIDFLOW_STATE, else ./.gridflow]",
    )
    return config(state(command))


def json_option(command: _Command) -> _Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(command)


def running_stack(state: Path | None) -> stack_state.StackRecord | None:
    """The stack that runs on this state folder now, if any."""
    return stack_state.running(state_dir(state))


def left_over_stack(state: Path | None) -> stack_state.StackRecord | None:
    """The stack on this state folder that was killed while processes of it live on, if any."""
    return left_over(state_dir(state))


def recorded_stack(state: Path | None) -> stack_state.StackRecord | None:
    """The stack that runs on this state folder, or was killed while processes of it live on."""
    return running_stack(state) or left_over_stack(state)


def settings_in_force(config: Path | None, state: Path | None) -> Settings:
    """The settings that the stack on this state runs with; without a stack those of the file and the environment.

    A file with faults does not disable a command while a stack runs: they are shown as a warning. Raises ConfigError
    where no stack runs.
    """
    stack = recorded_stack(state)
    try:
        own = load(config)
    except ConfigError as error:
        if stack is None or not stack.settings:
            raise
        click.echo(f"Warning: {error}\nThe stack runs on with the settings that it started with.", err=True)
        url = configured_redis_url()
        return from_values(stack.settings | ({"redis_url": url} if url else {}))
    if stack is None or not stack.settings:
        return own
    return from_values(stack.settings, own)  # the record holds no secrets


async def on_the_same_market(settings: Settings, redis: RedisClient) -> Settings:
    """The settings with the paper market that runs, which `up` may have been told on its command line."""
    from tasks.paper.stored_market import describe_market

    told = await describe_market(redis, Keys(settings.account))
    if not told or told["source"] == "manual":  # candles given by hand: anybody joins them
        return settings
    stored = {name: told[name] for name in ("market", "data", "seed", "speed") if name in told}
    paper = PaperSettings.model_validate(settings.paper.model_dump() | stored)
    return settings.model_copy(update={"paper": paper})


def has_redis(settings: Settings, state: Path | None) -> bool:
    """Whether a Redis is known: the settings' own, or that of the stack that runs or was killed."""
    return settings.redis_url is not None or recorded_stack(state) is not None


def prefect_api(state: Path | None) -> str:
    """The running stack's Prefect API, else $PREFECT_API_URL. Raises StackError where there is neither."""
    stack = running_stack(state)
    found = stack.prefect_api if stack else configured_prefect_api()
    if found is None:
        raise StackError("No Prefect server known. Run `gridflow up`, or set PREFECT_API_URL")
    return found


def redis_url(settings: Settings, state: Path | None) -> str:
    """The settings' Redis, else that of the stack that runs or was killed. Raises StackError where there is none."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    stack = recorded_stack(state)
    if stack is None:
        raise StackError(f"No stack runs on {state_dir(state)}. Run `gridflow up`, or set redis_url to your own Redis")
    return stack.redis
