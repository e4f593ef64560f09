"""What is said of a pooler, behind the table of `stats` and on stderr."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pgtrace.legs.joins import find
from pgtrace.report.joins import joins_as_text, lines
from pgtrace.trace.trace import Trace

POOLERS = Path(__file__).parents[1] / "data" / "poolers"


def test_a_pooler_in_words() -> None:
    trace = Trace.open([POOLERS / "front.pgtrace", POOLERS / "back.pgtrace"])
    trace.update()
    with contextlib.closing(trace):
        joins = find(trace)
        assert joins is not None
        assert lines(joins) == ["both sides of a pooler: 51 of 51 round trips of A were joined with those of B"]
        text = "\n".join(joins_as_text(joins))
    assert "A in front, B behind: 51 round trips joined, 0 ambiguous, 0 unjoined, 0 answered by itself" in text
    assert "another server connection for a driver 8 times; statements renamed in 27 round trips, such as" in text
    assert "its own: 3 times SET client_encoding" in text


def test_of_blind_joins_no_time_is_told() -> None:
    """What is ambiguous has no known time in the pooler, and no known server connection."""
    trace = Trace.open([POOLERS / "front.pgtrace", POOLERS / "back.pgtrace"])
    trace.update()
    with contextlib.closing(trace):
        trace.settings[0, "redact"] = trace.settings[1, "redact"] = "params"
        joins = find(trace)
        assert joins is not None
        text = "\n".join(joins_as_text(joins))
    assert "0 round trips joined, 51 ambiguous" in text
    assert "in the pooler" not in text
    assert "another server connection" not in text
