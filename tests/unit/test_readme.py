"""The README tells the truth: each command in it exists and is run somewhere, each package is in it."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from flows.runtime.cli import cli
from tasks.settings.load import load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.strip()]

# Where each command's work is run: this module's own tests, another test module, or the CI script.
RUN_BY = {
    "gridflow up": "tests/e2e/test_main_job.py",
    "gridflow status": "tests/e2e/test_main_job.py",
    "gridflow rebalance": "tests/e2e/test_main_job.py",
    "gridflow pause": "tests/e2e/test_main_job.py",
    "gridflow resume": "tests/e2e/test_main_job.py",
    "gridflow funds": "tests/integration/test_change_commands.py",
    "gridflow liquidate": "tests/integration/test_change_commands.py",
    "gridflow stop": "tests/integration/test_runtime_up.py",
    "gridflow history": "tests/integration/test_history_transfer.py",
    "gridflow export-trades": "tests/integration/test_history_transfer.py",
    "gridflow init": "tests/unit/test_settings.py",
    "gridflow check": "tests/unit/test_settings.py",
    "gridflow reload": "tests/integration/test_reload.py",
    "gridflow deploy": "tests/integration/test_runtime_prefect.py",
    "prefect work-pool": "tests/integration/test_runtime_prefect.py",
    "prefect worker": "tests/integration/test_runtime_prefect.py",
    "gridflow data": "tests/integration/test_data_commands.py",
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
