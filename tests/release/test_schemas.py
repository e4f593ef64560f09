"""pgtrace/schemas: what `--json` prints is what they say, and nothing that they do not say (then: make schemas)."""

from __future__ import annotations

import gc
import importlib.resources
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
"""A command leaves its files to the end of the process."""
NAMES = ("advice", "check", "diff", "show", "stats")


def schema(name: str) -> Any:
    return json.loads((importlib.resources.files("pgtrace") / "schemas" / f"{name}.json").read_text(encoding="utf-8"))


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("schemas", ROOT / "release" / "schemas.py")
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


SCHEMAS = module()


def closed(value: Any) -> Any:
    """The schema without room for a key that it does not name."""
    if isinstance(value, list):
        return [closed(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {key: closed(one) for key, one in value.items()}
    return {**found, "additionalProperties": False} if isinstance(value.get("properties"), dict) and "type" in value else found


def validators() -> dict[str, Any]:
    return {name: jsonschema.Draft202012Validator(closed(schema(name))) for name in NAMES}


def test_every_schema_is_one() -> None:
    assert {path.stem for path in (ROOT / "pgtrace" / "schemas").glob("*.json")} == set(NAMES)
    for name in NAMES:
        jsonschema.Draft202012Validator.check_schema(schema(name))
        assert schema(name)["title"] == f"pgtrace.{name}/1"


def test_what_is_printed_is_in_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    check = validators()
    seen = dict.fromkeys(NAMES, 0)
    chosen = [*SCHEMAS.CAPTURES[::29], *sorted((ROOT / "tests/data/findings").glob("*.pgtrace"))[::4]]
    with SCHEMAS.odd() as path:
        for name, one in (*SCHEMAS.outputs([*chosen, path]), *SCHEMAS.differences(SCHEMAS.PAIRS[:1], ["ten_queries"])):
            wrong = [f"{name}: {error.json_path}: {error.message[:200]}" for error in check[name].iter_errors(one)]
            assert wrong == [], "make schemas, if this is meant"
            seen[name] += 1
    assert min(seen.values()) > 0
    gc.collect()


@pytest.mark.parametrize(
    "change", [{"row": "1"}, {"flight": None}, {"messages": [{"side": "F"}]}, {"unheard_of": 1}], ids=lambda change: next(iter(change))
)
def test_something_else_is_not(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    check = validators()["show"]
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
