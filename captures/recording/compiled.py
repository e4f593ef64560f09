"""Programs in compiled languages that play the scenarios: built when their driver is to be
recorded, then run as `program SCENARIO` with DATABASE_URL set.

Those whose names end in `remedies` run a program with a finding, or the remedied one
(tests/live/remedied_elsewhere.py). Sources are in go/ and rust/ beside this module; what is built,
and cargo's lock file, goes to a cache directory and never into the checkout. Versions of the
drivers are those of go.mod and Cargo.toml.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import platformdirs

from captures.recording.scenarios import Play, Target, Unavailable

HERE = Path(__file__).parent
CACHE = platformdirs.user_cache_path("pgtrace") / "captures"


def go(program: str, scenarios: Iterable[str]) -> dict[str, Play]:
    """The scenarios as the Go program of this name plays them; Unavailable without Go."""
    return _plays(_built_go() / program, scenarios)


def rust(program: str, scenarios: Iterable[str]) -> dict[str, Play]:
    """The scenarios as the Rust program of this name plays them; Unavailable without cargo."""
    return _plays(_built_rust() / program, scenarios)


def _plays(program: Path, scenarios: Iterable[str]) -> dict[str, Play]:
    return {scenario: functools.partial(_run, program, scenario) for scenario in scenarios}


def _run(program: Path, scenario: str, target: Target) -> None:
    subprocess.run([program, *scenario.split()], env=os.environ | {"DATABASE_URL": target.url}, check=True, timeout=120)


@functools.cache
def _built_go() -> Path:
    programs = CACHE / "go"
    programs.mkdir(parents=True, exist_ok=True)
    subprocess.run([_tool("go"), "build", "-o", f"{programs}{os.sep}", "./..."], cwd=HERE / "go", check=True)
    return programs


@functools.cache
def _built_rust() -> Path:
    package = CACHE / "rust"
    cargo = _tool("cargo")
    shutil.copytree(HERE / "rust", package, dirs_exist_ok=True)
    subprocess.run([cargo, "build", "--quiet", "--target-dir", "target"], cwd=package, check=True)
    return package / "target" / "debug"


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found
