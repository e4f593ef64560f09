"""The JSON schemas of what `--json` prints, and of files in JSON, made of what is printed for the
captures of this repository and for programs that run here.

`make schemas` writes them to pgtrace/schemas/. A key that every object of its kind has is required;
its types are those that have been seen. Which keys are data (names of messages, SQLSTATEs) cannot
be seen and is in MAPS. What a counter means is in docs/counting.md, from where the descriptions come.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner

from captures.recording.scenarios import SCHEMA
from pgtrace.cli import root
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.protocol import startup
from pgtrace.protocol.codes import FRONTEND
from tests import playbook

ROOT: Final = Path(__file__).parents[1]
TO: Final = ROOT / "pgtrace" / "schemas"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MAPS: Final = frozenset(
    {"frontend_messages", "backend_messages", "startup_parameters", "unexplained.errors", "unexplained.ends", "not_served"}
    | {"numbers", "sqlstates", "not_told_apart", "statements.variants", "variants.errors", "flights", "versions"}
)
"""Objects whose keys are data, if they are objects; with the key of what holds them where it matters."""
LINES: Final = frozenset({"serve"})
"""What prints objects of several kinds, one object per line. The first key says which kind it is."""
POOLER: Final = ("tests/data/poolers/front.pgtrace", "tests/data/poolers/back.pgtrace")
CAPTURES: Final = sorted(
    [*ROOT.glob("captures/*/*.pgtrace"), *ROOT.glob("tests/data/findings/*.pgtrace"), *ROOT.glob("tests/data/cases/*.pgtrace")]
)
PAIRS: Final = [("psycopg", "asyncpg"), ("asyncpg", "pg8000"), ("psycopg", "psycopg2")]
ODD: Final = """\
setting label odd
mark begin a test
F Query select 1; selec 2 /*route='/x'*/
B CommandComplete SELECT 1 | ErrorResponse 42601 syntax error | ReadyForQuery I
mark end a test
gap 100
c2 opaque F 10
c2 opaque B 20
c3 fact leg A
c3 F Query listen a
c3 B CommandComplete LISTEN | ReadyForQuery I
c3 B NotificationResponse 1 a b
c3 close B
F Query select pg_sleep(1)
"""
"""What the captures of the repository do not have: marks, gaps, several legs, an open round trip."""
SCENARIOS: Final = ("ten_queries", "executemany", "failure", "copy_in", "connect")


class Seen:
    """All values at one place."""

    def __init__(self) -> None:
        self.types: set[str] = set()
        self.objects = 0
        self.keys: dict[str, Seen] = {}
        self.times: dict[str, int] = {}
        self.items: Seen | None = None

    def add(self, value: Any) -> None:
        self.types.add(_type(value))
        if isinstance(value, dict):
            self.objects += 1
            for key, one in value.items():
                self.keys.setdefault(key, Seen()).add(one)
                self.times[key] = self.times.get(key, 0) + 1
        elif isinstance(value, list):
            self.items = self.items or Seen()
            for one in value:
                self.items.add(one)

    def merge(self, other: Seen) -> None:
        """Take what was seen at another place for the same."""
        self.types |= other.types
        self.objects += other.objects
        for key, one in other.keys.items():
            self.keys.setdefault(key, Seen()).merge(one)
            self.times[key] = self.times.get(key, 0) + other.times[key]
        if other.items is not None:
            self.items = self.items or Seen()
            self.items.merge(other.items)

    def schema(self, told: Callable[[str], str], name: str = "", inside: str = "") -> dict[str, Any]:
        types = sorted({"number"} | (self.types - {"integer"}) if "number" in self.types else self.types)
        found: dict[str, Any] = {"type": types[0] if len(types) == 1 else types} if types else {}
        if name and (description := told(name)):
            found["description"] = description
        if "object" in self.types and MAPS & {name, f"{inside}.{name}"}:
            every = Seen()
            for one in self.keys.values():
                every.merge(one)
            found["additionalProperties"] = every.schema(told, inside=name)
        elif "object" in self.types:
            found["properties"] = {key: one.schema(told, key, name or inside) for key, one in self.keys.items()}
            found["required"] = [key for key in self.keys if self.times[key] == self.objects]
        if "array" in self.types and self.items is not None:
            found["items"] = self.items.schema(told, inside=name or inside)
        return found


def _type(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def printed(*arguments: str) -> Iterator[Any]:
    """The objects that a command prints: one, or one a line."""
    done = CliRunner().invoke(root, list(arguments), standalone_mode=False)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    if done.stdout.startswith("{\n"):
        yield json.loads(done.stdout)
    else:
        yield from map(json.loads, done.stdout.splitlines())


def outputs(captures: Iterable[Path]) -> Iterator[tuple[str, Any]]:
    """What `--json` prints for captures: the name of the schema, and an object."""
    for path in captures:
        for name, arguments in (
            ("stats", ["stats", "--json", "-q"]),
            ("show", ["show", "--json", "-q"]),
            ("advice", ["advise", "--json", "-q"]),
            ("check", ["check", "--json", "-q", "--max", "round_trips=0", "--max", "errors=0"]),
        ):
            for one in printed(*arguments, os.path.relpath(path)):
                yield name, one


@contextmanager
def odd() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield playbook.write(Path(directory) / "odd.pgtrace", ODD)


def asked_otherwise(captures: Iterable[Path]) -> Iterator[tuple[str, Any]]:
    """What the same commands print when they are asked for something else."""
    for path in map(os.path.relpath, captures):
        for one in printed("stats", "--json", "-q", "--filter", "rows > 0", path):
            yield "stats", one
        for by in ("callsite", "tag.route"):
            for one in printed("stats", "--json", "-q", "--by", by, path):
                yield "groups", one
        with tempfile.TemporaryDirectory() as directory:
            baseline = Path(directory) / "baseline.json"
            list(printed("advise", "-q", "--json", "--baseline", str(baseline), "--update-baseline", path))
            yield "baseline", json.loads(baseline.read_text())
    for name in ("stats", "show"):
        for one in printed(name, "--json", "-q", *POOLER):
            yield name, one


def side_by_side(pairs: Iterable[tuple[str, str]] = PAIRS, scenarios: Iterable[str] = SCENARIOS) -> Iterator[tuple[str, Any]]:
    """Comparisons of captures that exist."""
    for scenario in scenarios:
        for pair in pairs:
            for one in printed("compare", "--json", "-q", *(f"captures/{driver}/{scenario}.pgtrace" for driver in pair)):
                yield "compare", one
    for first, second in (("diff/batch_plain", "diff/batch_rewritten"), ("findings/both_sides", "diff/batch_plain")):
        for one in printed("compare", "--json", "-q", f"tests/data/{first}.pgtrace", f"tests/data/{second}.pgtrace"):
            yield "compare", one


def served(path: Path) -> Iterator[tuple[str, Any]]:
    """What a server out of the capture says to a driver that asks for something else."""
    command = [sys.executable, "-m", "pgtrace", "serve", "--json", str(path), "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        yield "serve", first
        with socket.create_connection(("127.0.0.1", int(first["listening"][0].rpartition(":")[2]))) as client:
            client.sendall(startup.StartupMessage(3 << 16, (("user", first["user"]), ("database", first["database"]))).wire())
            client.sendall(playbook.wire(FRONTEND, "Query select 'never'"))
            while client.recv(65536):
                pass
        process.send_signal(signal.SIGTERM)
        for line in process.stdout:
            yield "serve", json.loads(line)


def run_here(server: EmbeddedServer) -> Iterator[tuple[str, Any]]:
    """What needs a server and programs: replay, run, and compare with programs in turns."""
    import psycopg

    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(SCHEMA)
    work = "import os, psycopg; c = psycopg.connect(os.environ['DATABASE_URL']); c.execute('select 1')"
    programs = (f'one={sys.executable} -c "{work}"', f'two={sys.executable} -c "{work}; c.commit()"', "bad=false")
    upstream = ("--upstream", f"{server.host}:{server.port}", "-q", "--json")
    before = dict(os.environ)
    os.environ |= server.environment() | {"DATABASE_URL": server.url()}
    try:
        for path, options in (("psycopg/failure", ["--read-only"]), ("psycopg/pipeline", []), ("pg8000/copy_in", [])):
            for one in printed("replay", f"captures/{path}.pgtrace", "--to", server.url(), "--speed", "max", "-q", "--json", *options):
                yield "replay", one
        for one in printed("compare", *upstream, "--rtt", "0ms,5ms", "--repeat", "2", *programs):
            yield "compare", one
        for one in printed("run", *upstream, "--no-last", "--", sys.executable, "-c", work):
            yield "stats", one
    finally:
        os.environ.clear()
        os.environ.update(before)


def evidence() -> Iterator[tuple[str, Any]]:
    yield "evidence", json.loads((ROOT / "examples" / "driver_evidence" / "results" / "evidence.json").read_text(encoding="utf-8"))


def differences(pairs: Iterable[tuple[str, str]] = PAIRS, scenarios: Iterable[str] = SCENARIOS) -> Iterator[tuple[str, Any]]:
    for scenario in scenarios:
        for first, second in pairs:
            for one in printed("diff", "--json", "-q", *(f"captures/{driver}/{scenario}.pgtrace" for driver in (first, second))):
                yield "diff", one


def descriptions(schema: str) -> Callable[[str], str]:
    """What docs/counting.md says of a key in its tables, without the marks of Markdown."""
    page = (ROOT / "docs" / "counting.md").read_text(encoding="utf-8")
    before, rows = re.split(r"^#+ Rows of the timeline$", page, flags=re.MULTILINE)
    table = re.split(r"^# ", rows, flags=re.MULTILINE)[0] if schema == "show" else before if schema == "stats" else ""
    found: dict[str, str] = {}
    for names, text in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+) \|$", table, re.MULTILINE):
        for name in re.findall(r"\w+", names):
            found.setdefault(name, re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("`", "").strip())
    return lambda name: found.get(name, "")


def kind(name: str, about: Any) -> str:
    """Which of a schema's kinds of objects this is."""
    return next(iter(about)) if name in LINES else ""


def made() -> dict[str, str]:
    """The schemas as texts, by name."""
    seen: dict[str, dict[str, Seen]] = {}
    with odd() as path, EmbeddedServer() as server:
        every = (
            *outputs([*CAPTURES, path]),
            *asked_otherwise([*CAPTURES, path]),
            *differences(),
            *side_by_side(),
            *served(ROOT / "captures" / "psycopg" / "failure.pgtrace"),
            *run_here(server),
            *evidence(),
        )
        for name, one in every:
            seen.setdefault(name, {}).setdefault(kind(name, one), Seen()).add(one)
    texts = {}
    for name, kinds in seen.items():
        title = f"pgtrace.{name}/1"
        schemas = [one.schema(descriptions(name)) for one in kinds.values()]
        schema = {"$schema": DIALECT, "title": title, **(schemas[0] if len(schemas) == 1 else {"oneOf": schemas})}
        if "schema" in schema.get("properties", {}):
            schema["properties"]["schema"] = {"const": title}
        texts[name] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return texts


if __name__ == "__main__":
    for name, text in made().items():
        (TO / f"{name}.json").write_text(text, encoding="utf-8")
        print(TO / f"{name}.json", len(text))
