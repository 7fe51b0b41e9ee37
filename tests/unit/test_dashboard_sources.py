"""What the dashboard says when Redis is not there, and how it hands rows to the browser."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from dashboard.connection import NoData, Reader, host_and_port
from dashboard.tables import NUMBER, TEXT, TIME, arrow_table
from tasks.settings.model import Settings
from tests.support.servers import free_port


def test_no_redis_anywhere_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    monkeypatch.setenv("GRIDFLOW_STATE", str(tmp_path))
    with pytest.raises(NoData, match="gridflow up"):
        Reader(Settings()).read(lambda redis: redis.get("x"))


def test_a_redis_that_is_away_is_named_without_its_password() -> None:
    """Host and port, no more."""
    url = f"redis://user:hunter2@127.0.0.1:{free_port()}/0"
    source = Reader(Settings(redis_url=SecretStr(url)))
    with pytest.raises(NoData) as caught:
        source.read(lambda redis: redis.get("x"))
    assert "127.0.0.1" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert host_and_port("redis://:secret@[::1]:7/0") == "::1:7"
    assert host_and_port("unix:///tmp/x.sock") == "localhost:6379"


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
        "print(sorted({'prefect', 'ccxt', 'pandas', 'altair'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
