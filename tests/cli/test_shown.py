"""mypy finds a sink that forgot the sanitiser: what commands print takes nothing but text that has passed it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RIGHT = ('write([sanitise.line(f"{name}")])', "write([encoding.as_json(name)])")
WRONG = ('write([f"{name}"])', "write(name.splitlines())", "write(sanitise.text(name).split())", "styled(name)")


def test_mypy_finds_what_is_not_sanitised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mypy import api

    monkeypatch.chdir(ROOT)
    sink = tmp_path / "sink.py"
    imports = "from pgtrace import sanitise\nfrom pgtrace.cli.output import styled, write\nfrom pgtrace.report import encoding\n"
    head = f"{imports}\n\ndef show(name: str) -> None:\n"
    sink.write_text(head + "".join(f"    {line}\n" for line in (*RIGHT, *WRONG)), "utf-8")
    told, _, _ = api.run([str(sink)])  # with the project's options, for which mypy remembers what it found in pgtrace
    found = [line for line in told.splitlines() if ": error: " in line]
    first_wrong = head.count("\n") + len(RIGHT) + 1
    assert [int(line.split(":")[1]) for line in found] == list(range(first_wrong, first_wrong + len(WRONG))), told
    assert all('expected "Shown"' in line or "Iterable[Shown]" in line for line in found), told
