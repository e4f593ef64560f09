"""A capture as lines of JSON and back: nothing is lost, every edit is possible, and a line that means nothing is named."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.capture.importing import Import
from pgtrace.capture.jsonl import LONGEST_LINE, cutting
from pgtrace.capture.jsonl.cutting import Cutter, first_line
from pgtrace.capture.jsonl.joining import JsonLines
from pgtrace.capture.jsonl.spelling import read, spell
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import NEITHER, Close, Data, Elided, Ended, Fact, Gap, Made, Opaque, Open, Pause, Record, Resume, Rewrite
from pgtrace.capture.versions import VERSION, Header
from pgtrace.errors import CaptureError
from pgtrace.protocol import backend, frontend, registry, startup
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests import commands
from tests.corpus import CAPTURES, NIGHTLY, name
from tests.playbook import records as played

SAMPLES = sorted((Path(__file__).parents[1] / "data").glob("v*.pgtrace"))
HEADER = Header(VERSION, b"mark", 1_700_000_000_000_000_000, 5_000_000_000, "0.1.0", "host")
STARTUP = startup.StartupMessage(0x30000, (("user", "app"),)).wire()
READY = backend.ReadyForQuery("I").wire()


def records_of(path: Path) -> tuple[Header, list[Record]]:
    with CaptureReader(path) as reader:
        found: list[Record] = []
        while blocks := reader.read():
            found += [record for block in blocks for record in block.records]
        return reader.header, found


def cut(header: Header, records: list[Record]) -> list[dict[str, object]]:
    cutter = Cutter(header.monotonic_ns)
    lines = [first_line(header)]
    for record in records:
        lines += cutter.feed(record)
    return lines + cutter.finish()


def joined(lines: list[dict[str, object]], piece: int = 0) -> tuple[Header | None, list[Record]]:
    text = b"".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for line in lines)
    converter = JsonLines("x.jsonl")
    found: list[Record] = []
    for start in range(0, len(text), piece or len(text)):
        found += converter.feed(text[start : start + (piece or len(text))])
    return converter.header, found + converter.finish()


def read_in(*reads: tuple[int, bytes]) -> list[Record]:
    """Data records of one connection, a millisecond apart."""
    places = [0, 0]
    found: list[Record] = []
    for number, (side, data) in enumerate(reads):
        found.append(Data(HEADER.monotonic_ns + number * 1_000_000, 1, side, places[side], data))
        places[side] += len(data)
    return found


@pytest.mark.sampled(4)
@pytest.mark.parametrize("path", [*CAPTURES, *SAMPLES], ids=name)
def test_every_capture_comes_back(path: Path) -> None:
    header, records = records_of(path)
    lines = cut(header, records)
    assert joined(lines) == (header, records)
    messages = [line for line in lines if "message" in line]
    assert all("fields" in line for line in messages), "what a server and a driver said has fields"
    if path not in SAMPLES:
        assert len(messages) > 15
        assert not any("bytes" in line for line in lines)
        assert [line["record"] for line in lines[1:]] == sorted(line["record"] for line in lines[1:])


def test_by_the_commands(tmp_path: Path) -> None:
    """`export --to jsonl` and `import` are each other's opposite, and what is imported is read like any capture."""
    text, back = tmp_path / "x.jsonl", tmp_path / "back.pgtrace"
    (path,) = [path for path in CAPTURES if (path.parent.name, path.stem) == ("asyncpg", "cancel")]
    assert pgtrace("export", "--to", "jsonl", path, "-o", text)[0] == 0
    assert pgtrace("import", text, "-o", back)[0] == 0
    assert records_of(back) == records_of(path)
    code, shown = pgtrace("show", path)
    assert pgtrace("show", text) == (code, shown) == (0, shown)
    assert shown.count("CancelRequest") == 1
    assert pgtrace("export", "--to", "jsonl", path, back)[0] == 2


def pgtrace(*arguments: object) -> tuple[int, str]:
    ended = commands.call(*arguments)
    return ended.returncode, ended.stdout


