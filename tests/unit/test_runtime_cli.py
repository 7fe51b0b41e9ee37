"""The command line: what it loads, how it fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows.runtime.cli import main
from flows.runtime.commands import preflight
from flows.runtime.commands.up_command import summary_text
from tasks.base.errors import ConfigError
from tasks.settings.load import load


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PREFECT_API_URL", "GRIDFLOW_CONFIG", "GRIDFLOW_STATE", "GRIDFLOW_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRIDFLOW_LIVE", "false")  # so that what `up` sets is put back


def _exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.parametrize("command", [["status"], ["pause"], ["resume"], ["stop"], ["rebalance"], ["deploy"]])
def test_without_a_stack_a_command_says_what_to_do(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr, exit code 1, no traceback."""
    assert _exit_code(*command) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("Error: ")
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("command", ["up", "status", "deploy", "pause", "stop", "rebalance"])
def test_wrong_settings_are_refused_before_anything_starts(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the field is named, and no state folder appears."""
    config = tmp_path / "wrong.toml"
    config.write_text('total_funds = "-1"\n')
    assert _exit_code(command, "--config", str(config), "--state", str(tmp_path / "state")) == 2
    assert "total_funds" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_live_needs_both_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--live alone is refused; live = true alone trades on paper, and says so."""
    with pytest.raises(ConfigError, match=r"exchange\.live"):
        preflight.confirm_live(load(), True, print)
    monkeypatch.setenv("GRIDFLOW_EXCHANGE__API_KEY", "key-of-a-test")
    monkeypatch.setenv("GRIDFLOW_EXCHANGE__SECRET", "secret-of-a-test")
    config = tmp_path / "live.toml"
    config.write_text("[exchange]\nlive = true\n")
    monkeypatch.setenv("GRIDFLOW_CONFIG", str(config))
    said: list[str] = []
    assert preflight.confirm_live(load(), False, said.append).live is False
    assert said
    assert preflight.confirm_live(load(), True, said.append).live is True


@pytest.mark.parametrize("command", ["check", "up"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[paper]\nmarket = "replay"\ndata = "none"\n', "paper.data = none: none: no such folder. Mend"),
        ('[paper]\nmarket = "replay"\ndata = "."\n', "paper.data = .: .: no candle file for ETH/USDT; name one like"),
        ('[exchange]\nid = "nosuch"\n', "exchange.id = nosuch: ccxt knows no such exchange. Use one of ccxt's ids"),
    ],
)
def test_what_paper_trading_lacks_is_refused(
    command: str, text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Candle files and the exchange, by `check` and `up` alike: exit code 2, field and remedy, nothing started."""
    config = tmp_path / "paper.toml"
    config.write_text(text)
    assert _exit_code(command, "--config", str(config), "--state", str(tmp_path / "state")) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "line 0" not in shown
    assert not (tmp_path / "state").exists()


def test_a_redis_url_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By whatever command, as a setting."""
    monkeypatch.setenv("GRIDFLOW_REDIS_URL", "nonsense")
    assert _exit_code("status") == _exit_code("check") == 2


def test_help_and_light_commands_load_no_heavy_library() -> None:
    """`up` itself must stay small, and `status` quick."""
    code = (
        "import sys; from flows.runtime import cli; from flows.runtime.stack import stack, worker_process; "
        "from flows.runtime.commands import up_command, stack_commands, pause_commands; "
        "print([name for name in ('prefect', 'ccxt', 'streamlit', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Without loading them."""
    assert _exit_code("--help") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("init", "check", "up", "stop", "status", "deploy", "rebalance", "pause"))


def test_the_summary_names_what_each_symbol_did() -> None:
    """Also where nothing ever started."""
    told = {"symbols": ["BTC/USDT"], "ticks": {"BTC/USDT": 5}, "fills": {"BTC/USDT": 3}, "rounds": {"BTC/USDT": 1}}
    text = summary_text({**told, "equity_end": "10001.5", "market": {"source": "replay"}})
    assert text.splitlines() == [
        "Gridflow has stopped.",
        "  BTC/USDT: 5 ticks, 3 fills, 1 rounds",
        "  equity_end: 10001.5",
    ]
    assert summary_text({"stopped_in_order": True}) == "Gridflow has stopped.\n  stopped_in_order: True"
