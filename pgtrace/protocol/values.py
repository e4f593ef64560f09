"""Parameter and column values as text for people, from both wire formats.

A value is NULL, or bytes in text format (0) or binary format (1). The binary readers below give the text the server itself would have sent, so both
formats of one value look the same. That text is then shown like a literal: numbers and booleans bare, everything else in quotes, NULL as NULL. An empty
string is `''` and never NULL.

Nothing is guessed. A type is read by its OID alone; binary bytes of another type, or bytes that do not fit their type (a three-byte int4), are shown as
hex with the OID. Text of an unknown type is text, since its format says so. decode() never raises.

Layouts are those of the `*send` functions in PostgreSQL's src/backend/utils/adt: integers big-endian, dates as days and timestamps as microseconds
since 2000-01-01 (also before Christ and beyond year 9999, where Python's datetime ends), numeric as base-10000 digits, arrays with their own header.
Floats are the fewest digits that lie nearer to this float than to its neighbours (never just between, unlike Python's repr), written as
float4out and float8out do.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal
from typing import Final

BOOL, BYTEA, CHAR, NAME, INT8, INT2, INT4, TEXT, OID, JSON = 16, 17, 18, 19, 20, 21, 23, 25, 26, 114
FLOAT4, FLOAT8, UNKNOWN, BPCHAR, VARCHAR, DATE, TIMESTAMP, TIMESTAMPTZ = 700, 701, 705, 1042, 1043, 1082, 1114, 1184
NUMERIC, UUID, JSONB = 1700, 2950, 3802

ELEMENT_TYPES: Final[dict[int, int]] = {
    1000: BOOL,
    1001: BYTEA,
    1002: CHAR,
    1003: NAME,
    1016: INT8,
    1005: INT2,
    1007: INT4,
    1009: TEXT,
    1028: OID,
    199: JSON,
    1021: FLOAT4,
    1022: FLOAT8,
    1014: BPCHAR,
    1015: VARCHAR,
    1182: DATE,
    1115: TIMESTAMP,
    1185: TIMESTAMPTZ,
    1231: NUMERIC,
    2951: UUID,
    3807: JSONB,
}
"""Element type by array type."""

_NAMES: Final[dict[int, str]] = {
    BOOL: "bool",
    BYTEA: "bytea",
    CHAR: '"char"',
    NAME: "name",
    INT8: "int8",
    INT2: "int2",
    INT4: "int4",
    TEXT: "text",
    OID: "oid",
    JSON: "json",
    FLOAT4: "float4",
    FLOAT8: "float8",
    UNKNOWN: "unknown",
    BPCHAR: "bpchar",
    VARCHAR: "varchar",
    DATE: "date",
    TIMESTAMP: "timestamp",
    TIMESTAMPTZ: "timestamptz",
    NUMERIC: "numeric",
    UUID: "uuid",
    JSONB: "jsonb",
}

_NUMBERS: Final = frozenset((INT2, INT4, INT8, OID, FLOAT4, FLOAT8, NUMERIC))
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|NaN|-?Infinity").fullmatch
_BOOLEANS: Final = {"t": "true", "f": "false", "true": "true", "false": "false"}
_QUOTED_ELEMENT: Final = re.compile(r'[{},"\\ \t\n\r\v\f]').search
_MICROSECONDS_PER_DAY: Final = 86_400_000_000


def decode(oid: int, format: int, data: bytes | None) -> str:
    """The display text of one value of that type. `format` is 0 for text and 1 for binary. Never raises."""
    if data is None:
        return "NULL"
    text = _text(oid, format, data)
    if text is None:
        return f"\\x{data.hex()} (oid {oid})"
    if oid in _NUMBERS and _NUMBER(text):
        return text
    if oid == BOOL and text in _BOOLEANS:
        return _BOOLEANS[text]
    quoted = text.replace("'", "''")
    return f"'{quoted}'"


def type_name(oid: int) -> str:
    """The name of a type as pg_type has it, `text[]` for an array, `oid 12345` for a type that is not known here."""
    if oid in ELEMENT_TYPES:
        return f"{_NAMES[ELEMENT_TYPES[oid]]}[]"
    return _NAMES.get(oid) or f"oid {oid}"


def _text(oid: int, format: int, data: bytes) -> str | None:
    """The server's own text for the value, or None where it cannot be known."""
    if format == 0:
        return _string(data)
    if format != 1:
        return None
    reader = _BINARY.get(oid)
    try:
        if reader:
            return reader(data)
        return _array(ELEMENT_TYPES[oid], data) if oid in ELEMENT_TYPES else None
    except (struct.error, ValueError):
        return None


