"""What is sent to others says of a capture its name, never the path where somebody keeps it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace import last
from pgtrace.export import FORMATS
from pgtrace.judge.advice import Advice
from pgtrace.report import filenames
from pgtrace.report.advice_formats import as_sarif
from tests.traces import fully_read

CAPTURE = Path(__file__).parents[1] / "data" / "findings" / "pipeline_error.pgtrace"
NAMELESS = ("jsonl", "otlp", "pqtrace")
"""Formats that name no capture."""


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("name", [*FORMATS, "sarif"])
def test_no_path(name: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebodys"))
    path = last.place() / last.CAPTURE if kept else tmp_path / "somebodys" / "mine.pgtrace"
    path.parent.mkdir(parents=True)
    shutil.copy(CAPTURE, path)
    trace = fully_read(path)
    if name == "sarif":
        advice = Advice(trace)
        advice.update()
        text = "\n".join(as_sarif(trace, advice.findings(), advice.unexplained(), None))
    else:
        pieces = [piece.content for piece in FORMATS[name].load()(trace)]
        text = "".join(piece.decode("utf-8", "replace") if isinstance(piece, bytes) else piece for piece in pieces)
    trace.close()
    assert "somebodys" not in text
    if name not in NAMELESS:
        assert (filenames.LATEST if kept else "mine.pgtrace") in text.replace("%20", " ")


@given(st.lists(st.text("ab.é", min_size=1), min_size=1), st.sampled_from("/\\"))
def test_the_end_of_a_path(parts: list[str], separator: str) -> None:
    assert filenames.sent(separator.join(["", *parts])) == parts[-1]


def test_standard_input_keeps_its_name() -> None:
    assert filenames.sent("-") == "-"


@given(st.lists(st.text("ab/", min_size=1).filter(lambda path: path.strip("/")), min_size=1))
def test_names_tell_files_apart(paths: list[str]) -> None:
    paths = [os.path.normpath(f"/{path}") for path in paths]
    names = filenames.told_apart(SimpleNamespace(files=paths))  # type: ignore[arg-type]
    assert len(set(names)) == len(set(paths))
    assert all(path.endswith(name) for path, name in zip(paths, names, strict=True))


def test_only_as_much_of_a_path_as_that_takes() -> None:
    files = ["/tests/before/checkout.pgtrace", "/tests/after/checkout.pgtrace", "/tests/other.pgtrace"]
    names = filenames.told_apart(SimpleNamespace(files=files))  # type: ignore[arg-type]
    assert names == ["before/checkout.pgtrace", "after/checkout.pgtrace", "other.pgtrace"]
