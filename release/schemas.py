"""The JSON schemas of what `--json` prints, made of what it prints for the captures of this repository.

`make schemas` writes them to pgtrace/schemas/. A key that every object of its kind has is required;
its types are those that have been seen. Which keys are data (names of messages, SQLSTATEs) cannot
be seen and is in MAPS. What a counter means is in docs/counting.md, from where the descriptions come.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner

from pgtrace.cli import root
from tests import playbook

ROOT: Final = Path(__file__).parents[1]
TO: Final = ROOT / "pgtrace" / "schemas"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MAPS: Final = frozenset({"frontend_messages", "backend_messages", "startup_parameters", "errors", "ends"})
"""Objects whose keys are data, if they are objects."""
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
        self.constant: set[str] = set()

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

    def schema(self, told: Callable[[str], str], name: str = "") -> dict[str, Any]:
        types = sorted({"number"} | (self.types - {"integer"}) if "number" in self.types else self.types)
        found: dict[str, Any] = {"type": types[0] if len(types) == 1 else types} if types else {}
        if name and (description := told(name)):
            found["description"] = description
        if "object" in self.types and name in MAPS:
            every = Seen()
            for one in self.keys.values():
                every.types |= one.types
            found["additionalProperties"] = every.schema(told)
        elif "object" in self.types:
            found["properties"] = {key: one.schema(told, key) for key, one in self.keys.items()}
            found["required"] = [key for key in self.keys if self.times[key] == self.objects]
        if "array" in self.types and self.items is not None:
            found["items"] = self.items.schema(told)
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


def made() -> dict[str, str]:
    """The schemas as texts, by name."""
    seen: dict[str, Seen] = {}
    with odd() as path:
        for name, one in (*outputs([*CAPTURES, path]), *differences()):
            seen.setdefault(name, Seen()).add(one)
    texts = {}
    for name, one in seen.items():
        schema = {"$schema": DIALECT, "title": f"pgtrace.{name}/1", **one.schema(descriptions(name))}
        if "schema" in schema["properties"]:
            schema["properties"]["schema"] = {"const": f"pgtrace.{name}/1"}
        texts[name] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return texts


if __name__ == "__main__":
    for name, text in made().items():
        (TO / f"{name}.json").write_text(text, encoding="utf-8")
        print(TO / f"{name}.json", len(text))
