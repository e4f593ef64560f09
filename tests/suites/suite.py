"""What a suite of somebody else is: how to get it, how to run it, what came of each test.

Everything fetched lies in a cache directory outside the checkout, one directory a suite and
version, and is fetched once: a file `.ok` says that it is whole. Nothing of it is ever copied into
the repository. Each suite of Python has a virtual environment of its own, so that neither its
versions nor its pytest plugins meet ours.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.suites.ways import PLAIN, TLS, Target, Way

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
PYTEST_PLUGIN = "suite_outcomes"
TIMEOUT_S = 3600


@dataclass(frozen=True)
class Outcome:
    """What came of one test, and why."""

    word: str
    why: str = ""


Outcomes = dict[str, Outcome]
"""By the name of the test."""


@dataclass(frozen=True, kw_only=True)
class Suite(ABC):
    """One suite; a kind of suite says how to `fetch` and `run` it."""

    name: str
    version: str
    ways: tuple[Way, ...] = (PLAIN, TLS)
    setup: str = ""
    """SQL for the server before it, by the superuser."""
    known: Mapping[str, str] = field(default_factory=dict)
    """Tests (the beginning of their names) that must differ behind any proxy, and why."""

    def home(self, cache: Path) -> Path:
        """The suite's directory, complete."""
        home = cache / f"{self.name}-{self.version}"
        if not (home / ".ok").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            self.fetch(home)
            (home / ".ok").touch()
        return home

    @abstractmethod
    def fetch(self, home: Path) -> None:
        """Put everything into the empty directory `home`."""

    @abstractmethod
    def run(self, home: Path, target: Target, only: Sequence[str]) -> Outcomes:
        """Run all tests, or those alone."""


@dataclass(frozen=True, kw_only=True)
class PytestSuite(Suite):
    """A suite that pytest runs, from an sdist of a package index or from a tag of a git repository."""

    requirements: tuple[str, ...]
    """Packages for its virtual environment, versions pinned where they matter."""
    sdist: str = ""
    """The package whose sdist holds the tests; else `repository` and `tag`."""
    repository: str = ""
    tag: str = ""
    tree: tuple[str, ...]
    """What is kept of the source: never the package itself, which is installed as a wheel."""
    paths: tuple[str, ...]
    options: tuple[str, ...] = ()
    """Arguments of pytest; the paths give way when single tests run again."""

    def fetch(self, home: Path) -> None:
        call([sys.executable, "-m", "venv", str(home / "venv")])
        python = str(home / "venv" / "bin" / "python")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "-q"]
        call([*pip, "install", "-U", "pytest", "pytest-timeout", *self.requirements])
        source = home / "source"
        if self.sdist:
            call([*pip, "download", "--no-deps", "--no-build-isolation", "--no-binary", ":all:", "-d", str(source), self.sdist])
            archive = next(source.glob("*.tar.gz"))
            with tarfile.open(archive) as tar:
                tar.extraction_filter = getattr(tarfile, "data_filter", None)  # not there before Python 3.11.4
                tar.extractall(source)
            source = source / archive.name.removesuffix(".tar.gz")
        else:
            clone(self.repository, self.tag, source)
        tests = home / "tests"
        tests.mkdir()
        for name in self.tree:
            (source / name).rename(tests / name)

    def parameters(self, target: Target) -> list[str]:
        """Further arguments that say where the server is; most suites take it from the environment."""
        return []

    def run(self, home: Path, target: Target, only: Sequence[str]) -> Outcomes:
        scratch = target.scratch
        results, chosen = scratch / "outcomes.jsonl", scratch / "chosen"
        chosen.write_text("\n".join(only))
        command = [
            *(str(home / "venv" / "bin" / "python"), "-m", "pytest", "-q", "-p", PYTEST_PLUGIN, "-o", f"cache_dir={scratch}/cache"),
            *("--timeout", "120", "--maxfail", "0", "--basetemp", str(scratch / "pytest")),
            *(sorted({name.partition("::")[0] for name in only}) or self.paths),
            *self.options,
            *self.parameters(target),
        ]
        environment = {
            **target.environment(),
            "PYTHONPATH": str(Path(__file__).parent / "inside"),
            "SUITE_OUTCOMES": str(results),
            "SUITE_CHOSEN": str(chosen),
        }
        with open(scratch / "output", "wb") as output:
            subprocess.run(command, cwd=home / "tests", env=environment, stdout=output, stderr=output, check=False, timeout=TIMEOUT_S)
        if not results.exists():
            sys.exit(f"suites: {self.name} did not run: {last_line((scratch / 'output').read_text(errors='replace'))}")
        lines = [json.loads(line) for line in results.read_text().splitlines()]
        return worst(lines)


def worst(lines: Sequence[Sequence[str]]) -> Outcomes:
    """Name, outcome and reason of each phase of each test: a test is what its worst phase was."""
    rank = (PASSED, SKIPPED, FAILED)
    outcomes: Outcomes = {}
    for name, word, why in lines:
        if name not in outcomes or rank.index(word) > rank.index(outcomes[name].word):
            outcomes[name] = Outcome(word, why)
    return outcomes


def clone(repository: str, tag: str, into: Path) -> None:
    """One tag of a git repository."""
    call(["git", "-c", "advice.detachedHead=false", "clone", "-q", "--depth", "1", "--branch", tag, repository, str(into)])


def call(command: Sequence[str], cwd: Path | None = None) -> None:
    """Run a command; ends the program with its last line where it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        sys.exit(f"suites: {' '.join(command)}: {last_line(done.stderr or done.stdout)}")


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no output")
