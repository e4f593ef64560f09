"""Values in both formats, against psycopg's own dumpers and against the server's known notations."""

from __future__ import annotations

import datetime
import math
import random
import struct
import uuid
from decimal import Decimal

import pytest
from psycopg import adapt, pq
from psycopg.types.json import Json, Jsonb
from psycopg.types.numeric import Float4, Float8, Int2, Int4, Int8, Oid

from pgtrace.protocol import values

BINARY = 1
TEXT = 0


def random_text(rnd: random.Random) -> str:
    return "".join(rnd.choice("ab cé'\"\\{},NULL\t\n😀") for _ in range(rnd.randint(0, 12)))


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def date_text(day: datetime.date) -> str:
    return quoted(day.isoformat())


def moment_text(moment: datetime.datetime) -> str:
    """ISO with a space, microseconds without trailing zeros, the zone as `+00`."""
    text = moment.replace(tzinfo=None).isoformat(sep=" ")
    text = text.rstrip("0") if moment.microsecond else text
    return quoted(text + ("+00" if moment.tzinfo else ""))


def generated() -> list[tuple[object, str]]:
    """Python values and what they must look like."""
    rnd = random.Random(18)
    pairs: list[tuple[object, str]] = [(True, "true"), (False, "false")]
    for kind, bits in ((Int2, 16), (Int4, 32), (Int8, 64)):
        for number in (
            0,
            -1,
            2 ** (bits - 1) - 1,
            -(2 ** (bits - 1)),
            *(rnd.randrange(-(2 ** (bits - 1)), 2 ** (bits - 1)) for _ in range(30)),
        ):
            pairs.append((kind(number), str(number)))
    for number in (0, 2**32 - 1, *(rnd.randrange(2**32) for _ in range(20))):
        pairs.append((Oid(number), str(number)))
    for _ in range(60):
        text = random_text(rnd)
        pairs.append((text, quoted(text)))
        data = rnd.randbytes(rnd.randint(0, 20))
        pairs.append((data, quoted("\\x" + data.hex())))
        identity = uuid.UUID(bytes=rnd.randbytes(16))
        pairs.append((identity, quoted(str(identity))))
        day = datetime.date.fromordinal(rnd.randint(1, datetime.date.max.toordinal()))
        pairs.append((day, date_text(day)))
        moment = datetime.datetime(
            day.year, day.month, day.day, rnd.randrange(24), rnd.randrange(60), rnd.randrange(60), rnd.choice((0, 1, 500000, 123456))
        )
        pairs.append((moment, moment_text(moment)))
        aware = moment.replace(tzinfo=datetime.UTC)
        pairs.append((aware, moment_text(aware)))
        number = Decimal(rnd.randrange(-(10 ** rnd.randint(1, 40)), 10 ** rnd.randint(1, 40))).scaleb(-rnd.randint(0, 30))
        pairs.append((number, f"{number:f}"))
    for number in ("0", "0.00", "-0.5", "10000", "100000000", "0.0001", "0.00001", "1e10", "9999.9999", "NaN", "Infinity", "-Infinity"):
        value = Decimal(number)
        pairs.append((value, f"{value:f}"))
    for text in ('{"a": 1}', "[]", "null"):
        pairs.append((Json(text, dumps=str), quoted(text)))
        pairs.append((Jsonb(text, dumps=str), quoted(text)))
    pairs.append((datetime.date.max, date_text(datetime.date.max)))
    pairs.append((datetime.date.min, date_text(datetime.date.min)))
    return pairs


PAIRS = generated()


def dump(value: object, format: adapt.PyFormat) -> tuple[int, bytes]:
    dumper = adapt.Transformer().get_dumper(value, format)
    data = dumper.dump(value)
    assert data is not None
    return dumper.oid, bytes(data)


def test_there_are_hundreds_of_values() -> None:
    assert len(PAIRS) > 500


def test_binary_values_of_psycopg() -> None:
    for value, expected in PAIRS:
        oid, data = dump(value, adapt.PyFormat.BINARY)
        oid = oid or values.TEXT
        assert values.decode(oid, BINARY, data) == expected, value


def test_text_values_of_psycopg() -> None:
    """What psycopg sends as text is shown as it is; where its text is the server's own, it equals the binary one."""
    same = 0
    for value, expected in PAIRS:
        oid, data = dump(value, adapt.PyFormat.TEXT)
        shown = values.decode(oid, TEXT, data)
        plain = shown[1:-1].replace("''", "'") if shown.startswith("'") else {"true": "t", "false": "f"}.get(shown, shown)
        assert plain == data.decode()
        same += shown == expected
    assert same > 300