MESSAGES = st.sampled_from([(kind.side, kind(*kind.BODY.read(kind.EXAMPLE)).wire()) for kind in registry.MESSAGES if kind.code < 256])


@st.composite
def sessions(draw: st.DrawFn) -> list[Record]:
    """Any messages in any pieces, two connections at once, with everything else that a recorder can write in between."""
    streams = {}
    for number in (1, 2):
        for side in (FRONTEND, BACKEND):
            begin = b"" if draw(st.booleans()) else (STARTUP, READY)[side]
            wanted = draw(st.lists(MESSAGES.filter(lambda one, side=side: one[0] == side), max_size=6))
            noise = draw(st.sampled_from([b"", b"", b"", b"\xff\0\0\0\x01junk", b"?\0\0\0\x05x", b"Z\0\0"]))
            streams[number, side] = begin + b"".join(wire for _, wire in wanted) + noise
    places = dict.fromkeys(streams, 0)
    found: list[Record] = []
    time_ns = HEADER.monotonic_ns
    while any(streams.values()):
        time_ns += draw(st.integers(0, 1_000_000))
        number, side = key = draw(st.sampled_from([key for key, data in streams.items() if data]))
        size = draw(st.integers(1, len(streams[key])))
        data, streams[key] = streams[key][:size], streams[key][size:]
        kind = draw(st.sampled_from(["data"] * 12 + ["made", "rewrite", "opaque", "elided", "gap", "resume", "ended", "pause", "close"]))
        if kind == "data":
            found.append(Data(time_ns, number, side, places[key], data))
        elif kind == "made" and side == BACKEND:
            found.append(Made(time_ns, number, places[key], data))
        elif kind == "opaque":
            found.append(Opaque(time_ns, number, side, places[key], size))
        elif kind == "elided":
            found.append(Elided(time_ns, number, side, places[key], 1, size, 3))
        elif kind == "gap":
            found.append(Gap(time_ns, draw(st.sampled_from([0, number])), draw(st.sampled_from([side, NEITHER])), size, 1))
        elif kind == "resume":
            found += [
                Resume(time_ns, number, STARTUP, (places[number, 0], places[number, 1]), READY),
                Data(time_ns, number, side, places[key], data),
            ]
        elif kind == "ended":
            found += [Data(time_ns, number, side, places[key], data), Ended(time_ns, number, draw(st.sampled_from([side, NEITHER])), "FIN")]
        elif kind == "pause":
            pause = Pause(time_ns, draw(st.sampled_from([0, number])), draw(st.sampled_from([side, NEITHER])), draw(st.booleans()), "disk")
            found += [Data(time_ns, number, side, places[key], data), pause]
        elif kind == "close":
            found += [Data(time_ns, number, side, places[key], data), Close(time_ns, number, side, "RST")]
        else:
            found.append(Rewrite(time_ns, number, side, places[key], b"what came", data))
        places[key] += size
    return found


@settings(max_examples=300 if NIGHTLY else 30)
@given(sessions(), st.sampled_from([0, 1, 100]))
def test_any_session_comes_back(records: list[Record], piece: int) -> None:
    assert joined(cut(HEADER, records), piece) == (HEADER, records)


def test_bytes_that_are_no_message_any_more_hold_nothing_up() -> None:
    """A direction that can no longer be framed gives out what had begun in it, also where another connection began a message since."""
    half, nonsense = READY + b"R\0", b"d\0\0\0\x0f1"
    at = HEADER.monotonic_ns
    records: list[Record] = [
        Data(at, 2, BACKEND, 0, half),
        Data(at, 2, BACKEND, len(half), b"\0\0*"),
        Data(at, 1, BACKEND, 0, half),
        Data(at, 2, FRONTEND, 0, nonsense),
        Data(at, 2, BACKEND, len(half) + 3, b"SHA"),
    ]
    assert joined(cut(HEADER, records))[1] == records


VALUES = st.recursive(
    st.none() | st.integers(-(2**31), 2**31) | st.binary(max_size=20) | st.binary(max_size=20).map(lambda data: data.decode("utf-8",
    "surrogateescape")),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
)  # fmt: skip


