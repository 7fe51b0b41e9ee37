"""The four calls of Prefect's HTTP API that starting a rebalance needs, on a loopback port."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.servers import free_port

RUN_ID = "0197a1c2-0000-7000-8000-000000000001"
OUTCOME = "rebalance (manual): applied, version 3"
_DEPLOYMENT_ID = "0197a1c2-0000-7000-8000-00000000000d"


class PrefectStandIn:
    """Answers like Prefect 3: the run is Pending when first asked about, Completed from then on."""

    def __init__(self) -> None:
        self.port = free_port()
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.asked: list[str] = []
        self.posted: list[str] = []  # bodies
        self.never_ends = False
        self.answers: dict[str, tuple[int, Any]] = {}  # more of them, or others
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen."""
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer("GET")

            def do_POST(self) -> None:
                stand_in.posted.append(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
                self._answer("POST")

            def _answer(self, method: str) -> None:
                status, answer = stand_in.answer(f"{method} {self.path.removeprefix('/api')}")
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, call: str) -> tuple[int, Any]:
        """Status and body for one call."""
        self.asked.append(call)
        states = [("PENDING", "Pending"), ("COMPLETED", "Completed")]
        kind, name = states[0 if self.never_ends else min(self.asked.count(call) - 1, 1)]
        answers: dict[str, tuple[int, Any]] = {
            "GET /deployments/name/rebalance/manual": (200, {"id": _DEPLOYMENT_ID, "name": "manual"}),
            f"POST /deployments/{_DEPLOYMENT_ID}/create_flow_run": (201, {"id": RUN_ID, "name": "brave-newt"}),
            f"GET /flow_runs/{RUN_ID}": (
                200,
                {"id": RUN_ID, "name": "brave-newt", "state": {"type": kind, "name": name, "message": None}},
            ),
            "POST /logs/filter": (200, [{"message": "Beginning flow run"}, {"message": OUTCOME}]),
        }
        return (answers | self.answers).get(call, (404, {"detail": "Not Found"}))

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
