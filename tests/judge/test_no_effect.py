"""What is set for a transaction that is not there has no effect, and only a warning says so."""

from __future__ import annotations

import pytest

from tests.judging import Judge

DONE = "F Terminate\nc1 close F\nend"
WARNS = "NoticeResponse WARNING 25P01 SET LOCAL can only be used in transaction blocks"
SELECT = "F Query SELECT name FROM item\nB CommandComplete SELECT 1 | ReadyForQuery I"
SETS = [
    ("SET LOCAL statement_timeout = 5000", "SET"),
    ("set local app.tenant to '7'", "SET"),
    ("SET TRANSACTION READ ONLY", "SET"),
    ("SET CONSTRAINTS ALL DEFERRED", "SET CONSTRAINTS"),
]


def sent(sql: str, tag: str, *, extended: bool = False, status: str = "I", warns: bool = True) -> str:
    warning = f"{WARNS} | " if warns else ""
    if extended:
        return (
            f"F Parse - {sql} | Bind - - | Execute - | Sync\n"
            f"B ParseComplete | BindComplete | {warning}CommandComplete {tag} | ReadyForQuery {status}"
        )
    return f"F Query {sql}\nB {warning}CommandComplete {tag} | ReadyForQuery {status}"


@pytest.mark.parametrize("many", [1, 3])
@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize(("sql", "tag"), SETS)
def test_a_setting_for_a_transaction_that_is_not_there(judged: Judge, sql: str, tag: str, extended: bool, many: int) -> None:
    found = judged(*[sent(sql, tag, extended=extended), SELECT] * many, DONE)
    assert found.told == [("no-effect", many)]
    assert not found.errors
    assert found["no-effect"].failed


@pytest.mark.parametrize(("sql", "tag"), SETS)
def test_in_a_transaction_or_for_the_session_it_has_its_effect(judged: Judge, sql: str, tag: str) -> None:
    begin, commit = sent("BEGIN", "BEGIN", status="T", warns=False), sent("COMMIT", "COMMIT", warns=False)
    assert "no-effect" not in judged(begin, sent(sql, tag, status="T", warns=False), commit, SELECT, DONE).names
    assert "no-effect" not in judged(sent(sql.replace("LOCAL ", ""), tag, warns=False), SELECT, DONE).names


@pytest.mark.parametrize("tag", ["COMMIT", "ROLLBACK"])
def test_the_end_of_no_transaction_is_not_reported(judged: Judge, tag: str) -> None:
    assert judged(sent(tag, tag), SELECT, DONE).told == []


def test_in_a_pipeline_it_holds_until_the_sync(judged: Judge) -> None:
    pipeline = (
        "F Parse - SET LOCAL statement_timeout = 5000 | Bind - - | Execute - | Parse - SELECT 1 | Bind - - | Execute - | Sync\n"
        f"B ParseComplete | BindComplete | {WARNS} | CommandComplete SET | ParseComplete | BindComplete | CommandComplete SELECT 1 | "
        "ReadyForQuery I"
    )
    assert "no-effect" not in judged(pipeline, DONE).names