@given(VALUES)
def test_any_value_comes_back(value: object) -> None:
    assert read(json.loads(json.dumps(spell(value)))) == value


def test_how_a_message_over_several_reads_is_told() -> None:
    query = frontend.Query("SELECT 1").wire()
    records = read_in((FRONTEND, STARTUP + query[:3]), (FRONTEND, query[3:5]), (FRONTEND, query[5:]), (BACKEND, READY))
    _, first, second, third = cut(HEADER, records)
    assert (first["record"], first["message"]) == (0, "StartupMessage")
    assert (second["record"], second["message"]) == (0, "Query")
    assert second["continues"] == [{"record": 1, "time_ns": 1_000_000, "at": 3}, {"record": 2, "time_ns": 2_000_000, "at": 5}]
    assert (third["record"], third["message"]) == (3, "ReadyForQuery")


def test_a_large_message_is_never_collected() -> None:
    """It is bytes, read by read, and what follows it is messages again."""
    row = backend.DataRow((bytes(3 * LONGEST_LINE),)).wire()
    pieces = [(BACKEND, row[start : start + 50_000]) for start in range(0, len(row), 50_000)]
    records = read_in((FRONTEND, STARTUP), (BACKEND, READY), *pieces[:-1], (BACKEND, pieces[-1][1] + READY))
    cutter = Cutter(HEADER.monotonic_ns)
    lines = []
    for number, record in enumerate(records):
        lines += cutter.feed(record)
        assert number - len(lines) < LONGEST_LINE // 50_000 + 2
    lines += cutter.finish()
    assert [next(iter(line.keys() & {"bytes", "message"})) for line in lines] == ["message"] * 2 + ["bytes"] * len(pieces) + ["message"]
    assert joined([first_line(HEADER), *lines])[1] == records


def test_what_waits_for_an_unfinished_message_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "_MOST_WAITING", 2_000)
    begun = frontend.Query("SELECT 1").wire()
    other = [Data(HEADER.monotonic_ns, 2, BACKEND, number * len(READY), READY) for number in range(6_000)]
    records: list[Record] = [
        *read_in((FRONTEND, STARTUP + begun[:4])),
        *other,
        Data(HEADER.monotonic_ns, 1, FRONTEND, len(STARTUP) + 4, begun[4:]),
    ]
    cutter = Cutter(HEADER.monotonic_ns)
    lines: list[dict[str, object]] = [first_line(HEADER)]
    for number, record in enumerate(records):
        lines += cutter.feed(record)
        assert number - len(lines) < 2_500
    assert joined(lines + cutter.finish())[1] == records


# Edited by hand.

SCRIPT = """
0   F Parse s1 SELECT $1 | Bind - s1 params=42 | Execute - | Sync
1   B ParseComplete | BindComplete | DataRow 42 ×3 | CommandComplete SELECT 3 | ReadyForQuery I
2   F Query COMMIT
3   B CommandComplete COMMIT | ReadyForQuery I
4   c1 close F
end
"""


def lines_of_script() -> list[dict[str, object]]:
    return cut(HEADER, played(SCRIPT))


def stream(records: list[Record], side: int) -> bytes:
    return b"".join(record.data for record in records if isinstance(record, Data) and record.side == side)


def test_a_longer_value_moves_what_follows() -> None:
    lines = lines_of_script()
    (parse,) = [line for line in lines if line.get("message") == "Parse"]
    parse["fields"]["query"] = "SELECT $1 /* edited */"  # type: ignore[index]
    _, records = joined(lines)
    reads = [record for record in records if isinstance(record, Data) and record.side == FRONTEND]
    assert b"/* edited */" in reads[1].data
    assert [after.offset for after in reads[1:]] == list(itertools.accumulate(len(one.data) for one in reads[:-1]))


