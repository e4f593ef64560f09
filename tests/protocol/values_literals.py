"""Random literals of every type that has an input function, the same in every run: what the server is asked to print in both formats."""

from __future__ import annotations

import random
from collections.abc import Callable

Make = Callable[[random.Random], str]

WORDS = [
    "",
    "a",
    "NULL",
    "null",
    "it's",
    "\\",
    '"',
    '{"x", y}',
    "(1,2)",
    "[b]",
    "café",
    "😀",
    " tab\t",
    "line\nbreak",
    "a,b",
    "a;b",
    "x y",
    "-",
    ":",
]


def text(rnd: random.Random) -> str:
    return "".join(rnd.choice(WORDS) for _ in range(rnd.randint(0, 3)))


def integer(bits: int, *, signed: bool = True) -> Make:
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)

    def make(rnd: random.Random) -> str:
        return str(rnd.choice((least, most, 0, 1, rnd.randint(least, most), rnd.randint(max(least, -100), 100))))

    return make


def float8(rnd: random.Random) -> str:
    special = ("0", "-0", "1", "0.1", "1e-4", "1e-5", "1e5", "1e6", "1e14", "1e15", "1e16", "NaN", "Infinity", "-Infinity", "5e-324")
    return rnd.choice(
        (
            rnd.choice(special),
            repr(rnd.uniform(-10, 10) * 10.0 ** rnd.randint(-300, 300)),
            repr(2.0 ** rnd.randint(-1074, 1023)),
            str(rnd.randint(-(10**18), 10**18)),
        )
    )


def float4(rnd: random.Random) -> str:
    special = ("0", "-0", "1e5", "1e6", "1e7", "1e-4", "1e-5", "NaN", "Infinity", "-Infinity", "1e-45", "3.4028235e38")
    return rnd.choice((rnd.choice(special), repr(rnd.uniform(-10, 10) * 10.0 ** rnd.randint(-37, 37)), repr(2.0 ** rnd.randint(-149, 127))))


def finite(rnd: random.Random) -> str:
    return rnd.choice(
        (str(rnd.randint(-100, 100)), repr(rnd.uniform(-1e6, 1e6)), repr(rnd.uniform(-10, 10) * 10.0 ** rnd.randint(-30, 30)))
    )


def numeric(rnd: random.Random) -> str:
    special = ("0", "0.000", "-0.0001", "10000", "1e131", "9999.99990000", "NaN", "Infinity", "-Infinity")
    return rnd.choice(
        (
            rnd.choice(special),
            f"{rnd.randint(-(10**30), 10**30)}e{rnd.randint(-45, 20)}",
            f"{rnd.randint(-999999, 999999)}e-{rnd.randint(0, 5)}",
        )
    )


def day(rnd: random.Random) -> str:
    special = ("2000-01-01", "1999-12-31", "0001-01-01", "0001-12-31 BC", "10000-02-29", "infinity", "-infinity", "4714-11-24 BC")
    return rnd.choice(
        (rnd.choice(special), f"{rnd.randint(1, 4700):04d}-{rnd.randint(1, 12):02d}-{rnd.randint(1, 28):02d} {rnd.choice(('AD', 'BC'))}")
    )


def clock(rnd: random.Random) -> str:
    fraction = rnd.choice(("", ".5", ".000001", ".123456", ".100000"))
    return rnd.choice(("24:00:00", "00:00:00", f"{rnd.randint(0, 23):02d}:{rnd.randint(0, 59):02d}:{rnd.randint(0, 59):02d}{fraction}"))


def zone(rnd: random.Random) -> str:
    return rnd.choice("+-") + rnd.choice(
        (
            "00",
            f"{rnd.randint(0, 15):02d}",
            f"{rnd.randint(0, 15):02d}:30",
            f"{rnd.randint(0, 15):02d}:{rnd.randint(0, 59):02d}:{rnd.randint(0, 59):02d}",
        )
    )


def moment(rnd: random.Random) -> str:
    date, _, era = day(rnd).partition(" ")
    return date if "inf" in date else f"{date} {clock(rnd)} {era}"


def interval(rnd: random.Random) -> str:
    parts = [
        f"{rnd.choice((0, 1, -1, rnd.randint(-50, 50), rnd.randint(-(10**6), 10**6)))} {unit}"
        for unit in ("months", "days", "microseconds", "hours")
    ]
    return rnd.choice(("infinity", "-infinity", " ".join(parts), " ".join(parts[:3]), parts[0], parts[1], parts[3], "0"))


def address(rnd: random.Random) -> tuple[str, int]:
    if rnd.random() < 0.4:
        return ".".join(str(rnd.choice((0, 255, rnd.randrange(256)))) for _ in range(4)), 32
    groups = [rnd.choice((0, 0, 1, 0xFFFF, rnd.randrange(1 << 16))) for _ in range(8)]
    if rnd.random() < 0.4:
        groups[: rnd.choice((5, 6))] = [0] * rnd.choice((5, 6))
        groups = groups[:8] + [rnd.randrange(1 << 16)] * (8 - len(groups))
    return ":".join(f"{group:x}" for group in groups), 128


def inet(rnd: random.Random) -> str:
    written, bits = address(rnd)
    return rnd.choice((written, f"{written}/{rnd.randint(0, bits)}"))


def mac(size: int) -> Make:
    return lambda rnd: rnd.randbytes(size).hex(":")


def bits(rnd: random.Random) -> str:
    return "".join(rnd.choice("01") for _ in range(rnd.choice((0, 1, 8, rnd.randint(0, 40)))))


def point(rnd: random.Random) -> str:
    return f"({finite(rnd)},{finite(rnd)})"


def points(least: int) -> Make:
    return lambda rnd: ",".join(point(rnd) for _ in range(rnd.randint(least, 4)))


def path(rnd: random.Random) -> str:
    inner = points(1)(rnd)
    return rnd.choice((f"[{inner}]", f"({inner})"))


def line(rnd: random.Random) -> str:
    return f"{{{rnd.uniform(1, 9)},{finite(rnd)},{finite(rnd)}}}"


def lexeme(rnd: random.Random) -> str:
    word = rnd.choice(("a", "fat", "it's", "back\\slash", "caf\u00e9", "two words", ":", "x&y"))
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


def tsvector(rnd: random.Random) -> str:
    def one() -> str:
        places = ",".join(
            f"{rnd.choice((1, 16383, rnd.randint(1, 16383)))}{rnd.choice(('', 'A', 'B', 'C', 'D'))}" for _ in range(rnd.randint(0, 3))
        )
        return lexeme(rnd) + (f":{places}" if places else "")

    return " ".join(one() for _ in range(rnd.randint(0, 5)))


def tsquery(rnd: random.Random, depth: int = 0) -> str:
    if depth == 0 and rnd.random() < 0.02:
        return ""
    if depth > 4 or rnd.random() < 0.3:
        weights = "".join(letter for letter in "*ABCD" if rnd.random() < 0.2)
        return lexeme(rnd) + (f":{weights}" if weights else "")
    if rnd.random() < 0.2:
        return f"!({tsquery(rnd, depth + 1)})"
    operator = rnd.choice(("&", "|", "<->", f"<{rnd.randint(0, 20)}>"))
    return f"({tsquery(rnd, depth + 1)}) {operator} ({tsquery(rnd, depth + 1)})"


def json(rnd: random.Random) -> str:
    return rnd.choice(("null", "{}", '{"a": [1, "x", null], "b c": {"d": 1.50}}', '"caf\u00e9 \\" \\\\"', "[true, -1e5]"))


def jsonpath(rnd: random.Random) -> str:
    return rnd.choice(("$", "lax $.a[*].b", 'strict $."x y" ? (@ > 10 && @.c == "d")', "$.a.size() + 2", "$[1 to 3]"))


