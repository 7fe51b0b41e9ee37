"""Options that commands share, and the settings that a command uses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tasks.base.errors import ConfigError
from tasks.settings.environment import configured_redis_url
from tasks.settings.load import from_values, load
from tasks.settings.model import Settings
from tasks.settings.running import recorded_stack

_Command = TypeVar("_Command", bound=Callable[..., Any])


def common_options(command: _Command) -> _Command:
    """Add --config and --state to a command."""
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
    """Add --json to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(command)


def settings_in_force(config: Path | None, state: Path | None) -> Settings:
    """The settings that the stack on this state folder runs with; without a stack, those of file and environment.

    While a stack runs, a faulty file does not disable a command: the faults are printed as a warning. Raises
    ConfigError for a faulty file where no stack runs.
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
