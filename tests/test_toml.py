"""TOML of any content is read or refused with a ValueError, in memory and time that its size explains."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from pgtrace import toml
from pgtrace.errors import UsageError
from pgtrace.export.rules import configured

HOSTILE = [
    "a." * 20_000 + "a = 1\n",
    '"a" . ' * 20_000 + "a = 1\n",
    "[" + "a." * 20_000 + "a]\n",
    "x = {" + "a." * 20_000 + "a = 1}\n",
    "a = " + "[" * 50_000,
    "a = " + "9" * 5000,
]


@pytest.mark.timeout(100)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_would_take_too_much_is_refused(text: str, tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"parts|nested|digits"):
            toml.loads(text)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError):
        configured(tmp_path)


@pytest.mark.parametrize("text", ["tool = 1", "[tool]\npgtrace = []", "[tool.pgtrace]\ngolden = 'x'"])
def test_tables_that_are_none_hold_no_rules(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert configured(tmp_path) == ()


def test_dots_that_are_in_no_key_are_fine() -> None:
    assert toml.loads("a = '" + "." * 1000 + "'\nb.c = 1.5\n") == {"a": "." * 1000, "b": {"c": 1.5}}
