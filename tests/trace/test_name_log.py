"""What became of a prepared statement's name, at every row."""

from __future__ import annotations

import pytest

from pgtrace.session.statements import Statement
from pgtrace.trace.name_log import Dropped
from tests.trace.conftest import Read

PARSE = "F Parse s1 SELECT $1 | Sync\nB ParseComplete | ReadyForQuery I"
BIND = "F Bind - s1 params=7 | Execute - | Sync\nB BindComplete | DataRow 7 | CommandComplete SELECT 1 | ReadyForQuery I"

DROPS = {
    "F Query /* c */ deallocate s1\nB CommandComplete DEALLOCATE | ReadyForQuery I": "DEALLOCATE",
    "F Query RESET ALL; DEALLOCATE ALL\nB CommandComplete RESET | CommandComplete DEALLOCATE ALL | ReadyForQuery I": "DEALLOCATE ALL",
    "F Query DISCARD ALL\nB CommandComplete DISCARD ALL | ReadyForQuery I": "DISCARD ALL",
    "F Close S s1 | Sync\nB CloseComplete | ReadyForQuery I": "Close",
}


@pytest.mark.parametrize("drop", DROPS)
def test_what_became_of_a_name(read: Read, drop: str) -> None:
    trace = read(PARSE, BIND, drop, BIND)
    connection = trace.connections[0]
    assert connection.fate("s1", 1) is None
    at, meaning = connection.fate("s1", 3) or (0, None)
    assert at == 1
    assert isinstance(meaning, Statement)
    assert meaning.accepted
    assert connection.fate("s1", 4) == (3, Dropped(DROPS[drop]))
    assert isinstance(connection.meaning("S", "s1", 4), Statement)  # what its values are read by


def test_a_drop_that_failed_is_none(read: Read) -> None:
    trace = read(PARSE, "F Query DEALLOCATE s1\nB ErrorResponse 26000 not there | ReadyForQuery I", BIND)
    assert isinstance((trace.connections[0].fate("s1", 3) or (0, None))[1], Statement)


def test_a_parse_that_failed_is_not_accepted(read: Read) -> None:
    trace = read("F Parse s1 SELECT | Sync\nB ErrorResponse 42601 syntax error | ReadyForQuery I", BIND)
    meaning = (trace.connections[0].fate("s1", 2) or (0, None))[1]
    assert isinstance(meaning, Statement)
    assert not meaning.accepted
