"""Requests answered in any order, on any connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serve.served import Served

RECORDED = """
c1 F Parse _a1 SELECT $1 | Describe S _a1 | Flush
c1 B ParseComplete | ParameterDescription 23 | RowDescription x:23
c1 F Bind - _a1 params=1 | Execute - | Sync
c1 B BindComplete | DataRow first | CommandComplete SELECT 1 | ReadyForQuery I
c1 F Bind - _a1 params=1 | Execute - | Sync
c1 B BindComplete | DataRow second | CommandComplete SELECT 1 | ReadyForQuery I
c2 F Query BEGIN
c2 B CommandComplete BEGIN | ReadyForQuery T
c2 F Query SELECT 2
c2 B CommandComplete SELECT 1 | ReadyForQuery T
c2 F Query COMMIT
c2 B CommandComplete COMMIT | ReadyForQuery I
c2 F Query COPY a FROM STDIN
c2 B CopyInResponse 0 0
c2 F CopyData one | CopyDone
c2 B CommandComplete COPY 1 | ReadyForQuery I
c2 F Query COPY b FROM STDIN
c2 B CopyInResponse 0 0
c2 F CopyData one | CopyDone
c2 B CommandComplete COPY 9 | ReadyForQuery I
c2 F Parse - SELECT bad | Flush
c2 B ErrorResponse 42703 no such column
c2 F Sync
c2 B ReadyForQuery I
c1 F Terminate
c1 close F
c2 F Terminate
c2 close F
"""


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served.script(tmp_path, RECORDED, False, True)


def said(driver: object, *lines: str) -> bytes:
    from tests.serve.served import Driver

    assert isinstance(driver, Driver)
    driver.session.receive(b"".join(_wire(line) for line in lines))
    return driver.read()


def _wire(line: str) -> bytes:
    from pgtrace.protocol.codes import FRONTEND
    from tests.playbook import wire

    return wire(FRONTEND, line)


def test_the_kth_time_gets_the_kth_answer(served: Served) -> None:
    driver = served.connect()
    assert driver.says("Query SELECT 2") == "RSKZCZ"[-2:]
    assert driver.says("Parse name SELECT $1", "Describe S name", "Flush") == "1tT"
    ask = ("Bind - name params=1", "Execute -", "Sync")
    assert b"first" in said(driver, *ask)
    assert b"second" in said(driver, *ask)
    assert b"second" in said(driver, *ask)
    assert not served.mismatches


def test_the_transaction_status_is_this_connections(served: Served) -> None:
    inside, outside = served.connect(), served.connect()
    inside.read(), outside.read()
    assert said(inside, "Query BEGIN")[-1:] == b"T"
    assert said(outside, "Query SELECT 2")[-1:] == b"I"
    assert said(inside, "Query SELECT 2")[-1:] == b"T"
    assert said(inside, "Query SELECT unknown")[-1:] == b"E"
    assert said(inside, "Query COMMIT")[-1:] == b"I"


def test_the_data_of_a_copy_belongs_to_its_query(served: Served) -> None:
    driver = served.connect()
    driver.read()
    assert said(driver, "Query COPY b FROM STDIN")[:1] == b"G"
    assert b"COPY 9" in said(driver, "CopyData on", "CopyData e", "CopyDone")
    assert said(driver, "Query COPY a FROM STDIN")[:1] == b"G"
    assert b"COPY 1" in said(driver, "CopyData one", "CopyDone")


def test_a_request_of_no_recording_is_an_error_and_the_connection_goes_on(served: Served) -> None:
    driver = served.connect()
    assert driver.says("Query SELECT 3") == "EZ"
    assert driver.says("Parse - SELECT 3", "Describe S -", "Flush") == "E"
    assert driver.says("Bind - -", "Execute -", "Sync") == "Z"
    assert driver.says("Query SELECT 2") == "CZ"
    assert [mismatch.got for mismatch in served.mismatches] == ["Query SELECT 3", 'Parse ""  SELECT 3']


def test_a_recorded_error_discards_up_to_sync(served: Served) -> None:
    driver = served.connect()
    assert driver.says("Parse - SELECT bad", "Flush") == "E"
    assert driver.says("Bind - -", "Execute -", "Flush") == ""
    assert driver.says("Sync") == "Z"
    assert driver.says("Query SELECT 2") == "CZ"


EXTENDED_COPY = """
c1 F Parse - COPY a FROM STDIN | Flush | Sync
c1 B ParseComplete | ReadyForQuery I
c1 F Bind - - | Flush | Execute - | Flush | Sync
c1 B BindComplete | CopyInResponse 0 0
c1 F CopyData one | CopyDone | Flush | Sync
c1 B CommandComplete COPY 1 | ReadyForQuery I
c1 F Terminate
c1 close F
"""


def test_a_copy_begun_by_execute_swallows_flush_and_sync(tmp_path: Path) -> None:
    """pg8000 sends them ahead."""
    served = Served.script(tmp_path, EXTENDED_COPY, False, True)
    for ahead in (["Flush", "Sync"], ["Sync"], []):
        driver = served.connect()
        driver.read()
        assert driver.says("Parse - COPY a FROM STDIN", "Flush", "Sync") == "1Z"
        assert driver.says("Bind - -", "Flush", "Execute -", *ahead) == "2G"
        assert driver.says("CopyData on", "CopyData e", "CopyDone", "Flush", "Sync") == "CZ"
        driver.session.disconnected()
    assert not served.mismatches


def test_what_was_discarded_after_an_error_is_no_unit(tmp_path: Path) -> None:
    """How much of a pipeline a driver sends after an error depends on timing."""
    script = """
    c1 F Parse - SELECT bad | Flush
    c1 B ErrorResponse 42703 no such column
    c1 F Bind - - | Execute - | Flush | Sync | Flush
    c1 B ReadyForQuery I
    c1 F Query SELECT 1
    c1 B CommandComplete SELECT 1 | ReadyForQuery I
    c1 F Terminate
    c1 close F
    """
    served = Served.script(tmp_path, script, False, True)
    for rest in (["Bind - -", "Execute -", "Flush", "Sync", "Flush"], ["Sync"], ["Sync", "Flush"]):
        driver = served.connect()
        driver.read()
        assert driver.says("Parse - SELECT bad", "Flush") == "E"
        assert driver.says(*rest) == "Z"
        assert driver.says("Query SELECT 1") == "CZ"
    assert not served.mismatches
