"""pgbench: its built-in mixes and ones with pipelines, in each query mode, a fixed number of transactions, once over lasting
connections and once with a connection for each. A mix passes when all were done, or stopped at the error that it makes.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.suites.suite import FAILED, PASSED, Outcome, Outcomes, Suite, last_line
from tests.suites.ways import BINARIES, LATEST, PLAIN, TLS, Target

CLIENTS, TRANSACTIONS, CONNECTS = 8, 100, 5
"""CONNECTS transactions each where every one has a connection of its own."""

PIPELINE = """
\\set a :client_id + 1
\\startpipeline
begin;
update pgbench_accounts set abalance = abalance + 1 where aid = :a;
select abalance from pgbench_accounts where aid = :a;
update pgbench_tellers set tbalance = tbalance + 1 where tid = :a;
commit;
\\endpipeline
"""
SYNCS = """
\\set a :client_id + 1
\\startpipeline
update pgbench_accounts set abalance = abalance + 1 where aid = :a;
\\syncpipeline
select repeat('x', 100000);
\\syncpipeline
select generate_series(1, 500);
\\endpipeline
"""
ERRORS = """
\\startpipeline
select 1;
select 1 / 0;
select 2;
\\endpipeline
"""
STOPS = "division by zero"
SCRIPTS = {"pipeline": PIPELINE, "pipeline-syncs": SYNCS, "pipeline-error": ERRORS}
BUILTIN = ("tpcb-like", "simple-update", "select-only")
MODES = ("simple", "extended", "prepared")
MIXES = [*itertools.product(BUILTIN, MODES), *itertools.product(SCRIPTS, MODES[1:])]


@dataclass(frozen=True, kw_only=True)
class Pgbench(Suite):
    """The program of the same PostgreSQL as the server."""

    def fetch(self, home: Path) -> None:
        """It is there."""

    def run(self, home: Path, target: Target, only: Sequence[str]) -> Outcomes:
        for name, text in SCRIPTS.items():
            (target.scratch / name).write_text(text)
        if (made := _pgbench(target, ["-i", "-q"])).returncode:
            sys.exit(f"suites: pgbench -i: {last_line(made.stderr)}")
        outcomes: Outcomes = {}
        for (mix, mode), connect in itertools.product(MIXES, ((), ("-C",))):
            name = " ".join((mix, mode, *connect))
            if only and name not in only:
                continue
            transactions = CONNECTS if connect else TRANSACTIONS
            script = ["-b", mix] if mix in BUILTIN else ["-f", str(target.scratch / mix)]
            load = ["-c", str(CLIENTS), "-j", "2", "-t", str(transactions), "-n", "-M", mode, *connect]
            done = _pgbench(target, [*script, *load])
            expected = STOPS if mix == "pipeline-error" else f"processed: {CLIENTS * transactions}/{CLIENTS * transactions}\n"
            held = expected in done.stdout + done.stderr
            outcomes[name] = Outcome(PASSED if held else FAILED, "" if held else last_line(done.stderr or done.stdout))
        return outcomes


def _pgbench(target: Target, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [str(BINARIES / "pgbench"), *arguments]
    return subprocess.run(command, env=target.environment(), capture_output=True, text=True, check=False, timeout=600)


PGBENCH = Pgbench(name="pgbench", version="18", ways=(PLAIN, TLS, LATEST))
