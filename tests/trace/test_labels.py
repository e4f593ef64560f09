"""One variant, one label: captures by label and by file, and the filter word."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from pgtrace.ask.filter import parse
from pgtrace.ask.filter.completion import Occurring
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.ask.filter.words import WORDS
from pgtrace.capture.record import LABEL
from pgtrace.report import stats
from pgtrace.trace.feed import Feed
from pgtrace.trace.trace import Trace
from tests.playbook import write

ONE = """
setting label psycopg text
F  Query SELECT 1
B  DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
c2 F  Query SELECT 2
c2 B  DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
c2 close F
end
"""
NO_LABEL = ONE.replace("setting label psycopg text\n", "").strip()


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    """Two captures of one label, and one without."""
    paths = [write(tmp_path / f"{name}.pgtrace", text) for name, text in {"a": ONE, "b": NO_LABEL, "c": ONE}.items()]
    trace = Trace.open(paths)
    while trace.update():
        pass
    return trace


def test_labels_and_files_are_summed(trace: Trace) -> None:
    with closing(trace):
        assert [(label, number, counters.round_trips) for label, number, counters in trace.label_counters()] == [
            ("psycopg text", 4, 4),
            ("", 2, 2),
        ]
        assert [(Path(name).stem, number, counters.round_trips) for name, number, counters in trace.file_counters()] == [
            ("a", 2, 2),
            ("b", 2, 2),
            ("c", 2, 2),
        ]
        assert [(one["label"], one["connections"], one["rows"]) for one in stats.as_dict(trace)["labels"]] == [("psycopg text", 4, 4)]
        lines = [line.split()[0] for line in stats.as_text(trace, "label") if line]
        assert lines[-3:] == ["all", "psycopg", "(no"]
        assert sum(1 for line in stats.as_text(trace, "file") if ".pgtrace  " in line) == 3
        assert "psycopg text" in str(stats.messages(trace, "label")[0])


def test_files_add_up_to_everything(trace: Trace) -> None:
    with closing(trace):
        summed = [sum(getattr(one, key) for _, _, one in trace.file_counters()) for key in ("round_trips", "frontend_bytes", "client_ns")]
        totals = trace.totals()
        assert summed == [totals.round_trips, totals.frontend_bytes, totals.client_ns]


@pytest.mark.parametrize("text", ["label:'psycopg text'", 'label ~ "^psy"'])
def test_a_filter_selects_by_label(trace: Trace, text: str) -> None:
    with closing(trace):
        assert len(list(parse(text).over(trace).among(range(len(trace.rows))))) == 10  # 4 set-ups, 4 queries, 2 closes
        counted = CountedTrace(parse(text).over(trace))
        while counted.update():
            pass
        assert [(label, number, one.round_trips) for label, number, one in counted.label_counters()] == [
            ("psycopg text", 4, 4),
            ("", 0, 0),
        ]


def test_a_label_is_offered_while_a_filter_is_typed(trace: Trace) -> None:
    with closing(trace):
        occurring = Occurring(trace)
        feed = Feed(trace)
        feed.subscribe(occurring)
        feed.advance()
        assert [choice.text for choice in occurring.values(WORDS["label"])] == ['"psycopg text"']


def test_the_key_is_that_of_the_recorder() -> None:
    assert LABEL == "label"
