"""No file of the package imports itself through others, and each package says what its files are for. Imports inside functions and
for type checkers count, too.

The contracts in pyproject.toml, which lint-imports checks, say which layer may import which. They look at packages; this finds
the circles inside one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import pgtrace

ROOT = Path(pgtrace.__file__).parent
JUSTIFIED = {("pgtrace", "pgtrace.recorder"), ("pgtrace", "pgtrace.testing.capture")}
"""The two names of the Python API, for type checkers. At run time each is loaded when somebody asks for it."""


def name_of(path: Path, root: Path) -> str:
    """The module that a file is."""
    parts = (root.name, *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(root: Path) -> dict[str, set[str]]:
    """Each module of the package at `root`, with the modules of it that are imported anywhere in its file."""
    files = {name_of(path, root): path for path in sorted(root.rglob("*.py"))}
    return {name: set(imported(name, path, files)) - {name} for name, path in files.items()}


def imported(name: str, path: Path, files: Mapping[str, Path]) -> Iterator[str]:
    """The modules of `files` that one file imports. `from package import name` is the module of that name where there is one."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (inner if (inner := f"{source}.{alias.name}") in files else source for alias in node.names if source in files)


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The largest sets of modules in which each needs every other one, smallest name first."""
    reach = {module: reached(module, graph) for module in graph}
    found = {tuple(sorted(other for other in reach[module] if module in reach[other])) for module in graph if module in reach[module]}
    return [list(circle) for circle in sorted(found)]


def reached(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    """All that a module needs, directly or not; itself only where something it needs needs it."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for module in graph[waiting.pop()] - found:
            found.add(module)
            waiting.append(module)
    return found


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    found = imports(ROOT)
    for module, other in JUSTIFIED:
        found[module].remove(other)
    return found


def test_no_file_needs_itself(graph: dict[str, set[str]]) -> None:
    assert circles(graph) == []


def test_an_import_counts_wherever_it_stands(tmp_path: Path) -> None:
    root = tmp_path / "package"
    (root / "room").mkdir(parents=True)
    sources = {
        "__init__.py": "",
        "top.py": "import package.room.one\n",
        "room/__init__.py": "from package.room import one\n",
        "room/one.py": "def late():\n    from package.room.two import Two\n    return Two\n",
        "room/two.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .three import Three\n",
        "room/three.py": "from . import one\nfrom .. import top\nimport os\n",
    }
    for name, text in sources.items():
        (root / name).write_text(text)
    one, two, three = (f"package.room.{name}" for name in ("one", "two", "three"))
    found = imports(root)
    assert found == {"package": set(), "package.top": {one}, "package.room": {one}, one: {two}, two: {three}, three: {one, "package.top"}}
    assert circles(found) == [[one, three, two, "package.top"]]


ALIKE = {
    "pgtrace": "docs/architecture.md has them",
    "pgtrace/cli": "one for each command",
    "pgtrace/demo/workloads": "one for each driver",
    "pgtrace/export": "one for each format",
    "pgtrace/identify/drivers": "one for each driver",
    "pgtrace/identify/layers": "one for each layer",
    "pgtrace/judge/findings": "one for each finding",
    "pgtrace/protocol/replication": "one for each family of messages",
    "pgtrace/protocol/values": "one for each kind of types",
    "pgtrace/tui/panes": "one for each pane",
}
"""Packages with a list, so that their docstring need not name each file."""
PACKAGES = {path.parent.relative_to(ROOT.parent).as_posix(): path for path in ROOT.rglob("__init__.py") if "program" not in path.parts}


def unnamed(init: Path) -> list[str]:
    """The modules and packages beside an __init__.py whose names its docstring does not have."""
    said = set(re.findall(r"\w+", ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""))
    files = {path.stem for path in init.parent.glob("*.py") if not path.name.startswith("__")}
    return sorted((files | {path.parent.name for path in init.parent.glob("*/__init__.py")}) - said)


@pytest.mark.parametrize("package", sorted(PACKAGES.keys() - ALIKE.keys()))
def test_a_package_says_what_its_files_are_for(package: str) -> None:
    assert unnamed(PACKAGES[package]) == []


def test_packages_of_files_that_are_alike_are_there() -> None:
    assert all(unnamed(PACKAGES[package]) for package in ALIKE)
