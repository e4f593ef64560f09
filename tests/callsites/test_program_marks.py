"""Marks that a program sets itself: by a context variable in Python, by a file in any language."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pgtrace import callsites
from pgtrace.callsites.notes import MARKS_IN, MarkLines
from pgtrace.compare.turns import measure
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.proxy.callsites import CallSites
from pgtrace.trace.noted_marks import mark_counters, units
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace
from tests.traces import fully_read

PROGRAM = Path(__file__).parent / "marked.py"
PGTRACE = [sys.executable, "-m", "pgtrace"]


@contextmanager
def recorded(server: EmbeddedServer, path: Path, way: str, *options: str) -> Iterator[Trace]:
    ran = subprocess.run(
        [*PGTRACE, "run", "-q", "-w", str(path), *options, "--", sys.executable, str(PROGRAM), way],
        env={**os.environ, "DATABASE_URL": server.url()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    with closing(fully_read(path)) as trace:
        yield trace


@pytest.mark.parametrize("options", [(), ("--call-sites",)], ids=["marks", "lines"])
def test_overlapping_tasks_do_not_count_each_other(server: EmbeddedServer, tmp_path: Path, options: tuple[str, ...]) -> None:
    with recorded(server, tmp_path / "a.pgtrace", "asyncpg", *options) as trace:
        wrong = []
        seen = 0
        for place in range(len(trace.rows)):
            row = trace.rows[place]
            names = trace.marks.names_at(place)
            if row.shape.kind is RowKind.ROUND_TRIP and row.label.sql.startswith("select '"):
                expected = ("unit", row.label.sql.split("'")[1]) if "unit" in row.label.sql else ()
                seen += 1
                if names != expected:
                    wrong.append((row.label.sql, names))
        assert seen >= 3 * 20 + 1
        assert not wrong
        assert units(trace, "unit") == 20
        assert {f"unit {number}" for number in range(20)} < set(mark_counters(trace))
        assert mark_counters(trace)["unit"].executions >= 60
        assert trace.call_sites.units["unit"].total > 0
        on_several = 0
        for number in range(20):  # of its name there is one: all that it did is drawn, on all its connections
            bars = measure(trace, "a", f"unit {number}", draws=True).bars
            assert {bar.sql.split("'")[1] for bar in bars if bar.sql.startswith("select '")} == {f"unit {number}"}
            assert sum(bar.sql.startswith("select '") for bar in bars) >= 3
            on_several += len({bar.connection for bar in bars}) > 1
        assert on_several
        assert len({bar.connection for bar in measure(trace, "a", "unit", draws=True).bars}) == 1, (
            "they overlap: whose is whose is not known"
        )
        assert bool(options) == any(trace.call_sites.at(place) for place in range(len(trace.rows)))


def test_what_is_sent_first_for_a_statement_is_in_its_mark(server: EmbeddedServer, tmp_path: Path) -> None:
    path = tmp_path / "a.pgtrace"
    with recorded(server, path, "psycopg2") as trace:
        counters = mark_counters(trace)["unit"]
        assert (counters.queries, counters.executions, units(trace, "unit")) == (9, 9, 3)  # BEGIN, SELECT, COMMIT
        drawn = [bar.sql.split()[0].upper() for bar in measure(trace, "a", "unit", draws=True).bars]
        assert drawn == ["BEGIN", "SELECT", "COMMIT"]
    told = json.loads(subprocess.check_output([*PGTRACE, "stats", "--json", path], timeout=60))
    assert [(one["mark"], one["round_trips"], one["times"]["wait_ns"]["count"]) for one in told["marks"]] == [("unit", 9, 9)]
    lines = subprocess.check_output([*PGTRACE, "stats", "--by", "mark", path], text=True, timeout=60).splitlines()
    assert any(line.startswith("unit ") for line in lines)
    shown = subprocess.check_output([*PGTRACE, "show", "--filter", "mark:unit and COMMIT", path], text=True, timeout=60)
    assert shown.count("Query COMMIT") == 3


@pytest.mark.parametrize("options", [(), ("--call-sites",)], ids=["marks", "lines"])
def test_what_a_named_cursor_sends_is_in_its_mark(server: EmbeddedServer, tmp_path: Path, options: tuple[str, ...]) -> None:
    """psycopg2 puts FETCH, MOVE and CLOSE together in C, below its methods."""
    with recorded(server, tmp_path / "a.pgtrace", "named cursors", *options) as trace:
        rows = [
            (trace.rows[place].label.sql, trace.marks.names_at(place), trace.call_sites.at(place))
            for place in range(len(trace.rows))
            if trace.rows[place].shape.kind is RowKind.ROUND_TRIP
        ]
    inside = [(sql.split()[0], marks) for sql, marks, _ in rows if "in a unit" in sql]
    assert [word for word, _ in inside] == [*["DECLARE", "FETCH", "FETCH", "MOVE", "FETCH", "FETCH", "FETCH", "CLOSE"]] * 2
    assert {marks for _, marks in inside} == {("unit",)}
    assert [marks for sql, marks, _ in rows if '"outside"' in sql] == [()] * 3
    with_lines = {sql.split()[0] for sql, _, sites in rows if sites}
    assert with_lines == ({"DECLARE", "FETCH", "MOVE", "CLOSE"} if options else set())


@pytest.mark.parametrize(("driver", "round_trips"), [("asyncpg", 17), ("psycopg", 17), ("pg8000", 10)])
def test_what_a_driver_closes_for_a_query_is_in_its_mark(server: EmbeddedServer, tmp_path: Path, driver: str, round_trips: int) -> None:
    """Its cache is full, so it closes a statement among the round trips of a query."""
    with recorded(server, tmp_path / "a.pgtrace", f"closing {driver}", "--call-sites") as trace:
        rows = [(trace.rows[place].shape.flight, trace.marks.names_at(place)) for place in range(len(trace.rows))]
        closes = [names for flight, names in rows if flight.startswith("C")]
        assert closes == [("unit",)] * 5 + [()]  # the last is outside
        assert mark_counters(trace)["unit"].round_trips == round_trips


def test_marks_by_file_are_intervals_where_they_were(server: EmbeddedServer, tmp_path: Path) -> None:
    with recorded(server, tmp_path / "a.pgtrace", "file") as trace:
        assert units(trace, "a unit") == 3
        inside = [
            trace.rows[place].label.sql
            for place in range(len(trace.rows))
            if trace.rows[place].is_round_trip and "a unit" in trace.marks.names_at(place)
        ]
        assert inside == ["select 0", "select 1", "select 2"]
        assert mark_counters(trace)["a unit"].executions == 3


def test_without_a_recorder_a_mark_does_nothing() -> None:
    script = (
        "import pgtrace, sys\nwith pgtrace.mark('a'): pass\nassert '_pgtrace_callsites' not in sys.modules\n"
        "assert 'psycopg' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PGTRACE_")}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)


def test_a_program_without_pgtrace_can_import_it(tmp_path: Path) -> None:
    script = "import pgtrace\nwith pgtrace.mark('a'): pass\nassert not hasattr(pgtrace, '__version__'), pgtrace"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= callsites.variables(str(tmp_path), {}, lines=True)
    subprocess.run([sys.executable, "-S", "-c", f"import sitecustomize\n{script}"], env=environment, cwd=tmp_path, check=True, timeout=60)
    assert callsites.processes(str(tmp_path))


def test_lines_that_are_no_marks_are_skipped(tmp_path: Path) -> None:
    callsites.prepare(str(tmp_path))
    lines = MarkLines(str(tmp_path))
    with open(tmp_path / MARKS_IN, "ab") as file:
        file.write(b"7 begin a b\r\n\nx\n8 middle a\n99999999999999999999 begin a\n9 end a b\n" + b"x" * 10_000 + b"\n10 beg")
        file.flush()
        assert lines.read() == [(7, True, "a b"), (9, False, "a b")]
        file.write(b"in \xff\n")
        file.flush()
        assert lines.read() == [(10, True, "\udcff")]


def test_an_end_without_a_beginning_is_none(tmp_path: Path) -> None:
    callsites.prepare(str(tmp_path))
    notes = CallSites(str(tmp_path))
    (tmp_path / MARKS_IN).write_text("1 end a\n3 begin b\n2 begin a\n4 end a\n")
    assert [(mark.time_ns, mark.begin, mark.name) for mark in notes.marks()] == [(2, True, "a"), (3, True, "b"), (4, False, "a")]
    assert notes.marks() == []
