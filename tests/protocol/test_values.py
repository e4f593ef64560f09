"""How values look: literals, NULL and empty, what is not known, what is malformed, what lies in each other."""

from __future__ import annotations

import math
import random
import struct

import pytest

from pgtrace.protocol import values
from pgtrace.protocol.values import Type, TypeKind, reading

BINARY = 1
TEXT = 0
OID = {one.name: one.oid for one in values.BUILTIN.values()}


@pytest.mark.parametrize(
    ("oid", "value", "expected"),
    [
        (OID["float8"], 0.0, "0"),
        (OID["float8"], -0.0, "-0"),
        (OID["float8"], 1.0, "1"),
        (OID["float8"], 100.0, "100"),
        (OID["float8"], 0.0001, "0.0001"),
        (OID["float8"], 0.00001234, "1.234e-05"),
        (OID["float8"], 123456789012345.0, "123456789012345"),
        (OID["float8"], 1234567890123456.0, "1.234567890123456e+15"),
        (OID["float8"], 1e300, "1e+300"),
        (OID["float8"], 5e-324, "5e-324"),
        (OID["float8"], math.inf, "Infinity"),
        (OID["float8"], -math.inf, "-Infinity"),
        (OID["float8"], math.nan, "NaN"),
        (OID["float4"], 3.14, "3.14"),
        (OID["float4"], 123456.0, "123456"),
        (OID["float4"], 1234567.0, "1.234567e+06"),
        (OID["float4"], 1e-45, "1e-45"),
        (OID["float4"], math.nan, "NaN"),
        (OID["float4"], -math.inf, "-Infinity"),
    ],
)
def test_floats_are_written_as_the_server_writes_them(oid: int, value: float, expected: str) -> None:
    assert values.decode(oid, BINARY, struct.pack(">f" if oid == OID["float4"] else ">d", value)) == expected


@pytest.mark.parametrize(
    ("oid", "layout", "number", "expected"),
    [
        (OID["date"], ">i", 0, "'2000-01-01'"),
        (OID["date"], ">i", 59, "'2000-02-29'"),
        (OID["date"], ">i", -730119, "'0001-01-01'"),
        (OID["date"], ">i", -730120, "'0001-12-31 BC'"),
        (OID["date"], ">i", -730426, "'0001-02-29 BC'"),
        (OID["date"], ">i", -2451545, "'4714-11-24 BC'"),
        (OID["date"], ">i", 2921940, "'10000-01-01'"),
        (OID["date"], ">i", 2145031948, "'5874897-12-31'"),
        (OID["date"], ">i", 2**31 - 1, "'infinity'"),
        (OID["date"], ">i", -(2**31), "'-infinity'"),
        (OID["timestamp"], ">q", -1, "'1999-12-31 23:59:59.999999'"),
        (OID["timestamp"], ">q", -211813488000000000, "'4714-11-24 00:00:00 BC'"),
        (OID["timestamp"], ">q", 9223371331200000000 - 1, "'294276-12-31 23:59:59.999999'"),
        (OID["timestamp"], ">q", 2**63 - 1, "'infinity'"),
        (OID["timestamptz"], ">q", -(2**63), "'-infinity'"),
        (OID["timestamptz"], ">q", 100_000, "'2000-01-01 00:00:00.1+00'"),
        (OID["timestamptz"], ">q", -63113904000000001, "'0001-12-31 23:59:59.999999+00 BC'"),
    ],
)
def test_days_and_moments_beyond_python(oid: int, layout: str, number: int, expected: str) -> None:
    if expected.endswith("+00 BC'"):
        number = -730119 * 86_400_000_000 - 1
    assert values.decode(oid, BINARY, struct.pack(layout, number)) == expected


def numeric(weight: int, sign: int, scale: int, *groups: int) -> bytes:
    return struct.pack(f">HhHH{len(groups)}H", len(groups), weight, sign, scale, *groups)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (numeric(0, 0, 0), "0"),
        (numeric(0, 0, 3), "0.000"),
        (numeric(0, 0x4000, 0, 42), "-42"),
        (numeric(2, 0, 0, 7), "700000000"),
        (numeric(-2, 0x4000, 8, 1234), "-0.00001234"),
        (numeric(-1, 0, 2, 1250), "0.12"),  # digits beyond the scale are not shown
        (numeric(0, 0, 6, 1), "1.000000"),
        (numeric(1, 0, 4, 1, 2, 3), "10002.0003"),
        (numeric(-3, 0, 2), "0.00"),
        (numeric(0, 0xC000, 0), "NaN"),
        (numeric(0, 0xD000, 0x20), "Infinity"),
        (numeric(0, 0xF000, 0x20), "-Infinity"),
        (numeric(0, 0x4000, 0), "0"),
        (numeric(0, 0x1000, 0, 1), "\\x000100001000" + "00000001 (oid 1700, malformed)"),
        (numeric(0, 0, 0, 10000), "\\x00010000000000002710 (oid 1700, malformed)"),
        (numeric(0, 0, 0, 1) + b"\0", "\\x0001000000000000000100 (oid 1700, malformed)"),
    ],
)
def test_numerics(data: bytes, expected: str) -> None:
    assert values.decode(OID["numeric"], BINARY, data) == expected


INT4_ARRAY, RECORD = OID["_int4"], OID["record"]
ONE = struct.pack(">iiIii", 1, 0, OID["int4"], 1, 1) + struct.pack(">ii", 4, 7)


def test_arrays_whose_header_is_another_ones_are_malformed() -> None:
    header = struct.pack(">iiI", 1, 0, OID["int4"])
    assert values.decode(INT4_ARRAY, BINARY, ONE) == "'{7}'"
    assert values.decode(INT4_ARRAY, BINARY, struct.pack(">iiI", 0, 0, OID["int4"])) == "'{}'"
    assert values.decode(INT4_ARRAY, BINARY, header + struct.pack(">ii", 0, 1)) == "'{}'"  # no server sends it, drivers do
    malformed = [
        struct.pack(">iiI", 7, 0, OID["int4"]) + struct.pack(">ii", 1, 1) * 7 + struct.pack(">ii", 4, 7),  # seven dimensions
        struct.pack(">iiI", -1, 0, OID["int4"]),
        struct.pack(">iiI", 1, 2, OID["int4"]) + ONE[12:],  # unknown flags
        struct.pack(">iiI", 1, 0, OID["text"]) + ONE[12:],  # another element type
        header + struct.pack(">ii", 2**31 - 1, 1) + struct.pack(">ii", 4, 7),  # more elements than bytes
        ONE + b"\0",
        ONE[:-1],
        header + struct.pack(">ii", 1, 1) + struct.pack(">i", -2),
        header + struct.pack(">ii", -1, 1),
        header + struct.pack(">ii", 1, 1) + struct.pack(">ih", 2, 7),  # an int4 of two bytes
    ]
    for data in malformed:
        assert values.decode(INT4_ARRAY, BINARY, data) == f"\\x{data.hex()} (oid 1007, malformed)"


def record(*columns: tuple[int, bytes | None]) -> bytes:
    data = struct.pack(">i", len(columns))
    for oid, value in columns:
        data += struct.pack(">Ii", oid, -1 if value is None else len(value)) + (value or b"")
    return data


def test_null_empty_and_the_word_null() -> None:
    for oid in (OID["text"], OID["int4"], 99999):
        assert values.decode(oid, TEXT, None) == "NULL"
        assert values.decode(oid, BINARY, None) == "NULL"
        assert values.decode(oid, TEXT, b"") == "''"
        assert values.text(oid, TEXT, None) is None
        assert values.text(oid, TEXT, b"") == ""
    assert values.decode(OID["text"], BINARY, b"") == "''"
    assert values.decode(OID["text"], TEXT, b"NULL") == "'NULL'"
    assert values.decode(OID["bytea"], BINARY, b"") == "'\\x'"
    assert values.decode(OID["int4"], BINARY, b"") == "\\x (oid 23, malformed)"
    assert values.decode(RECORD, BINARY, record((25, None), (25, b""), (25, b"NULL"))) == "'(,\"\",NULL)'"


def test_what_is_not_known_is_hex_with_its_oid() -> None:
    assert values.decode(12345, BINARY, b"hi") == "\\x6869 (oid 12345)"
    assert values.decode(0, BINARY, b"\0\0\0\x2a") == "\\x0000002a (oid 0)"
    assert values.decode(12345, TEXT, b"it's") == "'it''s'"
    assert values.decode(OID["text"], 7, b"hi") == "\\x6869 (oid 25, format 7)"
    assert values.decode(OID["pg_ndistinct"], BINARY, b"hi") == "\\x6869 (oid 3361)"
    assert values.text(12345, BINARY, b"hi") is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bool", b""),
        ("int4", b"\0\0\x2a"),
        ("money", b"\0" * 7),
        ("jsonb", b"\2{}"),
        ("uuid", b"short"),
        ('"char"', b"xy"),
        ("void", b"x"),
        ("varbit", struct.pack(">iB", 9, 0)),
        ("varbit", struct.pack(">iB", -1, 0)),
        ("date", b"\0" * 5),
        ("time", struct.pack(">q", -1)),
        ("time", struct.pack(">q", 86_400_000_001)),
        ("timetz", struct.pack(">qi", 0, 16 * 3600)),
        ("timetz", struct.pack(">q", 0)),
        ("interval", b"\0" * 15),
        ("inet", b"\4\x20\0\4\1\2\3\4"),
        ("inet", b"\2\x21\0\4\1\2\3\4"),
        ("inet", b"\2\x20\0\4\1\2\3"),
        ("macaddr", b"\0" * 7),
        ("macaddr8", b"\0" * 7),
        ("point", b"\0" * 15),
        ("path", struct.pack(">Bi", 1, -1)),
        ("polygon", struct.pack(">i", 2) + b"\0" * 16),
        ("circle", b"\0" * 25),
        ("tsvector", struct.pack(">i", 1) + b"word"),
        ("tsvector", struct.pack(">i", 1) + b"word\0" + struct.pack(">HH", 2, 1)),
        ("tsquery", struct.pack(">iBBBB", 1, 1, 0, 0, 0) + b"x"),
        ("tsquery", struct.pack(">iBB", 1, 2, 2)),
        ("tsquery", struct.pack(">iBB", 1, 2, 9)),
        ("tsquery", struct.pack(">iBBBBBBBB", 2, 1, 0, 0, 0, 1, 0, 0, 0)),
        ("tid", b"\0" * 5),
        ("pg_snapshot", struct.pack(">iqq", 2, 1, 2)),
        ("int2vector", struct.pack(">iiIii", 1, 0, 23, 0, 0)),
        ("int4range", b""),
        ("int4range", b"\2"),
        ("int4range", b"\2" + struct.pack(">i", -1)),
        ("int4range", b"\1" + b"\0"),
        ("int4multirange", struct.pack(">i", -1)),
        ("record", struct.pack(">iI", 1, 23)),
        ("record", record((23, b"\0\0\0"))),
        ("anyarray", ONE[:-1]),
    ],
)
def test_what_does_not_fit_its_type_is_malformed(name: str, data: bytes) -> None:
    assert values.decode(OID[name], BINARY, data) == f"\\x{data.hex()} (oid {OID[name]}, malformed)"


def test_text_that_is_no_number_is_quoted() -> None:
    for text in ("42", "-1.5e+10", "NaN", "-Infinity", ".5"):
        assert values.decode(OID["numeric"], TEXT, text.encode()) == text
    for text in ("", " 42", "abc", "1;2", "4\n"):
        assert values.decode(OID["int4"], TEXT, text.encode()) == f"'{text}'"
    assert values.decode(OID["bool"], TEXT, b"yes") == "'yes'"
    assert values.decode(OID["bool"], TEXT, b"f") == "false"
    assert values.decode(OID["money"], BINARY, struct.pack(">q", -123456789)) == "'-$1,234,567.89'"


def test_single_byte_char() -> None:
    for data, expected in ((b"x", "'x'"), (b"\0", "''"), (b"\xe9", "'\\351'")):
        assert values.decode(OID['"char"'], BINARY, data) == expected


def test_text_in_another_encoding_keeps_its_bytes() -> None:
    shown = values.decode(OID["text"], BINARY, b"caf\xe9")
    assert shown.encode("utf-8", "surrogateescape") == b"'caf\xe9'"


MOOD, MOODS, PERSON, CENTS, PRICES, PRICE_LISTS, STATION = range(16_400, 16_407)
LEARNED = {
    MOOD: Type(MOOD, "mood", TypeKind.ENUM),
    MOODS: Type(MOODS, "_mood", TypeKind.ARRAY, MOOD),
    PERSON: Type(PERSON, "person", TypeKind.COMPOSITE),
    CENTS: Type(CENTS, "cents", TypeKind.DOMAIN, OID["int4"]),
    PRICES: Type(PRICES, "prices", TypeKind.RANGE, CENTS),
    PRICE_LISTS: Type(PRICE_LISTS, "price_lists", TypeKind.MULTIRANGE, range=PRICES),
    STATION: Type(STATION, "station", TypeKind.BASE),
}


def test_learned_types() -> None:
    moods = struct.pack(">iiIii", 1, 1, MOOD, 2, 1) + struct.pack(">i", 3) + b"sad" + struct.pack(">i", -1)
    seven = struct.pack(">i", 7)
    from_seven = b"\x12" + struct.pack(">i", 4) + seven
    for oid, data, expected in (
        (MOOD, b"it's fine", "'it''s fine'"),
        (MOODS, moods, "'{sad,NULL}'"),
        (PERSON, record((25, b"Ann"), (MOOD, b"so so"), (MOODS, moods)), '\'(Ann,"so so","{sad,NULL}")\''),
        (CENTS, seven, "7"),
        (PRICES, from_seven, "'[7,)'"),
        (PRICE_LISTS, struct.pack(">ii", 1, len(from_seven)) + from_seven, "'{[7,)}'"),
    ):
        assert values.decode(oid, BINARY, data, LEARNED) == expected
        assert values.decode(oid, BINARY, data) == f"\\x{data.hex()} (oid {oid})"
    assert values.decode(CENTS, TEXT, b"7", LEARNED) == "7"
    assert values.decode(CENTS, TEXT, b"7") == "'7'"


def test_what_is_not_known_inside_a_value_is_hex_in_its_place() -> None:
    """Unquoted, as no server writes it: text with a backslash stands in quotes."""
    person = record((25, b"Ann"), (STATION, b"\1\2"), (25, b"\\x0102 (oid 16406)"))
    assert values.decode(PERSON, BINARY, person, LEARNED) == "'(Ann,\\x0102 (oid 16406),\"\\\\x0102 (oid 16406)\")'"
    unknown_elements = struct.pack(">iiIii", 1, 0, 4242, 1, 1) + struct.pack(">i", 1) + b"x"
    assert values.decode(OID["anyarray"], BINARY, unknown_elements) == "'{\\x78 (oid 4242)}'"


def test_what_is_learned_never_overrides_what_is_built_in() -> None:
    assert values.decode(OID["int4"], BINARY, b"\0\0\0\7", {OID["int4"]: Type(OID["int4"], "x", TypeKind.ENUM)}) == "7"
    named_like_built_in = {16_500: Type(16_500, "int4", TypeKind.BASE)}
    assert values.decode(16_500, BINARY, b"\0\0\0\7", named_like_built_in) == "\\x00000007 (oid 16500)"


