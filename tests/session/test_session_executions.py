"""Executions, pipeline depth and pipelined executions."""

from __future__ import annotations

from tests.playbook import play

PREPARE = "F Parse s SELECT 1 | Sync\nB ParseComplete | ReadyForQuery I\n"


def test_a_suspended_portal_that_goes_on_is_one_execution() -> None:
    session, heard = play(
        "F Parse - SELECT g | Bind p - | Execute p 2 | Flush\n"
        "B ParseComplete | BindComplete | DataRow 1 | DataRow 2 | PortalSuspended\n"
        "F Execute p 2 | Flush\n"
        "B DataRow 3 | DataRow 4 | PortalSuspended\n"
        "F Execute p 2 | Sync\n"
        "B DataRow 5 | CommandComplete SELECT 5 | ReadyForQuery I\n"
    )
    assert session.tally.executions == 1
    assert session.tally.round_trips == 3
    assert [(one.rows, one.continues) for one in heard.executions] == [(2, False), (2, True), (1, True)]


def test_a_new_bind_to_the_portal_makes_a_new_execution() -> None:
    session, _ = play(
        "F Parse - SELECT g | Bind - - | Execute - 1 | Flush\n"
        "B ParseComplete | BindComplete | DataRow 1 | PortalSuspended\n"
        "F Bind - - | Execute - 1 | Sync\n"
        "B BindComplete | DataRow 1 | PortalSuspended | ReadyForQuery I\n"
    )
    assert session.tally.executions == 2


def test_an_execute_of_a_completed_portal_is_a_new_execution() -> None:
    """Only a portal whose last Execute ended in PortalSuspended is continued."""
    session, _ = play(
        "F Parse - SELECT g | Bind p - | Execute p 1 | Execute p | Execute p | Sync\n"
        "B ParseComplete | BindComplete | DataRow 1 | PortalSuspended | DataRow 2 | CommandComplete SELECT 1 | CommandComplete "
        "SELECT 0 | ReadyForQuery I\n"
    )
    assert session.tally.executions == 2


def test_two_portals_suspend_independently() -> None:
    session, _ = play(
        "F Parse s SELECT g | Bind p s | Bind q s | Execute p 1 | Execute q 1 | Execute p 1 | Execute q | Sync\n"
        "B ParseComplete | BindComplete | BindComplete | DataRow 1 | PortalSuspended | DataRow 1 | PortalSuspended"
        " | DataRow 2 | PortalSuspended | DataRow 2 | CommandComplete SELECT 1 | ReadyForQuery I\n"
    )
    assert session.tally.executions == 2


def test_a_continued_portal_that_fails_is_no_new_execution() -> None:
    for error in ("ErrorResponse 57014 canceled | ReadyForQuery I", "ErrorResponse FATAL 57P01 terminating"):
        session, _ = play(
            "F Parse - SELECT g | Bind - - | Execute - 1 | Flush\nB ParseComplete | BindComplete | DataRow 1 | PortalSuspended\n"
            f"F Execute - 1 | Sync\nB {error}\n"
        )
        assert session.tally.executions == 1


def test_each_statement_of_a_query_is_an_execution() -> None:
    session, heard = play(
        "F Query SELECT 1; ; INSERT INTO t VALUES (';'); SELECT 3\n"
        "B RowDescription a:23 | DataRow 1 | CommandComplete SELECT 1 | CommandComplete INSERT 0 1"
        " | RowDescription a:23 | DataRow 3 | CommandComplete SELECT 1 | ReadyForQuery I\n"
    )
    assert session.tally.executions == 3
    assert heard.ran == ["SELECT 1", "INSERT INTO t VALUES (';')", "SELECT 3"]


def test_a_query_ends_at_its_error_and_what_follows_is_no_execution() -> None:
    session, heard = play(
        "F Query SELECT 1; SELECT 1/0; SELECT 3\nB CommandComplete SELECT 1 | ErrorResponse 22012 zero | ReadyForQuery I\n"
    )
    assert session.tally.executions == 2
    assert heard.ran == ["SELECT 1", "SELECT 1/0"]
    assert [one.failed for one in heard.executions] == [False, True]


def test_an_empty_query_is_an_execution() -> None:
    session, _ = play("F Query \nB EmptyQueryResponse | ReadyForQuery I\n")
    assert session.tally.executions == 1


