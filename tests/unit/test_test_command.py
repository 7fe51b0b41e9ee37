"""`python -m tests`: what it needs, what it installs, and what it says where it may not."""

import os
import subprocess

import pytest

from tests import __main__ as command


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run, and the one that took the process over; all of them succeed."""
    found: list[list[str]] = []

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        found.append(words)
        return subprocess.CompletedProcess(words, 0)

    def become(_: str, words: list[str]) -> None:
        found.append(words)
        raise SystemExit(0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(os, "execv", become)
    monkeypatch.chdir(command.ROOT)
    return found


def test_with_the_tools_there_it_is_pytest(monkeypatch: pytest.MonkeyPatch, calls: list[list[str]]) -> None:
    """The arguments go on to pytest, and nothing is installed."""
    monkeypatch.setattr(command, "missing", list)
    with pytest.raises(SystemExit):
        command.main(["-k", "pot"])
    assert [words[1:] for words in calls] == [["-m", "pytest", "-k", "pot"]]


def test_what_is_missing_is_installed_where_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so, installs, and runs the tests."""
    monkeypatch.setattr(command, "missing", lambda: [] if calls else ["chromium"])
    monkeypatch.setattr(command, "can_install", lambda: True)
    with pytest.raises(SystemExit):
        command.main([])
    assert [words[:2] for words in calls[:2]] == [["apt-get", "update"], ["apt-get", "install"]]
    assert calls[1][-1] == "chromium"
    assert calls[2][1:3] == ["-m", "pytest"]
    assert "Installing what the tests need: chromium" in capsys.readouterr().out


def test_elsewhere_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """No test runs: a test that lacks its tool would fail later and less clearly."""
    monkeypatch.setattr(command, "missing", lambda: ["libfaketime", "redis-server"])
    monkeypatch.setattr(command, "can_install", lambda: False)
    with pytest.raises(SystemExit, match="1"):
        command.main([])
    assert calls == []
    told = capsys.readouterr().err
    assert told.startswith("The tests need libfaketime redis-server. Install them with")
    assert told.count("\n") == 1
