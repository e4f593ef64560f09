"""Who is at the other end of a connection, wherever it is told: driver, layer and process, and never more than text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import playbook
import pytest

from pgtrace.analysis.trace import Trace
from pgtrace.capture import peer
from pgtrace.capture.record import Fact
from pgtrace.capture.writer import CaptureWriter
from pgtrace.report import messages, stats
from pgtrace.report.encoding import as_json

HOSTILE = "\x1b]0;title\x07\n\u202e\udcff [bold]"
SESSION = """
F  StartupMessage user=app
B  AuthenticationOk | BackendKeyData 4711 7777 | ReadyForQuery I
F  Query SELECT COUNT(*) AS "__count" FROM "item"
B  CommandComplete SELECT 1 | ReadyForQuery I
F  Query SELECT 1
B  CommandComplete SELECT 1 | ReadyForQuery I
"""


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[[str], Trace]]:
    """The session of a process of that name, read."""
    with ExitStack() as opened:

        def make(name: str) -> Trace:
            path = tmp_path / "a.pgtrace"
            with CaptureWriter(path) as writer:
                writer.write([*playbook.records(SESSION), Fact(0, 1, peer.KEY, peer.Process(4711, name).text)])
            trace = Trace.open([path])
            opened.callback(trace.close)
            while trace.update():
                pass
            return trace

        yield make


def test_stats_has_layer_and_process_beside_the_driver(told: Callable[[str], Trace]) -> None:
    trace = told("web server")
    (connection,) = stats.as_dict(trace)["connections"]
    assert (connection["driver"], connection["layer"]) == ("unknown", "django")
    assert connection["layer_evidence"] == ['count() written COUNT(*) AS "__count"']
    assert connection["peer_process"] == {"pid": 4711, "name": "web server"}
    head, _, line = stats.as_text(trace, "connection")[2:]
    assert head.split()[:5] == ["connection", "driver", "layer", "process", "kind"]
    assert line.startswith("c1          unknown  django  web server[4711]  session ")


def test_a_hostile_name_is_shown_escaped(told: Callable[[str], Trace]) -> None:
    trace = told(HOSTILE)
    shown = [*stats.as_text(trace, "connection"), *messages.rows_as_text(trace, range(len(trace.rows)), introduced=set())]
    assert any(r"\x1b]0;title\x07↵\u202e\xff [bold][4711]" in line for line in shown)
    assert all(line.isprintable() for line in shown)
    for indent in (None, 2):
        (connection,) = json.loads(as_json(stats.as_dict(trace), indent=indent))["connections"]
        assert connection["peer_process"] == {"pid": 4711, "name": HOSTILE}


def test_a_connection_is_introduced_once(told: Callable[[str], Trace]) -> None:
    trace = told("web")
    introduced: set[int] = set()
    lines = [line for place in range(len(trace.rows)) for line in messages.rows_as_text(trace, [place], introduced=introduced)]
    assert [line.strip() for line in lines if line.strip().startswith("c1  ")] == [
        'c1  django: count() written COUNT(*) AS "__count"',
        "c1  process web[4711]",
    ]
    assert lines[1].strip() == "c1  process web[4711]"
    assert not any("process" in line for line in messages.rows_as_text(trace, range(len(trace.rows))))