@pytest.mark.parametrize(("kind", "oid", "bits"), [(Float4, values.FLOAT4, 32), (Float8, values.FLOAT8, 64)])
def test_floats_are_the_shortest_that_read_back(kind: type, oid: int, bits: int) -> None:
    rnd = random.Random(bits)
    layout = ">f" if bits == 32 else ">d"
    for _ in range(500):
        data = rnd.randbytes(bits // 8)
        (value,) = struct.unpack(layout, data)
        if not math.isfinite(value):
            continue
        shown = values.decode(oid, BINARY, data)
        assert struct.pack(layout, float(shown)) == data
        assert len(shown.split("e")[0].replace(".", "").lstrip("-0")) <= (9 if bits == 32 else 17)
    for value in (1.5, -2.25, 0.1):
        number = kind(value)
        dumped, data = dump(number, adapt.PyFormat.BINARY)
        assert (dumped, values.decode(oid, BINARY, data)) == (oid, str(value))


@pytest.mark.parametrize(
    ("oid", "value", "expected"),
    [
        (values.FLOAT8, 0.0, "0"),
        (values.FLOAT8, -0.0, "-0"),
        (values.FLOAT8, 1.0, "1"),
        (values.FLOAT8, 100.0, "100"),
        (values.FLOAT8, 0.0001, "0.0001"),
        (values.FLOAT8, 0.00001234, "1.234e-05"),
        (values.FLOAT8, 123456789012345.0, "123456789012345"),
        (values.FLOAT8, 1234567890123456.0, "1.234567890123456e+15"),
        (values.FLOAT8, 1e300, "1e+300"),
        (values.FLOAT8, 5e-324, "5e-324"),
        (values.FLOAT8, math.inf, "Infinity"),
        (values.FLOAT8, -math.inf, "-Infinity"),
        (values.FLOAT8, math.nan, "NaN"),
        (values.FLOAT4, 3.14, "3.14"),
        (values.FLOAT4, 123456.0, "123456"),
        (values.FLOAT4, 1234567.0, "1.234567e+06"),
        (values.FLOAT4, 1e-45, "1e-45"),
        (values.FLOAT4, math.nan, "NaN"),
        (values.FLOAT4, -math.inf, "-Infinity"),
    ],
)
def test_floats_are_written_as_the_server_writes_them(oid: int, value: float, expected: str) -> None:
    assert values.decode(oid, BINARY, struct.pack(">f" if oid == values.FLOAT4 else ">d", value)) == expected


@pytest.mark.parametrize(
    ("oid", "layout", "number", "expected"),
    [
        (values.DATE, ">i", 0, "'2000-01-01'"),
        (values.DATE, ">i", 59, "'2000-02-29'"),
        (values.DATE, ">i", -730119, "'0001-01-01'"),
        (values.DATE, ">i", -730120, "'0001-12-31 BC'"),
        (values.DATE, ">i", -730426, "'0001-02-29 BC'"),
        (values.DATE, ">i", -2451545, "'4714-11-24 BC'"),
        (values.DATE, ">i", 2921940, "'10000-01-01'"),
        (values.DATE, ">i", 2145031948, "'5874897-12-31'"),
        (values.DATE, ">i", 2**31 - 1, "'infinity'"),
        (values.DATE, ">i", -(2**31), "'-infinity'"),
        (values.TIMESTAMP, ">q", -1, "'1999-12-31 23:59:59.999999'"),
        (values.TIMESTAMP, ">q", -211813488000000000, "'4714-11-24 00:00:00 BC'"),
        (values.TIMESTAMP, ">q", 9223371331200000000 - 1, "'294276-12-31 23:59:59.999999'"),
        (values.TIMESTAMP, ">q", 2**63 - 1, "'infinity'"),
        (values.TIMESTAMPTZ, ">q", -(2**63), "'-infinity'"),
        (values.TIMESTAMPTZ, ">q", 100_000, "'2000-01-01 00:00:00.1+00'"),
        (values.TIMESTAMPTZ, ">q", -63113904000000001, "'0001-12-31 23:59:59.999999+00 BC'"),
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
        (numeric(0, 0x1000, 0, 1), "\\x000100001000" + "00000001 (oid 1700)"),
        (numeric(0, 0, 0, 10000), "\\x00010000000000002710 (oid 1700)"),
        (numeric(0, 0, 0, 1) + b"\0", "\\x0001000000000000000100 (oid 1700)"),
    ],
)
def test_numerics(data: bytes, expected: str) -> None:
    assert values.decode(values.NUMERIC, BINARY, data) == expected


ELEMENTS = {
    values.INT4: ([Int4(1), None, Int4(-3)], "{1,NULL,-3}"),
    values.TEXT: (["a", None, "", "NULL", "null", "b c", 'q"', "\\", "{x}", "a,b", "it's"], None),
    values.BOOL: ([True, False, None], "{t,f,NULL}"),
    values.NUMERIC: ([Decimal("1.50"), None], "{1.50,NULL}"),
    values.DATE: ([datetime.date(2024, 2, 29)], "{2024-02-29}"),
    values.TIMESTAMP: ([datetime.datetime(2024, 2, 29, 1, 2, 3)], '{"2024-02-29 01:02:03"}'),
    values.UUID: ([uuid.UUID(int=1)], "{00000000-0000-0000-0000-000000000001}"),
    values.BYTEA: ([b"\0\xff"], '{"\\\\x00ff"}'),
    values.FLOAT8: ([1.5, -math.inf], "{1.5,-Infinity}"),
}


@pytest.mark.parametrize("element", ELEMENTS)
def test_one_dimensional_arrays(element: int) -> None:
    items, expected = ELEMENTS[element]
    oid, data = dump(items, adapt.PyFormat.BINARY)
    assert values.ELEMENT_TYPES[oid] == element
    shown = values.decode(oid, BINARY, data)
    if expected is not None:
        assert shown == f"'{expected}'"
    loader = adapt.Transformer().get_loader(oid, pq.Format.TEXT)
    plain = shown[1:-1].replace("''", "'")
    assert loader.load(plain.encode()) == items
    assert values.decode(oid, TEXT, plain.encode()) == shown


def test_unusual_arrays() -> None:
    header = struct.pack(">iiI", 1, 0, values.INT4)
    one = header + struct.pack(">ii", 1, 0) + struct.pack(">ii", 4, 7)
    assert values.decode(1007, BINARY, one) == "'[0:0]={7}'"
    assert values.decode(1007, BINARY, struct.pack(">iiI", 0, 0, values.INT4)) == "'{}'"
    hexed = [
        struct.pack(">iiI", 2, 0, values.INT4) + struct.pack(">iiii", 1, 1, 1, 1) + struct.pack(">ii", 4, 7),  # two dimensions
        struct.pack(">iiI", 1, 0, values.TEXT) + struct.pack(">ii", 1, 1) + struct.pack(">ii", 4, 7),  # another element type
        one + b"\0",
        one[:-1],
        header + struct.pack(">ii", 1, 1) + struct.pack(">i", -2),
        header + struct.pack(">ii", -1, 1),
        header + struct.pack(">ii", 1, 1) + struct.pack(">ih", 2, 7),  # an int4 of two bytes
    ]
    for data in hexed:
        assert values.decode(1007, BINARY, data) == f"\\x{data.hex()} (oid 1007)"


def test_null_empty_and_the_word_null() -> None:
    for oid in (values.TEXT, values.INT4, 99999):
        assert values.decode(oid, TEXT, None) == "NULL"
        assert values.decode(oid, BINARY, None) == "NULL"
        assert values.decode(oid, TEXT, b"") == "''"
    assert values.decode(values.TEXT, BINARY, b"") == "''"
    assert values.decode(values.TEXT, TEXT, b"NULL") == "'NULL'"
    assert values.decode(values.BYTEA, BINARY, b"") == "'\\x'"
    assert values.decode(values.INT4, BINARY, b"") == "\\x (oid 23)"


def test_what_is_not_known_is_hex_with_its_oid() -> None:
    assert values.decode(1234, BINARY, b"hi") == "\\x6869 (oid 1234)"
    assert values.decode(0, BINARY, b"\0\0\0\x2a") == "\\x0000002a (oid 0)"
    assert values.decode(1234, TEXT, b"it's") == "'it''s'"
    assert values.decode(values.TEXT, 7, b"hi") == "\\x6869 (oid 25)"
    assert values.decode(values.INT4, BINARY, b"\0\0\x2a") == "\\x00002a (oid 23)"
    assert values.decode(values.JSONB, BINARY, b"\2{}") == "\\x027b7d (oid 3802)"
    assert values.decode(values.UUID, BINARY, b"short") == "\\x73686f7274 (oid 2950)"


def test_text_that_is_no_number_is_quoted() -> None:
    for text in ("42", "-1.5e+10", "NaN", "-Infinity", ".5"):
        assert values.decode(values.NUMERIC, TEXT, text.encode()) == text
    for text in ("", " 42", "abc", "1;2", "4\n"):
        assert values.decode(values.INT4, TEXT, text.encode()) == f"'{text}'"
    assert values.decode(values.BOOL, TEXT, b"yes") == "'yes'"
    assert values.decode(values.BOOL, TEXT, b"f") == "false"


def test_single_byte_char() -> None:
    for data, expected in ((b"x", "'x'"), (b"\0", "''"), (b"\xe9", "'\\351'"), (b"xy", "\\x7879 (oid 18)")):
        assert values.decode(values.CHAR, BINARY, data) == expected


def test_text_in_another_encoding_keeps_its_bytes() -> None:
    shown = values.decode(values.TEXT, BINARY, b"caf\xe9")
    assert shown.encode("utf-8", "surrogateescape") == b"'caf\xe9'"


def test_type_names() -> None:
    assert values.type_name(20) == "int8"
    assert values.type_name(1009) == "text[]"
    assert values.type_name(18) == '"char"'
    assert values.type_name(12345) == "oid 12345"


def test_arbitrary_bytes_never_raise() -> None:
    rnd = random.Random(3)
    oids = [*values.ELEMENT_TYPES, *values.ELEMENT_TYPES.values(), values.UNKNOWN, 0, 4242]
    for oid in oids:
        for _ in range(300):
            data = rnd.randbytes(rnd.randint(0, 40))
            if oid in values.ELEMENT_TYPES and rnd.random() < 0.7:
                data = struct.pack(">iiIii", 1, rnd.randint(0, 1), values.ELEMENT_TYPES[oid], rnd.randint(-2, 3), rnd.randint(-2, 2)) + data
            for format in (TEXT, BINARY, 2):
                assert isinstance(values.decode(oid, format, data), str)
