"""Prepared statements: what a name means, how long it lives, and what counts as reuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgtrace.session import names
from tests.playbook import play

PREPARE_A = "F Parse a SELECT $1 | Sync\nB ParseComplete | ReadyForQuery I\n"
PREPARE_B = "F Parse b SELECT 2 | Sync\nB ParseComplete | ReadyForQuery I\n"
RUN_A = "F Bind - a params=1 | Execute - | Sync\nB BindComplete | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I\n"


def run(sql: str, tag: str) -> str:
    return f"F Query {sql}\nB CommandComplete {tag} | ReadyForQuery I\n"


def test_binds_beyond_the_first_are_reuse() -> None:
    session, _ = play(PREPARE_A + RUN_A * 5)
    assert (session.tally.parses_named, session.tally.parses_unnamed) == (1, 0)
    assert session.tally.statements_reused == 4
    assert session.statements.live_named == 1


def test_the_unnamed_statement_is_never_reused_and_never_alive() -> None:
    session, _ = play(
        "F Parse - SELECT 1 | Sync\nB ParseComplete | ReadyForQuery I\n"
        + "F Bind - - | Execute - | Sync\nB BindComplete | CommandComplete SELECT 0 | ReadyForQuery I\n" * 3
    )
    assert (session.tally.parses_named, session.tally.parses_unnamed) == (0, 1)
    assert (session.tally.statements_reused, session.statements.live_named) == (0, 0)


def test_a_bind_that_fails_is_no_reuse() -> None:
    failing = "F Bind - a params=x | Execute - | Sync\nB ErrorResponse 22P02 bad | ReadyForQuery I\n"
    session, _ = play(PREPARE_A + RUN_A + failing + RUN_A)
    assert session.tally.statements_reused == 1


def test_a_bind_discarded_after_an_error_is_no_reuse() -> None:
    session, _ = play(
        PREPARE_A + RUN_A + "F Parse - BAD | Bind - a params=1 | Execute - | Sync\nB ErrorResponse 42601 syntax | ReadyForQuery I\n"
    )
    assert session.tally.statements_reused == 0


LIVES = [
    ("Close", "F Close S a | Sync\nB CloseComplete | ReadyForQuery I\n", 1),
    ("Close of a portal of that name", "F Close P a | Sync\nB CloseComplete | ReadyForQuery I\n", 2),
    ("DEALLOCATE", run("DEALLOCATE a", "DEALLOCATE"), 1),
    ("DEALLOCATE PREPARE", run("deallocate prepare a", "DEALLOCATE"), 1),
    ("DEALLOCATE of a quoted name", run('DEALLOCATE "a"', "DEALLOCATE"), 1),
    ("DEALLOCATE of a name folded", run("DEALLOCATE A", "DEALLOCATE"), 1),
    ("DEALLOCATE of another case is another name", run('DEALLOCATE "A"', "DEALLOCATE"), 2),
    ("DEALLOCATE ALL", run("DEALLOCATE ALL", "DEALLOCATE ALL"), 0),
    ("DISCARD ALL", run("DISCARD ALL", "DISCARD ALL"), 0),
    ("DISCARD PLANS", run("DISCARD PLANS", "DISCARD PLANS"), 2),
    ("PREPARE", run("PREPARE c (int) AS SELECT $1", "PREPARE"), 3),
    ("PREPARE, DEALLOCATE", "F Query PREPARE c AS SELECT 1; DEALLOCATE c\n"
        "B CommandComplete PREPARE | CommandComplete DEALLOCATE | ReadyForQuery I", 2),
    ("a DEALLOCATE that fails", "F Query DEALLOCATE a\nB ErrorResponse 26000 no | ReadyForQuery I", 2),
    ("a Parse that fails", "F Parse c BAD | Sync\nB ErrorResponse 42601 syntax | ReadyForQuery I", 2),
    ("a Parse discarded after an error", "F Parse - BAD | Parse c SELECT 3 | Sync\nB ErrorResponse 42601 syntax | ReadyForQuery I", 2),
    ("a Close discarded after an error", "F Parse - BAD | Close S a | Sync\nB ErrorResponse 42601 syntax | ReadyForQuery I", 2),
    ("Parse, sent and not answered", "F Parse c SELECT 3 | Sync", 2),
    ("a rolled back transaction keeps it", run("ROLLBACK", "ROLLBACK"), 2),
    ("Close and Parse of the same name", "F Close S a | Parse a SELECT 4 | Sync\nB CloseComplete | ParseComplete | ReadyForQuery I", 2),
    (
        "DEALLOCATE by the extended protocol",
        "F Parse - DEALLOCATE a | Bind - - | Execute - | Sync\n"
        "B ParseComplete | BindComplete | CommandComplete DEALLOCATE | ReadyForQuery I",
        1,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("script", "live"), [case[1:] for case in LIVES], ids=[case[0] for case in LIVES])
def test_named_statements_alive(script: str, live: int) -> None:
    session, _ = play(PREPARE_A + PREPARE_B + script)
    assert session.statements.live_named == live


def test_a_statement_named_prepare_survives_the_deallocation_of_another() -> None:
    session, _ = play(PREPARE_A + PREPARE_A.replace(" a ", " prepare ") + run("DEALLOCATE PREPARE a", "DEALLOCATE"))
    assert set(session.statements.live) == {"prepare"}


def test_a_name_prepared_anew_begins_its_reuse_anew() -> None:
    again = "F Close S a | Parse a SELECT $1 | Sync\nB CloseComplete | ParseComplete | ReadyForQuery I\n"
    session, _ = play(PREPARE_A + RUN_A * 3 + again + RUN_A * 2)
    assert session.tally.statements_reused == 2 + 1


def test_executions_belong_to_what_the_name_meant_when_the_backend_read_it() -> None:
    _, heard = play(
        "F Parse - SELECT 1 | Bind - - | Execute - | Parse - SELECT 2 | Bind - - | Execute - | Sync\n"
        "B ParseComplete | BindComplete | CommandComplete SELECT 1 | ParseComplete | BindComplete | CommandComplete SELECT 1 | "
        "ReadyForQuery I\n"
    )
    assert heard.ran == ["SELECT 1", "SELECT 2"]


def test_a_statement_whose_parse_was_not_seen_was_prepared_earlier() -> None:
    session, heard = play(RUN_A * 2)
    assert heard.ran == [None, None]
    assert [execution.statement.name for execution in heard.executions] == ["a", "a"]
    assert session.statements.live_named == 1


def test_a_failed_parse_leaves_the_name_to_what_it_was() -> None:
    """A Parse of a name that exists fails; the name goes on meaning the earlier statement."""
    _, heard = play(PREPARE_A + "F Parse a SELECT 99 | Sync\nB ErrorResponse 42P05 exists | ReadyForQuery I\n" + RUN_A)
    assert heard.ran == ["SELECT $1"]


def test_what_was_sent_while_the_backend_discards_leaves_no_trace_in_names() -> None:
    """Error first, then Parse and Describe of another meaning, discarded up to the Sync."""
    _, heard = play(
        PREPARE_A
        + "F Parse - BAD | Flush\nB ErrorResponse 42601 syntax\n"
        + "F Close S a | Parse a SELECT 99 | Describe S a | Bind - a | Sync\nB ReadyForQuery I\n"
        + RUN_A
    )
    assert heard.ran == ["SELECT $1"]


def test_what_is_discarded_still_is_about_the_sql_it_carried() -> None:
    """Messages are counted where they were meant to go: the discarded Parse and Describe of `c` are
    about its SQL, not about an unknown statement."""
    _, heard = play(
        "F Parse - BAD | Flush\nB ErrorResponse 42601 syntax\nF Parse c SELECT 3 | Describe S c | Bind - c | Execute - | Sync\n"
        "B ReadyForQuery I\n"
    )
    assert [statement.sql for statement in heard.round_trips[-1].statements] == ["SELECT 3"]


def test_errors_belong_to_the_statement_that_failed() -> None:
    _, heard = play(
        PREPARE_A
        + "F Bind - a params=x | Execute - | Sync\nB ErrorResponse 22P02 bad | ReadyForQuery I\n"  # by Bind
        + "F Parse - BAD | Sync\nB ErrorResponse 42601 syntax | ReadyForQuery I\n"  # by Parse
        + "F Query SELECT 1; SELECT 1/0; SELECT 3\nB CommandComplete SELECT 1 | ErrorResponse 22012 zero | ReadyForQuery I\n"
    )
    assert [statement and statement.sql for statement in heard.failures] == ["SELECT $1", "BAD", "SELECT 1/0"]


def test_forgotten_statements_are_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more names than are kept the older half is forgotten: the number alive stays exact, and
    what is bound again is one prepared earlier."""
    monkeypatch.setattr(names, "NAMES_BYTES", 20_000)
    script = "".join(f"F Parse s{number} SELECT a{number} FROM t | Sync\nB ParseComplete | ReadyForQuery I\n" for number in range(200))
    session, _ = play(script)
    assert session.statements.live_named == 200
    assert len(session.statements.live) < 60
    assert "s0" not in session.statements.live
    bound = "F Bind - s0 | Execute - | Sync\nB BindComplete | CommandComplete SELECT 0 | ReadyForQuery I\n"
    session, _ = play(script + bound)
    assert (session.statements.live["s0"].sql, session.statements.live_named) == (None, 200)
    session, _ = play(script + bound + "F Close S s1 | Sync\nB CloseComplete | ReadyForQuery I\n")
    assert session.statements.live_named == 199
    session, _ = play(script + run("DISCARD ALL", "DISCARD ALL"))
    assert session.statements.live_named == 0


