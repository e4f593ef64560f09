"""pgtrace/schemas: what `--json` prints is what they say, and nothing that they do not say (then: make schemas)."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pgtrace.demo.embedded import EmbeddedServer
from tests.release.scripts import load
from tests.schemas import closed, schema, wrong

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
"""A command leaves its files to the end of the process."""
LIVE = {"replay"}
NAMES = {"advice", "baseline", "check", "compare", "diff", "evidence", "groups", "serve", "show", "stats"} | LIVE


SCHEMAS = load("schemas")


def seen_in(outputs: Any) -> dict[str, int]:
    """How many objects each schema was held against."""
    seen: dict[str, int] = {}
    for name, one in outputs:
        assert wrong(name, one) == [], "make schemas, if this is meant"
        seen[name] = seen.get(name, 0) + 1
    return seen


def test_every_schema_is_one() -> None:
    assert {path.stem for path in (ROOT / "pgtrace" / "schemas").glob("*.json")} == set(NAMES)
    for name in sorted(NAMES):
        jsonschema.Draft202012Validator.check_schema(schema(name))
        assert schema(name)["title"] == f"pgtrace.{name}/1"


def test_what_is_printed_is_in_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    chosen = [*SCHEMAS.CAPTURES[::29], *sorted((ROOT / "tests/data/findings").glob("*.pgtrace"))[::4]]
    with SCHEMAS.odd() as path:
        seen = seen_in(
            (
                *SCHEMAS.outputs([*chosen, path]),
                *SCHEMAS.asked_otherwise([*chosen[::8], path]),
                *SCHEMAS.differences(SCHEMAS.PAIRS[:1], ["ten_queries"]),
                *SCHEMAS.side_by_side(SCHEMAS.PAIRS[:1], ["failure"]),
                *SCHEMAS.served(ROOT / "captures" / "psycopg" / "failure.pgtrace"),
                *SCHEMAS.evidence(),
            )
        )
    assert seen.keys() == NAMES - LIVE
    assert seen["serve"] == 3
    gc.collect()


@pytest.mark.live
def test_what_needs_a_server_is_in_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    before = dict(os.environ)
    with EmbeddedServer() as server:
        seen = seen_in(SCHEMAS.run_here(server))
    assert seen == {"replay": 3, "compare": 1, "stats": 1}
    assert os.environ == before
    gc.collect()


@pytest.mark.parametrize(
    "change", [{"row": "1"}, {"flight": None}, {"messages": [{"side": "F"}]}, {"unheard_of": 1}], ids=lambda change: next(iter(change))
)
def test_something_else_is_not(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    check = jsonschema.Draft202012Validator(closed(schema("show")))
    row = next(SCHEMAS.printed("show", "--json", "-q", "captures/psycopg/connect.pgtrace"))
    assert check.is_valid(row)
    assert not check.is_valid(row | change)
    gc.collect()


def test_a_reader_may_meet_keys_that_are_new() -> None:
    """What is published leaves room: keys may be added."""
    assert '"additionalProperties": false' not in json.dumps(schema("stats"))


def test_counters_are_described() -> None:
    totals = schema("stats")["properties"]["totals"]["properties"]
    assert all(totals[name].get("description") for name in ("round_trips", "executions", "wait_ns"))
