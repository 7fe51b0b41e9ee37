"""Options every command shares, and how a command finds the settings, the Redis and the Prefect server."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from redis.exceptions import RedisError

from flows.runtime import state as stack_state
from flows.runtime.left_overs import left_over
from tasks.base.errors import StackError
from tasks.base.redis import RedisClient, connect
from tasks.base.settings import Settings, configured_prefect_api, state_dir

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
    stack = running_stack(state) or left_over_stack(state)
    if stack is None:
        raise StackError(f"No stack runs on {state_dir(state)}. Run `gridflow up`, or set redis_url to your own Redis")
    return stack.redis


@asynccontextmanager
async def redis_client(settings: Settings, state: Path | None) -> AsyncIterator[RedisClient]:
    """A client on the account's Redis. Raises StackError when it does not answer."""
    client = connect(redis_url(settings, state))
    try:
        await client.ping()
        yield client
    except (RedisError, OSError) as error:
        raise StackError(f"Redis does not answer as it should: {error}") from error
    finally:
        await client.aclose()