def begun() -> str:
    return run("BEGIN", "BEGIN").replace("ReadyForQuery I", "ReadyForQuery T")


def in_block(sql: str, tag: str) -> str:
    return run(sql, tag).replace("ReadyForQuery I", "ReadyForQuery T")


DESCRIBED = "F Describe P {} | Sync\nB RowDescription n:23 | ReadyForQuery T\n"
EXTENDED = "F Parse - {0} | Bind - - | Execute - | Sync\nB ParseComplete | BindComplete | CommandComplete {1} | ReadyForQuery T\n"


@pytest.mark.parametrize("form", ["DECLARE {} CURSOR FOR SELECT 1", "/* app */ declare {} no scroll cursor with hold for SELECT 1"])
@pytest.mark.parametrize(("written", "name"), [("cur", "cur"), ("Cur", "cur"), ('"Cur"', "Cur"), ('"a""b"', 'a"b')])
@pytest.mark.parametrize("asked", [in_block, lambda sql, tag: EXTENDED.format(sql, tag)])
def test_a_cursor_of_declare_is_a_portal(form: str, written: str, name: str, asked: Callable[[str, str], str]) -> None:
    declare = form.format(written)
    session, heard = play(begun() + asked(declare, "DECLARE CURSOR") + DESCRIBED.format(name))
    assert [one.sql for one in heard.round_trips[-1].statements] == [declare]
    assert session.statements.live_named == 0


def test_a_cursor_declared_anew_is_another_portal() -> None:
    texts = [f"DECLARE c CURSOR FOR SELECT {number}" for number in (1, 1, 1, 2, 1, 2, 2, 2)]
    script = "".join(begun() + in_block(sql, "DECLARE CURSOR") + DESCRIBED.format("c") + run("COMMIT", "COMMIT") for sql in texts)
    _, heard = play(script)
    assert [one.statements[0].sql for one in heard.round_trips[2::4]] == texts


@pytest.mark.parametrize(
    ("between", "known"),
    [
        (in_block("CLOSE c", "CLOSE CURSOR"), False),
        (in_block('/* x */ close "c"', "CLOSE CURSOR"), False),
        (in_block("CLOSE d", "CLOSE CURSOR"), True),
        (in_block("FETCH 1 FROM c", "FETCH 1"), True),
    ],
)
def test_a_cursor_that_was_closed_is_none(between: str, known: bool) -> None:
    session, _ = play(begun() + in_block("DECLARE c CURSOR FOR SELECT 1", "DECLARE CURSOR") + between)
    assert ("c" in session.statements.live_portals) is known
