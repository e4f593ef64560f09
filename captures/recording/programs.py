"""Drivers of other languages: a program beside this file plays the scenario it is given, told by libpq's variables where to connect.

What a program needs is fetched and built once a run, at the versions its pom.xml or package.json
pins, in a directory that goes with the run: a checkout stays clean. A tool or a library that is not
there ends that driver's recording with one line, not the others'.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Final

from captures.recording.scenarios import Play, Target, Unavailable

_HERE: Final = Path(__file__).parent
_JDK: Final = "a JDK, 17 or later,"
_QUIET: Final = {"TZ": "UTC", "LC_ALL": "C.UTF-8"}
"""What drivers take from their surroundings and send along."""

Command = Callable[[], list[str]]
"""What starts a program, after which comes the scenario's name; asked when it is needed."""


def plays(command: Command, scenarios: Iterable[str]) -> dict[str, Play]:
    """The scenarios a program plays."""

    def play(scenario: str) -> Play:
        return lambda target: run([*command(), *scenario.split()], environment(target))

    return {scenario: play(scenario) for scenario in scenarios}


def environment(target: Target) -> dict[str, str]:
    """This process's environment, with the target in libpq's variables and nothing else of theirs."""
    place = {
        "PGHOST": target.host,
        "PGPORT": str(target.port),
        "PGUSER": target.user,
        "PGPASSWORD": target.password,
        "PGDATABASE": target.database,
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | _QUIET | place


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """A program from beginning to end; what it says, if it fails."""
    ended = subprocess.run(command, env=environment, cwd=_HERE, check=False, capture_output=True, text=True, timeout=300)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}: {ended.stderr or ended.stdout}")


def tool(name: str, package: str) -> str:
    """A tool that must be there; `package` is what brings it."""
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"no {name} on this machine; {package} brings it")
    return found


def probe(command: list[str], missing: str) -> None:
    """Run what succeeds only where everything is there."""
    if subprocess.run(command, cwd=_HERE, check=False, capture_output=True, timeout=300).returncode:
        raise Unavailable(missing)


def java(name: str) -> Command:
    """A class of java/ with a main()."""
    return lambda: [tool("java", _JDK), "-cp", f"{_classes()}:{_classes()}/*", name]


def node(source: str) -> Command:
    """A program of node/."""
    return lambda: ["env", f"NODE_PATH={_modules()}/node_modules", tool("node", "Node.js"), f"node/{source}"]


def ruby(source: str, *gems: str) -> Command:
    """A program of ruby/; its gems are the installed ones."""

    @cache
    def command() -> list[str]:
        for gem in gems:
            probe([tool("ruby", "Ruby"), "-r", gem, "-e", ""], f"Ruby has no {gem} on this machine")
        return [tool("ruby", "Ruby"), f"ruby/{source}"]

    return command


def php(source: str, extension: str) -> Command:
    """A program of php/."""

    @cache
    def command() -> list[str]:
        probe([tool("php", "PHP"), "-r", f"exit(extension_loaded('{extension}') ? 0 : 1);"], f"PHP has no {extension} on this machine")
        return [tool("php", "PHP"), f"php/{source}"]

    return command


@cache
def _classes() -> Path:
    directory = _directory("java")
    fetch = [tool("mvn", "Maven"), "-q", "-B", "-f", "java/pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={directory}"]
    probe(fetch, "Maven could not fetch what java/pom.xml names")
    sources = [str(source) for source in sorted((_HERE / "java").glob("*.java"))]
    run([tool("javac", _JDK), "-cp", f"{directory}/*", "-d", str(directory), *sources])
    return directory


@cache
def _modules() -> Path:
    directory = _directory("node")
    shutil.copy(_HERE / "node" / "package.json", directory)
    fetch = [tool("npm", "Node.js"), "install", "--prefix", str(directory), "--no-package-lock", "--no-audit", "--no-fund"]
    probe(fetch, "npm could not fetch what node/package.json names")
    return directory


def _directory(name: str) -> Path:
    directory = Path(tempfile.mkdtemp(prefix=f"pgtrace-{name}-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory
