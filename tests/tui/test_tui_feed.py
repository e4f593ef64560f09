"""One feed for everything that looks at all rows: however a capture grows and the work is cut, the
answers are those of one pass over the whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgtrace.ask.filter.completion import Occurring
from pgtrace.ask.filter.words import WORDS
from pgtrace.judge.advice import Advice
from pgtrace.trace import feed as feeding
from pgtrace.trace.feed import CompleteRows, Feed, Subscriber
from pgtrace.trace.rows import Columns
from pgtrace.trace.trace import Trace
from pgtrace.tui.model.groups import Groups
from pgtrace.tui.model.survey import Survey
from tests.wire_recording import (
    EXECUTE,
    FLUSH,
    INT8,
    PARSED,
    SYNC,
    TERMINATE,
    Recording,
    bind,
    columns,
    describe,
    done,
    error,
    int8,
    int32,
    message,
    parameters,
    parse,
    query,
    ready,
    row,
    string,
)

CAPTURES = Path(__file__).parents[2] / "captures"
_NO_ROWS = message("n")
_ITEM = "SELECT name FROM items WHERE id = $1"


class Sessions:
    """Sessions of a recording that go on as they are told, each in its own protocol state."""

    def __init__(self, path: Path) -> None:
        self.recording = Recording(path)
        self.numbers = [self.recording.connect("asyncpg"), self.recording.connect("psycopg")]
        self.status = ["I", "I"]
        self.names = [0, 0]
        self.owed: dict[int, bytes] = {}

    def do(self, deed: str, one: int) -> None:
        recording, number = self.recording, self.numbers[one]
        if one in self.owed:
            recording.answer(number, self.owed.pop(one))
            recording.wait(0.1)
        end = ready(self.status[one])
        match deed:
            case "begin" | "end" if (self.status[one] == "I") == (deed == "begin"):
                self.status[one] = "T" if deed == "begin" else "I"
                word = "BEGIN" if deed == "begin" else "COMMIT"
                recording.trip(number, query(word), done(word) + ready(self.status[one]))
            case "items" | "users":
                sql = f"SELECT 1 FROM {deed} WHERE id = 7"
                recording.trip(number, query(sql), columns(("id", INT8), binary=False) + row(b"1") + done("SELECT 1") + end)
            case "prepare":
                self.names[one] += 1
                name = f"s{self.names[one]}"
                recording.trip(number, parse(name, _ITEM) + describe("S", name) + FLUSH, PARSED + parameters(INT8) + _NO_ROWS)
            case "run" if self.names[one]:
                sent = bind(f"s{self.names[one]}", int8(7)) + EXECUTE + SYNC
                recording.trip(number, sent, message("2") + done("SELECT 0") + end)
            case "once":
                sent = parse("", _ITEM) + bind("", int8(7)) + EXECUTE + SYNC
                recording.trip(number, sent, PARSED + message("2") + done("SELECT 0") + end)
            case "open":
                recording.send(number, query("SELECT 1 FROM items WHERE id = 7"))
                self.owed[one] = columns(("id", INT8), binary=False) + row(b"1") + done("SELECT 1") + end
            case "fail":
                self.status[one] = "I" if self.status[one] == "I" else "E"
                recording.trip(number, query("SELECT 1 FROM nothing"), error("42P01", "no nothing") + ready(self.status[one]))
            case "check":
                recording.trip(number, query(""), message("I") + end)
            case "notify":
                recording.answer(number, message("A", int32(1) + string("channel") + string("")))
            case "pause":
                recording.wait(1500)
            case "mark" | "unmark":
                recording.mark("test", begin=deed == "mark")
            case "gap":
                recording.gap(number, 100)
                self.owed.pop(one, None)
            case "again":
                recording.send(number, TERMINATE)
                recording.close(number, terminate=False)
                self.numbers[one], self.status[one], self.names[one] = recording.connect("asyncpg"), "I", 0
            case "lost":
                recording.ends(number, 0)
                recording.ends(number, 1)
                recording.close(number, terminate=False)
                self.numbers[one], self.status[one], self.names[one] = recording.connect("psycopg"), "I", 0


class Looks:
    """Everything that the screen adds up from rows, of one trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.feed = Feed(trace)
        self.survey = Survey(self.feed, lambda number: "")
        self.advice = Advice(trace, feed=self.feed)
        self.occurring = Occurring(trace)
        self.groups = Groups()
        self.feed.subscribe(self.occurring)
        self.feed.subscribe(self.groups)

    def answers(self) -> dict[str, Any]:
        survey = self.survey
        found: dict[str, Any] = {
            "problems": survey.problems,
            "flights": {number: dict(flights) for number, flights in survey._flights.items()},
            "sightings": {group: dict(sorted(seen.items())) for group, seen in survey.sightings._seen.items()},
            "activity": {number: dict(busy) for number, busy in survey.activity._busy.items()},
            "at once": (survey.at_once.most, survey.at_once.at_ns),
            "durations": (survey.durations.count, survey.durations.total, survey.durations.as_dict()),
            "transactions": sorted(
                (
                    one.connection,
                    one.first,
                    one.last,
                    one.end,
                    one.round_trips,
                    one.errors,
                    one.idle_ns(0),
                    tuple(one.flights),
                    tuple(one.spans),
                )
                for one in survey.transactions
            ),
            "groups": (list(self.groups.blocks), list(self.groups.runs), bytes(self.groups.kinds)),
            "findings": sorted((one.name, one.driver, one.note.subject, one.note.cost, one.note.times) for one in self.advice.findings()),
            "evidence": sorted(
                (one.name, one.note.subject, sorted(shown.place for shown in one.evidence)) for one in self.advice.findings()
            ),
            "marked": [kind and kind.name for kind in map(self.advice.kind_at, range(len(self.trace.rows)))],
        }
        found["values"] = {
            word.name: sorted((one.text, one.round_trips or 0) for one in self.occurring.values(word)) for word in WORDS.values()
        }
        return found


