"""Decides claims about PostgreSQL drivers from recorded captures: `make evidence`.

claims.toml has the claims. Each names runs, `scenario/variant`: a program of scenarios/ that is
recorded behind pgtrace, on a throw-away PostgreSQL, where it says so with a PgBouncer in between. A
claim has parts; each part is true or not of counters, statements, errors, or what the program itself
reported. All parts true: HOLDS. None: DOES NOT HOLD. Some: PARTLY. A claim that cannot be decided
here says why: NOT DECIDED.

Output: EVIDENCE.md, EVIDENCE.html, evidence.json, and the captures.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.pooler import Pooler, find_pgbouncer
from pgtrace.demo.ports import free_port
from pgtrace.recorder import Recorder
from pgtrace.report.page.html import Markup, element, heads
from pgtrace.report.page.page import document
from pgtrace.trace.counters import Counters
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace

HERE: Final = Path(__file__).parent
HOLDS, DOES_NOT, PARTLY, NOT_DECIDED = "HOLDS", "DOES NOT HOLD", "PARTLY", "NOT DECIDED"
DRIVERS: Final = ("asyncpg", "psycopg", "psycopg-pool", "psycopg2-binary", "aiopg", "psqlpy", "SQLAlchemy", "tortoise-orm", "databases")
SCHEMA: Final = """
create table evidence_item (id int4 primary key, name text not null);
insert into evidence_item select n, 'item ' || n from generate_series(1, 1000) n;
"""
PROGRAM_S: Final = 90
NO_POOLER: Final = "no PgBouncer"


@dataclass
class Ran:
    """What one run left: its capture, and what was counted."""

    name: str
    capture: Path
    facts: dict[str, Any]
    counters: Counters
    sqlstates: Counter[str]
    statements: list[str]
    parsed: dict[str, int]
    """By statement, how often it was parsed."""
    drivers: list[str]
    layers: list[str]
    connections: int
    first_flight: str
    waited_ms: float
    code: int
    error: str = ""

    def __getattr__(self, name: str) -> Any:
        """A counter by its name."""
        if name.startswith("_") or name == "counters":
            raise AttributeError(name)
        return getattr(self.counters, name)

    def mentions(self, text: str) -> int:
        """How many statements contain that text."""
        return sum(text.lower() in one.lower() for one in self.statements)

    def parses_of(self, text: str) -> int:
        """How often statements that contain that text were parsed."""
        return sum(times for one, times in self.parsed.items() if text.lower() in one.lower())


@dataclass
class Decided:
    """One claim, and its verdict."""

    number: int
    says: str
    verdict: str
    decided_by: str
    parts: list[tuple[str, bool]] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    flight: str = ""

    def as_dict(self, captures: Path) -> dict[str, Any]:
        return {
            "number": self.number,
            "says": self.says,
            "verdict": self.verdict,
            "decided_by": self.decided_by,
            "parts": [{"says": says, "is_so": is_so} for says, is_so in self.parts],
            "flight": self.flight or None,
            "capture": os.fspath(capture_of(captures, self.runs[0])) if self.runs else None,
        }


class Unavailable(Exception):
    """A run that cannot be made here."""


def capture_of(captures: Path, run: str) -> Path:
    return captures / f"{run.replace('/', '.')}.pgtrace"


# Runs.


class Stage:
    """The server, and a recorder for each run."""

    def __init__(self, server: EmbeddedServer, captures: Path, python: str, settings: dict[str, Any]) -> None:
        self.server = server
        self.captures = captures
        self.python = python
        self.settings = settings
        self.ran: dict[str, Ran | Unavailable] = {}

    def run(self, name: str) -> Ran:
        """The run of that name, once. Raises Unavailable."""
        if name not in self.ran:
            try:
                self.ran[name] = self._run(name, self.settings.get(name, {}))
            except Unavailable as error:
                self.ran[name] = error
        found = self.ran[name]
        if isinstance(found, Unavailable):
            raise found
        return found

    def _run(self, name: str, how: dict[str, Any]) -> Ran:
        scenario, _, variant = name.partition("/")
        path = capture_of(self.captures, name)
        with ExitStack() as stack:
            upstream = stack.enter_context(self._upstream(how))
            recorder = stack.enter_context(
                Recorder("127.0.0.1:0", upstream, write=path, rtt=how.get("rtt", "0ms"), label=name, when_behind="wait")
            )
            url = recorder.url(user=self.server.user, password=self.server.password, database=self.server.database)
            variables = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
            variables |= {"DATABASE_URL": url, "PGSSLMODE": "disable", "PYTHONWARNINGS": "ignore"}
            ran = subprocess.run(
                [self.python, str(HERE / "scenarios" / f"{scenario}.py"), variant],
                env=variables,
                capture_output=True,
                text=True,
                check=False,
                timeout=PROGRAM_S,
            )
        if ran.returncode:
            raise Unavailable(f"{name} failed: {ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else ran.returncode}")
        lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
        return read(name, path, json.loads(lines[-1]) if lines else {}, ran.returncode)

    @contextmanager
    def _upstream(self, how: dict[str, Any]) -> Iterator[str]:
        if "behind" not in how:
            yield f"{self.server.host}:{self.server.port}"
            return
        program = pooler(how["behind"])
        port = free_port()
        settings = tuple(how.get("settings", ()))
        with Pooler(self.server, port, self.server.port, pool_size=int(how.get("pool_size", 1)), settings=settings, program=program):
            yield f"127.0.0.1:{port}"


def pooler(wanted: str) -> str:
    """The PgBouncer that has, or has not, max_prepared_statements. Raises Unavailable."""
    found = [path for path in (os.environ.get("PGTRACE_PGBOUNCER"), find_pgbouncer()) if path and os.access(path, os.X_OK)]
    for path in found:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.split()
        number = tuple(int(part) for part in told[1].split(".")[:2]) if len(told) > 1 else (0, 0)
        if (number >= (1, 21)) == (wanted == "new"):
            return path
    raise Unavailable(f"{NO_POOLER} {'from 1.21 on' if wanted == 'new' else 'before 1.21'} is installed here")


def read(name: str, path: Path, facts: dict[str, Any], code: int) -> Ran:
    """What the capture of a run says."""
    trace = Trace.open([path])
    while trace.update():
        pass
    sessions = [one for one in trace.connections if one.kind == "session"]
    rows = [trace.rows[place] for place in range(len(trace.rows))]
    flights = [row.shape.flight for row in rows if row.shape.kind is RowKind.ROUND_TRIP]
    found = Ran(
        name,
        path,
        facts,
        trace.totals(),
        Counter(row.label.sqlstate for row in rows if row.label.sqlstate),
        [view.group.sql for view in trace.statements()],
        {view.group.sql: view.group.parses for view in trace.statements()},
        sorted({one.driver for one in sessions}),
        sorted({one.layer.name for one in sessions if one.layer.name}),
        len(sessions),
        flights[-1] if flights else "",
        sum(row.duration_ns or 0 for row in rows if row.shape.kind is RowKind.ROUND_TRIP) / 1e6,
        code,
    )
    errors = [row.label.error for row in rows if row.label.error]
    found.error = errors[0] if errors else ""
    wanted = [row.shape.flight for row in rows if row.label.error] or flights
    if wanted:
        found.first_flight = Counter(wanted).most_common(1)[0][0]
    trace.close()
    return found


# Claims.


def decide(claim: dict[str, Any], stage: Stage) -> Decided:
    """The verdict on one claim."""
    number, says = claim["number"], claim["says"]
    if "cannot" in claim:
        return Decided(number, says, NOT_DECIDED, claim["cannot"], runs=claim.get("runs", []))
    names = {"r": stage.run, "len": len, "round": round}
    parts: list[tuple[str, bool]] = []
    missing = []
    for part in claim["parts"]:
        try:
            parts.append((part["says"], bool(eval(part["holds"], {"__builtins__": {}}, names))))
        except Unavailable as error:
            missing.append(str(error))
    runs = list(dict.fromkeys(claim.get("runs", [])))
    if missing:
        return Decided(number, says, NOT_DECIDED, "; ".join(dict.fromkeys(missing)), parts, runs)
    so = [is_so for _, is_so in parts]
    verdict = HOLDS if all(so) else PARTLY if any(so) else DOES_NOT
    text = eval(f"f{claim['decided_by']!r}", {"__builtins__": {}}, names)
    return Decided(number, says, verdict, text, parts, runs, stage.run(runs[0]).first_flight if runs else "")


def is_expected(one: Decided, claim: dict[str, Any]) -> bool:
    """Whether that is the verdict that the claim expects. Without a pooler that it needs, a claim
    may stay undecided."""
    return one.verdict == claim.get("expected", NOT_DECIDED) or (one.verdict == NOT_DECIDED and one.decided_by.startswith(NO_POOLER))


def versions(python: str) -> dict[str, str]:
    """What is compared."""
    script = (
        "import importlib.metadata as m, json, sys; found = {d.metadata['Name'].lower(): d.version for d in "
        "m.distributions()}; print(json.dumps(found))"
    )
    installed = json.loads(subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout)
    return {name: installed.get(name.lower(), "not installed") for name in DRIVERS}


# Output.


def as_markdown(decided: list[Decided], of: dict[str, str], captures: Path) -> str:
    sums = Counter(one.verdict for one in decided)
    lines = [
        "# The evidence",
        "",
        f"{len(decided)} claims: " + ", ".join(f"{sums[verdict]} {verdict}" for verdict in (HOLDS, PARTLY, DOES_NOT, NOT_DECIDED)) + ".",
        "",
        ", ".join(f"{name} {number}" for name, number in of.items()) + ".",
        "",
        "| | claim | verdict | decided by | flight | capture |",
        "|---:|---|---|---|---|---|",
    ]
    for one in decided:
        capture = f"`{capture_of(captures, one.runs[0])}`" if one.runs else ""
        cells = [str(one.number), one.says, f"**{one.verdict}**", one.decided_by, f"`{one.flight}`" if one.flight else "", capture]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def as_html(decided: list[Decided], of: dict[str, str], captures: Path) -> str:
    sums = Counter(one.verdict for one in decided)
    roles = {HOLDS: "good", DOES_NOT: "wrong"}
    rows = []
    for one in decided:
        parts = (
            element("ul", *(element("li", f"{'yes' if is_so else 'no'}: {says}") for says, is_so in one.parts)) if one.parts else Markup("")
        )
        command = element("code", f"pgtrace open {shlex.quote(os.fspath(capture_of(captures, one.runs[0])))}") if one.runs else Markup("")
        rows.append(
            element(
                "tr",
                element("th", str(one.number), scope="row"),
                element("td", element("div", one.says), parts, command, class_="sql"),
                element("td", one.verdict, class_=roles.get(one.verdict)),
                element("td", element("div", one.decided_by), element("div", one.flight, class_="flight"), class_="sql"),
            )
        )
    head = heads(("", "claim", "verdict", "decided by"))
    return document(
        "The evidence",
        element("h1", "The evidence"),
        element("p", f"{len(decided)} claims: " + ", ".join(f"{number} {verdict}" for verdict, number in sums.most_common())),
        element("p", ", ".join(f"{name} {number}" for name, number in of.items()), class_="quiet"),
        element("div", element("table", head, element("tbody", *rows)), class_="wide", tabindex=0, role="region", aria_label="Claims"),
    )


def claims() -> dict[str, Any]:
    """What claims.toml says."""
    return tomllib.loads((HERE / "claims.toml").read_text(encoding="utf-8"))


@contextmanager
def staged(captures: Path, python: str, told: dict[str, Any]) -> Iterator[Stage]:
    """A server with the tables of the scenarios, ready to run them."""
    import psycopg

    with EmbeddedServer() as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(SCHEMA)
        yield Stage(server, captures, python, told.get("runs", {}))


def main() -> int:
    """Run what the claims need, decide them, write the results. 1 if a verdict is not the expected
    one."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--into", type=Path, default=Path("evidence"), help="the directory of the results")
    asked.add_argument("--python", default=sys.executable, help="the Python that has the drivers")
    asked.add_argument("--only", type=int, nargs="*", help="only these claims")
    said = asked.parse_args()
    told = claims()
    captures = said.into / "captures"
    captures.mkdir(parents=True, exist_ok=True)
    for old in captures.glob("*.pgtrace"):
        old.unlink()
    began_s = time.monotonic()
    decided, changed = [], []
    with staged(captures, said.python, told) as stage:
        for claim in told["claims"]:
            if said.only and claim["number"] not in said.only:
                continue
            one = decide(claim, stage)
            decided.append(one)
            here = f"{one.number:>2} {one.verdict:<13} {one.decided_by}"
            if not is_expected(one, claim):
                changed.append(one.number)
                here += f"   (expected: {claim.get('expected', NOT_DECIDED)})"
            print(here, flush=True)
    of = versions(said.python)
    (said.into / "EVIDENCE.md").write_text(as_markdown(decided, of, captures), encoding="utf-8")
    (said.into / "EVIDENCE.html").write_text(as_html(decided, of, captures), encoding="utf-8")
    (said.into / "evidence.json").write_text(
        json.dumps({"versions": of, "claims": [one.as_dict(captures) for one in decided]}, indent=2) + "\n", encoding="utf-8"
    )
    print(f"{len(decided)} claims in {time.monotonic() - began_s:.0f} s, {len(changed)} changed: {said.into}/EVIDENCE.md")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
