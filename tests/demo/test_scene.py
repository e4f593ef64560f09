"""The demo put together: every variant under its mark, and nothing else in the capture."""

from __future__ import annotations

import os
import threading
from contextlib import closing, contextmanager

import pytest

from pgtrace.address import parse_listen
from pgtrace.demo.scene import open_scene, run_variants
from pgtrace.demo.workloads import VARIANTS
from pgtrace.demo.workloads.common import Target
from pgtrace.trace.trace import Trace

pytestmark = pytest.mark.live


NOWHERE = Target("127.0.0.1", 1, "nobody", "", "none")
NAMES = [variant.name for variant in VARIANTS]


class Recorded:
    """Stands for a variant: remembers that it worked, and may ask for the end."""

    def __init__(self, name: str, log: list[str], stop: threading.Event | None = None) -> None:
        self.name, self._log, self._stop = name, log, stop

    def load(self):
        return self._work

    def _work(self, target: Target) -> None:
        self._log.append(f"{self.name} works")
        if self._stop is not None:
            self._stop.set()


def marks_into(log: list[str]):
    @contextmanager
    def mark(name: str):
        log.append(f"{name} begins")
        yield
        log.append(f"{name} ends")

    return mark


def test_each_variant_works_within_its_mark():
    log: list[str] = []
    told: list[str] = []
    run_variants(NOWHERE, marks_into(log), variants=(Recorded("a", log), Recorded("b", log)), rounds=2, on_progress=told.append)
    assert log == ["a begins", "a works", "a ends", "b begins", "b works", "b ends"] * 2
    assert told == ["a", "b"] * 2


def test_an_endless_play_ends_between_two_variants():
    log: list[str] = []
    stop = threading.Event()
    variants = (Recorded("a", log), Recorded("b", log, stop), Recorded("c", log))
    run_variants(NOWHERE, marks_into(log), variants=variants, rounds=None, pause_s=0.001, stop=stop)
    assert log[-1] == "b ends"


def test_scene_holds_the_work_by_mark(tmp_path, monkeypatch):
    monkeypatch.setenv("PGSERVICE", "of the user")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    capture = tmp_path / "demo.pgtrace"
    with open_scene(parse_listen("127.0.0.1:0"), write=capture) as scene:
        scene.play(rounds=2)
    assert os.environ["PGSERVICE"] == "of the user"
    with closing(Trace.open([capture])) as trace:
        trace.update()
    marks = {name: counters.as_dict() for name, counters in trace.mark_counters().items()}
    assert list(marks) == NAMES
    assert len(trace.connections) == 2 * len(VARIANTS)
    totals = trace.totals().as_dict()
    for key in ("round_trips", "executions", "errors", "rows", "frontend_bytes", "backend_bytes"):
        assert sum(counted[key] for counted in marks.values()) == totals[key], key
    for name, counted in marks.items():
        assert (counted["errors"], counted["notifications"]) == (2, 2), name
        assert counted["copy_in_messages"] > 0, name
        assert counted["copy_out_messages"] == 100, name
    assert marks["asyncpg"]["parses_named"] > 0
    assert marks["psycopg2"]["parses_named"] + marks["psycopg2"]["parses_unnamed"] == 0
    assert marks["psycopg binary"]["values_binary"] > marks["psycopg text"]["values_binary"] == 0
    assert marks["psycopg pipeline"]["round_trips"] < marks["psycopg text"]["round_trips"] < marks["pg8000"]["round_trips"]
    assert marks["psycopg pipeline"]["max_pipeline_depth"] >= 10
