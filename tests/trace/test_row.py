"""What rows know beyond their flight: tags, warnings, each failure without its language, a hash of the values."""

from __future__ import annotations

import pytest

from pgtrace.session.failures import Failure
from tests.trace.conftest import Read

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
