"""Rows as objects: whatever a capture holds they can be written as JSON, and what they do not tell they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playbook import write

from pgtrace.report.encoding import as_json
from pgtrace.report.messages import rows_as_json, rows_as_text
from pgtrace.session.events import FLIGHT_MESSAGES_KEPT
from pgtrace.trace.trace import Trace

TESTS = Path(__file__).parents[1]
CAPTURES = sorted([*(TESTS.parent / "captures").glob("*/*.pgtrace"), TESTS / "data/unread_value.pgtrace"])


def rows(path: Path) -> list[dict[str, object]]:
    trace = Trace.open([path])
    while trace.update():
        pass
    found = [json.loads(as_json(about)) for about in rows_as_json(trace, range(len(trace.rows)))]
    trace.close()
    return found


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_row_is_json(path: Path) -> None:
    assert rows(path)


def test_a_value_that_was_not_read_is_its_bytes() -> None:
    fields = [field for row in rows(TESTS / "data/unread_value.pgtrace") for message in row["messages"] for field in message["fields"]]
    unread = [field for field in fields if field.get("read") is False]
    assert unread
    assert all(field["value"].startswith("\\x") for field in unread)
    assert not [field for field in fields if field.get("read", False)]


@pytest.mark.parametrize("more", [0, 1, 1000])
def test_a_flight_that_is_too_long_says_so(tmp_path: Path, more: int) -> None:
    half = FLIGHT_MESSAGES_KEPT // 2 - 1
    lines = [
        f"F Bind - s1 | Execute - ×{half} | Describe P - ×{half + more} | Sync",
        f"B BindComplete | EmptyQueryResponse ×{half} | NoData ×{half + more} | ReadyForQuery I",
    ]
    path = write(tmp_path / "long.pgtrace", "\n".join(lines))
    (row,) = [row for row in rows(path) if row["kind"] == "round_trip"]
    assert row["flight_cut"] is (more > 0)
    sent, _, received = str(row["flight"]).partition(" → ")
    assert (sent.endswith("…"), received.endswith("…")) == (more > 0, more > 0)
    trace = Trace.open([path])
    while trace.update():
        pass
    assert ("…" in next(line for line in rows_as_text(trace, [1]) if "B" in line)) is (more > 0)
    trace.close()
