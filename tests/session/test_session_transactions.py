"""Transactions: BEGIN or START TRANSACTION tags outside a block; what ends a block."""

from __future__ import annotations

import pytest

from tests.playbook import play


def simple(sql: str, tag: str, status: str) -> str:
    """A simple Query and its reply."""
    return f"F Query {sql}\nB CommandComplete {tag} | ReadyForQuery {status}\n"


BEGIN = simple("BEGIN", "BEGIN", "T")

CASES = [
    ("one block", BEGIN + simple("COMMIT", "COMMIT", "I"), 1),
    ("START TRANSACTION", simple("START TRANSACTION READ ONLY", "START TRANSACTION", "T") + simple("COMMIT", "COMMIT", "I"), 1),
    ("BEGIN within a block", BEGIN + BEGIN + simple("COMMIT", "COMMIT", "I"), 1),
    ("two blocks", (BEGIN + simple("COMMIT", "COMMIT", "I")) * 2, 2),
    ("rolled back", BEGIN + simple("ROLLBACK", "ROLLBACK", "I") + BEGIN, 2),
    ("ROLLBACK TO keeps the block", BEGIN + simple("ROLLBACK TO SAVEPOINT a", "ROLLBACK", "T") + BEGIN, 1),
    ("ROLLBACK WORK TO keeps it, too", BEGIN + simple("rollback work /* only */ to a", "ROLLBACK", "T") + BEGIN, 1),
    ("prepared for two-phase commit", BEGIN + simple("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION", "I") + BEGIN, 2),
    ("COMMIT of a failed block", BEGIN + simple("COMMIT", "ROLLBACK", "I") + BEGIN, 2),
    ("no block at all", simple("SELECT 1", "SELECT 1", "I"), 0),
    ("a savepoint is none", BEGIN + simple("SAVEPOINT a", "SAVEPOINT", "T"), 1),
    ("two in one Query", "F Query BEGIN; COMMIT; BEGIN\n"
        "B CommandComplete BEGIN | CommandComplete COMMIT | CommandComplete BEGIN | ReadyForQuery T", 2),
    ("ReadyForQuery I ends a block without a tag", BEGIN + "F Query SELECT lost()\n"
        "B ErrorResponse 40001 lost | ReadyForQuery I\n" + BEGIN, 2),
    (
        "ReadyForQuery E does not",
        BEGIN + "F Query SELECT 1/0\nB ErrorResponse 22012 zero | ReadyForQuery E\n" + simple("ROLLBACK TO a", "ROLLBACK", "T") + BEGIN,
        1,
    ),
    (
        "by the extended protocol, pipelined",
        "F Parse - BEGIN | Bind - - | Execute - | Parse - SELECT 1 | Bind - - | Execute - | Parse - COMMIT | Bind - - | Execute - | Sync\n"
        "B ParseComplete | BindComplete | CommandComplete BEGIN | ParseComplete | BindComplete | CommandComplete SELECT 1"
        " | ParseComplete | BindComplete | CommandComplete COMMIT | ReadyForQuery I\n" + BEGIN,
        2,
    ),
    ("a BEGIN that fails is none", "F Query BEGIN BAD\nB ErrorResponse 42601 syntax | ReadyForQuery I", 0),
]  # fmt: skip


@pytest.mark.parametrize(("script", "transactions"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_transactions(script: str, transactions: int) -> None:
    session, _ = play(script)
    assert session.tally.transactions == transactions


def test_the_status_of_round_trips_is_that_of_ready_for_query() -> None:
    _, heard = play(BEGIN + "F Query SELECT 1/0\nB ErrorResponse 22012 zero | ReadyForQuery E\n" + simple("ROLLBACK", "ROLLBACK", "I"))
    assert [(one.status_before, one.status) for one in heard.round_trips[1:]] == [("I", "T"), ("T", "E"), ("E", "I")]