def test_types_that_are_made_of_themselves() -> None:
    """Nothing of the kind exists, but what was learned came from somewhere else."""
    circular = {
        1: Type(1, "a", TypeKind.DOMAIN, 2),
        2: Type(2, "b", TypeKind.DOMAIN, 1),
        3: Type(3, "c", TypeKind.ARRAY, 3),
        4: Type(4, "d", TypeKind.RANGE, 4),
        5: Type(5, "e", TypeKind.MULTIRANGE, range=5),
        6: Type(6, "f", TypeKind.MULTIRANGE, range=99),
    }
    array, bounds = b"", b""
    for _ in range(2_000):
        array = struct.pack(">iiIiii", 1, 0, 3, 1, 1, len(array)) + array
        bounds = b"\x10" + struct.pack(">i", len(bounds)) + bounds
    for oid, data in ((1, b"x"), (3, array), (4, bounds), (5, bounds), (6, bounds)):
        assert f"(oid {oid}" in values.decode(oid, BINARY, data, circular)
        assert values.type_name(oid, circular)


def test_values_that_lie_too_deep_or_grow_too_long_are_hex_there() -> None:
    """Quotes in quotes double with each level, as they do in the server's text; a few bytes of numeric are a hundred thousand digits."""
    data = record()
    for _ in range(10_000):
        data = record((RECORD, data))
    shown = values.decode(RECORD, BINARY, data)
    assert f"(oid {RECORD})" in shown
    assert len(shown) < 3 * reading.LONGEST
    long = struct.pack(">HhHHH", 1, 32_000, 0, 0, 1)
    numbers = struct.pack(">iiIii", 1, 0, OID["numeric"], 1_000, 1) + (struct.pack(">i", len(long)) + long) * 1_000
    assert len(values.decode(OID["_numeric"], BINARY, numbers)) < 3 * reading.LONGEST


def test_deep_queries_are_read_whole() -> None:
    """A tsquery of a thousand terms is as deep as it is long."""
    count = 3_000
    item = b"\1\0\0x\0"
    assert (
        values.decode(OID["tsquery"], BINARY, struct.pack(">i", 2 * count + 1) + b"\2\2" * count + item * (count + 1)).count("&") == count
    )
    assert values.decode(OID["tsquery"], BINARY, struct.pack(">i", count + 1) + b"\2\1" * count + item).count("!") == count


def test_type_names() -> None:
    assert values.type_name(20) == "int8"
    assert values.type_name(1009) == "text[]"
    assert values.type_name(2287) == "record[]"
    assert values.type_name(3904) == "int4range"
    assert values.type_name(18) == '"char"'
    assert values.type_name(2277) == "anyarray"
    assert values.type_name(12345) == "oid 12345"
    assert values.type_name(MOODS, LEARNED) == "mood[]"
    assert values.type_name(CENTS, LEARNED) == "cents"
    assert values.type_name(7, {7: Type(7, "", TypeKind.ARRAY, 8)}) == "oid 7"
    assert values.type_name(7, {7: Type(7, "_x", TypeKind.ARRAY, 8)}) == "_x"


@pytest.mark.parametrize("oid", [*values.BUILTIN, *LEARNED, 0, 4242])
def test_arbitrary_bytes_never_raise(oid: int) -> None:
    rnd = random.Random(oid)
    for _ in range(200):
        data = rnd.randbytes(rnd.randint(0, 40))
        kind = values.BUILTIN.get(oid)
        if kind is not None and kind.kind is TypeKind.ARRAY and rnd.random() < 0.7:
            header = struct.pack(">iiI", rnd.randint(-1, 3), rnd.randint(0, 1), kind.element or rnd.choice(list(values.BUILTIN)))
            data = header + b"".join(struct.pack(">ii", rnd.randint(-1, 2), rnd.randint(-2, 2)) for _ in range(rnd.randint(0, 2))) + data
        if rnd.random() < 0.2:
            data = record(*[(rnd.choice(list(values.BUILTIN)), rnd.randbytes(rnd.randint(0, 8))) for _ in range(3)])
        for format in (TEXT, BINARY, 2):
            assert isinstance(values.decode(oid, format, data, LEARNED), str)
