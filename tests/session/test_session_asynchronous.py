"""Messages that come at any moment: they answer nothing, end nothing and belong to no execution."""

from __future__ import annotations

import pytest

from pgtrace.protocol.answers import ASYNCHRONOUS
from tests.playbook import play

MESSAGES = ["NotificationResponse orders 42", "NoticeResponse hello", "ParameterStatus TimeZone UTC"]
LETTERS = "ANS"
REPLY = ["ParseComplete", "BindComplete", "DataRow 1", "CommandComplete SELECT 1", "ReadyForQuery I"]


def test_these_are_all_of_them() -> None:
    assert frozenset(map(ord, LETTERS)) == ASYNCHRONOUS


@pytest.mark.parametrize("place", range(len(REPLY) + 1))
@pytest.mark.parametrize("message", MESSAGES)
def test_between_any_two_replies(message: str, place: int) -> None:
    """Each in a read of its own, so that every moment between two replies is there."""
    reads = [*REPLY[:place], message, *REPLY[place:]]
    script = "F Parse - SELECT 1 | Bind - - | Execute - | Sync\n" + "".join(f"B {one}\n" for one in reads)
    session, heard = play(script + "F Query SELECT 2\nB CommandComplete SELECT 1 | ReadyForQuery I\n")
    assert (session.tally.round_trips, session.tally.executions) == (2, 2)
    assert heard.ran == ["SELECT 1", "SELECT 2"]
    assert session.is_quiet


@pytest.mark.parametrize(("message", "letter"), list(zip(MESSAGES, LETTERS, strict=True)))
def test_on_an_idle_connection(message: str, letter: str) -> None:
    """Twice before a Query, once within its reply, once after it; the plain start-up has a ParameterStatus of its own."""
    session, heard = play(
        f"B {message}\nB {message}\nF Query SELECT 1\nB {message} | CommandComplete SELECT 1 | ReadyForQuery I\nB {message}\n"
    )
    assert (session.tally.round_trips, session.tally.executions) == (1, 1)
    assert heard.others == [ord(letter)] * 3
    assert session.tally.backend[ord(letter)] == 4 + (letter == "S")


def test_an_error_with_nothing_owed_starts_no_discarding() -> None:
    session, heard = play(
        "B ErrorResponse 57014 late\n"
        "F Parse - SELECT 1 | Bind - - | Execute - | Sync\nB ParseComplete | BindComplete | CommandComplete SELECT 1 | ReadyForQuery I\n"
    )
    assert (session.tally.round_trips, session.tally.executions) == (1, 1)
    assert heard.failures == [None]


def test_a_fatal_error_answers_everything() -> None:
    session, heard = play("F Query SELECT 1 | Query SELECT 2\nB ErrorResponse FATAL 57P01 shutdown\nc1 close B\n")
    assert (session.tally.round_trips, session.tally.executions) == (1, 1)
    assert heard.ran == ["SELECT 1"]
    assert session.is_quiet


def test_a_fatal_error_on_an_idle_connection_is_no_round_trip() -> None:
    session, heard = play("B ErrorResponse FATAL 57P05 idle too long\nc1 close B\n")
    assert session.tally.round_trips == 0
    assert session.tally.backend[ord("E")] == 1
    assert heard.failures == [None]


def test_the_end_of_the_connection_answers_everything_and_is_no_execution() -> None:
    session, _ = play("F Parse - SELECT 1 | Bind - - | Execute - | Sync\nB ParseComplete\nc1 close B\n")
    assert (session.tally.round_trips, session.tally.executions) == (1, 0)


def test_an_unknown_message_is_counted_and_answers_nothing() -> None:
    """Type byte `~`, length 4, in the middle of a reply."""
    session, _ = play("F Query SELECT 1\nc1 raw B 7e00000004\nB CommandComplete SELECT 1 | ReadyForQuery I\n")
    assert session.tally.backend[ord("~")] == 1
    assert (session.tally.round_trips, session.tally.executions) == (1, 1)
