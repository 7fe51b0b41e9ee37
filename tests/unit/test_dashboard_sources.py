"""Where the dashboard looks for Redis and Prefect, and what it says when they are not there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from dashboard import prefect_api
from dashboard.connection import NoData, Reader, place_of, redis_url
from dashboard.connection import prefect_api as configured_api
from dashboard.tables import NUMBER, TEXT, TIME, arrow_table
from tasks.settings.model import Settings
from tests.e2e.prefect_stand_in import RUN_ID, PrefectStandIn
from tests.support.servers import free_port

IDENTITY = {"pid": 1, "started": "0", "command": "x"}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with the record of a stack; no other source is configured."""
    for name in ("PREFECT_API_URL", "GRIDFLOW_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRIDFLOW_STATE", str(tmp_path))
    record = {"started": "", "state": "", "parent": IDENTITY, "postgres_data": "", "processes": {}, "dashboard": None}
    urls = {"redis": "redis://127.0.0.1:7001/0", "prefect_api": "http://127.0.0.1:7002/api", "prefect_ui": ""}
    (tmp_path / "stack.json").write_text(json.dumps(record | urls))
    return tmp_path


def test_the_stacks_own_servers_are_found(stack: Path) -> None:
    """Without settings, stack.json says where they are."""
    assert redis_url(Settings()) == "redis://127.0.0.1:7001/0"
    assert configured_api() == "http://127.0.0.1:7002/api"


def test_settings_come_before_the_stack(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Your own servers win."""
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere/api")
    assert redis_url(Settings(redis_url=SecretStr("redis://elsewhere"))) == "redis://elsewhere"
    assert configured_api() == "http://elsewhere/api"


def test_no_redis_anywhere_is_said(stack: Path) -> None:
    """With what to do."""
    (stack / "stack.json").unlink()
    with pytest.raises(NoData, match="gridflow up"):
        redis_url(Settings())
    assert configured_api() is None


def test_a_redis_that_is_away_is_named_without_its_password() -> None:
    """Host and port, no more."""
    url = f"redis://user:hunter2@127.0.0.1:{free_port()}/0"
    source = Reader(Settings(redis_url=SecretStr(url)))
    with pytest.raises(NoData) as caught:
        source.read(lambda redis: redis.get("x"))
    assert "127.0.0.1" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert place_of("redis://:secret@[::1]:7/0") == "::1:7"
    assert place_of("unix:///tmp/x.sock") == "localhost:6379"


def test_prefect_that_is_away_is_said() -> None:
    """And that trading goes on without it."""
    with pytest.raises(prefect_api.PrefectDown, match="does not answer"):
        prefect_api.start_rebalance(f"http://127.0.0.1:{free_port()}/api", "main")
    with pytest.raises(prefect_api.PrefectDown):
        prefect_api.start_rebalance("not a url", "main")


def test_the_rebalance_of_another_account_has_a_name_of_its_own() -> None:
    """The button never starts the deployment of account `main` for another account."""
    prefect = PrefectStandIn()
    prefect.start()
    try:
        assert prefect_api.start_rebalance(prefect.api, "main") == RUN_ID
        with pytest.raises(prefect_api.PrefectDown, match="rebalance/manual-alt"):
            prefect_api.start_rebalance(prefect.api, "alt")
    finally:
        prefect.stop()


@pytest.mark.parametrize("api", ["http://127.0.0.1:4200/api", "http://127.0.0.1:4200/api/"])
def test_the_page_of_a_run(api: str) -> None:
    """In Prefect's own UI, beside its API."""
    assert prefect_api.run_page(api, "abc") == "http://127.0.0.1:4200/runs/flow-run/abc"


def test_arrow_tables_keep_text_numbers_gaps_and_times() -> None:
    """Line breaks, quotes and letters of any script survive."""
    text = 'a\n"b" é 漢 <b>'
    rows: list[dict[str, str | int | float | bool | None]] = [
        {"t": "2024-01-01T00:00:00.250Z", "text": text, "n": 1.5},
        {"t": "2024-01-01T00:00:01.000Z", "text": "", "n": None},
    ]
    table = arrow_table(rows, {"t": TIME, "text": TEXT, "n": NUMBER})
    assert table.column("text").to_pylist() == [text, ""]
    assert table.column("n").to_pylist() == [1.5, None]
    assert [moment.isoformat() for moment in table.column("t").to_pylist()] == [
        "2024-01-01T00:00:00.250000+00:00",
        "2024-01-01T00:00:01+00:00",
    ]


def test_the_process_stays_light(tmp_path: Path) -> None:
    """Neither the server nor a table loads Prefect, ccxt, pandas or altair."""
    program = (
        "import sys, dashboard.server\n"
        "from dashboard.screens import trades, allocation, logs\n"
        "from dashboard.tables import TEXT, arrow_table\n"
        "arrow_table([{'a': 'x'}], {'a': TEXT})\n"
        "print(sorted({'prefect', 'ccxt', 'pandas', 'altair', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