def _string(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _integer(layout: str) -> Callable[[bytes], str]:
    unpack = struct.Struct(layout).unpack
    return lambda data: str(unpack(data)[0])


def _bool(data: bytes) -> str:
    return "t" if struct.unpack("?", data)[0] else "f"


def _char(data: bytes) -> str:
    (code,) = struct.unpack("B", data)
    return "" if code == 0 else chr(code) if code < 128 else f"\\{code:03o}"


def _bytea(data: bytes) -> str:
    return "\\x" + data.hex()


def _float(layout: str, bits: str, exponent_from: int, first_normal: int) -> Callable[[bytes], str]:
    """A reader of floats: `bits` is the integer of the same size, and decimals of `exponent_from` digits are all different floats.

    Subnormal floats, those below the bits of `first_normal`, may need fewer digits.
    """

    def read(data: bytes) -> str:
        (value,) = struct.unpack(layout, data)
        minus = "-" if math.copysign(1, value) < 0 else ""
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else f"{minus}Infinity"
        if value == 0:
            return f"{minus}0"
        (ordinal,) = struct.unpack(bits, struct.pack(layout, abs(value)))
        below, exact, above = (Decimal(struct.unpack(layout, struct.pack(bits, ordinal + step))[0]) for step in (-1, 0, 1))
        low = _EXACT.divide(_EXACT.add(below, exact), 2)
        high = _EXACT.divide(_EXACT.add(exact, above), 2) if above.is_finite() else _EXACT.subtract(_EXACT.add(exact, exact), low)
        shortest = exact
        for rounded in _ROUNDINGS[2 * exponent_from - 2 if ordinal >= first_normal else 0 :]:
            shortest = rounded.create_decimal(exact)
            if low < shortest < high:
                break
        return minus + _written(shortest, exponent_from)

    return read


_EXACT: Final = Context(prec=1200)
"""More digits than a float and the middle between two floats have."""
_ROUNDINGS: Final = [Context(prec=digits, rounding=way) for digits in range(1, 18) for way in (ROUND_HALF_EVEN, ROUND_CEILING)]
"""Candidates for the shortest digits: the nearest, and (the gap below a power of two is the smaller one) the next above."""


def _written(number: Decimal, exponent_from: int) -> str:
    """Plain, or with an exponent below 1e-4 and from `exponent_from` digits on."""
    _, digit_tuple, scale = number.as_tuple()
    exponent = len(digit_tuple) - 1 + int(scale)
    digits = "".join(map(str, digit_tuple)).rstrip("0")
    if not -4 <= exponent < exponent_from:
        fraction = f".{digits[1:]}" if digits[1:] else ""
        return f"{digits[0]}{fraction}e{exponent:+03d}"
    if exponent < 0:
        return f"0.{'0' * (-exponent - 1)}{digits}"
    whole, fraction = digits[: exponent + 1].ljust(exponent + 1, "0"), digits[exponent + 1 :]
    return f"{whole}.{fraction}" if fraction else whole


def _numeric(data: bytes) -> str:
    count, weight, sign, scale = struct.unpack_from(">HhHH", data)
    groups = struct.unpack(f">{count}H", data[8:])
    if sign in (0xC000, 0xD000, 0xF000):
        return {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}[sign]
    if sign not in (0, 0x4000) or any(group > 9999 for group in groups):
        raise ValueError("no numeric")
    digits = "".join(f"{group:04d}" for group in groups)
    point = 4 * (weight + 1)
    whole = digits[: max(point, 0)].ljust(max(point, 0), "0").lstrip("0")
    fraction = ("0" * min(max(-point, 0), scale) + digits[max(point, 0) :])[:scale].ljust(scale, "0")
    minus = "-" if sign and (whole or fraction.strip("0")) else ""
    return f"{minus}{whole or '0'}.{fraction}" if scale else f"{minus}{whole or '0'}"


def _calendar(days: int) -> tuple[str, str]:
    """A day counted from 2000-01-01 as `YYYY-MM-DD` and the era behind it. The arithmetic is the civil calendar's, with years from March."""
    era, day_of_era = divmod(days + 730_425, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    year = year_of_era + era * 400 + (month <= 2)
    return f"{year if year > 0 else 1 - year:04d}-{month:02d}-{day:02d}", "" if year > 0 else " BC"


def _date(data: bytes) -> str:
    (days,) = struct.unpack(">i", data)
    if days in (2**31 - 1, -(2**31)):
        return "infinity" if days > 0 else "-infinity"
    day, era = _calendar(days)
    return day + era


def _moment(data: bytes, zone: str) -> str:
    (microseconds,) = struct.unpack(">q", data)
    if microseconds in (2**63 - 1, -(2**63)):
        return "infinity" if microseconds > 0 else "-infinity"
    days, rest = divmod(microseconds, _MICROSECONDS_PER_DAY)
    day, era = _calendar(days)
    seconds, fraction = divmod(rest, 1_000_000)
    tail = f".{fraction:06d}".rstrip("0") if fraction else ""
    return f"{day} {seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{tail}{zone}{era}"


def _uuid(data: bytes) -> str:
    return "-".join(part.hex() for part in struct.unpack("4s2s2s2s6s", data))


def _jsonb(data: bytes) -> str:
    if data[:1] != b"\1":
        raise ValueError("another version of jsonb")
    return _string(data[1:])


def _array(element: int, data: bytes) -> str:
    dimensions, flags, oid = struct.unpack_from(">iiI", data)
    if oid != element or flags not in (0, 1):
        raise ValueError("the header is another type's")
    if dimensions == 0 and len(data) == 12:
        return "{}"
    if dimensions != 1:
        raise ValueError("more than one dimension")
    count, lower = struct.unpack_from(">ii", data, 12)
    items: list[str] = []
    position = 20
    for _ in range(count):
        (length,) = struct.unpack_from(">i", data, position)
        position += 4
        if length == -1:
            items.append("NULL")
            continue
        item = data[position : position + length]
        if length < 0 or len(item) != length:
            raise ValueError("an element that is not there")
        position += length
        items.append(_element(_BINARY[element](item)))
    if position != len(data) or count < 0:
        raise ValueError("count and length disagree")
    bounds = "" if lower == 1 else f"[{lower}:{lower + count - 1}]="
    return f"{bounds}{{{','.join(items)}}}"


def _element(text: str) -> str:
    if text and text.upper() != "NULL" and not _QUOTED_ELEMENT(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_BINARY: Final[dict[int, Callable[[bytes], str]]] = {
    BOOL: _bool,
    BYTEA: _bytea,
    CHAR: _char,
    NAME: _string,
    INT8: _integer(">q"),
    INT2: _integer(">h"),
    INT4: _integer(">i"),
    TEXT: _string,
    OID: _integer(">I"),
    JSON: _string,
    FLOAT4: _float(">f", ">I", 6, 1 << 23),
    FLOAT8: _float(">d", ">Q", 15, 1 << 52),
    UNKNOWN: _string,
    BPCHAR: _string,
    VARCHAR: _string,
    DATE: _date,
    TIMESTAMP: lambda data: _moment(data, ""),
    TIMESTAMPTZ: lambda data: _moment(data, "+00"),
    NUMERIC: _numeric,
    UUID: _uuid,
    JSONB: _jsonb,
}
