"""Numbers: integers, OIDs and their aliases, floats, numeric, money, bool.

A float is printed with the fewest digits that are nearer to it than to its neighbours (never
exactly between, unlike Python's repr), in the style of float4out and float8out. numeric is a series
of base-10000 digits. The alias types of oid (regclass ...) are sent as the OID in binary: the name
that the server would print is in its catalogue and not on the wire. So they are shown as numbers,
and 0 as the server shows it, usually as `-`. Money is shown as in lc_monetary C, whatever the
database uses. Sources: float.c, numeric.c, cash.c, regproc.c in PostgreSQL's src/backend/utils/adt.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal
from typing import Final

_NAMELESS: Final = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}


def integer(layout: str) -> Callable[[bytes], str]:
    """A reader of one integer. `layout` is struct's letter."""
    unpack = struct.Struct(f">{layout}").unpack
    return lambda data: str(unpack(data)[0])


def _alias(data: bytes) -> str:
    (oid,) = struct.unpack(">I", data)
    return str(oid) if oid else "-"


def _bool(data: bytes) -> str:
    return "t" if struct.unpack("?", data)[0] else "f"


def _money(data: bytes) -> str:
    (cents,) = struct.unpack(">q", data)
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}${whole:,}.{rest:02d}"


def _float(layout: str, bits: str, exponent_from: int, first_normal: int) -> Callable[[bytes], str]:
    """A reader of floats. `bits` is the layout of the integer of the same size. All decimals with
    `exponent_from` digits are different floats.

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
"""More digits than any float, or the middle between two floats, has."""
_ROUNDINGS: Final = [Context(prec=digits, rounding=way) for digits in range(1, 18) for way in (ROUND_HALF_EVEN, ROUND_CEILING)]
"""How to round to the shortest digits: to the nearest, or to the next one above (the gap below a
power of two is the smaller one)."""


def _written(number: Decimal, exponent_from: int) -> str:
    """The number without an exponent, or with one if it is below 1e-4 or has more than
    `exponent_from` digits before the point."""
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


float4: Final = _float(">f", ">I", 6, 1 << 23)
float8: Final = _float(">d", ">Q", 15, 1 << 52)


def _numeric(data: bytes) -> str:
    count, weight, sign, scale = struct.unpack_from(">HhHH", data)
    groups = struct.unpack(f">{count}H", data[8:])
    if sign in _NAMELESS:
        return _NAMELESS[sign]
    if sign not in (0, 0x4000) or any(group > 9999 for group in groups):
        raise ValueError("not a numeric")
    digits = "".join(f"{group:04d}" for group in groups)
    point = 4 * (weight + 1)
    whole = digits[: max(point, 0)].ljust(max(point, 0), "0").lstrip("0")
    fraction = ("0" * min(max(-point, 0), scale) + digits[max(point, 0) :])[:scale].ljust(scale, "0")
    minus = "-" if sign and (whole or fraction.strip("0")) else ""
    return f"{minus}{whole or '0'}.{fraction}" if scale else f"{minus}{whole or '0'}"


BARE: Final = frozenset({
    "int2", "int4", "int8", "oid", "xid", "cid", "xid8", "float4", "float8", "numeric",
    "regproc", "regprocedure", "regoper", "regoperator", "regclass", "regtype", "regconfig", "regdictionary", "regnamespace", "regrole",
    "regcollation",
})  # fmt: skip
"""Types whose numbers are shown without quotes."""

READERS: Final[dict[str, Callable[[bytes], str]]] = {
    "bool": _bool,
    "int2": integer("h"),
    "int4": integer("i"),
    "int8": integer("q"),
    "oid": integer("I"),
    "xid": integer("I"),
    "cid": integer("I"),
    "xid8": integer("Q"),
    "float4": float4,
    "float8": float8,
    "numeric": _numeric,
    "money": _money,
    "regproc": _alias,
    "regprocedure": _alias,
    "regoper": integer("I"),
    "regoperator": integer("I"),
    "regclass": _alias,
    "regtype": _alias,
    "regconfig": _alias,
    "regdictionary": _alias,
    "regnamespace": _alias,
    "regrole": _alias,
    "regcollation": _alias,
}
