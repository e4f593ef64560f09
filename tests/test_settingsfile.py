"""Text files with settings: only so much of them is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgtrace import environment
from pgtrace.export import rules
from pgtrace.settingsfile import LARGEST, text_of
from tests import commands

CAPTURE = Path(__file__).parent.parent / "captures" / "psql" / "types.pgtrace"


def test_a_text_and_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes("é\r\nb\rc\n".encode() + b"\xff")
    assert text_of(path, "surrogateescape") == "é\nb\nc\n\udcff"
    with pytest.raises(UnicodeDecodeError):
        text_of(path)


def test_the_largest(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"")
    os.truncate(path, LARGEST)
    assert len(text_of(path)) == LARGEST
    os.truncate(path, LARGEST + 1)
    with pytest.raises(OSError, match="too large"):
        text_of(path)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="a file without end")
@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["check", "--config", "/dev/zero", CAPTURE], {}),
        (["advise", "--baseline", "/dev/zero", CAPTURE], {}),
        (["serve", "--password-file", "/dev/zero", CAPTURE, ":0"], {}),
        (["listen", ":0"], {"PGSERVICE": "x", "PGSERVICEFILE": "/dev/zero"}),
    ],
    ids=["budgets", "baseline", "password", "service"],
)
def test_a_file_without_end_is_refused(arguments: list[object], variables: dict[str, str]) -> None:
    done = commands.run(*arguments, env=os.environ | variables, timeout=20)
    assert done.returncode == 2
    assert "/dev/zero" in done.stderr
    assert "too large" in done.stderr.lower()
    assert done.stderr.count("\n") == 1


def test_what_is_no_file_is_none_of_the_users(tmp_path: Path) -> None:
    """A pipe that nobody writes to, where a project's settings or passwords would be."""
    for name in ("pyproject.toml", "passwords"):
        os.mkfifo(tmp_path / name)
    assert rules.configured(tmp_path) == ()
    assert environment.password_file({"PGPASSFILE": str(tmp_path / "passwords")}) == ""
