"""What is printed as JSON, held against its schema in the package: with no room for a key that the schema does not name."""

from __future__ import annotations

import functools
import importlib.resources
import json
from typing import Any

import jsonschema


def schema(name: str) -> Any:
    return json.loads((importlib.resources.files("pgtrace") / "schemas" / f"{name}.json").read_text(encoding="utf-8"))


def closed(value: Any) -> Any:
    """The schema without room for a key that it does not name."""
    if isinstance(value, list):
        return [closed(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {key: closed(one) for key, one in value.items()}
    return {**found, "additionalProperties": False} if isinstance(value.get("properties"), dict) and "type" in value else found


@functools.cache
def _validator(name: str) -> Any:
    return jsonschema.Draft202012Validator(closed(schema(name)))


def wrong(name: str, value: Any) -> list[str]:
    """What is not as the schema has it."""
    return [f"{name}: {error.json_path}: {error.message[:200]}" for error in _validator(name).iter_errors(value)]


def valid(name: str, text: str) -> Any:
    """An object that was printed, if it is as its schema has it."""
    value = json.loads(text)
    assert wrong(name, value) == []
    return value
