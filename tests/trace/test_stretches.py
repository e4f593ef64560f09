"""A stretch says of its rows what the rows say themselves, however they came."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from pgtrace.ask.filter import parse
from pgtrace.ask.filter.rowcounting import RowCounts
from pgtrace.trace import rows as rows_module
from pgtrace.trace import stretches as stretches_module
from pgtrace.trace.feed import Feed
from pgtrace.trace.row import Label
from pgtrace.trace.rowsums import RowSums
from pgtrace.trace.stretches import Stretches
from pgtrace.trace.trace import Trace
from tests import corpus
from tests.wire_recording import Recording, done, query, ready

LENGTH = 8


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rows_module, stretches_module):
        monkeypatch.setattr(module, "STRETCH", LENGTH)


def whole(trace: Trace, stretches: Stretches) -> list[int]:
    """The beginnings of the stretches that are there; each says what its rows say."""
    found = []
    for start in range(0, len(trace.rows), LENGTH):
        stretch = stretches.at(start)
        if stretch is None:
            continue
        rows = trace.rows.columns(start, start + LENGTH)
        assert not rows.any_open
        assert stretch.alike == Counter(rows.keys)
        sums = RowSums(trace)
        sums.add(rows.round_trips)
        assert {index: one.as_dict() for index, one in stretch.sums.by_connection().items()} == {
            index: one.as_dict() for index, one in sums.by_connection().items()
        }
        found.append(start)
    return found


@pytest.mark.parametrize("path", corpus.CAPTURES[::7], ids=corpus.name)
def test_stretches_of_captures(path: Path) -> None:
    with closing(Trace.open([path])) as trace:
        feed = Feed(trace)
        stretches = Stretches(feed)
        while trace.update(budget_s=0.0):
            feed.advance()
        feed.advance()
        starts = range(0, len(trace.rows) - LENGTH + 1, LENGTH)
        assert whole(trace, stretches) == [start for start in starts if not trace.rows.columns(start, start + LENGTH).any_open]


def test_a_stretch_waits_for_its_open_rows_and_follows_new_labels(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "x.pgtrace")
    one, other = recording.connect(), recording.connect("psycopg")
    recording.send(other, query("SELECT pg_sleep(1)"))
    for number in range(40):
        recording.trip(one, query(f"SELECT {number % 3}"), done("SELECT 1") + ready())
    recording.flush()
    with closing(Trace.open([recording.path])) as trace:
        feed = Feed(trace)
        stretches = Stretches(feed)
        while trace.update():
            feed.advance()
        (waiting,) = [place // LENGTH * LENGTH for place in feed.open]
        before = whole(trace, stretches)
        assert waiting not in before
        assert len(before) >= 4
        recording.answer(other, done("SELECT 1") + ready())
        recording.flush()
        while trace.update():
            pass
        feed.advance()
        assert whole(trace, stretches) == sorted({*before, waiting})
        trace.rows.relabel(before[0], Label("another one"))
        assert whole(trace, stretches) == sorted({*before, waiting})


def test_what_differs_in_most_rows_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(tmp_path / "x.pgtrace")
    one = recording.connect()
    for number in range(160):
        recording.trip(one, query(f"SELECT {number if number < 80 else 1}"), done("SELECT 1") + ready())
    recording.flush()
    monkeypatch.setattr(stretches_module, "MOST_KEYS", LENGTH - 1)
    monkeypatch.setattr(stretches_module, "KEYS_KEPT", 6)
    with closing(Trace.open([recording.path])) as trace:
        while trace.update():
            pass
        feed = Feed(trace)
        stretches = Stretches(feed)
        feed.advance()
        kept = whole(trace, stretches)
        assert kept == [80, 88, 96]
        assert sum(len(found.alike) for start in kept if (found := stretches.at(start))) == 6


@pytest.mark.parametrize("path", corpus.CAPTURES[3::29], ids=corpus.name)
def test_sums_with_stretches_are_those_of_the_rows(path: Path) -> None:
    """With a few of the rows, with most and with all."""
    rng = random.Random(5)
    with closing(Trace.open([path])) as trace:
        while trace.update():
            pass
        feed = Feed(trace)
        stretches = Stretches(feed)
        feed.advance()
        every = range(len(trace.rows))
        for share in (0.1, 0.7, 0.95, 1.0):
            places = [place for place in every if rng.random() < share]
            quick, plain = (RowCounts(parse("").over(trace), places, *given) for given in ((stretches,), ()))
            for one in (quick, plain):
                while one.update(0.0):
                    pass
            assert quick.is_exact == plain.is_exact
            assert {index: found.as_dict() for index, found in quick.by_connection().items()} == {
                index: found.as_dict() for index, found in plain.by_connection().items()
            }