def snapshot(rnd: random.Random) -> str:
    earliest = rnd.randint(1, 2**40)
    running = sorted({earliest + rnd.randint(0, 20) for _ in range(rnd.randint(0, 4))})
    return f"{earliest}:{earliest + 21}:{','.join(map(str, running))}"


def range_of(make: Make) -> Make:
    """Ranges whose bounds may stand the wrong way round; whoever asks the server sorts them out."""

    def one(rnd: random.Random) -> str:
        lower, upper = (rnd.choice(("", '"' + make(rnd) + '"')) for _ in range(2))
        return rnd.choice(("empty", f"{rnd.choice('[(')}{lower},{upper}{rnd.choice('])')}"))

    return one


SCALARS: dict[str, Make] = {
    "bool": lambda rnd: rnd.choice(("t", "f")),
    "bytea": lambda rnd: "\\x" + rnd.randbytes(rnd.randint(0, 30)).hex(),
    '"char"': lambda rnd: rnd.choice(("x", "", "é", "\\", ",", '"', "\\377")),
    "name": text,
    "int8": integer(64),
    "int2": integer(16),
    "int2vector": lambda rnd: " ".join(integer(16)(rnd) for _ in range(rnd.randint(0, 4))),
    "int4": integer(32),
    "text": text,
    "oid": integer(32, signed=False),
    "tid": lambda rnd: f"({rnd.randrange(2**32)},{rnd.randrange(2**16)})",
    "xid": integer(32, signed=False),
    "cid": integer(32, signed=False),
    "oidvector": lambda rnd: " ".join(integer(32, signed=False)(rnd) for _ in range(rnd.randint(0, 4))),
    "json": json,
    "point": point,
    "lseg": lambda rnd: f"[{point(rnd)},{point(rnd)}]",
    "path": path,
    "box": lambda rnd: f"{point(rnd)},{point(rnd)}",
    "polygon": lambda rnd: f"({points(1)(rnd)})",
    "line": line,
    "cidr": lambda rnd: address(rnd)[0],
    "float4": float4,
    "float8": float8,
    "circle": lambda rnd: f"<{point(rnd)},{abs(float(finite(rnd)))!r}>",
    "macaddr8": mac(8),
    "money": lambda rnd: str(rnd.choice((0, rnd.randint(-(10**16), 10**16), rnd.randint(-99, 99) / 100))),
    "macaddr": mac(6),
    "inet": inet,
    "bpchar": text,
    "varchar": text,
    "date": lambda rnd: rnd.choice((day(rnd), "5874897-12-31")),
    "time": clock,
    "timestamp": lambda rnd: rnd.choice((moment(rnd), "294276-12-31 23:59:59.999999")),
    "timestamptz": moment,
    "interval": interval,
    "timetz": lambda rnd: clock(rnd) + zone(rnd),
    '"bit"': bits,  # without the quotes it is bit(1)
    "varbit": bits,
    "numeric": numeric,
    "refcursor": text,
    "regproc": lambda rnd: "0",
    "uuid": lambda rnd: rnd.randbytes(16).hex(),
    "txid_snapshot": snapshot,
    "pg_lsn": lambda rnd: f"{rnd.randrange(2**32):X}/{rnd.randrange(2**32):X}",
    "tsvector": tsvector,
    "tsquery": tsquery,
    "jsonb": json,
    "jsonpath": jsonpath,
    "pg_snapshot": snapshot,
    "xid8": integer(64, signed=False),
}
"""By type: what the server takes as its text."""

RANGES: dict[str, Make] = {
    "int4range": range_of(integer(20)),
    "int8range": range_of(integer(40)),
    "numrange": range_of(numeric),
    "tsrange": range_of(moment),
    "tstzrange": range_of(moment),
    "daterange": range_of(day),
}
"""By range type, likewise; the server refuses some of them."""
