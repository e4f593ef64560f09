"""A new file is nobody else's, replaces nothing, and is there only if it is whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pgtrace.errors import CaptureError, OutputExists
from pgtrace.export.newfile import NewFile


def test_it_is_private_and_holds_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new"
    before = os.umask(0)
    try:
        with NewFile(str(path)) as file:
            file.write("SELECT 'caf\u00e9' \ud800")
            file.write(b"\x00\xff")
    finally:
        os.umask(before)
    assert path.read_bytes() == "SELECT 'caf\u00e9' ".encode() + b"\\ud800\x00\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_nothing_is_replaced(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "new", tmp_path / "target"
    if kind != "dangling":
        target.write_text("kept")
    if kind == "file":
        path.write_text("kept")
    else:
        path.symlink_to(target)
    with pytest.raises(OutputExists):
        NewFile(str(path))
    assert not target.exists() if kind == "dangling" else (path.read_text() == "kept")


def test_what_was_not_finished_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "new"

    def half() -> None:
        with NewFile(str(path)) as file:
            file.write("half")
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert not path.exists()


def test_where_nothing_can_be_made_the_path_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "no" / "new")
    with pytest.raises(CaptureError, match="cannot be created: no such file or directory") as raised:
        NewFile(path)
    assert path in str(raised.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_is_one_line_with_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new"
    opened = os.open
    monkeypatch.setattr(os, "open", lambda name, *rest: (opened(name, *rest), opened("/dev/full", os.O_WRONLY))[1])
    with pytest.raises(CaptureError, match="cannot be written: no space left on device"), NewFile(str(path)) as file:
        file.write(b"x" * 1_000_000)
    assert not path.exists()
