"""Statements by SQL: what each of their fields counts, percentiles, and what happens beyond the bound."""

from __future__ import annotations

import gc
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.session.effects import Effects
from pgtrace.session.events import Exchange, Part, Passage
from pgtrace.session.run import Run
from pgtrace.session.statements import Statement
from pgtrace.trace import groups, statements
from pgtrace.trace.gathered import Gathered
from pgtrace.trace.groups import OTHER, StatementGroup
from pgtrace.trace.row import RowKind
from pgtrace.trace.statements import GroupBudget, StatementTable
from pgtrace.trace.trace import Trace
from tests import corpus
from tests.generated import STEPS, script
from tests.playbook import MS, write
from tests.traces import fully_read


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
        "frontend_bytes": 160,
        "backend_bytes": 185,
        "bytes_per_execution": {"frontend": 53, "backend": 62},
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
    monkeypatch.setattr(groups, "VARIANTS_KEPT", 7)
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


def test_of_equal_groups_the_first_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "GROUPS_KEPT", 20)
    table = StatementTable()
    times = {f"SELECT a{number}": 1 + number * 7 % 3 for number in range(21)}
    for sql, each in times.items():
        for _ in range(each):
            table.happened(*ran(Statement("", sql)))
    assert len(table.groups) == 21
    table.room.trim()
    least = [sql for sql, each in times.items() if each == 1]
    assert set(times) - set(table.groups) == {least[-1]}


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
        table.release()
    assert (room.groups, room.text_bytes) == (0, 0)


def test_what_is_summed_up_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its statements live."""
    monkeypatch.setattr(statements, "GROUPS_KEPT", 20)
    table = StatementTable()
    living = [Statement(f"s{number}", f"SELECT a{number} FROM t") for number in range(200)]
    gc.collect()
    before = sum(type(one) is StatementGroup for one in gc.get_objects())
    for statement in living:
        table.happened(*ran(statement))
    table.live(living)
    table.live(living)
    gc.collect()
    groups = sum(type(one) is StatementGroup for one in gc.get_objects()) - before
    assert groups == len(table.groups) <= 23
    assert sum(group.live for group in table.groups.values()) == len(living)


TEXTS = st.sampled_from(["SELECT 1", "SELECT  2", "SELECT 1 /*a*/", "SELECT 3 /*b*/", "SELECT a FROM t", "SELECT a FROM t -- c"])
"""Two groups."""


@given(st.lists(st.lists(TEXTS, max_size=6), max_size=4), st.booleans())
def test_gathered_tables_are_their_sum_and_stay_as_they_are(texts: list[list[str]], shared: bool) -> None:
    """With statements that several tables know, too: each table sees the comments in their texts."""
    known: dict[str, Statement] = {}
    tables, whole = [], StatementTable()
    for some in texts:
        tables.append(StatementTable())
        for text in some:
            statement = known.setdefault(text, Statement("s", text)) if shared else Statement("s", text)
            for table in (tables[-1], whole):
                table.waited(statement, 1000)
                table.happened(*ran(statement))
    seen = [{key: group.as_dict("") for key, group in table.groups.items()} for table in tables]
    gathered = Gathered()
    for table in tables:
        assert list(gathered.add(table)) == [None] * (len(table.groups) > 0)
    assert {key: group.as_dict("") for key, group in gathered.groups.items()} == {
        key: group.as_dict("") for key, group in whole.groups.items()
    }
    gathered.add_open(*ran(Statement("", "SELECT 1")))
    gathered.trim(list(gathered.groups))
    assert gathered.groups[OTHER].round_trips == sum(map(len, texts)) + 1
    assert [{key: group.as_dict("") for key, group in table.groups.items()} for table in tables] == seen


def bytes_of_rows(trace: Trace) -> dict[int, list[int]]:
    """Bytes by group: of the rows that have a message of it, or an execution or an error."""
    found: dict[int, list[int]] = {}
    for row in trace.rows:
        if row.shape.kind > RowKind.RUN:
            continue
        took_part = (group for group, share in row.label.shares_by_group if share.executions or share.errors or share.rows)
        for group in {*row.label.groups, *took_part}:
            sums = found.setdefault(group, [0, 0])
            sums[0] += row.sent_bytes
            sums[1] += row.received_bytes
    return found


def check_bytes(trace: Trace) -> None:
    counted: dict[int, list[int]] = {}
    for view in trace.statements():
        group = view.group
        sums = counted.setdefault(group.number, [0, 0])
        sums[0] += group.frontend_bytes
        sums[1] += group.backend_bytes
        assert group.executions_alone <= group.executions
        assert (group.frontend_bytes_alone, group.backend_bytes_alone) <= (group.frontend_bytes, group.backend_bytes)
        assert (group.bytes_per_execution is None) == (not group.executions_alone)
    expected = bytes_of_rows(trace)
    assert {group: sums for group, sums in counted.items() if any(sums)} == expected


@pytest.mark.sampled(2)
@pytest.mark.parametrize("path", corpus.CAPTURES, ids=corpus.name)
def test_bytes_of_statements_are_those_of_their_rows(path: Path) -> None:
    with closing(fully_read(path)) as trace:
        check_bytes(trace)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(STEPS) - 1), min_size=1, max_size=8), st.integers(1, 4))
def test_bytes_of_statements_in_generated_sessions(steps: list[int], times: int) -> None:
    with TemporaryDirectory() as directory, closing(fully_read(write(Path(directory) / "x.pgtrace", script(steps * times)))) as trace:
        check_bytes(trace)


def test_what_statements_share_is_of_no_execution(tmp_path: Path) -> None:
    text = """
    F Query SELECT 1
    B DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
    F Parse - SELECT 1 | Bind - - | Execute - | Parse - SELECT now() | Bind - - | Execute - | Sync
    B ParseComplete | BindComplete | CommandComplete SELECT 1 | ParseComplete | BindComplete | CommandComplete SELECT 1 | ReadyForQuery I
    """
    with closing(fully_read(write(tmp_path / "x.pgtrace", text))) as trace:
        one, now = sorted((view.group for view in trace.statements()), key=lambda group: -group.executions)
        rows = list(trace.rows)[1:]  # after set-up
        assert (one.executions, one.executions_alone) == (2, 1)
        assert one.bytes_per_execution == (rows[0].sent_bytes, rows[0].received_bytes)
        assert one.frontend_bytes == rows[0].sent_bytes + rows[1].sent_bytes
        assert (now.bytes_per_execution, now.frontend_bytes) == (None, rows[1].sent_bytes)
