"""COPY as the backend sees it: executions, waits and messages, in simple and extended mode. Round
trips of more orders are worked sequences."""

from __future__ import annotations

import pytest

from pgtrace.capture.record import Data
from pgtrace.session.connection import Session
from pgtrace.session.statements import Statement
from tests.playbook import Heard, play, records


def test_copy_in_by_query_is_one_execution_of_two_round_trips() -> None:
    session, heard = play(
        "0  F Query COPY t FROM STDIN\n"
        "2  B CopyInResponse\n"
        "10 F CopyData 1 ×3\n"
        "20 F CopyData 2 ×2 | CopyDone\n"
        "23 B CommandComplete COPY 5 | ReadyForQuery I\n"
    )
    assert session.tally.round_trips == 2
    assert heard.ran == ["COPY t FROM STDIN"]
    assert [bytes(one.sent) for one in heard.round_trips[1:]] == [b"Q", b"dc"]


def test_copy_in_by_query_waits_from_its_copy_done() -> None:
    """The round trip that carried the data has one flush point after the Query was answered: CopyDone, at 20. Its last reply came at 23."""
    _, heard = play(
        "0  F Query COPY t FROM STDIN\n2  B CopyInResponse\n10 F CopyData 1\n20 F CopyDone\n23 B CommandComplete COPY 1 | ReadyForQuery I\n"
    )
    assert heard.waits_ms == [3]


def test_copy_in_by_execute_waits_from_the_sync_after_its_copy_done() -> None:
    for before in ("Execute - | Sync", "Execute - | Flush", "Execute -"):
        _, heard = play(
            f"0  F Parse - COPY t FROM STDIN | Bind - - | {before}\n"
            "2  B ParseComplete | BindComplete | CopyInResponse\n"
            "10 F CopyData 1\n"
            "20 F CopyDone | Sync\n"
            "23 B CommandComplete COPY 1 | ReadyForQuery I\n"
        )
        assert heard.waits_ms == [3], before


def test_copy_in_all_sent_ahead_waits_from_its_sync() -> None:
    session, heard = play(
        "0  F Parse - COPY t FROM STDIN | Bind - - | Execute - | CopyData 1 | CopyDone | Sync\n"
        "4  B ParseComplete | BindComplete | CopyInResponse | CommandComplete COPY 1 | ReadyForQuery I\n"
    )
    assert session.tally.round_trips == 1
    assert heard.waits_ms == [4]


def test_copy_out_is_one_round_trip_and_one_execution() -> None:
    session, heard = play(
        "F Query COPY t TO STDOUT\nB CopyOutResponse | CopyData 1 ×4 | CopyDone | CommandComplete COPY 4 | ReadyForQuery I\n"
    )
    assert (session.tally.round_trips, session.tally.executions) == (1, 1)
    assert bytes(heard.round_trips[1].received) == b"HdcCZ"
    assert session.tally.backend[ord("d")] == 4
    assert session.tally.backend[ord("D")] == 0


def test_two_copies_in_one_query() -> None:
    """Each turn the backend hands over is a wait of its own: Query, first data, second data."""
    session, heard = play(
        "F Query COPY a FROM STDIN; COPY b FROM STDIN\nB CopyInResponse\n"
        "F CopyData 1 | CopyDone\nB CommandComplete COPY 1 | CopyInResponse\n"
        "F CopyData 2 | CopyDone\nB CommandComplete COPY 1 | ReadyForQuery I\n"
    )
    assert (session.tally.round_trips, session.tally.executions) == (3, 2)
    assert heard.ran == ["COPY a FROM STDIN", "COPY b FROM STDIN"]


def test_copy_fail_is_answered_by_the_error() -> None:
    session, heard = play(
        "F Query COPY t FROM STDIN\nB CopyInResponse\nF CopyData 1 | CopyFail no\nB ErrorResponse 57014 COPY failed | ReadyForQuery I\n"
    )
    assert (session.tally.round_trips, session.tally.executions) == (2, 1)
    assert [one.failed for one in heard.executions] == [True]
    assert [statement and statement.sql for statement in heard.failures] == ["COPY t FROM STDIN"]


