"""docs/promises.md names tests: each of them is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "promises.md").read_text("utf-8"))))


def test_many_are_named() -> None:
    assert len(NAMED) > 40


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_each_named_test_is_there(file: str) -> None:
    body = ast.parse((ROOT / file).read_text("utf-8")).body
    there = {item.name for item in body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert {name for other, name in NAMED if other == file} <= there
