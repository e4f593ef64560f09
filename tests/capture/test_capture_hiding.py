"""`--redact` and `--max-row-bytes`: what is hidden is nowhere in the capture, and everything counts the same without it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.capture.contents import CHOICES
from pgtrace.capture.hiding import ALL, Hiding
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import NEITHER, Data, Elided, Gap, Opaque, Record
from pgtrace.capture.writer import CaptureWriter
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.sqltext.blanking import Blanking
from pgtrace.sqltext.scanner import scan
from pgtrace.trace.trace import Trace
from tests.comparable import comparable
from tests.corpus import in_turn

KEY = b"the recorder's own"
STARTUP = b"\0\0\0\x11\0\3\0\0user\0me\0\0"
READY = b"Z\0\0\0\x05I"
GREETING = b"R\0\0\0\x08\0\0\0\0" + READY
SECRET = b"5ecre7"


def message(code: str, body: bytes) -> bytes:
    return code.encode() + (len(body) + 4).to_bytes(4, "big") + body


def values(*contents: bytes | None) -> bytes:
    packed = (b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value for value in contents)
    return len(contents).to_bytes(2, "big") + b"".join(packed)


def error(code: str, **fields: bytes) -> bytes:
    return message(code, b"".join(name.encode() + value + b"\0" for name, value in fields.items()) + b"\0")


BIND = b"portal\0statement\0" + b"\0\2\0\0\0\1" + values(SECRET, None) + b"\0\1\0\1"
CONVERSATION: list[tuple[int, bytes, frozenset[str]]] = [
    (FRONTEND, message("Q", b"alter role me password '" + SECRET + b"'\0"), frozenset({"literals"})),
    (FRONTEND, message("P", b"name\0select $1, $x$" + SECRET + b"$x$ -- " + SECRET + b"\0\0\1\0\0\0\x19"), frozenset({"literals"})),
    (FRONTEND, message("B", BIND), frozenset({"params"})),
    (FRONTEND, message("F", b"\0\0\0\7\0\0" + values(SECRET) + b"\0\1"), frozenset({"params"})),
    (FRONTEND, message("d", SECRET + b"\tline\n"), frozenset({"rows"})),
    (FRONTEND, message("f", SECRET + b"\0"), frozenset(CHOICES)),
    (BACKEND, message("D", values(None, SECRET, b"")), frozenset({"rows"})),
    (BACKEND, message("V", len(SECRET).to_bytes(4, "big") + SECRET), frozenset({"rows"})),
    (BACKEND, message("d", SECRET), frozenset({"rows"})),
    (BACKEND, error("E", S=b"ERROR", C=b"22P02", M=b'invalid: "' + SECRET + b'"', P=b"8", D=SECRET, W=SECRET, t=b"tab"),
    frozenset(CHOICES)),
    (BACKEND, error("N", S=b"NOTICE", C=b"00000", M=SECRET), frozenset(CHOICES)),
    (BACKEND, message("A", b"\0\0\1\0channel\0" + SECRET + b"\0"), frozenset(CHOICES)),
]  # fmt: skip
"""Each message that can hold a secret, and what chosen hides it there."""


def recorded(pieces: Iterable[tuple[int, bytes]]) -> list[Record]:
    offsets = [0, 0]
    found: list[Record] = []
    for time_ns, (side, data) in enumerate(pieces):
        found.append(Data(time_ns, 1, side, offsets[side], data))
        offsets[side] += len(data)
    return found


def streams(records: Iterable[Record]) -> tuple[bytes, bytes]:
    sides = (bytearray(), bytearray())
    for record in records:
        assert isinstance(record, Data)
        assert record.offset == len(sides[record.side])
        sides[record.side].extend(record.data)
    return bytes(sides[0]), bytes(sides[1])


def whole() -> list[tuple[int, bytes]]:
    return [(FRONTEND, STARTUP), (BACKEND, GREETING), *((side, data) for side, data, _ in CONVERSATION)]


@pytest.mark.parametrize("chosen", [*CHOICES, ALL])
@pytest.mark.parametrize(("side", "data", "by"), CONVERSATION, ids=[f"{'FB'[side]}{chr(data[0])}" for side, data, _ in CONVERSATION])
def test_what_hides_what(side: int, data: bytes, by: frozenset[str], chosen: str) -> None:
    *_, hidden = Hiding(KEY, [chosen])(recorded([(FRONTEND, STARTUP), (BACKEND, GREETING), (side, data)]))
    assert isinstance(hidden, Data)
    assert len(hidden.data) == len(data)
    assert hidden.data[:5] == data[:5]
    assert (SECRET in hidden.data) == (chosen != ALL and chosen not in by)
    if chosen != ALL and chosen not in by:
        assert hidden.data == data


def test_what_stays() -> None:
    sent, received = streams(Hiding(KEY, [ALL])(recorded(whole())))
    for kept in (
        b"alter role me password '******'\0",
        b"name\0select $1, $x$******$x$ --.......\0\0\1",
        b"\0\1\0\0\0\x19",
        BIND[:26],
        b"\0\1\0\1",
    ):
        assert kept in sent
    for kept in (b"SERROR\0C22P02\0M", b"P8\0", b"ttab\0\0", b"channel\0******\0", values(None, b"******", b"")):
        assert kept in received


@given(st.randoms(use_true_random=False), st.sampled_from([*CHOICES, ALL]))
def test_any_cut_gives_the_same_bytes(chance: random.Random, chosen: str) -> None:
    expected = streams(Hiding(KEY, [chosen])(recorded(whole())))
    pieces = []
    for side, data in whole():
        cuts = sorted(chance.sample(range(len(data)), min(len(data), chance.randint(0, 6))))
        pieces += [(side, data[begin:end]) for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    found = streams(Hiding(KEY, [chosen])(recorded(pieces)))
    assert [len(side) for side in found] == [len(side) for side in expected]
    assert SECRET not in b"".join(found) or chosen != ALL
    kept = b"$x"  # the beginning of a closing tag, cut through
    for one, other in zip(found, expected, strict=True):
        assert all(mine == theirs or mine in kept for mine, theirs in zip(one, other, strict=True))


@given(st.lists(st.tuples(st.sampled_from([FRONTEND, BACKEND]), st.binary(max_size=40))), st.integers(0, 50))
def test_any_bytes_go_through(pieces: list[tuple[int, bytes]], row_bytes: int) -> None:
    """It never raises, and every byte has its place: kept, blanked, left out or opaque."""
    records = recorded([(FRONTEND, STARTUP), (BACKEND, GREETING), *pieces])
    offsets = [0, 0]
    for record in Hiding(KEY, [ALL], row_bytes)(records):
        assert isinstance(record, Data | Opaque | Elided)
        assert record.offset == offsets[record.side]
        offsets[record.side] += (
            len(record.data) if isinstance(record, Data) else record.length if isinstance(record, Opaque) else record.bytes
        )
    assert offsets == [sum(len(record.data) for record in records if isinstance(record, Data) and record.side == side) for side in (0, 1)]


FRAGMENTS = [
    "'",
    "''",
    "E'",
    "\\",
    "$",
    "$$",
    "$tag$",
    "tag",
    "ta",
    "-",
    "--",
    "/*",
    "*/",
    "*",
    "/",
    "\n",
    " ",
    "a",
    "0",
    "1",
    "12",
    "x",
    'U&"',
    '"',
    "e",
    "+",
    "@",
    "é",
    ".",
    ";",
    "q",
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join), st.lists(st.integers(0, 30), max_size=3))
def test_blanked_sql_has_the_same_tokens_however_it_was_cut(sql: str, cuts: list[int]) -> None:
    places = sorted(min(cut, len(sql)) for cut in cuts)
    blanking = Blanking()
    pieces = [sql[begin:end].encode("latin-1") for begin, end in zip([0, *places], [*places, len(sql)], strict=True)]
    covered = b"".join(map(blanking.cover, pieces)).decode("latin-1")
    assert scan(covered) == scan(sql)
    for kind, start, end in scan(sql):
        if kind in ("string", "comment") and "q" in sql[start:end]:
            assert "q" not in covered[start:end]


def test_a_literal_in_many_pieces_is_covered_and_not_kept() -> None:
    blanking = Blanking()
    blanking.cover(b"insert into t values (E'")
    for _ in range(200):
        assert blanking.cover(b"x" * 9999 + b"\\") == b"*" * 9999 + b"\\"
        assert blanking.cover(b"'") == b"'"  # escaped: the string goes on
    assert blanking.cover(b"'); select 'next', 7") == b"'); select '****', 1"


@pytest.mark.parametrize(
    ("name", "value"), [("standard_conforming_strings", "off"), ("client_encoding", "SJIS"), ("client_encoding", "gb18030")]
)
def test_where_quotes_cannot_be_told_the_whole_text_is_blanked(name: str, value: str) -> None:
    setting = message("S", f"{name}\0{value}\0".encode())
    query = message("Q", b"select 'a\\' || " + SECRET + b"\0")
    *_, hidden = Hiding(KEY, ["literals"])(recorded([(FRONTEND, STARTUP), (BACKEND, GREETING + setting), (FRONTEND, query)]))
    assert isinstance(hidden, Data)
    assert hidden.data == query[:5] + b"*" * (len(query) - 6) + b"\0"


@pytest.mark.parametrize(
    "trouble",
    [Gap(5, 1, FRONTEND, 10, 1), Gap(5, 0, NEITHER, 10, 1), Data(5, 1, FRONTEND, 17, b"Q\0\0\0\1")],
    ids=["gap", "gap somewhere", "no message"],
)
def test_blanking_fails_closed(trouble: Record) -> None:
    later = Data(6, 1, FRONTEND, 27, CONVERSATION[0][1])
    *_, hidden = Hiding(KEY, ["params"])([*recorded([(FRONTEND, STARTUP), (BACKEND, GREETING)]), trouble, later])
    assert hidden == Opaque(6, 1, FRONTEND, 27, len(later.data))


# Rows.

ROW = message("D", values(b"x" * 20, None))
RESULT = b"2\0\0\0\4" + ROW * 10 + message("C", b"SELECT 10\0") + READY


def test_rows_beyond_the_bound_are_counted_and_not_kept() -> None:
    records = Hiding(KEY, (), 2 * len(ROW))(recorded([(FRONTEND, STARTUP), (BACKEND, GREETING), (BACKEND, RESULT), (BACKEND, RESULT)]))[2:]
    begin = len(GREETING)
    one = [
        Data(2, 1, BACKEND, begin, RESULT[: 5 + 2 * len(ROW)]),
        Elided(2, 1, BACKEND, begin + 5 + 2 * len(ROW), 8, 8 * len(ROW), 16),
        Data(2, 1, BACKEND, begin + 5 + 10 * len(ROW), RESULT[5 + 10 * len(ROW) :]),
    ]
    assert records == [*one, *(record._replace(time_ns=3, offset=record.offset + len(RESULT)) for record in one)]


@given(st.lists(st.integers(1, len(RESULT) - 1), max_size=8), st.integers(0, 200))
def test_rows_are_left_out_wherever_reads_are_cut(cuts: list[int], bound: int) -> None:
    places = sorted(set(cuts))
    pieces = [(BACKEND, RESULT[begin:end]) for begin, end in zip([0, *places], [*places, len(RESULT)], strict=True)]
    records = Hiding(KEY, (), bound)(recorded([(FRONTEND, STARTUP), (BACKEND, GREETING), *pieces]))[2:]
    left_out = [record for record in records if isinstance(record, Elided)]
    kept = b"".join(record.data for record in records if isinstance(record, Data))
    rows = min(10, -(-bound // len(ROW)))
    assert kept == RESULT[: 5 + rows * len(ROW)] + RESULT[5 + 10 * len(ROW) :]
    assert sum(record.messages for record in left_out) == 10 - rows
    assert sum(record.columns for record in left_out) == 2 * (10 - rows)
    assert sum(record.bytes for record in left_out) == (10 - rows) * len(ROW)


# Every capture of the repository.


def records_of(path: Path) -> list[Record]:
    found: list[Record] = []
    with closing(CaptureReader(path)) as reader:
        while blocks := reader.read():
            found += [record for block in blocks for record in block.records]
        header = reader.header
    assert header is not None
    return found


NOT_COUNTED = ("driver", "driver_evidence", "layer", "layer_evidence", "drivers", "sql", "fingerprint")
"""What is no count and told from literals too: evidence of drivers, and the numbers in NUMERIC(10, 2)."""


def counted(path: Path, *, without: tuple[str, ...] = ()) -> object:
    with closing(Trace.open([path])) as trace:
        return _without(comparable(trace), without)


def _without(value: object, keys: tuple[str, ...]) -> object:
    if isinstance(value, dict):
        return {key: _without(one, keys) for key, one in value.items() if key not in keys}
    if isinstance(value, list):
        return sorted((_without(one, keys) for one in value), key=repr)
    return value


WAYS = list(in_turn([(([ALL], 100), NOT_COUNTED), (((), 0), ())]))
"""Of each capture: how it is hidden, and what that does not leave as it was."""


@pytest.mark.sampled(4)
@pytest.mark.parametrize("directory", sorted({path.parent for path, _ in WAYS}), ids=lambda directory: directory.name)
def test_counts_are_the_same(directory: Path, tmp_path: Path) -> None:
    for capture, ways in WAYS:
        for hidden, without in ways if capture.parent == directory else ():
            path = tmp_path / f"{capture.stem}-{len(without)}.pgtrace"
            with CaptureWriter(path) as writer:
                writer.write(Hiding(KEY, *hidden)(records_of(capture)))
            assert counted(path, without=without) == counted(capture, without=without), path.name