def of_one_pass(path: Path) -> dict[str, Any]:
    with closing(Trace.open([path])) as trace:
        trace.read_until(1 << 62)
        whole = Looks(trace)
        assert whole.feed.advance()
        return whole.answers()


DEEDS = st.tuples(
    st.sampled_from([
        *("begin", "end", "items", "items", "items", "items", "users", "prepare", "run", "run", "once", "once", "open", "open", "fail"),
        *("check", "notify", "pause", "mark", "unmark", "gap", "again", "lost"),
    ]),
    st.integers(0, 1),
)  # fmt: skip
TURNS = st.tuples(st.just("turn"), st.integers(0, 3))


@given(st.lists(st.one_of(DEEDS, DEEDS, DEEDS, TURNS), min_size=10, max_size=80), st.integers(1, 7))
@example([("open", 1), ("turn", 3), ("gap", 0), *[("items", 1)] * 4], 7)  # what waits for its end is before the gap
@example(
    [("begin", 0), ("items", 0), ("items", 0), ("lost", 0), ("turn", 2), ("turn", 1)], 4
)  # its connection has ended, and rows of it are to come
def test_growing_and_in_slices_it_is_the_same_as_in_one_pass(steps: list[tuple[str, int]], slice_rows: int) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        sessions = Sessions(Path(directory, "growing.pgtrace"))
        stack.callback(sessions.recording.writer.close)
        sessions.recording.flush()
        trace = stack.enter_context(closing(Trace.open([sessions.recording.path])))
        looks = Looks(trace)
        patch.setattr(feeding, "SLICE", slice_rows)
        for deed, one in steps:
            if deed != "turn":
                sessions.do(deed, one)
                continue
            sessions.recording.flush()
            trace.update()
            for _ in range(one):
                looks.feed.advance(-1.0)
            looks.advice.findings()  # asking in between changes nothing
        sessions.recording.flush()
        trace.update()
        while not looks.feed.advance(-1.0):
            pass
        found = looks.answers()
        for what, expected in of_one_pass(sessions.recording.path).items():
            assert found[what] == expected, what


@pytest.mark.sampled(2)
@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*/*.pgtrace")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_real_drivers_read_piece_by_piece(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "SLICE", 5)
    data, growing = path.read_bytes(), tmp_path / "growing.pgtrace"
    growing.write_bytes(data[:2000])
    with closing(Trace.open([growing])) as trace:
        looks = Looks(trace)
        for size in range(2000, len(data) + 4096, 4096):
            growing.write_bytes(data[:size])
            trace.update()
            looks.feed.advance(-1.0)
        while not looks.feed.advance(-1.0):
            pass
        found = looks.answers()
    assert found == of_one_pass(path)


class Told(Subscriber):
    """Every word of the feed."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.completed_later: list[int] = []
        self.ends: list[bool] = []

    def take(self, rows: Columns) -> None:
        self.taken += rows.places

    def completed(self, rows: Columns) -> None:
        self.completed_later += rows.places

    def settle(self, *, is_all: bool) -> None:
        self.ends.append(is_all)


class Complete(CompleteRows):
    def __init__(self) -> None:
        self.places: list[int] = []

    def completed(self, rows: Columns) -> None:
        self.places += rows.places


@pytest.fixture
def waiting(recording: Recording) -> Iterator[tuple[Recording, Trace]]:
    """Two round trips behind set-up, the first of them open."""
    one, two = recording.connect(), recording.connect()
    recording.send(one, query("SELECT 1"))
    recording.trip(two, query("SELECT 2"), done("SELECT 1") + ready())
    recording.flush()
    with closing(Trace.open([recording.path])) as trace:
        trace.update()
        yield recording, trace


def test_an_open_row_comes_twice_a_complete_one_once(waiting: tuple[Recording, Trace]) -> None:
    recording, trace = waiting
    feed, told, complete = Feed(trace), Told(), Complete()
    feed.subscribe(told)
    feed.subscribe(complete)
    assert feed.behind == 8
    assert feed.advance()
    assert (told.taken, told.completed_later, feed.open, feed.behind) == (list(range(8)), [], [6], 0)
    assert complete.places == [0, 1, 2, 3, 4, 5, 7]
    assert feed.advance()
    recording.answer(1, done("SELECT 1") + ready())
    recording.trip(1, query("SELECT 3"), done("SELECT 1") + ready())
    recording.flush()
    trace.update()
    assert feed.advance()
    assert (told.taken, told.completed_later, feed.open) == (list(range(9)), [6], [])
    assert complete.places == [0, 1, 2, 3, 4, 5, 7, 6, 8]
    assert told.ends == [True] * 3


def test_a_budget_that_is_over_leaves_the_rest_for_later(waiting: tuple[Recording, Trace], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "SLICE", 3)
    _, trace = waiting
    feed, told = Feed(trace), Told()
    feed.subscribe(told)
    assert [feed.advance(-1.0) for _ in range(3)] == [False, False, True]
    assert told.taken == list(range(8))
    assert told.ends == [False, False, True]


def test_who_comes_late_has_missed_rows(waiting: tuple[Recording, Trace]) -> None:
    feed = Feed(waiting[1])
    feed.advance()
    with pytest.raises(ValueError, match="already been passed"):
        feed.subscribe(Told())
