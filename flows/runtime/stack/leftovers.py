"""What belongs to a state folder, and deleting it."""

import json
import shutil
from pathlib import Path

from flows.runtime.stack import postgres


def folders_of(state: Path) -> list[Path]:
    """The state folder, and where root keeps its PostgreSQL data when the folder is closed to other users."""
    elsewhere = postgres_elsewhere(state)
    return [state, *([elsewhere] if elsewhere else [])]


def postgres_elsewhere(state: Path) -> Path | None:
    """The folder of the PostgreSQL data, where it is not in the state folder; None where it is."""
    try:
        data = Path(json.loads((state / "postgres.json").read_text(encoding="utf-8"))["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if data.is_relative_to(state) else data


def delete_state(state: Path) -> None:
    """Delete all of `folders_of`. Raises OSError where something cannot be deleted."""
    postgres.remove(state)
    shutil.rmtree(state)
