"""What the dashboard says when Redis is not there, what tabs share, and what the process loads."""

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from dashboard import connection, settling, source
from dashboard.connection import NoData, Reader, host_and_port
from tasks.settings.model import Settings
from tests.support.servers import free_port
from tests.support.views import status, symbol


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


def test_the_process_stays_light(tmp_path: Path) -> None:
    """Neither the server nor a chart loads Prefect, ccxt, pandas or altair; and no collection looks at its modules."""
    program = (
        "import gc, sys, dashboard.server\n"
        "from dashboard.charts.parts import base\n"
        "import streamlit as st\n"
        "st.echarts_chart(base(series=[{'type': 'line', 'data': [1, 2]}]))\n"
        "print(sorted({'prefect', 'ccxt', 'pandas', 'altair'} & set(sys.modules)), len(gc.get_objects()) < 10_000)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"


def test_tabs_share_one_reading_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask; while Redis is away the last figures stay, with the time that they are of."""
    asked: list[str] = []

    class Source:
        settings = Settings()
        redis_outage = connection.Outage()

        def read(self, _query: object) -> object:
            asked.append("status")
            if len(asked) > 1:
                raise NoData("Redis at h:1 does not answer")
            return status(symbol())

    Source.redis_outage.since_ms = 7
    monkeypatch.setattr(source, "reader", Source)
    shared = source.StatusSource()
    with ThreadPoolExecutor(8) as tabs:
        seen = list(tabs.map(lambda _: shared.now(), range(20)))
    assert asked == ["status"]
    assert len({reading.at_ms for reading in seen}) == 1
    shared._asked = float("-inf")
    later = shared.now()
    assert (later.view, later.at_ms) == (seen[0].view, seen[0].at_ms)
    assert later.away is not None
    assert later.away.since_ms == 7


def test_a_question_to_the_history_is_asked_once() -> None:
    """Also where many tabs ask at once; a failed one is asked again; old answers make room."""
    kept, asked = source.Answers(), list[int]()

    def ask() -> int:
        asked.append(1)
        return len(asked)

    with ThreadPoolExecutor(8) as tabs:
        assert set(tabs.map(lambda _: kept.get("a", 60, ask), range(20))) == {1}
    assert kept.get("a", 0, ask) == 2
    with pytest.raises(ZeroDivisionError):
        kept.get("b", 60, lambda: 1 // 0)
    assert kept.get("b", 60, ask) == 3
    for name in range(100):
        kept.get(name, 60, lambda: 0)
    assert len(kept._kept) <= 64
    assert kept.last("b") is None


def test_a_query_that_asks_the_reader_again_fails_instead_of_waiting_for_itself(tmp_path: Path) -> None:
    """The reader has one loop: a query on it that waited for another one would stop every screen for good."""
    source = Reader(Settings.model_validate({"redis_url": f"redis://127.0.0.1:{free_port()}/0"}))

    async def ask(_redis: object) -> object:
        return source.read(lambda redis: redis.get("x"))

    with pytest.raises(RuntimeError, match="wait for itself"):
        source.read(ask)
    source.close()


def test_garbage_is_collected_once_in_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many parts of however many tabs refresh."""
    monkeypatch.setattr(settling, "_collected", [0.0])  # a screen of another test may have collected at a later time
    before = gc.get_stats()[2]["collections"]
    gc.disable()
    try:
        for second in range(1_000, 1_300):
            settling.collect(float(second))
            settling.collect(float(second))
    finally:
        gc.enable()
    assert gc.get_stats()[2]["collections"] - before == 10


def test_what_stays_loaded_is_no_garbage_to_look_for() -> None:
    """Only where a module was loaded since: each refresh of each tab collects garbage, and must not pay for modules."""
    gc.unfreeze()
    try:
        settling._known[0] = 0
        settling.settle()
        frozen = gc.get_freeze_count()
        assert frozen > 50_000
        assert len(gc.get_objects()) < 5_000
        gc.unfreeze()
        settling.settle()
        assert gc.get_freeze_count() == 0
    finally:
        gc.unfreeze()
