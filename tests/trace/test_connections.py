"""Connections beyond the bounds: on the shelf, or put aside while they are open, and counted as if all had stayed in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgtrace.ask.filter import parse
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.capture.record import Record
from pgtrace.capture.writer import CaptureWriter
from pgtrace.report import stats
from pgtrace.trace import connections, ledger
from pgtrace.trace.trace import Trace
from tests import crowds
from tests.wire_recording import done, query, ready

NUMBER = 60


def written(folder: Path, name: str, number: int = NUMBER) -> Path:
    path = folder / f"{name}.pgtrace"
    crowds.write(name, number, path)
    return path


OPENED: list[Trace] = []


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def opened(path: Path) -> Trace:
    OPENED.append(Trace.open([path]))
    return OPENED[-1]


def read(path: Path) -> Trace:
    found = opened(path)
    while found.update():
        pass
    return found


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CLOSED_KEPT", 5)
    monkeypatch.setattr(ledger, "KEYS_KEPT", 5)


@pytest.mark.parametrize("name", ["connections", "applications", "cancels", "marked_connections", "drivers"])
def test_the_shelf_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = written(tmp_path, name)
    plain = "".join(stats.as_json(read(path)))
    monkeypatch.setattr(connections, "CLOSED_KEPT", 5)
    monkeypatch.setattr(ledger, "KEYS_KEPT", 5)
    assert "".join(stats.as_json(read(path))) == plain


@pytest.mark.usefixtures("few")
def test_filtered_counts(tmp_path: Path) -> None:
    path = written(tmp_path, "applications")
    first = read(path)
    counted = CountedTrace(parse("user~7").over(first))
    OPENED.append(counted)
    while counted.update():
        pass
    chosen = counted.counted_connections()
    assert [one.user for one in chosen] == [one.user for one in first.connections if "7" in one.user]
    assert counted.totals().round_trips == len(chosen) == sum(number for _, number, _ in counted.drivers())


@pytest.mark.usefixtures("few")
def test_a_cancel_finds_its_session_on_the_shelf(tmp_path: Path) -> None:
    found = read(written(tmp_path, "cancels"))
    assert [one.cancels for one in found.connections] == [None if place % 2 == 0 else place - 1 for place in range(NUMBER)]


def interleaved(number: int, *, closes: bool = True) -> list[Record]:
    """Connections that all stay open and ask in turn, three times."""
    wire = crowds.Wire()
    records: list[Record] = []
    for one in range(1, number + 1):
        records += wire.open(one, {"user": f"user {one}", "application_name": "app"})
    for _ in range(3):
        for one in range(1, number + 1):
            records += wire.trip(one, query(f"select {one}"), done("SELECT 1") + ready())
    for one in range(1, number + 1) if closes else ():
        records += wire.close(one)
    return records


@pytest.mark.parametrize("closes", [True, False])
def test_connections_put_aside_while_they_are_idle_lose_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closes: bool) -> None:
    path = tmp_path / "open.pgtrace"
    with CaptureWriter(path) as writer:
        writer.write(interleaved(NUMBER, closes=closes))
    plain = json.loads("".join(stats.as_json(read(path))))
    monkeypatch.setattr(connections, "OPEN_KEPT", 8)
    monkeypatch.setattr(connections, "CLOSED_KEPT", 5)
    found = read(path)
    assert found.put_aside > NUMBER
    aside = json.loads("".join(stats.as_json(found)))
    for about in (plain, aside):
        about["capture"].pop("put_aside", None)
        for one in (about["totals"], *about["drivers"], *about["connections"]):
            one.pop("client_ns"), one.pop("wait_ns")
        for one in about["connections"]:
            one.pop("authentication")
    assert aside["totals"] == plain["totals"]
    assert aside["drivers"] == plain["drivers"]
    assert aside["connections"] == plain["connections"]


def test_at_most_so_many_are_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "OPEN_KEPT", 8)
    path = written(tmp_path, "left_open")
    found = opened(path)
    while found.update(budget_bytes=1):
        assert sum(one.session is not None for one in found.connections) <= 8
    assert (found.totals().round_trips, len(found.connections)) == (NUMBER, NUMBER)
