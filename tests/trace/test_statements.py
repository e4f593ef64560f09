"""Statements by SQL: what each of their fields counts, percentiles, and what happens beyond the bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtrace.session.effects import Effects
from pgtrace.session.events import Exchange, Part, Passage
from pgtrace.session.run import Run
from pgtrace.session.statements import Statement
from pgtrace.trace import statements
from pgtrace.trace.statements import OTHER, GroupBudget, StatementTable
from pgtrace.trace.trace import Trace
from tests.playbook import MS, write


def found(tmp_path: Path, script: str) -> dict[str, dict[str, object]]:
    trace = Trace.open([write(tmp_path / "a.pgtrace", script)])
    while trace.update():
        pass
    views = {view.group.sql: view.group.as_dict(view.driver) for view in trace.statements()}
    trace.close()
    return views


def test_the_fields_of_a_prepared_statement(tmp_path: Path) -> None:
    script = (
        "0  F Parse s1 SELECT a FROM t WHERE id = $1 | Describe S s1 | Sync\n"
        "1  B ParseComplete | ParameterDescription 23 | RowDescription a:23 | ReadyForQuery I\n"
        "2  F Bind - s1 params=1 out=1 | Execute - | Sync\n"
        "5  B BindComplete | DataRow 1 ×2 | CommandComplete SELECT 2 | ReadyForQuery I\n"
        "6  F Bind - s1 params=1 out=0 | Execute - | Bind - s1 params=2 out=0 | Execute - | Sync\n"
        "7  B BindComplete | DataRow 1 | CommandComplete SELECT 1 | BindComplete | ErrorResponse 22012 division by zero | ReadyForQuery I\n"
        "end\n"
    )
    (statement,) = found(tmp_path, script).values()
    assert statement | {"fingerprint": "", "wait_ns": {}} == {
        "driver": "unknown",
        "sql": "SELECT a FROM t WHERE id = $1",
        "fingerprint": "",
        "names": ["s1"],
        "parses": 1,
        "reused": 2,
        "live": 1,
        "executions": 3,
        "round_trips": 3,
        "round_trips_alone": 3,
        "rows": 3,
        "errors": 1,
        "result_formats": {"text": 1, "binary": 2},
        "wait_ns": {},
        "comment_variants": 0,
    }
    assert statement["wait_ns"]["total"] == (3 + 1 + 0) * MS  # type: ignore[index]


def test_statements_that_differ_in_values_are_one(tmp_path: Path) -> None:
    script = "".join(f"F Query SELECT {n}, 'x{n}'\nB CommandComplete SELECT 1 | ReadyForQuery I\n" for n in range(3))
    (statement,) = found(tmp_path, script + "end\n").values()
    assert (statement["executions"], statement["round_trips_alone"]) == (3, 3)


@pytest.mark.parametrize(
    ("texts", "variants"),
    [
        (["SELECT 1", "SELECT 1"], 0),
        (["SELECT 1", "SELECT 2"], 0),
        (["SELECT 1 /*a='1'*/"], 0),
        (["SELECT 1 /*a='1'*/", "SELECT 1 /*a='1'*/"], 0),
        (["SELECT 1", "SELECT 1 /*a='1'*/"], 2),
        (["SELECT 1 /*a='1'*/", "SELECT  1"], 2),
        (["SELECT 1 /*a='1'*/", "SELECT 1 -- b", "/*c*/ SELECT 1"], 3),
        (["SELECT 1 /*a='1'*/", "SELECT 2 /*a='2'*/"], 0),
        (["SELECT 1 /*a*/", "SELECT 1 /*b*/", "SELECT 2 /*c*/"], 2),
        (["SELECT '/*a*/'", "SELECT '/*b*/'"], 0),
    ],
)
def test_texts_that_differ_by_comments_alone(tmp_path: Path, texts: list[str], variants: int) -> None:
    """On one connection, and on two that have ended."""
    trips = "".join(f"F Query {text}\nB CommandComplete SELECT 1 | ReadyForQuery I\n" for text in texts)
    (statement,) = found(tmp_path, trips + "end\n").values()
    assert statement["comment_variants"] == variants
    (tmp_path / "a.pgtrace").unlink()
    apart = "".join(
        f"c{number} F Query {text}\nc{number} B CommandComplete SELECT 1 | ReadyForQuery I\nc{number} close F\n"
        for number, text in enumerate(texts, 1)
    )
    (statement,) = found(tmp_path, apart + "end\n").values()
    assert (statement["comment_variants"], statement["executions"]) == (variants, len(texts))


def test_so_many_texts_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "".join(f"F Query SELECT 1 /*{n}*/\nB CommandComplete SELECT 1 | ReadyForQuery I\n" for n in range(20)) + "end\n"
    monkeypatch.setattr(statements, "VARIANTS_KEPT", 7)
    (statement,) = found(tmp_path, script).values()
    assert statement["comment_variants"] == 7
    (tmp_path / "a.pgtrace").unlink()
    monkeypatch.setattr(statements, "ALL_VARIANTS_KEPT", 5)
    (statement,) = found(tmp_path, script).values()
    assert statement["comment_variants"] == 5


def test_a_shared_round_trip_counts_for_each_and_alone_for_none(tmp_path: Path) -> None:
    script = (
        "F Parse - SELECT 1 | Bind - - | Execute - | Parse - SELECT a FROM t | Bind - - | Execute - | Sync\n"
        "B ParseComplete | BindComplete | CommandComplete SELECT 1 | ParseComplete | BindComplete | CommandComplete SELECT 1 | "
        "ReadyForQuery I\n"
        "end\n"
    )
    shared = found(tmp_path, script).values()
    assert [(one["round_trips"], one["round_trips_alone"], one["executions"]) for one in shared] == [(1, 0, 1)] * 2


def ran(statement: Statement) -> tuple[Exchange, Passage]:
    """A round trip that prepared and ran a statement of two rows."""
    run = Run(0, setup=False, offsets=(0, 0), status="I")
    run.carries(statement)
    part: Part = run.part(statement)
    part.parses = part.executions = part.ended = 1
    part.rows = part.values_text = run.rows = 2
    run.flush_points = 1
    return run.exchange(Effects().of(run.key())), run.passage()


def test_beyond_the_bound_the_smallest_are_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "GROUPS_KEPT", 20)
    monkeypatch.setattr(statements, "_TRIMMED_AT", 1.5)
    table = StatementTable()
    popular = [Statement("", f"SELECT a FROM popular_{number}") for number in range(10)]
    rounds = 200
    for number in range(rounds):
        for statement in [*popular, Statement("", f"SELECT a FROM rare_{number}")]:
            table.waited(statement, 1000)
            exchange, passage = ran(statement)
            table.happened(exchange, passage)
            assert len(table.groups) <= 31
    table.room.trim()
    assert len(table.groups) == 21
    assert {table.of(statement).round_trips for statement in popular} == {rounds}
    total = len(popular) * rounds + rounds
    for key in ("parses", "executions", "round_trips"):
        assert sum(getattr(group, key) for group in table.groups.values()) == total
    assert table.groups[OTHER].rows == 2 * (rounds - 10)
    assert sum(group.wait.count for group in table.groups.values()) == total


def test_tables_share_a_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest of all tables are kept, by number and by the bytes of their texts."""
    monkeypatch.setattr(statements, "GROUPS_KEPT", 20)
    room = GroupBudget()
    tables = [StatementTable(room) for _ in range(5)]
    for number in range(50):
        for place, table in enumerate(tables):
            statement = Statement("", f"SELECT a{number} FROM t")
            exchange, passage = ran(statement)
            for _ in range(50 if place == number % 5 and number < 10 else 1):
                table.happened(exchange, passage)
            assert sum(len(one.groups) for one in tables) <= 22 + len(tables) + 1
    room.trim()
    kept = [group for table in tables for group in table.groups.values()]
    assert sum(group.round_trips for group in kept) == 10 * 50 + 240
    assert sum(group.round_trips >= 49 for group in kept if group.sql != OTHER) == 10
    monkeypatch.setattr(statements, "TEXT_BYTES_KEPT", 500)
    room.trim()
    assert room.text_bytes <= 500
    assert sum(group.round_trips for table in tables for group in table.groups.values()) == 10 * 50 + 240
    for table in tables:
        table.let_go()
    assert (room.groups, room.text_bytes) == (0, 0)
