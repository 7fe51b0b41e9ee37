"""The Prefect server's process: `python -m flows.runtime.stack.prefect_server_process PORT`.

uvicorn directly, because the `prefect` command line costs memory that it never uses.
"""

import shutil
import sys
from pathlib import Path

import prefect
import uvicorn

from flows.runtime.stack.imports import without_collector
from flows.runtime.stack.ports import HOST

_LEFT_OUT = "v2"


def main() -> None:
    """Serve until SIGTERM."""
    keep_one_ui()
    with without_collector():
        from prefect.server.api.server import create_app

        application = create_app()
    uvicorn.run(application, host=HOST, port=int(sys.argv[1]), log_level="warning")


def keep_one_ui() -> None:
    """Let the server copy and serve one of the two UIs that Prefect ships, and delete an earlier copy of the other.

    It has no setting for that, but it leaves out a UI that is not installed. The one at `/` stays: its addresses are
    the ones that Prefect and Gridflow link to. `/v2/…` then leads there.
    """
    prefect.__ui_v2_static_path__ = Path("not-installed")
    folder = prefect.settings.PREFECT_UI_STATIC_DIRECTORY.value()
    if folder:
        shutil.rmtree(Path(folder, _LEFT_OUT), ignore_errors=True)


if __name__ == "__main__":
    main()
