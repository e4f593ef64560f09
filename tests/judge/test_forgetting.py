"""Why a driver prepares again: what the session dropped, or made the driver forget."""

from __future__ import annotations

import itertools

import pytest

from pgtrace.judge.forgetting import DEFINED, DROPPED, FAILED, ROLLED_BACK, Forgotten, cause
from pgtrace.trace.row import RowKind, Shape
from tests.judging import Judge

VALUES = itertools.count(1)
PSYCOPG = 'F Query SAVEPOINT "_pg3_1"\nB ErrorResponse 25P01 | ReadyForQuery I'
DONE = "F Terminate\nc1 close F\nend"
SQL = "SELECT name FROM item WHERE id = $1"


def shape(*tags: str, before: str = "I", block_end: str = "") -> Shape:
    return Shape(RowKind.ROUND_TRIP, b"Q", b"CZ", status_before=before, status="I", tags=tags, block_end=block_end)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (shape("DISCARD ALL"), DROPPED),
        (shape("RESET", "DEALLOCATE ALL"), DROPPED),
        (shape("ROLLBACK", before="T", block_end="ROLLBACK"), ROLLED_BACK),
        (shape("ROLLBACK", before="E", block_end="ROLLBACK"), FAILED),
        (shape("DROP TABLE"), DEFINED),
        (shape("ALTER TABLE"), DEFINED),
        (shape("ROLLBACK", before="T"), ""),  # TO a savepoint
        (shape("RESET"), ""),
        (shape("DISCARD TEMP"), ""),
        (shape("CREATE TABLE"), ""),
        (shape("DEALLOCATE"), ""),
    ],
)
def test_the_cause(seen: Shape, expected: str) -> None:
    assert cause(seen) == expected


@pytest.mark.parametrize("driver", ["psycopg", "pgjdbc"])
@pytest.mark.parametrize("prepares", [False, True])
@pytest.mark.parametrize("times", [0, 1, 2, 3])
@pytest.mark.parametrize("tag", ["DISCARD ALL", "DROP TABLE"])
def test_who_forgets(driver: str, tag: str, times: int, *, prepares: bool) -> None:
    forgotten = Forgotten()
    for _ in range(times):
        forgotten.take(shape(tag))
    knows = driver == "psycopg" or (prepares and tag == "DISCARD ALL")
    assert forgotten.why(driver, prepares=prepares) == (cause(shape(tag)) if times > 1 and knows else "")


def run(name: str = "-", *, parse: bool = True, status: str = "I") -> str:
    sent, answered = (f"Parse {name} {SQL} | ", "ParseComplete | ") if parse else ("", "")
    return (
        f"F {sent}Bind - {name} params={next(VALUES)} | Describe P - | Execute - | Sync\n"
        f"B {answered}BindComplete | RowDescription name:25 | DataRow tea | CommandComplete SELECT 1 | ReadyForQuery {status}"
    )


def simple(sql: str, tag: str, status: str = "I") -> str:
    return f"F Query {sql}\nB CommandComplete {tag} | ReadyForQuery {status}"


BETWEEN = {
    "DISCARD ALL": [simple("DISCARD ALL", "DISCARD ALL")],
    "DEALLOCATE ALL": [simple("DEALLOCATE ALL", "DEALLOCATE ALL")],
    "DROP": [simple("DROP TABLE passing", "DROP TABLE")],
    "ROLLBACK": [simple("BEGIN", "BEGIN", "T"), simple("ROLLBACK", "ROLLBACK")],
    "an error": [
        simple("BEGIN", "BEGIN", "T"), "F Query x\nB ErrorResponse 40001 | ReadyForQuery E", simple("ROLLBACK", "ROLLBACK"),
    ],
    "RESET ALL": [simple("RESET ALL", "RESET")],
}  # fmt: skip
REMEDIES = {
    "DISCARD ALL": "RESET ALL",
    "DEALLOCATE ALL": "RESET ALL",
    "DROP": "ON COMMIT DROP",
    "ROLLBACK": "commit read-only transactions",
}


@pytest.mark.parametrize("between", BETWEEN)
def test_a_text_that_is_parsed_again(judged: Judge, between: str) -> None:
    """Each cause has its own remedy, and what an error makes necessary has none."""
    lines = [line for _ in range(12) for line in (run(), *BETWEEN[between])]
    found = judged(PSYCOPG, *lines, DONE)
    if between == "an error":
        assert "re-parse" not in found.names
        return
    told = found["re-parse"]
    assert told.driver == "psycopg"
    assert told.number == 12
    assert "because" in told.what or between == "RESET ALL"
    (remedy,) = told.remedies
    assert REMEDIES.get(between, "prepare_threshold=5") in remedy
    assert "not tried" not in remedy


@pytest.mark.parametrize("between", BETWEEN)
def test_a_statement_that_is_prepared_again(judged: Judge, between: str) -> None:
    names = [f"_pg3_{number}" for number in range(8)]
    prepared = [f"F Parse {name} {SQL} | Sync\nB ParseComplete | ReadyForQuery I" for name in names]
    lines = [line for name, prepare in zip(names, prepared, strict=True) for line in (prepare, run(name, parse=False), *BETWEEN[between])]
    told = judged(*lines, DONE)["prepared-once"]
    assert told.driver == "psycopg"
    assert told.cost == 7
    wanted = REMEDIES.get(between)
    if wanted is None:
        assert not any(known in remedy for remedy in told.remedies for known in REMEDIES.values())
    else:
        (remedy,) = told.remedies
        assert wanted in remedy


@pytest.mark.parametrize("prepares", [False, True])
def test_what_a_driver_that_prepares_nothing_parses_again(judged: Judge, *, prepares: bool) -> None:
    """DISCARD ALL is the cause only where it drops something."""
    other = "F Parse s1 SELECT 2 | Sync\nB ParseComplete | ReadyForQuery I"
    lines = [line for _ in range(10) for line in (run(), *BETWEEN["DISCARD ALL"], *([other] if prepares else []))]
    told = judged(*lines, DONE)["re-parse"]
    assert ("because" in told.what) is prepares
    assert any("RESET ALL" in remedy for remedy in told.remedies) is prepares
