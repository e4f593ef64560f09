"""node-postgres: its integration tests are programs, which print a check mark behind the name of each part that held."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.suites.suite import FAILED, PASSED, Outcome, Outcomes, Suite, call, clone, last_line
from tests.suites.ways import Target

FILE_TIMEOUT_S = 120
HELD = re.compile(r"^  (\S.*?) ✔$", re.MULTILINE)
HELPERS = ("async@2.6.4", "bluebird@3.7.2", "co@4.6.0", "pg-copy-streams@0.3.0")
"""What the tests use of others, in the versions its package.json asks for."""


@dataclass(frozen=True, kw_only=True)
class NodePostgres(Suite):
    """The tests of the package `pg`."""

    def fetch(self, home: Path) -> None:
        clone("https://github.com/brianc/node-postgres", f"pg@{self.version}", home / "source")
        (home / "source" / "packages" / "pg").rename(home / "pg")
        npm = ["npm", "--no-audit", "--no-fund", "--ignore-scripts"]
        call(["npm", "pkg", "delete", "devDependencies"], cwd=home / "pg")
        call([*npm, "install", *HELPERS], cwd=home / "pg")

    def run(self, home: Path, target: Target, only: Sequence[str]) -> Outcomes:
        package = home / "pg"
        # `require` means to verify, to this driver.
        environment = target.environment() | {"PGSSLMODE": "no-verify" if target.way.tls else "disable"}
        outcomes: Outcomes = {}
        wanted = {name.partition("::")[0] for name in only}
        for path in sorted((package / "test" / "integration").rglob("*-tests.js")):
            name = str(path.relative_to(package))
            if wanted and name not in wanted:
                continue
            output = _output(["node", name], package, environment)
            outcomes[name] = output[0]
            outcomes |= {f"{name}::{part}": Outcome(PASSED) for part in HELD.findall(output[1])}
        return outcomes


def _output(command: list[str], cwd: Path, environment: dict[str, str]) -> tuple[Outcome, str]:
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, errors="replace", timeout=FILE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as late:
        return Outcome(FAILED, f"not done after {FILE_TIMEOUT_S} s"), (late.stdout or b"").decode(errors="replace")
    return Outcome(FAILED if done.returncode else PASSED, last_line(done.stderr or done.stdout) if done.returncode else ""), done.stdout


NODE = NodePostgres(name="node-postgres", version="8.23.0")