def test_lines_taken_out_and_put_in() -> None:
    lines = [line for line in lines_of_script() if line.get("message") != "DataRow"]
    place = next(number for number, line in enumerate(lines) if line.get("message") == "Query")
    lines.insert(
        place,
        {"connection": 1, "from": "B", "message": "NotificationResponse", "fields": {"process_id": 7, "channel": "c", "payload": "p"}},
    )
    _, records = joined(lines)
    assert b"D\0\0\0" not in stream(records, BACKEND)
    (made,) = [record for record in records if isinstance(record, Data) and record.data[:1] == b"A"]
    before = records[records.index(made) - 1]
    assert (made.time_ns, made.side) == (before[0], BACKEND)
    assert records[records.index(made) + 1].data == frontend.Query("COMMIT").wire()  # type: ignore[union-attr]


def test_a_message_nobody_knows_is_its_bytes() -> None:
    unknown = b"?\0\0\0\x08\x01\x02\x03\x04"
    lines = cut(HEADER, read_in((FRONTEND, STARTUP), (BACKEND, READY + unknown + READY)))
    assert lines[3]["message"] == "Unknown"
    assert lines[3]["raw"] == {"hex": unknown.hex()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"message": "Prase"}, "unknown message 'Prase'"),
        ({"from": "X"}, "`from` is F or B"),
        ({"fields": {}}, "Parse has the fields statement, query, parameter_types"),
        ({"fields": {"statement": "s1", "query": "x", "parameter_types": [2**40]}}, ""),
        ({"fields": {"statement": "s1", "query": {"hex": "zz"}, "parameter_types": []}}, ""),
        ({"record": -5}, "comes after record"),
        ({"kind": "opne"}, "unknown kind of record 'opne'"),
        ({"time_ns": -(10**15)}, ""),
        ({"connection": "one"}, ""),
    ],
)
def test_a_line_that_means_nothing_is_named(change: dict[str, object], words: str) -> None:
    lines = lines_of_script()
    number = next(number for number, line in enumerate(lines) if line.get("message") == "Parse")
    lines[number] |= change
    with pytest.raises(CaptureError, match=r"x\.jsonl: line \d+: ") as error:
        joined(lines)
    assert words in str(error.value)
    assert f"line {number + 1}" in str(error.value) or not words


@pytest.mark.parametrize("text", [b'{"schema":"pgtrace.jsonl/2"}', b"[]", b'{"schema":', b'{"schema":"pgtrace.jsonl/1"}', b'\xff{"a":1}'])
def test_a_first_line_that_means_nothing(text: bytes) -> None:
    converter = JsonLines("x.jsonl")
    with pytest.raises(CaptureError, match=r"x\.jsonl"):
        converter.feed(text + b"\n")


@pytest.mark.parametrize("text", [b'{"schema":', b"{]", b"x", b'\xff{"a":1}'])
def test_a_line_that_is_not_json_is_said(text: bytes) -> None:
    with pytest.raises(CaptureError, match=r"x\.jsonl: line 1: not valid JSON$"):
        JsonLines("x.jsonl").feed(text + b"\n")


def test_an_import_that_fails_says_where(tmp_path: Path) -> None:
    lines = lines_of_script()
    lines[4]["message"] = "Nonsense"
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    with pytest.raises(CaptureError, match="line 5"):
        Import(str(tmp_path / "x.jsonl"), str(tmp_path / "out")).step()


def test_facts_and_openings_keep_text_that_is_none() -> None:
    records: list[Record] = [
        Open(HEADER.monotonic_ns, 1, "l", "u", "client \udcff", "", 5),
        Fact(HEADER.monotonic_ns, 1, "key", "\udc80 value\x1b[0m"),
    ]
    assert joined(cut(HEADER, records))[1] == records


def test_the_example_of_the_page() -> None:
    """It is read, and written again it is the same text."""
    page = (Path(__file__).parents[2] / "docs" / "jsonl.md").read_text("utf-8")
    example = page.partition("```json\n")[2].partition("```")[0].encode()
    converter = JsonLines("docs/jsonl.md")
    records = converter.feed(example) + converter.finish()
    assert converter.header is not None
    assert len(records) == 9
    again = cut(converter.header, records)
    assert b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in again) == example
