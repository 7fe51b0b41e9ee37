"""The code's structure: no circle of imports, wherever an import stands, and one reader of the environment."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def sources() -> dict[str, Path]:
    """Every module of the program by its dotted name."""
    found = {}
    for package in ("flows", "tasks", "dashboard"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(tree: ast.AST, modules: Mapping[str, Path]) -> Iterator[str]:
    """Modules named by any import statement in the tree, wherever it stands."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not used"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.append(inner if inner in modules else node.module or "")
        yield from (name for name in names if name in modules)


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules of one circle, the first again at the end; empty where there is none."""
    finished: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in finished:
            return []
        for target in sorted(graph[module]):
            if found := visit(target, [*path, module]):
                return found
        finished.add(module)
        return []

    return next((found for module in sorted(graph) if (found := visit(module, []))), [])


def test_no_module_imports_itself_through_others() -> None:
    """The circle, if there is one, is the failure's text."""
    modules = sources()
    graph = {name: set(imported(ast.parse(path.read_text("utf-8")), modules)) for name, path in modules.items()}
    found = circle(graph)
    assert not found, " → ".join(found)


def test_no_import_is_for_type_checkers_only() -> None:
    """TYPE_CHECKING hides a circle; where types need each other they belong into one lower module."""
    assert [name for name, path in sources().items() if "TYPE_CHECKING" in path.read_text("utf-8")] == []


def test_only_settings_read_the_environment() -> None:
    """No other package names os.environ or os.getenv: what a process may be told stands in one place."""
    readers = {
        name
        for name, path in sources().items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute | ast.alias) and reads_environment(node)
    }
    assert {name for name in readers if not name.startswith("tasks.settings.")} == set()
    assert "tasks.settings.load" in readers


def reads_environment(node: ast.Attribute | ast.alias) -> bool:
    """Whether the node is `os.environ`, `os.getenv` and the like, or imports such a name."""
    name = node.attr if isinstance(node, ast.Attribute) else node.name
    return name in ("environ", "environb", "getenv", "getenvb", "putenv", "unsetenv")


def test_a_circle_is_found() -> None:
    """Through any number of modules."""
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
