"""Parameters and result values by format: of Bind and FunctionCall, of Bind for rows of an extended query, of RowDescription for a simple one."""

from __future__ import annotations

import pytest

from tests.playbook import play

BINDS = [
    ("no format: all text", "Bind - s params=1,2,NULL", (3, 0)),
    ("one format: it holds for all", "Bind - s params=1,NULL,3 in=1", (0, 3)),
    ("one text format", "Bind - s params=1,2 in=0", (2, 0)),
    ("one for each", "Bind - s params=1,2,NULL,4 in=0,1,1,0", (2, 2)),
    ("no parameters", "Bind - s", (0, 0)),
    ("no parameters, one format", "Bind - s in=1", (0, 0)),
    ("an empty value is a value", "Bind - s params='','' in=1,0", (1, 1)),
]


@pytest.mark.parametrize(("bind", "expected"), [case[1:] for case in BINDS], ids=[case[0] for case in BINDS])
def test_parameters_of_bind(bind: str, expected: tuple[int, int]) -> None:
    session, _ = play(f"F Parse s SELECT 1 | {bind} | Sync\nB ParseComplete | BindComplete | ReadyForQuery I\n")
    assert (session.tally.params_text, session.tally.params_binary) == expected


@pytest.mark.parametrize(("call", "expected"), [("params=1,NULL in=1", (0, 2)), ("params=1,2", (2, 0)), ("params=1,2,3 in=0,1,0", (2, 1))])
def test_arguments_of_a_function_call_are_parameters(call: str, expected: tuple[int, int]) -> None:
    session, _ = play(f"F FunctionCall 7 {call}\nB FunctionCallResponse 1 | ReadyForQuery I\n")
    assert (session.tally.params_text, session.tally.params_binary) == expected
    assert (session.tally.values_text, session.tally.values_binary) == (0, 0)


RESULTS = [
    ("no format: all text", "", (6, 0)),
    ("one for all", "out=1", (0, 6)),
    ("one for each", "out=1,0,1", (2, 4)),
]


@pytest.mark.parametrize(("formats", "expected"), [case[1:] for case in RESULTS], ids=[case[0] for case in RESULTS])
def test_result_values_of_an_extended_query_have_the_formats_of_bind(formats: str, expected: tuple[int, int]) -> None:
    """Two rows of three columns, one of them NULL; the RowDescription of the statement says text, as it always does."""
    session, heard = play(
        f"F Parse s SELECT 1 | Describe S s | Bind - s {formats} | Execute - | Sync\n"
        "B ParseComplete | ParameterDescription | RowDescription a:23 b:25 c:17 | BindComplete"
        " | DataRow 1 x NULL | DataRow 2 y z | CommandComplete SELECT 2 | ReadyForQuery I\n"
    )
    assert (session.tally.values_text, session.tally.values_binary) == expected
    assert (heard.executions[0].values_text, heard.executions[0].values_binary) == expected


def test_result_values_of_a_simple_query_have_the_formats_of_its_row_description() -> None:
    """FETCH from a binary cursor says binary; the next statement of the same Query is text again."""
    session, heard = play(
        "F Query FETCH 2 FROM c; SELECT 1, 2\n"
        "B RowDescription a:23:b b:25:b | DataRow 1 NULL | DataRow 2 x | CommandComplete FETCH 2"
        " | RowDescription a:23 b:23 | DataRow 1 2 | CommandComplete SELECT 1 | ReadyForQuery I\n"
    )
    assert (session.tally.values_text, session.tally.values_binary) == (2, 4)
    assert [(one.values_text, one.values_binary) for one in heard.executions] == [(0, 4), (2, 0)]


def test_portals_keep_the_formats_of_their_own_bind() -> None:
    session, _ = play(
        "F Parse s SELECT 1 | Bind p s out=1 | Bind q s out=0 | Execute q | Execute p | Sync\n"
        "B ParseComplete | BindComplete ×2 | DataRow 1 | CommandComplete SELECT 1 | DataRow 1 ×2 | CommandComplete SELECT 2 | ReadyForQuery I\n"
    )
    assert (session.tally.values_text, session.tally.values_binary) == (1, 2)


def test_rows_without_columns_have_no_values() -> None:
    session, heard = play("F Query SELECT FROM t\nB RowDescription | DataRow ×4 | CommandComplete SELECT 4 | ReadyForQuery I\n")
    assert (session.tally.values_text, session.tally.values_binary) == (0, 0)
    assert heard.executions[0].rows == 4
