"""Whatever fails in the writer thread costs what it failed for: in a real recorder, with the failure where it would happen.

A `sitecustomize` in the recorder's PYTHONPATH lets a function raise while the bytes it is given, or
a record's name, hold the word of the order.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pgtrace.capture.record import LONGEST, Close, End, Gap, Mark, Open
from pgtrace.cli.recording import report_losses
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.recorder import Recorder
from pgtrace.trace.row import RowKind
from tests.proxy.drivers import connect, log_in
from tests.proxy.recorded import of_kind, recording, records_in, stream
from tests.proxy.upstreams import Scripted, echo
from tests.proxy.wire import READY, STARTUP, read_exactly, row
from tests.traces import fully_read

FAULTY = """
import importlib
owner = importlib.import_module({module!r})
for part in {owner!r}.split(".") if {owner!r} else []:
    owner = getattr(owner, part)
call = getattr(owner, {name!r})
def faulty(*arguments, **named):
    parts = [x for a in arguments for x in (a if isinstance(a, (list, tuple)) else [a])]
    if b"poison" in b"".join(x for x in parts if isinstance(x, (bytes, bytearray, memoryview))):
        raise {error}("on purpose")
    return call(*arguments, **named)
setattr(owner, {name!r}, faulty)
"""
PLACES = [
    ("pgtrace.capture.blocks", "", "encode_block"),
    ("pgtrace.capture.writer", "CaptureWriter", "append"),
    ("pgtrace.capture.writer", "CaptureWriter", "_append"),
    ("os", "", "write"),
]
LONG = "x" * (LONGEST + 1_000_000)


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Recorders started from now on have that fault."""

    def order(module: str, owner: str, name: str, error: str) -> None:
        site = tmp_path / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(FAULTY.format(module=module, owner=owner, name=name, error=error))
        monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)

    return order


def talk(recorder: Recorder, driver, text: bytes) -> None:
    """A message there and back."""
    driver.sendall(row(text))
    assert read_exactly(driver, len(row(text))) == row(text)


@pytest.mark.parametrize("error", ["RuntimeError", "MemoryError", "SystemExit", "KeyboardInterrupt", "GeneratorExit"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0]}.{place[2]}")
def test_any_exception_in_the_thread_is_a_counted_gap(place, error, faulty, tmp_path):
    """What can be told apart (an Exception) costs the reads it fails for; of what cannot, the batch. What follows is written."""
    faulty(*place, error)
    path = tmp_path / "kept.pgtrace"
    with Scripted(echo) as server, recording(server.upstream, write=path) as recorder, connect(recorder) as driver:
        log_in(driver)
        talk(recorder, driver, b"before")
        assert recorder.flush().write_error is None
        for text in (b"the poison", b"beside it"):
            talk(recorder, driver, text)
        assert "on purpose" in str(recorder.flush().write_error)
        talk(recorder, driver, b"after")
        assert recorder.flush().write_error is None
        told = recorder.stats()
        assert told["write_error"] is None
        assert "on purpose" in recorder.log
        alone = error in ("RuntimeError", "MemoryError")
    least = 2 * len(row(b"the poison"))
    most = least if alone else sum(2 * len(row(text)) for text in (b"before", b"the poison", b"beside it", b"after"))
    assert least <= told["lost_bytes"] <= most  # which reads share the poison's batch is a matter of time
    found = records_in(path)
    assert sum(gap.bytes for gap in of_kind(found, Gap)) == told["lost_bytes"]
    assert type(found[-1]) is End
    assert len(of_kind(found, Open)) == len(of_kind(found, Close)) == 1
    assert b"poison" not in path.read_bytes()
    assert row(b"after") in path.read_bytes()


@pytest.mark.parametrize("keep", [None, 64 << 20], ids=["file", "segments"])
@pytest.mark.parametrize("name", [LONG, LONG[:LONGEST], "\ud800" * 6_000_000], ids=["longer", "with its head", "not UTF-8"])
def test_a_mark_that_no_block_holds_costs_itself_alone(name, keep, tmp_path):
    path = tmp_path / "kept.pgtrace"
    with Scripted(echo) as server, recording(server.upstream, write=path, keep_bytes=keep) as recorder, connect(recorder) as driver:
        log_in(driver)
        with recorder.mark("before"):
            talk(recorder, driver, b"one")
        recorder.begin_mark(name)
        assert "Mark" in str(recorder.flush().write_error)
        with recorder.mark("after"):
            talk(recorder, driver, b"two")
        assert recorder.flush().write_error is None
        told = recorder.stats()
        assert (told["lost_bytes"], told["lost_records"], told["write_error"]) == (0, 1, None)
        assert "a record (Mark)" in recorder.log
    found = records_in(path)
    assert [(gap.connection, gap.bytes, gap.records) for gap in of_kind(found, Gap)] == [(0, 0, 1)]
    assert {mark.name for mark in of_kind(found, Mark)} == {"before", "after"}
    assert stream(found, FRONTEND) == STARTUP + row(b"one") + row(b"two")
    assert stream(found, BACKEND) == READY + row(b"one") + row(b"two")
    with closing(fully_read(path)) as trace:
        assert trace.gaps == 1
        assert [one.shape.kind for one in (trace.rows[at] for at in range(len(trace.rows)))].count(RowKind.GAP) == 1
    shown = subprocess.run([sys.executable, "-m", "pgtrace", "show", str(path)], capture_output=True, text=True, check=True)
    assert "1 record without bytes not recorded" in shown.stdout


def test_the_command_says_what_was_lost(capsys):
    with Scripted(echo) as server, recording(server.upstream) as recorder:
        report_losses(recorder)
        assert capsys.readouterr().err == ""
        recorder.begin_mark(LONG)
        recorder.flush()
        report_losses(recorder)
        assert capsys.readouterr().err.startswith("pgtrace: incomplete: 1 record with 0 bytes could not be recorded")