def test_an_empty_extended_query_is_an_execution() -> None:
    session, _ = play("F Parse - | Bind - - | Execute - | Sync\nB ParseComplete | BindComplete | EmptyQueryResponse | ReadyForQuery I\n")
    assert session.tally.executions == 1


def test_a_function_call_is_an_execution_also_when_it_fails() -> None:
    session, heard = play(
        "F FunctionCall 952 params=1\nB FunctionCallResponse 7 | ReadyForQuery I\nF FunctionCall 952\n"
        "B ErrorResponse 42501 no | ReadyForQuery I\n"
    )
    assert session.tally.executions == 2
    assert [one.failed for one in heard.executions] == [False, True]


def test_what_is_skipped_after_an_error_is_no_execution() -> None:
    """Five executions behind one Sync, the third fails: two completed, one failed by itself, two skipped. Depth counts the messages: 5."""
    session, heard = play(
        PREPARE
        + "F "
        + "Bind - s | Execute - | " * 5
        + "Sync\nB "
        + "BindComplete | CommandComplete SELECT 1 | " * 2
        + "BindComplete | ErrorResponse 23505 duplicate | ReadyForQuery I\n"
    )
    assert session.tally.executions == 3
    assert session.tally.pipelined_executions == 4
    assert session.tally.max_pipeline_depth == 5
    assert bytes(heard.round_trips[-1].received) == b"2C2C2E\x01\x01Z"


def test_an_error_of_bind_is_no_execution_of_its_execute() -> None:
    session, _ = play(PREPARE + "F Bind - s | Execute - | Sync\nB ErrorResponse 22P02 bad | ReadyForQuery I\n")
    assert session.tally.executions == 0


def test_an_error_at_the_sync_belongs_to_no_execution() -> None:
    session, heard = play(
        PREPARE
        + "F Bind - s | Execute - | Sync\nB BindComplete | CommandComplete INSERT 0 1 | ErrorResponse 23503 deferred | ReadyForQuery I\n"
    )
    assert session.tally.executions == 1
    assert heard.failures == [None]


def test_three_queries_behind_one_sync() -> None:
    """The example of the glossary: depth 3, 2 pipelined executions."""
    session, heard = play(
        PREPARE
        + "F Bind - s | Execute - | Bind - s | Execute - | Bind - s | Execute - | Sync\nB "
        + "BindComplete | CommandComplete SELECT 1 | " * 3
        + "ReadyForQuery I\n"
    )
    assert heard.round_trips[-1].depth == 3
    assert session.tally.pipelined_executions == 2
    assert session.tally.max_pipeline_depth == 3


def test_depth_is_counted_for_each_round_trip() -> None:
    """Depths 2, 1 and 3: 1 + 0 + 2 pipelined executions."""
    session, _ = play(
        "F Query SELECT 1 | Query SELECT 2\nB CommandComplete SELECT 1 | ReadyForQuery I | CommandComplete SELECT 1 | ReadyForQuery I\n"
        "F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\n"
        "F Query SELECT 1 | FunctionCall 1 | Query SELECT 2\n"
        "B CommandComplete SELECT 1 | ReadyForQuery I | FunctionCallResponse 1 | ReadyForQuery I | CommandComplete SELECT 1 | "
        "ReadyForQuery I\n"
    )
    assert session.tally.pipelined_executions == 3
    assert session.tally.max_pipeline_depth == 3


def test_a_run_that_is_no_round_trip_has_no_depth() -> None:
    """Two Executes nobody waited for, then Terminate: no round trip, so nothing pipelined and no depth."""
    session, _ = play("F Parse - SELECT 1 | Bind - - | Execute - | Bind - - | Execute - | Terminate\nc1 close F\n")
    assert session.tally.round_trips == 0
    assert session.tally.pipelined_executions == 0
    assert session.tally.max_pipeline_depth == 0


def test_an_open_round_trip_counts() -> None:
    session, _ = play("F Query SELECT pg_sleep(9) | Query SELECT 2")
    assert session.tally.round_trips == 1
    assert session.tally.pipelined_executions == 1
    assert session.tally.executions == 0


def test_rows_of_a_failed_execution_are_its_own() -> None:
    _, heard = play("F Query SELECT 1/g\nB RowDescription a:23 | DataRow 1 ×3 | ErrorResponse 22012 zero | ReadyForQuery I\n")
    assert [(one.rows, one.failed) for one in heard.executions] == [(3, True)]
