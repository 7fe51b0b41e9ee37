"""What a process logs: JSON lines in its own file, readable lines on the terminal, fields of the work, no secret."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.runtime.stack.worker_logs import PREFECT_LOG, separate_prefect
from tasks.base import log_setup
from tasks.base.log_context import log_fields
from tasks.base.log_files import open_log_file
from tasks.base.log_formats import ConsoleFormatter
from tasks.base.log_setup import LogFile
from tasks.base.redaction import Redactor
from tasks.settings.logs import start_logging
from tasks.settings.model import Settings
from tasks.views.log_files import file_lines, log_files

LOG = logging.getLogger("tasks.test")


@pytest.fixture(autouse=True)
def own_loggers() -> Iterator[None]:
    """The loggers are afterwards as they were before."""
    loggers = [logging.getLogger(name) for name in ("tasks", "flows", "dashboard", "gridflow")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    log_setup.close_files()
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def lines(path: Path) -> list[dict[str, Any]]:
    """The file's lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_line_of_the_file_is_a_json_object(tmp_path: Path) -> None:
    """With the fields of the record and of the work around it, and a traceback in one line."""
    log_setup.setup([], "worker", file=LogFile(tmp_path))
    with log_fields(symbol="BTC/USDT", flow_run="7"), log_fields(tick="12"):
        LOG.info("order placed", extra={"order": "abc", "price": 42})
        try:
            raise ValueError("no")
        except ValueError:
            LOG.exception("failed", extra={"symbol": "ETH/USDT"})
    LOG.debug("not wanted")
    placed, failed = lines(tmp_path / "worker.jsonl")
    assert placed.pop("at").endswith("+00:00")
    assert placed == {
        "level": "INFO",
        "source": "worker",
        "logger": "tasks.test",
        "message": "order placed",
        "order": "abc",
        "price": 42,
        "symbol": "BTC/USDT",
        "flow_run": "7",
        "tick": "12",
    }
    assert failed["symbol"] == "ETH/USDT", "a record's own field stays"
    assert failed["traceback"].endswith("ValueError: no")


def test_the_file_rotates_and_each_process_has_its_own(tmp_path: Path) -> None:
    """Two at once write to two files; old lines move to numbered files, of which a bounded number stays."""
    log_setup.setup([], "worker", file=LogFile(tmp_path, max_bytes=2000, files=3))
    other = open_log_file(tmp_path, "worker", 2000, 3)
    assert other is not None
    assert Path(other.baseFilename).name == "worker-2.jsonl"
    other.close()
    for number in range(100):
        LOG.info("line", extra={"number": number})
    files = sorted(path.name for path in tmp_path.glob("worker.jsonl*"))
    assert files == ["worker.jsonl", "worker.jsonl.1", "worker.jsonl.2"]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.glob("worker.jsonl*"))
    assert lines(tmp_path / "worker.jsonl")[-1]["number"] == 99
    again = open_log_file(tmp_path, "worker", 2000, 3)
    assert again is not None
    assert Path(again.baseFilename).name == "worker-2.jsonl", "the name is free again"
    again.close()


