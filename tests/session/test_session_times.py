"""Waiting: `wait_ns` is time after set-up with a flush point open, `client_ns` the rest of the
session; each execution's wait by its own rule."""

from __future__ import annotations

import pytest

from tests.playbook import MS, play

READY = "B AuthenticationOk | ReadyForQuery I"


def waited(script: str, at_ms: float) -> tuple[float, float]:
    session, _ = play(script)
    waiting, client = session.waited_ns(round(at_ms * MS))
    return waiting / MS, client / MS


def test_set_up_is_no_waiting() -> None:
    """Set-up is over at 100; one Query waits 110 to 125; the rest up to 200 is the client's."""
    script = f"0 F StartupMessage user=app\n100 {READY}\n110 F Query SELECT 1\n125 B CommandComplete SELECT 1 | ReadyForQuery I\n"
    assert waited(script, 200) == (15, 85)


def test_waiting_begins_at_the_first_flush_point_not_at_the_first_message() -> None:
    """Parse at 10, Sync at 14, answered at 20: 6 ms."""
    script = f"0 F StartupMessage user=app\n0 {READY}\n10 F Parse - SELECT 1\n14 F Sync\n20 B ParseComplete | ReadyForQuery I\n"
    assert waited(script, 20) == (6, 14)


def test_waiting_ends_when_the_last_flush_point_is_answered() -> None:
    """Queries at 0 and 4; answered at 10 and 30: one interval, 0 to 30."""
    script = (
        f"0 F StartupMessage user=app\n0 {READY}\n0 F Query SELECT 1\n4 F Query SELECT 2\n"
        "10 B CommandComplete SELECT 1 | ReadyForQuery I\n30 B CommandComplete SELECT 1 | ReadyForQuery I\n"
    )
    assert waited(script, 50) == (30, 20)


def test_an_open_flush_point_waits_up_to_the_moment_asked_about() -> None:
    script = f"0 F StartupMessage user=app\n5 {READY}\n10 F Query SELECT pg_sleep(9)\n"
    assert waited(script, 10) == (0, 5)
    assert waited(script, 17) == (7, 5)
    assert waited(script, 40) == (30, 5)


def test_data_between_copy_in_response_and_copy_done_is_the_client_s_time() -> None:
    """Query 0 to 2, CopyDone 30 to 33: 5 ms of waiting in 40."""
    script = (
        f"0 F StartupMessage user=app\n0 {READY}\n0 F Query COPY t FROM STDIN\n2 B CopyInResponse\n"
        "5 F CopyData 1\n30 F CopyDone\n33 B CommandComplete COPY 1 | ReadyForQuery I\n"
    )
    assert waited(script, 40) == (5, 35)


def test_a_query_sent_with_the_start_up_waits_after_set_up() -> None:
    """Set-up is over at 10; the Query sent at 0 is answered at 25: from then on 15 ms of waiting."""
    script = f"0 F StartupMessage user=app | Query SELECT 1\n10 {READY}\n25 B CommandComplete SELECT 1 | ReadyForQuery I\n"
    assert waited(script, 30) == (15, 5)


def test_a_session_without_a_ready_for_query_has_no_times() -> None:
    assert waited("0 F StartupMessage user=app\n10 B ErrorResponse FATAL 28000 no\n10 c1 close B\n", 50) == (0, 0)


def test_the_end_of_the_connection_ends_the_waiting() -> None:
    session, _ = play("0 F Query SELECT 1\n8 c1 close B\n")
    assert session.round_trips.waited_ns(20 * MS) == 8 * MS


def test_each_execution_of_a_pipeline_waits_for_itself() -> None:
    """One Sync at 3. Replies end at 10, 12 and 12: the first waits from the Sync, the second from
    the end of the first, the third ends with the second."""
    _, heard = play(
        "0 F Parse s SELECT 1 | Sync\n0 B ParseComplete | ReadyForQuery I\n"
        "1 F Bind - s | Execute - | Bind - s | Execute -\n3 F Bind - s | Execute - | Sync\n"
        "10 B BindComplete | DataRow 1 | CommandComplete SELECT 1 | BindComplete\n"
        "12 B CommandComplete SELECT 0 | BindComplete | CommandComplete SELECT 0 | ReadyForQuery I\n"
    )
    assert heard.waits_ms == [7, 2, 0]


def test_the_first_flush_point_after_the_execute_counts() -> None:
    """Flush at 2 is the first after the Execute, Sync at 6 the second; the reply ends at 9."""
    _, heard = play(
        "0 F Parse - SELECT 1 | Bind - - | Execute -\n2 F Flush\n6 F Sync\n"
        "9 B ParseComplete | BindComplete | CommandComplete SELECT 1 | ReadyForQuery I\n"
    )
    assert heard.waits_ms == [7]


def test_an_execution_lasts_to_the_read_that_held_its_last_reply() -> None:
    _, heard = play(
        "0 F Query SELECT g\n5 B RowDescription g:23 | DataRow 1\n9 B DataRow 2 | CommandComplete SELECT 2\n11 B ReadyForQuery I\n"
    )
    assert heard.waits_ms == [9]


def test_statements_of_one_query_share_its_wait() -> None:
    _, heard = play(
        "0 F Query SELECT 1; SELECT 2; SELECT 3\n4 B CommandComplete SELECT 1\n"
        "7 B CommandComplete SELECT 1 | CommandComplete SELECT 1 | ReadyForQuery I\n"
    )
    assert heard.waits_ms == [4, 3, 0]


@pytest.mark.parametrize("repeats", [1, 2, 3, 10])
def test_the_same_exchange_again_waits_its_own_time(repeats: int) -> None:
    """Answered after 1, 2, 3 ... ms."""
    script = f"0 F StartupMessage user=app\n0 {READY}\n"
    for number in range(repeats):
        script += f"{100 * number} F Query SELECT 1\n{100 * number + number + 1} B CommandComplete SELECT 1 | ReadyForQuery I\n"
    session, heard = play(script)
    assert heard.waits_ms == list(range(1, repeats + 1))
    assert session.waited_ns(100 * repeats * MS)[0] == sum(range(1, repeats + 1)) * MS


def test_a_round_trip_lasts_from_its_first_message_to_its_last_answer() -> None:
    _, heard = play(
        "0 F Query SELECT 0\n1 B CommandComplete SELECT 1 | ReadyForQuery I\n10 F Parse - SELECT 1\n12 F Sync\n15 B ParseComplete\n"
        "19 B ReadyForQuery I\n"
    )
    last = heard.round_trips[-1]
    assert (last.opened_ns / MS, last.first_flush_ns / MS, last.closed_ns and last.closed_ns / MS) == (10, 12, 19)
