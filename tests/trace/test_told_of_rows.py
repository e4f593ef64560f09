"""What rows know beyond their flight: tags, warnings, each failure without its language, a hash of the values; and what became of a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pgtrace.session.failures import Failure
from pgtrace.session.statements import Statement
from pgtrace.trace.name_log import Dropped
from pgtrace.trace.trace import Trace
from tests import playbook

Read = Callable[..., Trace]


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Read]:
    with ExitStack() as stack:

        def of(*lines: str) -> Trace:
            trace = Trace.open([playbook.write(tmp_path / "a.pgtrace", "\n".join(lines))])
            stack.callback(trace.close)
            trace.read_until(1 << 62)
            return trace

        yield of


PARSE = "F Parse s1 SELECT $1 | Sync\nB ParseComplete | ReadyForQuery I"
BIND = "F Bind - s1 params=7 | Execute - | Sync\nB BindComplete | DataRow 7 | CommandComplete SELECT 1 | ReadyForQuery I"


def test_tags_without_numbers_and_warnings(read: Read) -> None:
    trace = read(
        "F Query INSERT INTO a VALUES (1); INSERT INTO a VALUES (2); COMMIT",
        "B CommandComplete INSERT 0 1 | CommandComplete INSERT 0 1 | NoticeResponse WARNING 25P01 there is none | CommandComplete COMMIT",
        "B ReadyForQuery I",
    )
    assert (trace.rows[1].shape.tags, trace.rows[1].shape.warnings) == (("INSERT", "COMMIT"), ("25P01",))


def test_each_failure_says_what_it_answers(read: Read) -> None:
    trace = read(
        "F Bind - s9 | Execute - | Sync | Query SELECT 1/0",
        "B ErrorResponse 26000 Anweisung »s9« existiert nicht | ReadyForQuery I | ErrorResponse 22012 division by zero | ReadyForQuery I",
        "B ErrorResponse FATAL 57P01 shut down",
    )
    assert trace.rows[1].label.failures == (
        Failure("26000", "ERROR", "", is_postgres=True, asked="Bind", name="s9"),
        Failure("22012", "ERROR", "", is_postgres=True, asked="Query", name=""),
    )
    assert trace.rows[2].label.failures == (Failure("57P01", "FATAL", "", is_postgres=True, asked="", name=""),)


@pytest.mark.parametrize("times", [1, 5], ids=["plain machine", "known exchanges"])
def test_equal_values_have_equal_hashes(read: Read, times: int) -> None:
    other = BIND.replace("params=7", "params=8")
    trace = read(PARSE, *[BIND, other] * times)
    first, second, *rest = (trace.rows.entry(place).values for place in range(2, 2 + 2 * times))
    assert first
    assert first != second
    assert rest == [first, second] * (times - 1)


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
