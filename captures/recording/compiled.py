"""Programs in compiled languages that play the scenarios: built once, then run as `program SCENARIO` with DATABASE_URL set.

Sources are in go/ and rust/ beside this module, one program for each driver; what is built, and cargo's lock file, goes to a cache directory and never into
the checkout. Versions of the drivers are those of go.mod and Cargo.toml.
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
    """The scenarios as a Go program of this name plays them."""
    return {scenario: functools.partial(_run, "go", program, scenario) for scenario in scenarios}


def rust(program: str, scenarios: Iterable[str]) -> dict[str, Play]:
    """The scenarios as a Rust program of this name plays them."""
    return {scenario: functools.partial(_run, "rust", program, scenario) for scenario in scenarios}


def _run(language: str, program: str, scenario: str, target: Target) -> None:
    built = build(language) / program
    subprocess.run([built, scenario], env=os.environ | {"DATABASE_URL": target.url}, check=True, timeout=120)


@functools.cache
def build(language: str) -> Path:
    """The directory of this language's programs, which are built anew."""
    tool = {"go": "go", "rust": "cargo"}[language]
    if shutil.which(tool) is None:
        raise Unavailable(f"{tool} is not installed")
    if language == "go":
        programs = CACHE / "go"
        programs.mkdir(parents=True, exist_ok=True)
        subprocess.run([tool, "build", "-o", f"{programs}{os.sep}", "./..."], cwd=HERE / "go", check=True)
        return programs
    source = CACHE / "rust"
    shutil.copytree(HERE / "rust", source, dirs_exist_ok=True)
    subprocess.run([tool, "build", "--quiet"], cwd=source, check=True)
    return source / "target" / "debug"
