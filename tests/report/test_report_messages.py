"""Rows as objects: whatever a capture holds they can be written as JSON, and what they do not tell they say."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.export import FORMATS
from pgtrace.protocol import values
from pgtrace.report.encoding import as_json
from pgtrace.report.messages import round_trip_line, rows_as_json, rows_as_text
from pgtrace.session.events import FLIGHT_MESSAGES_KEPT
from tests.corpus import NIGHTLY
from tests.playbook import write
from tests.traces import fully_read
from tests.wire_recording import BOUND, EXECUTE, PARSED, SYNC, Recording, bind, columns, describe, done, parse, ready, row

TESTS = Path(__file__).parents[1]
CAPTURES = sorted(
    [
        *(TESTS.parent / "captures").glob("*/*.pgtrace"),
        *(path for path in (TESTS / "data").rglob("*.pgtrace") if path.parent.name != "hostile"),
    ]
)
OIDS = st.sampled_from([0, *values.BUILTIN, 4_000_000]) | st.integers(0, 0x7FFF_FFFF)
VALUES = st.none() | st.binary(max_size=40)


def rows(path: Path) -> list[dict[str, object]]:
    trace = fully_read(path)
    found = [json.loads(as_json(about)) for about in rows_as_json(trace, range(len(trace.rows)))]
    trace.close()
    return found


@pytest.mark.sampled(3)
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_row_is_json(path: Path) -> None:
    assert rows(path)


def test_a_value_that_was_not_read_is_its_bytes() -> None:
    fields = [field for row in rows(TESTS / "data/unread_value.pgtrace") for message in row["messages"] for field in message["fields"]]
    unread = [field for field in fields if field.get("read") is False]
    assert unread
    assert all(field["value"].startswith("\\x") for field in unread)
    assert not [field for field in fields if field.get("read", False)]


@pytest.mark.parametrize("binary", [False, True])
@given(told=st.lists(st.tuples(OIDS, VALUES), min_size=1, max_size=6))
def test_whatever_the_values_a_row_is_json_and_an_unread_value_is_its_bytes(binary: bool, told: list[tuple[int, bytes | None]]) -> None:
    oids, data = [oid for oid, _ in told], [value for _, value in told]
    with tempfile.TemporaryDirectory() as scratch:
        recording = Recording(Path(scratch, "any.pgtrace"))
        one = recording.connect()
        sent = parse("", "SELECT $1", *oids) + bind("", *data, binary=binary) + describe("P") + EXECUTE + SYNC
        answer = columns(*((f"c{place}", oid) for place, oid in enumerate(oids)), binary=binary) + row(*data)
        recording.trip(one, sent, PARSED + BOUND + answer + done("SELECT 1") + ready())
        recording.close(one)
        recording.end()
        messages = [message for about in rows(recording.path) for message in about["messages"]]
    for name, listed in (("Bind", "$"), ("DataRow", "c")):
        (message,) = [message for message in messages if message["type"] == name]
        shown = [field for field in message["fields"] if field["name"].startswith(listed) and field["type"].endswith(("binary", "text"))]
        assert len(shown) == len(data)
        for field, value in zip(shown, data, strict=True):
            unread = field["value"].partition(" (")[0]
            assert "read" not in field or (field["read"] is False and unread == "\\x" + (value or b"").hex()), field


def test_messages_that_are_not_listed_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "many.pgtrace", "F Bind - s1 | Sync\n" + f"B {' | '.join(['BindComplete | NoData'] * 3000)} | ReadyForQuery I")
    *_, row = rows(path)
    assert (len(row["messages"]), row["note"], row["flight_cut"]) == (5000, "the first 5,000 messages", False)
    *_, row = rows(TESTS / "data/unread_value.pgtrace")
    assert row["note"] is None


@pytest.mark.sampled(2)
@pytest.mark.parametrize("more", [0, 1, 1000] if NIGHTLY else [0, 1])
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
    trace = fully_read(path)
    line = round_trip_line(trace, trace.rows[1])
    assert next(rows_as_text(trace, [1])) == line
    assert ("1.00 ms (flight cut at 65,536 messages)" in line) is (more > 0)
    assert ("…" in line) is (more > 0)
    golden = b"".join(piece.content for piece in FORMATS["pqtrace"].load()(trace))
    assert golden.count(b"\tDescribe\t") == half + more
    trace.close()
