"""Transactions as the rows tell them: where one begins and ends, what in it is idle, and what is not kept."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from pgtrace.trace import transactions
from pgtrace.trace.feed import Feed
from pgtrace.trace.trace import Trace
from pgtrace.trace.transactions import LOST, OPEN, UNSEEN, Transaction, Transactions
from tests import playbook

MS = 1_000_000
BEGIN = "F Query BEGIN", "B CommandComplete BEGIN | ReadyForQuery T"
COMMIT = "F Query COMMIT", "B CommandComplete COMMIT | ReadyForQuery I"
ROLLBACK = "F Query ROLLBACK", "B CommandComplete ROLLBACK | ReadyForQuery I"
SELECT = "F Query select 1", "B CommandComplete SELECT 1 | ReadyForQuery T"


def script(*trips: tuple[str, str], at: int = 10, answered: int = 2, apart: int = 5) -> str:
    """Round trips of `answered` ms, one every `apart` ms."""
    lines = []
    for number, (sent, received) in enumerate(trips):
        opened = at + number * apart
        lines += [f"{opened} {sent}", f"{opened + answered} {received}"]
    return "\n".join(lines)


def read(tmp_path: Path, text: str) -> tuple[Transactions, Trace]:
    with closing(Trace.open([playbook.write(tmp_path / f"{len(os.listdir(tmp_path))}.pgtrace", text)])) as trace:
        trace.update()
        found = Transactions(trace.connections)
        feed = Feed(trace)
        feed.subscribe(found)
        feed.advance()
        found.set_under_way({row.connection: row.opened_ns for row in trace.rows if row.is_open})
        return found, trace


def only(tmp_path: Path, text: str) -> Transaction:
    found, _ = read(tmp_path, text)
    (one,) = found
    return one


def test_from_begin_to_commit(tmp_path: Path) -> None:
    one = only(tmp_path, script(BEGIN, SELECT, SELECT, COMMIT))
    assert (one.end, one.round_trips, one.executions, one.errors, one.failed, one.began_seen) == ("COMMIT", 4, 4, 0, False, True)
    assert one.duration_ns(0) == 17 * MS
    assert one.idle_ns(0) == 9 * MS
    assert one.flights == [("Q", 4)]
    assert list(one.spans) == [more * MS for more in (0, 2, 5, 7, 10, 12, 15, 17)]


def test_known_exchanges_are_taken_like_any_other(tmp_path: Path) -> None:
    """From the third time on the session does not run its machine for them."""
    found, trace = read(tmp_path, "\n".join(script(BEGIN, SELECT, COMMIT, at=10 + 100 * turn) for turn in range(12)))
    assert [(one.end, one.round_trips, one.executions) for one in found] == [("COMMIT", 3, 3)] * 12
    assert found.begun == trace.totals().transactions == 12


def test_a_commit_of_a_failed_block_is_a_rollback(tmp_path: Path) -> None:
    failed = "F Query select 1/0", "B ErrorResponse ERROR 22012 division by zero | ReadyForQuery E"
    one = only(tmp_path, script(BEGIN, failed, ("F Query COMMIT", ROLLBACK[1])))
    assert (one.end, one.failed, one.errors) == ("ROLLBACK", True, 1)


def test_sql_text_is_not_asked(tmp_path: Path) -> None:
    found, _ = read(tmp_path, script(("F Query BEGIN", "B CommandComplete SELECT 1 | ReadyForQuery I")))
    assert list(found) == []
    one = only(tmp_path, script(("F Query go()", BEGIN[1]), ("F Query end()", COMMIT[1])))
    assert one.end == "COMMIT"


def test_rollback_to_a_savepoint_ends_nothing(tmp_path: Path) -> None:
    back = "F Query ROLLBACK TO a", "B CommandComplete ROLLBACK | ReadyForQuery T"
    one = only(tmp_path, script(BEGIN, back, COMMIT))
    assert (one.end, one.round_trips) == ("COMMIT", 3)


def test_a_block_in_one_round_trip(tmp_path: Path) -> None:
    whole = (
        "F Query BEGIN; select 1; COMMIT",
        "B CommandComplete BEGIN | CommandComplete SELECT 1 | CommandComplete COMMIT | ReadyForQuery I",
    )
    one = only(tmp_path, script(whole))
    assert (one.end, one.round_trips, one.executions, one.idle_ns(0)) == ("COMMIT", 1, 3, 0)


def test_one_that_begins_where_the_other_ends(tmp_path: Path) -> None:
    both = "F Query COMMIT; BEGIN", "B CommandComplete COMMIT | CommandComplete BEGIN | ReadyForQuery T"
    found, trace = read(tmp_path, script(BEGIN, both, COMMIT))
    assert sorted((one.first, one.last, one.end) for one in found) == [(1, 2, "COMMIT"), (2, 3, "COMMIT")]
    assert found.begun == trace.totals().transactions


def test_an_open_one_is_idle_while_nothing_is_under_way(tmp_path: Path) -> None:
    one = only(tmp_path, script(BEGIN, SELECT))
    assert one.end == OPEN
    assert one.duration_ns(100 * MS) == 100 * MS
    assert one.idle_ns(100 * MS) == 96 * MS
    one = only(tmp_path, script(BEGIN) + "\n20 F Query select pg_sleep(9)")
    assert one.under_way_ns == 10 * MS
    assert one.idle_ns(100 * MS) == 8 * MS


@pytest.mark.parametrize("leaves", ["30 F Terminate\n31 c1 close F", "30 c1 close B"])
def test_one_whose_connection_ends_is_lost(tmp_path: Path, leaves: str) -> None:
    one = only(tmp_path, script(BEGIN, SELECT) + "\n" + leaves)
    assert one.end == LOST
    assert one.duration_ns(0) in (20 * MS, 21 * MS)


def test_one_whose_end_is_not_seen(tmp_path: Path) -> None:
    found, _ = read(
        tmp_path, script(BEGIN) + "\n20 gap 100\n" + script(SELECT, COMMIT, at=30).replace("ReadyForQuery T", "ReadyForQuery I")
    )
    assert [one.end for one in found] == [UNSEEN]


def test_the_longest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "KEPT", 3)
    lengths = (2, 9, 4, 8, 3, 7, 1)
    text = "\n".join(script(BEGIN, COMMIT, at=10 + 100 * turn, answered=1, apart=length + 1) for turn, length in enumerate(lengths))
    found, _ = read(tmp_path, text)
    assert found.begun == 7
    assert found.dropped == 3
    assert sorted(one.duration_ns(0) // MS for one in found)[-3:] == [9, 10, 11]


def test_spans_and_flights_are_bounded_and_true(tmp_path: Path) -> None:
    other = "F Query a | Query b", "B CommandComplete SELECT 1 | ReadyForQuery T | CommandComplete SELECT 1 | ReadyForQuery T"
    one = only(tmp_path, script(BEGIN, *[SELECT, other] * 300, COMMIT))
    assert one.round_trips == 602
    assert len(one.spans) <= 2 * transactions.SPANS_KEPT + 2
    assert one.spans[0] == one.opened_ns
    assert one.spans[-1] == one.last_ns
    assert list(one.spans) == sorted(one.spans)
    assert len(one.flights) == transactions.FLIGHTS_KEPT
    assert one.more_flights
    assert one.idle_ns(0) == 601 * 3 * MS


def test_the_costliest_statement_is_the_one_that_took_longest_altogether(tmp_path: Path) -> None:
    slow = "F Query select slow", "B CommandComplete SELECT 1 | ReadyForQuery T"
    one = only(tmp_path, f"{script(BEGIN, SELECT, SELECT, SELECT)}\n30 {slow[0]}\n35 {slow[1]}\n{script(COMMIT, at=40)}")
    assert one.costliest == ("select 1", 6 * MS, 3)
    assert list(one.costs) == ["select 1"]
    standing = only(tmp_path, f"{script(BEGIN, SELECT)}\n30 {slow[0]}\n39 {slow[1]}")
    assert standing.costliest == ("select slow", 9 * MS, 1)
    assert only(tmp_path, script(BEGIN, COMMIT)).costliest == ("", 0, 0)


def test_the_statements_of_an_open_transaction_are_bounded(tmp_path: Path) -> None:
    many = [(f"F Query select {number}", SELECT[1]) for number in range(transactions.STATEMENTS_KEPT + 20)]
    one = only(tmp_path, script(BEGIN, *many))
    assert len(one.costs) == transactions.STATEMENTS_KEPT
