"""The sessions of captures/hostile: text that is derived again, with a reason each; served, each connection gets what its file has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from captures.recording.hostile import DRIVERS, PLACE, SESSIONS, Hostile, text
from pgtrace.capture.importing import Import
from tests.serve.served import Served, recording_of
from tests.serve.test_serve_corpus import played, recorded, sent, whole

LARGEST = 256 * 1024


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_a_session_is_made_and_served(session: Hostile, tmp_path: Path) -> None:
    written = text(session)
    path = PLACE / f"{session.name}.jsonl"
    if session.kept:
        assert path.read_text(encoding="utf-8") == written, "python -m captures.recording.hostile"
        assert path.stat().st_size <= LARGEST
    assert json.loads(written.partition("\n")[0])["reason"] == session.reason
    lines = tmp_path / "session.jsonl"
    lines.write_text(written, encoding="utf-8")
    with Import(str(lines), str(tmp_path / "session.pgtrace")) as one:
        while one.step():
            pass
    served = Served(recording_of(tmp_path / "session.pgtrace"))
    assert len(served.recording.scripts) == len(DRIVERS)
    for script in served.recording.scripts:
        driver = served.socket()
        assert played(driver, script, whole(sent(script))) == recorded(script)
        driver.session.disconnected()
    assert [mismatch.lines() for mismatch in served.mismatches] == []


def test_there_is_nothing_else() -> None:
    assert {path.stem for path in PLACE.iterdir()} == {session.name for session in SESSIONS if session.kept}
