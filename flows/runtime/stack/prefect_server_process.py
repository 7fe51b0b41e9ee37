"""The Prefect server's process: `python -m flows.runtime.stack.prefect_server_process PORT`.

uvicorn directly, because the `prefect` command line costs memory that it never uses.
"""

import sys

import uvicorn

from flows.runtime.stack.imports import without_collector
from flows.runtime.stack.ports import HOST


def main() -> None:
    """Serve until SIGTERM."""
    with without_collector():
        from prefect.server.api.server import create_app

        application = create_app()
    uvicorn.run(application, host=HOST, port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
