"""Folding: whatever was folded, filtered and recorded meanwhile, the lines are those that a simple look at all rows gives."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.trace.feed import Feed
from pgtrace.trace.row import Row, RowKind
from pgtrace.trace.trace import Trace
from pgtrace.trace.turns import MOST as PERIODS
from pgtrace.trace.turns import REPEATS
from pgtrace.tui.model import rowtext
from pgtrace.tui.model.folds import LEVELS, Folds
from pgtrace.tui.model.groups import Groups, Together
from pgtrace.tui.model.listing import Listing
from pgtrace.tui.model.sums import MEMBERS_KEPT, MOST
from pgtrace.tui.model.view import View
from tests.traces import fully_read
from tests.wire_recording import (
    EXECUTE,
    INT8,
    SYNC,
    Recording,
    bind,
    columns,
    done,
    error,
    int32,
    message,
    parse,
    query,
    ready,
    row,
    string,
)

Lines = list[tuple[Together, tuple[int, ...]]]
_CONNECTIONS = 2


class Driven:
    """Sessions of a recording that do one thing after the other."""

    def __init__(self, path: Path) -> None:
        self.recording = Recording(path)
        self.numbers = [self.recording.connect() for _ in range(_CONNECTIONS)]
        self.blocks = [False] * _CONNECTIONS
        self.owed: dict[int, bytes] = {}

    def do(self, deed: str, one: int) -> None:
        recording, number = self.recording, self.numbers[one]
        status = "T" if self.blocks[one] else "I"
        if one in self.owed:
            recording.answer(number, self.owed.pop(one))
            recording.wait(0.1)
        match deed:
            case "begin" if not self.blocks[one]:
                self.blocks[one] = True
                recording.trip(number, query("BEGIN"), done("BEGIN") + ready("T"))
            case "end" if self.blocks[one]:
                self.blocks[one] = False
                recording.trip(number, query("COMMIT"), done("COMMIT") + ready())
            case "in turn" | "two and one":
                for table in ("items", "users") if deed == "in turn" else ("items", "items", "users"):
                    self.do(table, one)
            case "items" | "users":
                recording.trip(number, query(f"SELECT 1 FROM {deed}"), _rows(status))
            case "open":
                recording.send(number, query("SELECT 1 FROM items"))
                self.owed[one] = _rows(status)
            case "fail" if not self.blocks[one]:
                recording.trip(number, query("SELECT 1 FROM items"), error("42P01", "no items") + ready())
            case "notify":
                recording.answer(number, message("A", int32(1) + string("channel") + string("")))
            case "mark":
                recording.mark("test")

    def flush(self) -> None:
        self.recording.flush()


def _rows(status: str) -> bytes:
    return columns(("id", INT8), binary=False) + row(b"1") + done("SELECT 1") + ready(status)


def repeats(whats: list[tuple[object, ...]]) -> list[range]:
    """What belongs together in a run: loops over several in turn, and between them what is the same."""
    found = []
    began, same, end = 0, 0, 0
    while end < len(whats):
        if same < end and whats[end] != whats[same]:
            found.append(range(same, end))
            same = end
        end += 1
        for period in range(1, PERIODS + 1):
            start = end - period * REPEATS
            if start < began or any(whats[at] != whats[at + period] for at in range(start, end - period)):
                continue
            while end < len(whats) and whats[end] == whats[end - period]:
                end += 1
            if period == 1:
                start = same
            else:
                found = [one[: start - one.start] if one.stop > start else one for one in found if one.start < start]
                found.append(range(same, start) if same < start else range(0))
            found.append(range(start, end))
            began = same = end
            break
    return [one for one in [*found, range(same, end)] if len(one)]


def expected(rows: list[Row], listed: list[int], level: str, toggled: set[tuple[Together, int]]) -> Lines:
    """Slowly and simply: the groups by the SQL of each connection's rows, then the lines."""
    block, run = list(range(len(rows))), list(range(len(rows)))
    kinds = [Together.NOTHING] * len(rows)
    for one in range(_CONNECTIONS):
        setup: int | None = None
        began: int | None = None
        runs: list[list[tuple[int, tuple[object, ...]]]] = [[]]
        for place, each in enumerate(rows):
            if each.shape.kind is RowKind.MARK:
                runs.append([])
            if each.connection != one or each.shape.kind is RowKind.MARK:
                continue
            if each.shape.kind is RowKind.SETUP:
                setup = place if setup is None else setup
                block[place], kinds[place] = setup, Together.SETUP
            elif each.shape.kind is RowKind.ROUND_TRIP:
                began = place if each.label.sql == "BEGIN" and not each.is_open else began
                if began is not None:
                    block[place], kinds[place] = began, Together.TRANSACTION
                what = (each.shape.flight, each.label.sql, began)
                if each.label.error or each.is_open:
                    runs.append([])
                else:
                    runs[-1].append((place, what))
                began = None if each.label.sql == "COMMIT" and not each.is_open else began
            else:
                runs.append([])
        for one_run in runs:
            for members in repeats([what for _, what in one_run]):
                for member in members:
                    run[one_run[member][0]] = one_run[members[0]][0]
    height = LEVELS.index(level)
    sizes = {kind: Counter(first for first, own in zip(block, kinds, strict=True) if own is kind) for kind in Together}
    sizes[Together.REPEAT] = Counter(run)

    def many(firsts: list[int], place: int, kind: Together) -> bool:
        return sizes[kind][firsts[place]] > 1

    found: dict[tuple[Together, int], list[int]] = {}
    for place in listed:
        key = (Together.NOTHING, place)
        kind = kinds[place]
        if many(run, place, Together.REPEAT) and (height >= Together.REPEAT) != ((Together.REPEAT, run[place]) in toggled):
            key = (Together.REPEAT, run[place])
        if (
            kind
            and (kind is Together.SETUP or many(block, place, kind))
            and (height >= kind) != ((Together.TRANSACTION, block[place]) in toggled)
        ):
            key = (kind, block[place])
        found.setdefault(key, []).append(place)
    lines = [
        (kind if len(members) > 1 or kind is Together.SETUP else Together.NOTHING, tuple(members)) for (kind, _), members in found.items()
    ]
    return sorted(lines, key=lambda line: line[1])


