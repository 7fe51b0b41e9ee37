"""The account as the running stack last read it: for `status` when Redis does not answer, or nothing runs any more."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flows.runtime.stack.stop_report import now_text
from tasks.views.models import StatusView

_FILE = "last_status.json"


@dataclass(frozen=True)
class LastStatus:
    """The figures, and when they were read, in UTC."""

    at: str
    view: StatusView


def write_last_status(folder: Path, view: StatusView) -> None:
    """Replace the file in one step. Symbols are not dark in it: it is of the past."""
    fresh = folder / f"{_FILE}.{os.getpid()}"
    fresh.touch(mode=0o600)
    quiet = view.model_copy(update={"workers": (), "results": ()})
    fresh.write_text(json.dumps({"at": now_text(), "view": quiet.model_dump(mode="json")}), encoding="utf-8")
    fresh.replace(folder / _FILE)


def read_last_status(folder: Path) -> LastStatus | None:
    """What was written last; None where there is nothing, or another version wrote it."""
    try:
        raw = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return LastStatus(str(raw["at"]), StatusView.model_validate(raw["view"]))
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None
