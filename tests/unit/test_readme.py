"""The README tells the truth: each command in it exists and is run somewhere, each package is in it."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from flows.runtime.cli import cli
from tasks.settings.load import load
from tasks.views.glossary import GLOSSARY

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
COMMANDS = list(
    dict.fromkeys(
        line
        for text in PAGES.values()
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.strip()
    )
)
SAMPLE = "--market replay --data docs/sample-candles"

# Where each command's work is run: this module's own tests, another test module, or the CI script.
RUN_BY = {
    "gridflow up": "tests/e2e/test_main_job.py",
    "gridflow status": "tests/e2e/test_main_job.py",
    "gridflow rebalance": "tests/e2e/test_main_job.py",
    "gridflow pause": "tests/e2e/test_main_job.py",
    "gridflow resume": "tests/e2e/test_main_job.py",
    "gridflow funds": "tests/integration/test_change_commands.py",
    "gridflow liquidate": "tests/integration/test_change_commands.py",
    "gridflow invest": "tests/integration/test_capital.py",
    "gridflow withdraw-profit": "tests/integration/test_capital.py",
    "gridflow stop": "tests/integration/test_runtime_up.py",
    "gridflow glossary": "tests/unit/test_readme.py",
    "gridflow destroy": "tests/unit/test_stack_folder.py",
    "gridflow recover": "tests/integration/test_recover.py",
    "gridflow history": "tests/integration/test_history_transfer.py",
    "gridflow export-trades": "tests/integration/test_history_transfer.py",
    "gridflow init": "tests/unit/test_settings.py",
    "gridflow check": "tests/unit/test_settings.py",
    "gridflow reload": "tests/integration/test_reload.py",
    "gridflow deploy": "tests/integration/test_runtime_prefect.py",
    "prefect work-pool": "tests/integration/test_runtime_prefect.py",
    "prefect worker": "tests/integration/test_runtime_prefect.py",
    "gridflow data": "tests/integration/test_data_commands.py",
    "gridflow optimize": "tests/unit/test_backtest_search.py",
    "gridflow suggest": "tests/unit/test_suggest.py",
    "gridflow backtest": "tests/unit/test_backtest_command.py",
    "pytest": ".ci/run",
    "python -m": ".ci/run",
    "pytest tests/integration/test_fault_runs.py": "tests/integration/test_fault_runs.py",
    "ruff format": ".ci/run",
    "ruff check": ".ci/run",
    "mypy": ".ci/run",
    "lint-imports": ".ci/run",
}


def work_of(command: str) -> str:
    """`pip install uv && uv run gridflow up …` → `gridflow up`."""
    words = shlex.split(command.split("uv run ", 1)[1])
    return " ".join(words[:2])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_run_somewhere(command: str) -> None:
    """And the place named does run it."""
    work = work_of(command)
    text = (ROOT / RUN_BY[work]).read_text(encoding="utf-8")
    assert work.split()[-1] in text


def test_every_gridflow_command_parses() -> None:
    """Options in the README exist."""
    for command in COMMANDS:
        words = shlex.split(command.split("uv run ", 1)[1])
        if words[0] == "gridflow":
            group = words[1:3] if words[1] in ("funds", "history", "data") else words[1:2]
            known = CliRunner().invoke(cli, [*group, "--help"]).output
            assert all(word in known for word in words[2:] if word.startswith("--"))


def test_the_sample_of_the_example_is_there_and_can_be_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first example works as it stands: `check` accepts its market, without a note."""
    assert any(SAMPLE in command for command in COMMANDS)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("GRIDFLOW_PAPER__MARKET", "replay")
    monkeypatch.setenv("GRIDFLOW_PAPER__DATA", SAMPLE.split()[-1])
    found = CliRunner().invoke(cli, ["check", "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["notes"] == []


def test_git_ignores_what_the_examples_make() -> None:
    """Files and state folders that a command of the pages writes, and the ones that it writes by default."""
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()}
    made = {".gridflow", "candles", "gridflow.toml", "report.html"}
    for command in COMMANDS:
        words = shlex.split(command)
        options = {"--out", "--trades", "--report", "--state"}
        made |= {value for option, value in pairwise(words) if option in options}
    assert made - ignored == set()


def test_the_glossary_is_the_one_that_status_and_screens_share() -> None:
    """Word by word, in the README and from the command."""
    rows = "\n".join(f"| {word} | {text} |" for word, text in GLOSSARY.items())
    assert rows in README
    assert json.loads(CliRunner().invoke(cli, ["glossary", "--json"]).stdout) == dict(GLOSSARY)
    shown = " ".join(CliRunner().invoke(cli, ["glossary"]).stdout.split())
    assert all(text in shown for text in GLOSSARY.values())
    help_of_status = " ".join(CliRunner().invoke(cli, ["status", "--help"]).stdout.split())
    assert all(GLOSSARY[word] in help_of_status for word in ("equity", "floating", "fees"))


def test_a_recorded_session_shows_the_status() -> None:
    """Made by `tests.support.record_session`; no line is longer than 80 columns."""
    (session,) = re.findall(r"<!-- session -->\n```text\n(.*?)```\n<!-- /session -->", README, re.DOTALL)
    assert session.startswith("$ gridflow status\n")
    assert all(word in session for word in ("equity", "Grids", "place", "Market time"))
    assert max(map(len, session.splitlines())) <= 80


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Files that pages link to exist."""
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", PAGES[page]):
        assert (page.parent / target).exists(), target


RIDDLES = (
    "Who asks for everything",
    "nobody is called",
    "Of two at once",
    "a hair for fees",
    "what other orders bind",
    "Binance's manners",
    "finds its work done",
    "Mend",
    "amiss",
    "strays",
    "look after",
)


@pytest.mark.parametrize("riddle", RIDDLES)
def test_plain_english(riddle: str) -> None:
    """Sentences and words that were replaced do not come back, in pages and in what the program says."""
    assert not [page.name for page, text in PAGES.items() if riddle in text]
    if riddle == "Mend":
        return  # one remedy keeps it
    sources = [path for folder in ("flows", "tasks", "dashboard") for path in (ROOT / folder).rglob("*.py")]
    assert not [str(path) for path in sources if riddle in path.read_text(encoding="utf-8").replace('"strays")', "")]


def test_every_package_is_on_the_map() -> None:
    """The map of the code names each package."""
    for package in ("flows", "tasks"):
        for path in (ROOT / package).iterdir():
            if path.is_dir() and (path / "__init__.py").exists():
                assert f"`{package}/{path.name}`" in README


def test_the_configuration_examples_load(tmp_path: Path) -> None:
    """The first TOML in the README is valid as it stands; the others add fields to its tables."""
    example, *more = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    for added in ["", *more]:
        head = '[symbols."BTC/USDT"]\n'
        path = tmp_path / "gridflow.toml"
        path.write_text(example.replace(head, added or head), encoding="utf-8")
        assert list(load(path).symbols) == ["BTC/USDT"]


def test_every_entry_point_of_prefect_yaml_loads() -> None:
    """Each deployment names a flow that can be imported."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    points = sorted({one["entrypoint"] for one in deployments})
    load_all = "import importlib, sys\nfor p in sys.argv[1:]:\n m, f = p.rsplit('.', 1)\n"
    script = load_all + " getattr(importlib.import_module(m), f)"
    done = subprocess.run([sys.executable, "-c", script, *points], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_bounds_that_are_known_to_matter_stand_in_pyproject() -> None:
    """People also install with pip."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    for name in ("prefect", "fastapi", "sqlalchemy", "streamlit"):
        (line,) = [one for one in listed if one.startswith(name)]
        assert "<" in line
