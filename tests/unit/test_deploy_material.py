"""The files in `deploy`: Prometheus accepts them, and each metric that they name exists."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from dashboard.metrics import Reading, ViewsCollector
from tasks.views.models import AlertChannelView, WorkerView
from tests.support.views import NOW, status, symbol

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "gridflow.rules.yml"
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "gridflow.json").read_text(encoding="utf-8"))


def promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run Prometheus's own checker."""
    return subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False, timeout=60)


def page() -> str:
    """A metrics page on which every metric has a sample."""
    worker = WorkerView(worker="w", host="h", pid=1, version="1", age_seconds=1, alive=True, lag_ms=3)
    channel = AlertChannelView(name="telegram", delivered=3, failures=1)
    view = status(symbol(), workers=(worker,), alert_channels=(channel,))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ViewsCollector(lambda: Reading(view, 1, {("BTC/USDT", "PAUSED"): 1}, NOW)))
    return generate_latest(registry).decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", str(RULES)),
        ("test", "rules", str(RULES.with_name("gridflow.rules_test.yml"))),
        ("check", "config", str(RULES.with_name("prometheus.yml"))),
    ],
)
def test_prometheus_accepts_the_files(arguments: tuple[str, ...]) -> None:
    """Rules, their own tests, and the scrape configuration."""
    done = promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_metrics() -> None:
    """Names, help texts and types."""
    done = promtool("check", "metrics", text=page())
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout + done.stderr == ""


def named() -> set[str]:
    """Every metric of ours in a rule, a rule's test or a panel."""
    texts = [path.read_text(encoding="utf-8") for path in DEPLOY.rglob("*") if path.suffix in (".yml", ".json")]
    return {name for text in texts for name in re.findall(r"\bgridflow_\w+", text)}


def test_every_metric_that_a_file_names_exists() -> None:
    """A rule over a metric that nobody exports would never fire."""
    exported = {re.split(r"[{ ]", line)[0] for line in page().splitlines() if not line.startswith("#")}
    assert named() <= exported
    assert len(named()) > 15


def test_the_board_has_panels_that_ask_the_chosen_prometheus() -> None:
    """Each has a title, a place of its own, and at least one query with a legend."""
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= BOARD.keys()
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in BOARD["panels"]}
    assert len(places) == len(BOARD["panels"]) >= 10
    for panel in BOARD["panels"]:
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"]), panel["title"]


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_a_proxy_keeps_the_dashboard_on_loopback(name: str) -> None:
    """It passes the Host and the client on, which pages and API ask for their password by; the metrics stay inside."""
    text = (DEPLOY / "proxy" / name).read_text(encoding="utf-8")
    assert "127.0.0.1:8501" in text
    assert "/metrics" in text
    assert "Host 127.0.0.1" not in text, "the request would look as if it came from this machine"
    if name == "nginx.conf":
        for header in (
            "Host $host",
            "X-Forwarded-For $remote_addr",
            "X-Forwarded-Proto https",
            "Upgrade $http_upgrade",
        ):
            assert re.search(rf"proxy_set_header\s+{re.escape(header)};", text), header
