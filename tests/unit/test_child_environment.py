"""What each process of the stack gets of the environment: the dashboard has no exchange keys."""

import json
import os
from pathlib import Path

import pytest

from dashboard import connection
from flows.runtime.stack import children
from tasks.settings.secret_values import exchange_keys
from tasks.settings.sources import variable_name

KEYS = {variable_name(place): f"Zq7-{place[-1]}" for place in exchange_keys()}


@pytest.fixture
def keys_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Real orders are wanted, and every key of the exchange has its variable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connection, "_readers", [])
    for name, value in {**KEYS, "GRIDFLOW_EXCHANGE__LIVE": "true", "GRIDFLOW_LIVE": "true"}.items():
        monkeypatch.setenv(name, value)


def dashboard_environment(folder: Path) -> dict[str, str]:
    """What `gridflow up` starts the dashboard with."""
    return children.dashboard(folder, folder, 8501, 4200, "redis://:pass@127.0.0.1:6379/0").environment


@pytest.mark.usefixtures("keys_set")
def test_the_dashboard_gets_no_exchange_key(tmp_path: Path) -> None:
    """The worker gets them. The dashboard gets the URL of Redis and the other settings."""
    assert len(KEYS) == 3
    worker = children.worker(tmp_path, tmp_path, 4200, "redis://:pass@127.0.0.1:6379/0").environment
    assert KEYS.items() <= worker.items()
    environment = dashboard_environment(tmp_path)
    assert not any(value.startswith("Zq7") for value in environment.values())
    assert environment["GRIDFLOW_REDIS_URL"] == "redis://:pass@127.0.0.1:6379/0"
    assert environment["GRIDFLOW_EXCHANGE__LIVE"] == "true"


@pytest.mark.usefixtures("keys_set")
def test_the_dashboard_gets_nothing_of_the_alerts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither from the environment, in any spelling, nor from the file."""
    monkeypatch.setenv("GRIDFLOW_ALERTS__TELEGRAM__TOKEN", "Zq7-token")
    monkeypatch.setenv("gridflow_alerts", json.dumps({"pushplus": {"token": "Zq7-token"}}))
    environment = dashboard_environment(tmp_path)
    assert not any("Zq7" in value for value in environment.values())
    monkeypatch.setattr(os, "environ", environment)
    (tmp_path / "gridflow.toml").write_text('[alerts.pushplus]\ntoken = "Zq7-in-the-file"\n', encoding="utf-8")
    assert connection.reader().settings.alerts.pushplus.token is None


@pytest.mark.usefixtures("keys_set")
@pytest.mark.parametrize("name", ["gridflow_exchange__secret", "GRIDFLOW_EXCHANGE", "Gridflow_Exchange"])
def test_neither_in_another_spelling_nor_in_the_whole_section(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of variables have no case, and one variable may hold the section as JSON."""
    section = {"id": "okx", "api_key": "Zq7-a", "secret": "Zq7-b", "password": "Zq7-c"}
    monkeypatch.setenv(name, "Zq7-b" if "secret" in name else json.dumps(section))
    environment = dashboard_environment(tmp_path)
    assert not any("Zq7" in value for value in environment.values())
    if "secret" not in name:
        assert json.loads(environment[name]) == {"id": "okx"}


@pytest.mark.usefixtures("keys_set")
def test_the_dashboard_reads_live_settings_without_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule that real orders need keys is for those who send them. Keys in the file are not read either."""
    environment = dashboard_environment(tmp_path)
    monkeypatch.setattr(os, "environ", environment)
    (tmp_path / "gridflow.toml").write_text('[exchange]\napi_key = "Zq7-in-the-file"\n', encoding="utf-8")
    exchange = connection.reader().settings.exchange
    assert exchange.live is True
    assert (exchange.api_key, exchange.secret, exchange.password) == (None, None, None)