def test_the_settings_say_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DEBUG where it is set: in the file, not in the stream for the dashboard. A folder that is a file is no error."""
    monkeypatch.setenv("GRIDFLOW_STATE", str(tmp_path))
    queue = start_logging(Settings.model_validate({"logs": {"level": "debug"}}), "worker")
    LOG.debug("fine")
    LOG.info("coarse")
    assert [line["message"] for line in lines(tmp_path / "logs" / "worker.jsonl")] == ["fine", "coarse"]
    (queued,) = queue._queue
    assert queued["message"] == "coarse"
    assert ":" in json.loads(queued["fields"])["process"]
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("GRIDFLOW_STATE", str(tmp_path / "taken"))
    start_logging(Settings(), "worker")
    LOG.info("goes on")


@pytest.mark.parametrize("colour", [False, True])
def test_an_event_is_one_line_on_the_terminal(colour: bool) -> None:
    """Local time, level, logger, message, fields; with colours where it is a terminal. Links stay in the file."""
    record = LOG.makeRecord(
        "tasks.test", logging.WARNING, __file__, 1, "two\nlines", (), None, extra={"a": 1, "flow_run_url": "http://x"}
    )
    line = ConsoleFormatter(colour=colour).format(record)
    assert "\n" not in line
    assert "flow_run_url" not in line
    assert ("\x1b[33m" in line) is colour
    if not colour:
        assert line.split()[2:] == ["WARNING", "tasks.test", "two", "lines", "a=1"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://api.telegram.org/bot123456:AAH-x_yzabcdefgh/getMe", "https://api.telegram.org/bot123456:***/getMe"),
        ("GET /api/sse/events?token=eyJhbGciOi.x.y&page=2", "GET /api/sse/events?token=***&page=2"),
        ("https://host/?apiKey=abc&signature=d3adb33f", "https://host/?apiKey=***&signature=***"),
        ("postgresql+asyncpg://user:pa55@host/db", "postgresql+asyncpg://user:***@host/db"),
        ("redis://:pa55@host/0", "redis://:***@host/0"),
        ("Authorization: Bearer eyJhbGciOi.x.y", "Authorization: Bearer ***"),
        ("http://127.0.0.1:4200/runs/flow-run/7?tab=logs", "http://127.0.0.1:4200/runs/flow-run/7?tab=logs"),
    ],
)
def test_credentials_in_urls_are_hidden_by_their_form(text: str, shown: str) -> None:
    """Also where the settings do not know them."""
    assert Redactor().text(text) == shown
    assert Redactor(["hunter22"]).value({"a": [text, 7, None, "hunter22"]}) == {"a": [shown, 7, None, "***"]}


def test_what_runs_log_for_prefect_is_hidden_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's log lines go to Prefect's server through a logger of Prefect's own."""
    stream = io.StringIO()
    log_setup.setup(["hunter22"], "worker")
    logger = logging.getLogger("prefect.flow_runs")
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "propagate", False)
    logger.error("the key is %s", "hunter22")
    log_setup.setup([], "worker")
    assert stream.getvalue() == "the key is ***\n"


@pytest.fixture
def root_logger() -> Iterator[None]:
    """The root logger and Prefect's own are afterwards as they were before."""
    loggers = [logging.getLogger(name) for name in ("", "prefect._internal", "httpx", "alembic")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.mark.usefixtures("root_logger")
def test_prefects_lines_go_to_a_file_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The terminal, which is worker.log, has Gridflow's own lines and what other libraries say; no secret in either."""
    separate_prefect(tmp_path / "logs", ["hunter22"])
    log_setup.setup(["hunter22"], "worker")
    LOG.warning("ours")
    logging.getLogger("asyncio").error("task failed with hunter22")
    for name in ("prefect.client.one", "prefect._internal.concurrency", "prefect.events", "httpx"):
        logging.getLogger(name).error("line of %s with hunter22", name)
    try:
        raise ConnectionError("no answer")
    except ConnectionError:
        logging.getLogger("prefect._internal.concurrency").exception("service failed")
    try:
        raise ValueError("a fault")
    except ValueError:
        logging.getLogger("prefect.engine").exception("run failed")
    terminal = capsys.readouterr().err.splitlines()
    assert [line.split()[2:] for line in terminal] == [
        ["WARNING", "tasks.test", "ours"],
        ["ERROR", "asyncio", "task", "failed", "with", "***"],
    ]
    text = (tmp_path / "logs" / PREFECT_LOG).read_text(encoding="utf-8")
    assert text.count("with ***\n") == 4
    assert "hunter22" not in text
    assert text.count("Traceback") == 1, "only for a fault of the program"
    assert "service failed error=ConnectionError: no answer" in text
    assert PREFECT_LOG in log_files(tmp_path)
    assert {line.logger for line in file_lines(tmp_path, PREFECT_LOG)} >= {"httpx", "prefect.engine"}


@pytest.mark.usefixtures("root_logger")
def test_prefects_lines_stay_where_their_file_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is a file: everything goes to the terminal, and it says so."""
    (tmp_path / "logs").write_text("")
    log_setup.setup([], "worker")
    separate_prefect(tmp_path / "logs", [])
    logging.getLogger("prefect.engine").error("line")
    said = capsys.readouterr().err
    assert "no log file for Prefect's lines: [Errno 17]" in said
    assert "prefect.engine line" in said
