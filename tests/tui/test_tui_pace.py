"""The screen rests between readings while others want its processor."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.tui.model import pace
from pgtrace.tui.model.pace import FORGETS, RESTS, Pace
from pgtrace.tui.model.view import View
from tests.wire_recording import Recording, done, query, ready

CONTENDED = 1.3


@pytest.fixture(autouse=True)
def hurried(unhurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "CONTENDED", CONTENDED)


class Clocks:
    """What `time` is to a reading: time that passes, and CPU time that it gets."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def perf_counter(self) -> float:
        return self.wall_s

    def thread_time(self) -> float:
        return self.cpu_s

    def take(self, paced: Pace, cpu_s: float, wall_s: float) -> None:
        with paced.reading(self.wall_s):
            self.cpu_s += cpu_s
            self.wall_s += wall_s


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(pace, "time", made)
    return made


def test_it_does_not_rest_where_a_processor_is_free() -> None:
    """The real clocks: most readings of a machine that is not busy, and no machine is always busy."""
    rested = 0
    for _ in range(50):
        paced = Pace()
        now_s = time.monotonic()
        with paced.reading(now_s):
            sum(range(1000))
        rested += paced.rests(now_s)
    assert rested < 50


def test_who_sleeps_while_reading_rests() -> None:
    paced = Pace()
    now_s = time.monotonic()
    with paced.reading(now_s):
        time.sleep(0.02)
    assert paced.rests(now_s + 0.019)
    assert not paced.rests(now_s + 60)


def test_a_rest_lasts_as_long_as_the_reading_was_expensive(clocks: Clocks) -> None:
    paced = Pace()
    clocks.take(paced, 0.01, 0.02)
    assert paced.rests(clocks.wall_s)
    assert paced.rests(clocks.wall_s + 0.01 * RESTS - 0.001)
    assert not paced.rests(clocks.wall_s + 0.01 * RESTS + 0.001)


@given(st.lists(st.tuples(st.floats(1e-5, 0.07), st.floats(1.0, 5.0)), min_size=1, max_size=30))
def test_the_latest_readings_decide(readings: list[tuple[float, float]]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        clocks = Clocks()
        patched.setattr(pace, "time", clocks)
        paced = Pace()
        wall_s = cpu_s = 0.0
        for took_s, share in readings:
            clocks.take(paced, took_s, took_s * share)
            wall_s, cpu_s = wall_s * FORGETS + took_s * share, cpu_s * FORGETS + took_s
            if abs(wall_s - cpu_s * CONTENDED) < 1e-9:
                continue
            if wall_s > cpu_s * CONTENDED:
                assert paced.rests(clocks.wall_s)
            else:
                clocks.wall_s += 1.0
                assert not paced.rests(clocks.wall_s)


def test_a_resting_screen_reads_later_but_takes_a_filter_at_once(shop: Recording, view_of: Callable[..., View], clocks: Clocks) -> None:
    view = view_of(shop, live=True)
    view.reading.tick(0.0)
    while view.reading.catching_up:
        view.reading.tick(0.0)
    seen = view.feed.seen
    clocks.wall_s = 10.0
    clocks.take(view.reading._pace, 0.05, 0.5)
    shop.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
    shop.flush()
    view.reading.tick(10.6)
    view.reading.read_ahead(10.8)
    assert view.feed.seen == seen
    view.listing.choose("sql:orders")
    view.reading.tick(10.82)
    assert view.feed.seen == seen + 1
    shop.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
    shop.flush()
    view.reading.tick(11.0)
    assert view.feed.seen == seen + 2
