"""After a gap both sides resume together at a ReadyForQuery and the read that follows it; counts
are right from the first idle moment on."""

from __future__ import annotations

from tests.playbook import play

QUERY = "F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\n"
PREPARE = "F Parse a SELECT $1 | Sync\nB ParseComplete | ReadyForQuery I\n"


def test_an_idle_gap_loses_what_passed_until_sense_returns() -> None:
    """Before: 2 round trips. The first exchange after the gap ends in ReadyForQuery: from the second on everything counts."""
    session, heard = play(QUERY * 2 + "gap 1000\n" + QUERY * 3)
    assert session.tally.round_trips == 2 + 2
    assert not any(one.uncertain for one in heard.round_trips)
    assert session.is_quiet


def test_an_open_round_trip_at_a_gap_counts_and_is_marked() -> None:
    session, heard = play(QUERY + "F Query SELECT 2\ngap 50\nB CommandComplete SELECT 1 | ReadyForQuery I\n" + QUERY)
    assert session.tally.round_trips == 3
    assert [one.uncertain for one in heard.round_trips] == [False, False, True, False]


def test_bytes_are_counted_also_while_nothing_can_be_read() -> None:
    session, _ = play(QUERY + "gap 1000\n" + QUERY * 2)
    query = 1 + 4 + len(b"SELECT 1\0")
    start_up = 4 + 4 + len(b"user\0app\0database\0shop\0\0")
    assert session.bytes[0] == start_up + 3 * query


def test_offsets_go_on_where_the_capture_says() -> None:
    session, heard = play(QUERY + "gap 1000\n" + QUERY * 2)
    lost = 1000
    query, reply = 14, (1 + 4 + 9) + 6
    start_up = 32, 53
    assert heard.round_trips[-1].offsets == (start_up[0] + 2 * query, start_up[1] + 2 * reply + lost)
    assert session.offsets == (start_up[0] + 3 * query, start_up[1] + 3 * reply + lost)


def test_named_statements_live_on_and_unnamed_ones_do_not() -> None:
    session, heard = play(
        PREPARE
        + "F Parse - SELECT 2 | Sync\nB ParseComplete | ReadyForQuery I\n"
        + "gap 10\n"
        + QUERY
        + "F Bind - a | Execute - | Bind - - | Execute - | Sync\n"
        + "B BindComplete | CommandComplete SELECT 1 | BindComplete | CommandComplete SELECT 1 | ReadyForQuery I\n"
    )
    assert heard.ran[-2:] == ["SELECT $1", None]
    assert session.statements.live_named == 1


def test_the_transaction_block_after_a_gap_is_that_of_ready_for_query() -> None:
    """A BEGIN was lost; the ReadyForQuery says T: a second BEGIN is none outside a block."""
    session, _ = play(
        "gap 10\nB ReadyForQuery T\nF Query BEGIN\nB NoticeResponse there is one | CommandComplete BEGIN | ReadyForQuery T\n"
        "F Query COMMIT\nB CommandComplete COMMIT | ReadyForQuery I\nF Query BEGIN\nB CommandComplete BEGIN | ReadyForQuery T\n"
    )
    assert session.tally.transactions == 1


def test_a_beginning_that_was_not_seen_is_no_set_up() -> None:
    """Without a StartupMessage: joined by a gap record before the first bytes."""
    session, _ = play("0 c1 fact peer psql\nc1 gap 0\nc1 raw B 5a0000000549\nc1 raw F 510000000e53454c45435420310000\n")
    assert session.tally.setup_round_trips == 0


def test_the_discarding_after_an_error_is_forgotten_at_a_gap() -> None:
    session, heard = play("F Parse - BAD | Flush\nB ErrorResponse 42601 syntax\ngap 10\nB ReadyForQuery I\n" + QUERY)
    assert heard.ran == ["SELECT 1"]
    assert session.tally.round_trips == 2
