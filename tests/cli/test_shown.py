"""mypy finds a sink that forgot the sanitiser: what commands print takes nothing but text that has passed it."""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("line", "is_right"),
    [
        ('write([sanitise.line(f"{name}")])', True),
        ('write([f"{name}"])', False),
        ("write(name.splitlines())", False),
        ("write(sanitise.text(name).split())", False),
        ("write([encoding.as_json(name)])", True),
        ("styled(name)", False),
    ],
)
def test_mypy_finds_what_is_not_sanitised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, is_right: bool) -> None:
    monkeypatch.chdir(ROOT)
    sink = tmp_path / "sink.py"
    imports = "from pgtrace import sanitise\nfrom pgtrace.cli.output import styled, write\nfrom pgtrace.report import encoding\n"
    sink.write_text(f"{imports}\n\ndef show(name: str) -> None:\n    {line}\n", "utf-8")
    told, _, code = api.run(["--strict", "--follow-imports=silent", str(sink)])
    assert (code == 0) is is_right, told
    if not is_right:
        assert 'expected "Shown"' in told or "Iterable[Shown]" in told