def shown(listing: Listing) -> Lines:
    return [((item := listing[index]).sum.kind, item.places) for index in range(len(listing))]


def listed_alone(trace: Trace, text: str) -> list[int]:
    plain = Listing(Feed(trace), lambda number: "", "none")
    plain.choose(text)
    while plain.sync() or plain.behind:
        pass
    return [plain.place(index) for index in range(len(plain))]


DEEDS = st.tuples(
    st.sampled_from(["begin", "end", "items", "items", "items", "users", "open", "fail", "notify", "mark"]), st.integers(0, 1)
)
LOOPS = st.tuples(st.sampled_from(["in turn", "in turn", "two and one"]), st.integers(0, 1))
STEPS = st.one_of(
    DEEDS,
    DEEDS,
    DEEDS,
    LOOPS,
    LOOPS,
    st.tuples(st.just("sync"), st.just(0)),
    st.tuples(st.just("level"), st.just(0)),
    st.tuples(st.just("toggle"), st.integers(0, 40)),
    st.tuples(st.just("filter"), st.integers(0, 3)),
)
FILTERS = ("", "conn:1", "items", "not items")


@given(st.lists(st.tuples(STEPS, st.integers(1, REPEATS + 1)), min_size=10, max_size=30))
def test_lines_are_those_of_all_rows_from_scratch(drawn: list[tuple[tuple[str, int], int]]) -> None:
    steps = [step for step, times in drawn for _ in range(times if step[0] in ("in turn", "two and one", "items") else 1)]
    with tempfile.TemporaryDirectory() as directory:
        driven = Driven(Path(directory, "folds.pgtrace"))
        driven.flush()
        trace = Trace.open([driven.recording.path])
        listing = Listing(Feed(trace), lambda number: "")
        toggled: set[tuple[Together, int]] = set()
        for what, number in [*steps, ("sync", 0)]:
            if what == "level":
                listing.next_level()
                toggled.clear()
            elif what == "filter":
                listing.choose(FILTERS[number])
            elif what == "toggle":
                if number >= len(listing):
                    continue
                place = listing.place(number)
                kind = listing.folds.foldable(place)
                firsts = listing.groups.runs if kind is Together.REPEAT else listing.groups.blocks
                if listing.toggle(place):
                    toggled ^= {(Together.REPEAT if kind is Together.REPEAT else Together.TRANSACTION, firsts[place])}
            elif what == "sync":
                driven.flush()
                while trace.update():
                    pass
                while listing.sync(-1.0) or listing.behind:
                    pass
                listed = listed_alone(trace, listing.filtering.text)
                assert shown(listing) == expected(list(trace.rows), listed, listing.fold, toggled)
                assert all(listing.shows(place) for place in listed)
                for index in range(len(listing)):
                    assert all(listing.index(place) == index for place in listing[index].places)
            else:
                driven.do(what, number)
        trace.close()
        driven.recording.writer.close()


