"""Folding: whatever was folded, filtered and recorded meanwhile, the lines are those that a simple look at all rows gives."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.trace.feed import Feed
from pgtrace.trace.rows import Row, RowKind
from pgtrace.trace.trace import Trace
from pgtrace.tui.model.folds import LEVELS, Folds
from pgtrace.tui.model.groups import Groups, Together
from pgtrace.tui.model.listing import Listing
from pgtrace.tui.model.sums import MEMBERS_KEPT, MOST
from pgtrace.tui.model.view import View
from tests.wire_recording import (
    INT8,
    Recording,
    columns,
    done,
    error,
    int32,
    message,
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


def expected(rows: list[Row], listed: list[int], level: str, toggled: set[tuple[Together, int]]) -> Lines:
    """Slowly and simply: the groups by the SQL of each connection's rows, then the lines."""
    block, run = list(range(len(rows))), list(range(len(rows)))
    kinds = [Together.NOTHING] * len(rows)
    for one in range(_CONNECTIONS):
        setup: int | None = None
        began: int | None = None
        before: tuple[int, tuple[object, ...]] | None = None
        for place, each in enumerate(rows):
            if each.shape.kind is RowKind.MARK:
                before = None
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
                if before is not None and before[1] == what and not each.is_open and not each.label.error:
                    run[place] = before[0]
                before = None if each.label.error or each.is_open else (run[place], what)
                began = None if each.label.sql == "COMMIT" and not each.is_open else began
            else:
                before = None
    height = LEVELS.index(level)

    def many(firsts: list[int], place: int, kind: Together) -> bool:
        return sum(first == firsts[place] and (kind is Together.REPEAT or kinds[at] is kind) for at, first in enumerate(firsts)) > 1

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
STEPS = st.one_of(
    DEEDS,
    DEEDS,
    DEEDS,
    st.tuples(st.just("sync"), st.just(0)),
    st.tuples(st.just("level"), st.just(0)),
    st.tuples(st.just("toggle"), st.integers(0, 40)),
    st.tuples(st.just("filter"), st.integers(0, 3)),
)
FILTERS = ("", "conn:1", "items", "not items")


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, min_size=20, max_size=60))
def test_lines_are_those_of_all_rows_from_scratch(steps: list[tuple[str, int]]) -> None:
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
        with closing(Trace.open([driven.recording.path])) as trace:
            while trace.update():
                pass
            groups = Groups()
            groups.take(trace.rows.columns(0, len(trace.rows)))
        driven.recording.writer.close()
    listed = set(data.draw(st.sets(st.integers(0, len(groups) - 1))))
    level = data.draw(st.sampled_from(LEVELS))
    folds = Folds(groups, listed.__contains__, level)
    folds.go_on(sorted(listed))
    folds.upto = len(groups) - 1
    for place in data.draw(st.lists(st.integers(0, len(groups) - 1), max_size=30)):
        listed ^= {place}
        if place in listed:
            folds.add(place)
        else:
            folds.remove(place, folds.head(place))
        again = Folds(groups, listed.__contains__, level)
        again.go_on(sorted(listed))
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
    view.sync()
    view.pause()
    recording.answer(connection, _rows("I"))
    recording.flush()
    view.trace.update()
    view.listing.toggle(0)
    view.listing.toggle(0)
    view.sync()
    assert [line[1] for line in shown(view.listing)] == [(0, 1, 2), (3,), (4,)]
    view.pause()
    view.sync()
    assert [line[1] for line in shown(view.listing)] == [(0, 1, 2), (3, 4)]
