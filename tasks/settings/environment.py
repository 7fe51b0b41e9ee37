"""Variables that are not settings, and the environment of child processes. `load` reads the settings."""

import json
import os
from pathlib import Path

from tasks.settings.secret_values import exchange_keys
from tasks.settings.sources import PREFIX, variable_name

STATE_VARIABLE = "GRIDFLOW_STATE"
DEFAULT_STATE = Path(".gridflow")


def configured_redis_url() -> str | None:
    """The URL in $GRIDFLOW_REDIS_URL, for a command that runs although the settings have problems."""
    return os.environ.get(f"{PREFIX}REDIS_URL") or None


def state_dir(named: Path | None = None) -> Path:
    """Folder of the one-machine stack's state: `named`, else $GRIDFLOW_STATE, else ./.gridflow; absolute."""
    return (named or Path(os.environ.get(STATE_VARIABLE) or DEFAULT_STATE)).absolute()


def uvicorn_variables() -> dict[str, str]:
    """What the environment tells uvicorn, which reads its options there too: variable → value."""
    return {name: value for name, value in os.environ.items() if name.startswith("UVICORN_")}


def override_environment(values: dict[str, str]) -> None:
    """Set variables for this process and its children. Command-line options outrank file and environment this way."""
    os.environ.update(values)


def child_environment(values: dict[str, str], ours: bool = True) -> dict[str, str]:
    """This process's environment for a child, with `values` on top and without any PREFECT_ variable.

    Children write byte code: without it, each start of the stack compiles Prefect and ccxt anew, for ten seconds.

    `ours=False` also leaves out GRIDFLOW_ variables, so that programs which need no keys and tokens do not get them.
    """
    unwanted = ("PREFECT_", "PYTHONDONTWRITEBYTECODE", *(() if ours else ("GRIDFLOW_",)))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return kept | values


def without_worker_secrets(environment: dict[str, str]) -> dict[str, str]:
    """The environment without what only workers need: all about alerts, and the exchange's keys, whether each has its
    own variable or the section has one as JSON.
    """
    keys, alerts = {variable_name(place) for place in exchange_keys()}, variable_name(("alerts",))
    kept = {
        name: value
        for name, value in environment.items()
        if name.upper() not in keys and not name.upper().startswith(alerts)
    }
    for name in [name for name in kept if name.upper() == variable_name(("exchange",))]:
        try:
            section = json.loads(kept[name])
        except ValueError:
            section = None
        if isinstance(section, dict):
            names = {place[-1] for place in exchange_keys()}
            kept[name] = json.dumps({field: value for field, value in section.items() if field not in names})
        else:
            del kept[name]
    return kept


def configured_prefect_api() -> str | None:
    """URL of the user's own Prefect server ($PREFECT_API_URL), if it is set."""
    return os.environ.get("PREFECT_API_URL") or None