@settings(max_examples=100)
@given(st.lists(st.sampled_from([("begin", 0), ("items", 0), ("items", 0), ("items", 1), ("end", 0)]), max_size=20), st.data())
def test_rows_that_come_and_go_leave_the_lines_of_what_is_listed(deeds: list[tuple[str, int]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        driven = Driven(Path(directory, "folds.pgtrace"))
        for deed, one in deeds:
            driven.do(deed, one)
        driven.flush()
        with closing(fully_read(driven.recording.path)) as trace:
            groups = Groups()
            groups.take(trace.rows.columns(0, len(trace.rows)))
        driven.recording.writer.close()
    listed = set(data.draw(st.sets(st.integers(0, len(groups) - 1))))
    level = data.draw(st.sampled_from(LEVELS))
    folds = Folds(groups, listed.__contains__, level)
    folds.extend(sorted(listed))
    folds.upto = len(groups) - 1
    for place in data.draw(st.lists(st.integers(0, len(groups) - 1), max_size=30)):
        listed ^= {place}
        if place in listed:
            folds.add(place)
        else:
            folds.remove(place, folds.head(place))
        again = Folds(groups, listed.__contains__, level)
        again.extend(sorted(listed))
        assert folds.lines == again.lines
        assert [folds.line_of(one) for one in sorted(listed)] == [again.line_of(one) for one in sorted(listed)]


def test_a_long_fold_is_added_up_a_little_at_a_time(recording: Recording, view_of: Callable[..., View]) -> None:
    connection = recording.connect()
    for _ in range(2 * MOST + 1):
        recording.trip(connection, query("SELECT 1 FROM items"), _rows("I"), 0.01)
    recording.flush()
    view = view_of(recording)
    view.listing.fold_to("repeats")
    while view.trace.update() or view.listing.sync() or view.listing.behind:
        pass
    looks = []
    while not looks or looks[-1].partial:
        looks.append(view.listing[1].sum.copied())
    assert [one.number for one in looks] == [MOST, 2 * MOST, 2 * MOST + 1]
    assert looks[-1].rows == looks[-1].number
    assert len(looks[-1].places) == MEMBERS_KEPT


def test_the_rows_of_a_loop_join_once_it_is_known(recording: Recording, view_of: Callable[..., View]) -> None:
    connection = recording.connect()
    view = view_of(recording, live=True)
    view.listing.fold_to("repeats")
    tables = ["items", "items", *["items", "items", "users"] * REPEATS, "items", "users", "users"]
    seen = []
    for table in tables:
        recording.trip(connection, query(f"SELECT 1 FROM {table}"), _rows("I"))
        recording.flush()
        view.trace.update()
        view.reading.sync()
        seen.append([line[1] for line in shown(view.listing)][1:])
    known = 2 + 3 * REPEATS
    assert all(len(line) < 5 for lines in seen[: known - 1] for line in lines)
    assert seen[known - 1] == [(3, 4), tuple(range(5, 3 + known))]
    assert seen[-1] == [(3, 4), tuple(range(5, 4 + known)), (4 + known, 5 + known)]
    view.listing.toggle(5)
    view.reading.sync()
    assert len(shown(view.listing)) == 2 + 3 * REPEATS + 1 + 1


def test_a_loop_tells_its_statements_and_what_they_sent(recording: Recording, view_of: Callable[..., View]) -> None:
    connection = recording.connect()
    for _ in range(REPEATS):
        recording.trip(connection, query("SELECT 1 FROM items"), _rows("I"))
        recording.trip(connection, query("UPDATE users SET n = 1"), done("UPDATE 1") + ready())
    recording.flush()
    view = view_of(recording)
    view.listing.fold_to("repeats")
    view.trace.update()
    view.reading.sync()
    loop = view.listing[1]
    assert rowtext.words(loop, None, 60) == ("SELECT 1 FROM items · UPDATE users SET n = 1 ×5", False)
    assert rowtext.words(loop, None, 30) == ("items · users ×5", False)
    assert rowtext.words(loop, None, 12)[0] == "items · … ×5"
    assert rowtext.flight(loop, view.pen, 20) == "▸ 10 × Q"
    assert "".join(run for run, _ in rowtext.spelled(loop, view.pen, 200)).count(" · ") == 1
    view.listing.choose("items")
    view.reading.sync()
    assert rowtext.words(view.listing[0], None, 60) == ("SELECT 1 FROM items", False)


@pytest.mark.parametrize("rounds", [REPEATS, REPEATS + 3])
def test_a_loop_over_the_flights_of_one_statement_tells_its_rounds(recording: Recording, view_of: Callable[..., View], rounds: int) -> None:
    """pg8000 waits three times for each execution: for Parse, for Describe, for Bind and Execute."""
    connection = recording.connect()
    for _ in range(rounds):
        recording.trip(connection, parse("", "SELECT $1") + SYNC, message("1") + ready())
        recording.trip(connection, bind("", b"1") + EXECUTE + SYNC, message("2") + done("SELECT 1") + ready())
    recording.flush()
    view = view_of(recording)
    view.listing.fold_to("repeats")
    view.trace.update()
    view.reading.sync()
    loop = view.listing[1]
    assert loop.sum.number == 2 * rounds
    assert rowtext.flight(loop, view.pen, 60) == f"▸ {rounds} × (PS · BES)"
    assert rowtext.words(loop, None, 60) == (f"SELECT $1 ×{rounds}", False)
    told = "".join(run for run, _ in rowtext.spelled(loop, view.pen, 200))
    assert told.startswith(f"{rounds} × (Parse Sync → ParseComplete ReadyForQuery(I) · Bind Execute Sync → ")


def test_what_is_open_is_in_no_repeat_and_ends_in_one(recording: Recording, view_of: Callable[..., View]) -> None:
    connection = recording.connect()
    for _ in range(2):
        recording.trip(connection, query("SELECT 1 FROM items"), _rows("I"))
    recording.send(connection, query("SELECT 1 FROM items"))
    recording.flush()
    view = view_of(recording, live=True)
    view.listing.fold_to("repeats")
    view.trace.update()
    view.listing.sync()
    assert [line[1] for line in shown(view.listing)] == [(0, 1, 2), (3, 4), (5,)]
    recording.answer(connection, _rows("I"))
    recording.flush()
    view.trace.update()
    assert view.listing.sync()
    assert [line[1] for line in shown(view.listing)] == [(0, 1, 2), (3, 4, 5)]
    assert view.listing[1].sum.rows == 3


def test_paused_an_open_row_stays_out_of_its_fold(recording: Recording, view_of: Callable[..., View]) -> None:
    connection = recording.connect()
    recording.trip(connection, query("SELECT 1 FROM items"), _rows("I"))
    recording.send(connection, query("SELECT 1 FROM items"))
    recording.flush()
    view = view_of(recording, live=True)
    view.listing.fold_to("repeats")
    view.trace.update()
    view.reading.sync()
    view.reading.pause()
    recording.answer(connection, _rows("I"))
    recording.flush()
    view.trace.update()
    view.listing.toggle(0)
    view.listing.toggle(0)
    view.reading.sync()
    assert [line[1] for line in shown(view.listing)] == [(0, 1, 2), (3,), (4,)]
    view.reading.pause()
    view.reading.sync()
    assert [line[1] for line in shown(view.listing)] == [(0, 1, 2), (3, 4)]
