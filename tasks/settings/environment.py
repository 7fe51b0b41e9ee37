"""The environment beside the settings themselves: where to look, and what child processes get."""

import os
from pathlib import Path

from tasks.settings.sources import PREFIX

STATE_VARIABLE = "GRIDFLOW_STATE"
DEFAULT_STATE = Path(".gridflow")


def configured_redis_url() -> str | None:
    """The Redis that the environment names, whatever else is wrong with the settings."""
    return os.environ.get(f"{PREFIX}REDIS_URL") or None


def state_dir(named: Path | None = None) -> Path:
    """Folder of the one-machine stack's state: `named`, else $GRIDFLOW_STATE, else ./.gridflow; absolute."""
    return (named or Path(os.environ.get(STATE_VARIABLE) or DEFAULT_STATE)).absolute()


def override_environment(values: dict[str, str]) -> None:
    """Set variables for this process and its children: how command-line options outrank file and environment."""
    os.environ.update(values)


def child_environment(values: dict[str, str], ours: bool = True) -> dict[str, str]:
    """This process's environment for a child, with `values` on top and without any PREFECT_ variable.

    `ours=False` also leaves out GRIDFLOW_ variables: keys and tokens stay away from programs that need none.
    """
    unwanted = ("PREFECT_",) if ours else ("PREFECT_", "GRIDFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return kept | values


def configured_prefect_api() -> str | None:
    """URL of a Prefect server of the user's own ($PREFECT_API_URL), if one is named."""
    return os.environ.get("PREFECT_API_URL") or None
