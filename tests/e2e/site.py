"""The dashboard as the process under test."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

from tasks.control.access import Access
from tasks.settings.model import Settings
from tests.support.servers import free_port, listens
from tests.support.waiting import until

PASSWORD = "correct horse battery"
UVICORN = ("-m", "uvicorn", "dashboard.server:app", "--log-level", "warning")


def environment(folder: Path, redis_url: str, prefect_api: str) -> dict[str, str]:
    """What `gridflow up` gives the dashboard, and nothing of the tester's own settings."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GRIDFLOW_", "PREFECT_", "STREAMLIT_"))
    }
    return own | {
        "HOME": str(folder),
        "GRIDFLOW_REDIS_URL": redis_url,
        "GRIDFLOW_STATE": str(folder / "state"),
        "GRIDFLOW_ALLOCATION_STRATEGY": "dynamic",
        "GRIDFLOW_DASHBOARD__PASSWORD": PASSWORD,
        "GRIDFLOW_DASHBOARD__SIGN_IN": "always",
        "PREFECT_API_URL": prefect_api,
    }


class Site:
    """The dashboard as a process of its own."""

    def __init__(self, folder: Path, redis_url: str, prefect_api: str) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = environment(folder, redis_url, prefect_api)
        self._said = folder / "dashboard.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> str:
        """All it has written."""
        return self._said.read_text(encoding="utf-8")

    def start(self, *command: str) -> None:
        """Start it with `python` and these arguments (default: under uvicorn on loopback); returns when it answers."""
        arguments = command or (*UVICORN, "--host", "127.0.0.1", "--port", str(self.port))
        with self._said.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        until(lambda: listens(self.port), 30, "the dashboard")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def token(self) -> str:
        """A token of this site."""
        settings = Settings.model_validate({"dashboard": {"password": PASSWORD}})
        return Access(settings, self.state).token(timedelta(hours=1)).text

    def cookie(self) -> tuple[str, str]:
        """Name and value of the cookie of somebody who signed in."""
        return f"gridflow_main_{self.port}", self.token()

    def get(self, path: str, host: str | None = None, signed_in: bool = True) -> tuple[int, str]:
        """(status, body) of a GET."""
        headers = {"Host": host} if host else {}
        if signed_in:
            headers["Cookie"] = "=".join(self.cookie())
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