def test_an_error_in_extended_copy_discards_up_to_the_sync_behind_the_data() -> None:
    session, heard = play(
        "F Parse - COPY t FROM STDIN | Bind - - | Execute - | Flush\nB ParseComplete | BindComplete | CopyInResponse\n"
        "F CopyData x\nB ErrorResponse 22P02 bad\n"
        "F CopyData y | CopyDone | Sync\nB ReadyForQuery I\n"
        "F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\n"
    )
    assert session.tally.round_trips == 4
    assert heard.ran == ["COPY t FROM STDIN", "SELECT 1"]
    assert session.is_quiet


def test_stray_copy_data_outside_copy_mode_is_a_message_and_nothing_more() -> None:
    session, heard = play("F CopyData 1 | CopyDone\nF Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\n")
    assert session.tally.round_trips == 1
    assert session.tally.frontend[ord("d")] == 1
    assert heard.others == [ord("d"), ord("c")]


def test_copy_both_streams_without_round_trips() -> None:
    session, _ = play(
        "F Query START_REPLICATION SLOT s LOGICAL 0/0\nB CopyBothResponse\n"
        "B CopyData w\nF CopyData r\nB CopyData w\nF CopyData r\n"
        "F CopyDone\nB CopyDone | CommandComplete COPY 0 | ReadyForQuery I\n"
    )
    assert session.tally.round_trips == 2
    assert (session.tally.frontend[ord("d")], session.tally.backend[ord("d")]) == (2, 2)


@pytest.mark.parametrize(
    ("asked", "handed_over", "end"),
    [
        ("Query COPY t FROM STDIN", "CopyInResponse", "CopyDone"),
        ("Parse - COPY t FROM STDIN | Bind - - | Execute - | Flush", "ParseComplete | BindComplete | CopyInResponse", "CopyDone | Sync"),
    ],
)
def test_copy_data_in_a_round_trip_of_its_own_tells_its_statement(asked: str, handed_over: str, end: str) -> None:
    _, heard = play(f"F {asked}\nB {handed_over}\nF CopyData 1 | {end}\nB CommandComplete COPY 1 | ReadyForQuery I\n")
    first, second = heard.round_trips[1:]
    assert first.copying is None
    assert second.statements == ()
    assert second.copying is not None
    assert second.copying.sql == "COPY t FROM STDIN"


def test_copied_rows_are_the_server_s_own_count() -> None:
    session, _ = play(
        "F Query COPY t TO STDOUT; COPY t TO '/tmp/t'\nB CopyOutResponse | CopyData 1 ×4 | CopyDone | CommandComplete COPY 4 "
        "| CommandComplete COPY 9 | ReadyForQuery I\n"
        "F Query COPY t FROM STDIN\nB CopyInResponse\nF CopyData 1 | CopyDone\nB CommandComplete COPY 3 | ReadyForQuery I\n"
        "F Parse - COPY t FROM STDIN | Bind - - | Execute - | Flush\nB ParseComplete | BindComplete | CopyInResponse\n"
        "F CopyData 1 | CopyDone | Sync\nB CommandComplete COPY 20 | ReadyForQuery I\n"
        "F Query COPY t FROM STDIN\nB CopyInResponse\nF CopyData 1 | CopyDone\nB ErrorResponse 23505 duplicate key | ReadyForQuery I\n"
        "F Query COPY t FROM STDIN\nB CopyInResponse\nF CopyData 1 | CopyDone\nB CommandComplete COPY many | ReadyForQuery I\n"
    )
    assert (session.tally.copy_in_rows, session.tally.copy_out_rows) == (23, 4)


