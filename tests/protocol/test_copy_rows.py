"""Rows of COPY data, however it is cut. What the real server makes of the same data is in live/test_copy_formats.py."""

from __future__ import annotations

import csv
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.protocol.copy_binary import SIGNATURE, BinaryRows
from pgtrace.protocol.copy_rows import ROWS_SHOWN, CsvRows, Rows, TextRows
from pgtrace.protocol.primitives import Field

PIECES = st.lists(
    st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\\", b"\\.", b"\\.\n", b'"', b"'", b",", b"\t", b"caf\xc3\xa9", b"\0"]), max_size=30
)
READERS = [
    TextRows(),
    TextRows(header=True),
    CsvRows(),
    CsvRows(header=True, marker=True),
    CsvRows(quote=b"'", escape=b"\\", marker=True),
    CsvRows(quote=b"\\"),
    BinaryRows(("id",)),
]
HEADER = SIGNATURE + struct.pack(">ii", 0, 0)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data in pieces of those sizes, the last of them repeated."""
    pieces, position, number = [], 0, 0
    while position < len(data):
        size = max(1, sizes[min(number, len(sizes) - 1)])
        pieces.append(data[position : position + size])
        position += size
        number += 1
    return pieces


def rows_of(reader: Rows, *pieces: bytes) -> int | None:
    reader = reader.twin()
    for piece in pieces:
        reader.feed(piece)
    reader.finish()
    return reader.rows


def binary(*rows: tuple[bytes | None, ...], oids: bool = False) -> bytes:
    data = SIGNATURE + struct.pack(">ii", 1 << 16 if oids else 0, 3) + b"ext"
    for row in rows:
        data += struct.pack(">h", len(row) - oids)
        data += b"".join(b"\xff\xff\xff\xff" if value is None else struct.pack(">i", len(value)) + value for value in row)
    return data + b"\xff\xff"


def test_lines_of_text() -> None:
    for data, rows in [
        (b"", 0),
        (b"1\ta\n2\tb\n", 2),
        (b"1\n2", 2),
        (b"\n\n", 2),
        (b"1\r\n2\r\n", 2),
        (b"1\r2\r3", 3),
        (b"1\n2\r3\n", 2),
        (b"a\\\nb\n", 1),
        (b"a\\\\\nb\n", 2),
        (b"1\n\\.\n2\n", 1),
        (b"1\n\\.", 1),
        (b"1\n\\.x\n", 2),
        (b"1\r\n\\.\r\nx", 1),
        (b"\\N\n", 1),
        (b'"\n"\n', 2),
    ]:
        assert rows_of(TextRows(), data) == rows, data
        assert rows_of(TextRows(), *cut(data, [1])) == rows, data
    assert rows_of(TextRows(header=True), b"id\n1\n2\n") == 2
    assert rows_of(TextRows(header=True), b"id") == 0


def test_lines_of_csv() -> None:
    for reader, data, rows in [
        (CsvRows(), b'1,"a\nb"\n2,c\n', 2),
        (CsvRows(), b'"a""\n""b"\n', 1),
        (CsvRows(), b'a\\"\n"\n', 1),
        (CsvRows(escape=b"\\"), b'"a\\"\n"\n', 1),
        (CsvRows(escape=b"\\"), b'"a\\\\"\n1\n', 2),
        (CsvRows(escape=b"\\"), b'\\"a\n"\n', 1),
        (CsvRows(quote=b"'", escape=b"'"), b"'\n'\n\"\n", 2),
        (CsvRows(), b"1\n\\.\n2\n", 3),
        (CsvRows(marker=True), b"1\n\\.\n2\n", 1),
        (CsvRows(marker=True), b'1\n"\\."\n2\n', 3),
        (CsvRows(header=True), b'"i\nd"\n1\n', 1),
        (CsvRows(), b'"a\r"\r"b\n"\rc', 3),
    ]:
        assert rows_of(reader, data) == rows, data
        assert rows_of(reader, *cut(data, [1])) == rows, data


def test_binary_rows() -> None:
    data = binary((b"abcd", None), (), (b"",))
    assert rows_of(BinaryRows(), data) == rows_of(BinaryRows(), *cut(data, [1])) == 3
    assert rows_of(BinaryRows(), data, b"behind") == 3
    assert rows_of(BinaryRows(), binary((b"oid1", b"x"), (b"oid2", None), oids=True)) == 2
    assert rows_of(BinaryRows(), HEADER + b"\xff\xfe") is None
    assert rows_of(BinaryRows(), HEADER + struct.pack(">hi", 1, -2)) is None
    assert rows_of(BinaryRows(), b"1\tnot binary at all\n") is None
    assert rows_of(BinaryRows(), data[:-9]) == 1


@given(
    st.lists(st.lists(st.text(alphabet='ab"\n\r,\\é', max_size=6), min_size=1, max_size=3), max_size=12),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_what_the_csv_module_writes_is_counted(rows: list[list[str]], sizes: list[int]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    data = text.getvalue().encode()
    assert rows_of(CsvRows(), *cut(data, sizes)) == len(rows)


@given(st.lists(st.lists(st.none() | st.binary(max_size=40), max_size=4), max_size=12), st.lists(st.integers(1, 30), min_size=1))
def test_binary_rows_are_counted_however_they_are_cut(rows: list[list[bytes | None]], sizes: list[int]) -> None:
    assert rows_of(BinaryRows(), *cut(binary(*map(tuple, rows)), sizes)) == len(rows)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: type(reader).__name__)
@given(
    data=PIECES.map(b"".join) | st.binary(max_size=60) | st.binary(max_size=40).map(lambda rest: HEADER + rest),
    sizes=st.lists(st.integers(1, 9), min_size=1),
)
def test_any_bytes_in_any_pieces_are_the_same_rows(reader: Rows, data: bytes, sizes: list[int]) -> None:
    """And fields() is a view of the same: it leaves the reader where feed() does, and leaves no byte out."""
    whole = rows_of(reader, data)
    feeding, showing = reader.twin(), reader.twin()
    for piece in cut(data, sizes):
        feeding.feed(piece)
        fields = showing.fields(piece)
        assert vars(showing) == vars(feeding)
        assert fields[0].start == 0
        assert fields[-1].end == len(piece)
        assert [field.start for field in fields[1:]] == [field.end for field in fields[:-1]]
    feeding.finish()
    assert feeding.rows == whole


def test_fields_name_rows_and_their_parts() -> None:
    reader = TextRows(header=True)
    assert [(field.name, field.value) for field in reader.fields(b"id\tsku\n1\ta\n2")] == [
        ("header", "id\tsku"),
        ("row 1", "1\ta"),
        ("row 2, a part", "2"),
    ]
    assert reader.fields(b"\tb\n\\.\nmore") == [
        Field("row 2, its end", "\tb", "text", 0, 3, 0),
        Field("end of data", "\\.", "text", 3, 6, 0),
        Field("after the end", "more", "text", 6, 10, 0),
    ]
    returned = TextRows()
    assert [field.name for piece in (b"a\r", b"\nb\r\n") for field in returned.fields(piece)] == ["row 1, a part", "line break", "row 2"]


def test_fields_of_binary_rows_have_the_names_of_the_statement() -> None:
    data = binary((b"\0\0\0\7", None))
    fields = BinaryRows(("id", "sku")).fields(data)
    assert [(field.name, field.value, field.depth) for field in fields] == [
        ("signature", SIGNATURE, 0),
        ("flags", 0, 0),
        ("extension", b"ext", 0),
        ("row 1", 2, 0),
        ("id", b"\0\0\0\7", 1),
        ("sku", None, 1),
        ("end of data", -1, 0),
    ]
    reader = BinaryRows()
    assert [field.name for piece in (data[:30], data[30:]) for field in reader.fields(piece)][3:] == [
        "row 1", "column 1, a part", "column 1, its end", "column 2", "end of data",
    ]  # fmt: skip
    assert [field.name for field in BinaryRows().fields(b"no such signature")] == ["signature", "malformed"]


def test_many_rows_of_one_message_are_one_field() -> None:
    rows = 3 * ROWS_SHOWN
    for reader, data in ((TextRows(), b"x\n" * rows), (BinaryRows(), binary(*[(b"x",)] * rows))):
        fields = reader.fields(data)
        assert fields[-1].name == f"{rows - ROWS_SHOWN} more rows"
        assert fields[-1].end == len(data)
        assert reader.rows == rows