STREAM = "F Query START_REPLICATION SLOT s LOGICAL 0/0\nB CopyBothResponse\nB CopyData w\nF CopyData r\nB CopyData w\n"


@pytest.mark.parametrize(
    ("end", "others"),
    [
        ("F CopyDone\nB CopyData w | CopyDone | CommandComplete COPY 0 | CommandComplete START_REPLICATION | ReadyForQuery I\n", "ddd"),
        ("B CopyDone\nF CopyDone\nB CommandComplete COPY 0 | CommandComplete START_REPLICATION | ReadyForQuery I\n", "dddc"),
        (
            "B CopyDone\nF CopyDone\nB RowDescription tli:20 | DataRow 2 | CommandComplete COPY 0 | CommandComplete X | ReadyForQuery I\n",
            "dddc",
        ),
    ],
)
def test_a_stream_ended_by_either_side_is_one_execution(end: str, others: str) -> None:
    session, heard = play(STREAM + end)
    assert session.tally.round_trips == 2
    assert heard.ran == ["START_REPLICATION SLOT s LOGICAL 0/0"]
    assert session.tally.executions == 1
    assert heard.round_trips[2].copying is not None
    assert "".join(map(chr, heard.others)) == others
    assert session.is_quiet


def test_a_stream_is_quiet_while_it_goes_on() -> None:
    session, _ = play(STREAM)
    assert session.is_quiet
    assert session.tally.copy_out_rows == 0


def test_an_error_in_a_stream_is_a_row_of_its_own() -> None:
    """What the server sends between two CopyData is not part of the round trip that asked for the stream, which closed long ago."""
    session, heard = play(
        STREAM
        + "B ErrorResponse 58P01 WAL has been removed | ReadyForQuery I\nF Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\n"
    )
    assert bytes(heard.round_trips[1].received) == b"W"
    assert "".join(map(chr, heard.others)) == "dddEZ"
    assert [one.sql for one in heard.failures if one] == ["START_REPLICATION SLOT s LOGICAL 0/0"]
    assert session.tally.round_trips == 2
    assert session.is_quiet


def test_a_base_backup_is_one_execution() -> None:
    session, heard = play(
        "F Query BASE_BACKUP (MANIFEST 'yes')\n"
        "B RowDescription recptr:25 | DataRow 0/2 | CommandComplete SELECT | RowDescription spcoid:26 | DataRow 1 ×2 | "
        "CommandComplete SELECT\n"
        "B CopyOutResponse | CopyData n ×9 | CopyDone | RowDescription recptr:25 | DataRow 0/3 | CommandComplete SELECT\n"
        "B CommandComplete BASE_BACKUP | ReadyForQuery I\n"
    )
    assert heard.ran == ["BASE_BACKUP (MANIFEST 'yes')"]
    assert sum(one.rows for one in heard.executions) == 4
    assert (session.tally.round_trips, session.tally.executions) == (1, 1)


def test_the_observer_hears_when_copying_begins_and_ends() -> None:
    heard = []

    class Listener(Heard):
        def copy_began(self, note: object, code: int, response: bytes, statement: Statement | None) -> None:
            heard.append((chr(code), statement and statement.sql))

        def copy_ended(self) -> None:
            heard.append(("end", None))

    session = Session(Listener())
    for one in records(
        "F Query COPY t TO STDOUT; COPY u TO STDOUT\nB CopyOutResponse | CopyDone | CommandComplete COPY 0 | CopyOutResponse | CopyDone\n"
        "B CommandComplete COPY 0 | ReadyForQuery I\nF Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\n" + STREAM
    ):
        if isinstance(one, Data):
            session.receive(one.side, one.time_ns, one.data, one.offset)
    session.gap(0)
    assert heard == [
        ("H", "COPY t TO STDOUT"),
        ("H", "COPY u TO STDOUT"),
        ("end", None),
        ("W", "START_REPLICATION SLOT s LOGICAL 0/0"),
        ("end", None),
    ]
