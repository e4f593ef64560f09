"""Mutants of everything that pgtrace reads: a seed, changed where its reader looks.

A mutant is made of a number and nothing else, so that any of them can be made again. Formats with
checksums are changed on both sides of them: records of a capture are taken out, changed field by
field, and put into blocks whose CRC is right, for behind the CRC is where fields are trusted. Lines
of JSON are changed value by value, text by its numbers and lines, packets by their bytes.
"""

from __future__ import annotations

import gzip
import json
import random
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pgtrace.capture.blocks import BLOCK, LONGEST
from pgtrace.capture.jsonl.cutting import Cutter, first_line
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import _KINDS, Data, Gap, Record, encode_text
from pgtrace.capture.versions import Header
from pgtrace.protocol import registry

ROOT = Path(__file__).parent.parent.parent
SEED_BYTES = 6_000
"""The largest recorded capture that is a seed: what is small has many mutants a second."""
NUMBERS = (
    *range(9), 255, 256, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
)  # fmt: skip
TEXTS = (
    "",
    "\x1b]0;PWN\x07", "\u202e", "\ud800", "\udcff", "\0", "a\0b", "x" * 5000, "'", '"', "\\", "%s{}", "::error::x", "1 python", "-1",
    "9" * 30, "9" * 5000, "127.0.0.1:" + "9" * 5000, "127.0.0.1:\u00b2", "rtt", "\U0001f600",
    "TLSv1.3", "tls.frontend", "fault", "redact", "rows,params,literals", "driver", "begin; rollback", "copy t from stdin",
    "prepare s as select 1", "é",
)  # fmt: skip
WIRES = [(kind.side, kind(*kind.BODY.read(kind.EXAMPLE)).wire()) for kind in registry.MESSAGES]
_CODES = bytes({wire[0] for _, wire in WIRES if wire[0]})


class Mutant(NamedTuple):
    """What a reader is given."""

    name: str
    """Kind of input: a reader's name."""
    files: dict[str, bytes]
    """Of one FILE, by its name; of several, those of a directory of segments."""


# Seeds.


@cache
def captures() -> list[tuple[Header, list[Record]]]:
    """The smallest recorded captures of each driver and scenario, and the samples of each version."""
    found = []
    paths = [
        *sorted(ROOT.glob("captures/*/*.pgtrace")),
        *sorted(ROOT.glob("tests/data/*.pgtrace")),
        *sorted(ROOT.glob("tests/data/findings/*.pgtrace")),
    ]
    for path in paths:
        if path.stat().st_size > SEED_BYTES:
            continue
        with CaptureReader(path) as reader:
            records = []
            while blocks := reader.read():
                records += [record for block in blocks for record in block.records]
            found.append((reader.header, records))
    return found


@cache
def json_lines() -> list[list[dict[str, Any]]]:
    """The same as jsonl."""
    found = []
    for header, records in captures():
        cutter = Cutter(header.monotonic_ns)
        lines = [first_line(header)]
        for record in records:
            lines += cutter.feed(record)
        found.append([*lines, *cutter.finish()])
    return found


@cache
def goldens() -> list[bytes]:
    """Recorded goldens."""
    return [path.read_bytes() for path in sorted(ROOT.glob("captures/*/*.trace")) if path.stat().st_size <= SEED_BYTES]


@cache
def packets() -> list[bytes]:
    """Recorded packets, cut to their first ones, as pcap and as pcapng."""
    found = [path.read_bytes()[:SEED_BYTES] for path in sorted(ROOT.glob("tests/data/packets/*.pcap"))]
    return [*found, *(path.read_bytes()[:SEED_BYTES] for path in sorted(ROOT.glob("tests/data/**/*.pcapng")))]


BUDGETS = (
    b'round_trips = 40\nerrors = 0\n[marks."test a"]\nround_trips = 4\nexact = true\n[drivers.asyncpg]\nfrontend_messages.Parse = 10\n'
    b'[statements."SELECT name FROM items WHERE id = $1"]\nparses = 1\n[drivers."*"]\nflushes = 2\n',
    b"[tool.pgtrace.budgets]\nround_trips = 1\n[tool.pgtrace.golden]\nrules = ['s/a/b/']\n",
)
FILTERS = (
    b'error and driver:psycopg or ms > 10 and not sql ~ "^select"', b"(rt = 1 or depth > 2) and (stmt:s1 or type:Parse) not tx:idle",
    b"user:a db:b app:c mark:d sqlstate:23 rows >= 5 fmt:binary "
        b"conn:2", b'sql ~ "(a|b)*c{2,5}[^x-z]+$" and error', b"like:\"select 1\" or fingerprint:ab",
)  # fmt: skip

# Changes.


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Bytes flipped, set, taken out, repeated, or cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not changed:
            break
        at = rng.randrange(len(changed))
        size = rng.choice((1, 2, 4, 8, 32))
        what = rng.randrange(6)
        if what == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            changed[at : at + size] = rng.choice(NUMBERS).to_bytes(8, "big")[-size:][:size]
        elif what == 2:
            del changed[at : at + size]
        elif what == 3:
            changed[at:at] = changed[at : at + size] * rng.choice((1, 2, 50))
        elif what == 4:
            changed[at : at + size] = rng.randbytes(size)
        elif rng.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def _wire(rng: random.Random, data: bytes) -> bytes:
    """Bytes of a stream: lengths, types, messages that do not belong there."""
    changed = bytearray(data)
    heads, at = [], 0
    while at + 5 <= len(data) and 4 <= int.from_bytes(data[at + 1 : at + 5], "big") <= len(data):
        heads.append(at)
        at += 1 + int.from_bytes(data[at + 1 : at + 5], "big")
    what = rng.randrange(5)
    if what == 0 and heads:
        changed[rng.choice(heads)] = rng.choice(_CODES)
    elif what == 1 and heads:
        at = rng.choice(heads)
        length = int.from_bytes(data[at + 1 : at + 5], "big") + rng.choice((-1, 1, 2, 100, 1 << 20, 1 << 29))
        changed[at + 1 : at + 5] = (length & 0xFFFFFFFF).to_bytes(4, "big")
    elif what == 2:
        at = rng.choice(heads or [len(changed)])
        changed[at:at] = b"".join(rng.choice(WIRES)[1] for _ in range(rng.choice((1, 1, 3, 40))))
    elif what == 3 and heads:
        at = rng.choice(heads) + 5
        changed[at : at + 2] = rng.choice(NUMBERS).to_bytes(8, "big")[-2:]
    else:
        return damaged(rng, data)
    return bytes(changed)


def _value(rng: random.Random, value: Any) -> Any:
    """Another value of a record's field."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((*NUMBERS, value + 1, max(0, value - 1), value * 2, value ^ (1 << rng.randrange(64))))
    if isinstance(value, str):
        return rng.choice(TEXTS)
    if isinstance(value, tuple):
        return tuple(_value(rng, one) for one in value)
    return _wire(rng, value)


def _records(rng: random.Random, records: list[Record]) -> list[Record]:
    changed = list(records)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        if not changed:
            break
        at = rng.randrange(len(changed))
        what = rng.randrange(8)
        if what == 0:
            del changed[at]
        elif what == 1:
            changed.insert(rng.randrange(len(changed)), changed[at])
        elif what == 2:
            other = rng.randrange(len(changed))
            changed[at], changed[other] = changed[other], changed[at]
        elif what == 3:
            foreign = rng.choice(rng.choice(captures())[1] or [Gap(1, 1, 0, 1, 1)])
            changed.insert(at, foreign._replace(time_ns=changed[at].time_ns))
        elif what == 4:
            reads = [place for place, record in enumerate(changed) if type(record) is Data]
            if reads:
                at = rng.choice(reads)
                record = changed[at]
                assert isinstance(record, Data)
                changed[at] = record._replace(data=_wire(rng, record.data))
        else:
            record = changed[at]
            name = rng.choice(record._fields)
            changed[at] = record._replace(**{name: _value(rng, getattr(record, name))})
    return changed


_WIDTHS = {"Q": 8, "I": 4, "B": 1, "?": 1}


def encoded(record: Record) -> bytes:
    """A record's bytes, whatever its fields say: what does not fit is cut to its width."""
    kind, letters = _KINDS[type(record)]
    parts = [bytes((kind,))]
    value: Any
    for letter, value in zip(letters, record, strict=True):
        if letter in _WIDTHS:
            parts.append((int(value) & ((1 << 8 * _WIDTHS[letter]) - 1)).to_bytes(_WIDTHS[letter], "big"))
        elif letter == "p":
            parts += [(one & ((1 << 64) - 1)).to_bytes(8, "big") for one in value]
        elif letter != "S" or value:  # an S is left out if it is empty
            content = encode_text(value) if letter in "sS" else value
            parts.append(content if letter == "r" else len(content).to_bytes(4, "big") + content)
    body = b"".join(parts)
    return len(body).to_bytes(4, "big") + body


def block(mark: bytes, records: bytes, first_ns: int, last_ns: int, flags: int = 0) -> bytes:
    """A block with a right CRC, whatever is in it."""
    import zlib

    rest = struct.pack(">IIQQ", min(len(records), LONGEST), flags, first_ns & ((1 << 64) - 1), last_ns & ((1 << 64) - 1)) + records
    return BLOCK + mark + zlib.crc32(rest).to_bytes(4, "big") + rest


def _header(rng: random.Random, header: Header) -> bytes:
    if rng.random() < 0.9:
        return header.encode()
    name = rng.choice(("wall_ns", "monotonic_ns", "pgtrace", "host", "version"))
    values = {name: getattr(header, name) for name in ("version", "mark", "wall_ns", "monotonic_ns", "pgtrace", "host")}
    value = _value(rng, values[name])
    limits = {"version": 0xFFFF, "wall_ns": (1 << 64) - 1, "monotonic_ns": (1 << 64) - 1}
    if isinstance(value, tuple):
        value = tuple(one & 0xFFFF for one in value)
    elif isinstance(value, int):
        value &= limits[name]
    return Header(**(values | {name: value})).encode()


def _file(rng: random.Random, header: Header, records: list[Record], flags: int = 0) -> bytes:
    parts = [_header(rng, header)]
    at = 0
    while at < len(records):
        some = records[at : at + rng.choice((1, 3, 10, 1000))]
        at += len(some)
        content = b"".join(map(encoded, some))
        if rng.random() < 0.1:
            content = damaged(rng, content)
        times = (some[0].time_ns, some[-1].time_ns) if rng.random() < 0.95 else (rng.choice(NUMBERS), rng.choice(NUMBERS))
        parts.append(block(header.mark, content, *times, flags=flags if at else 0))
        flags = rng.choice(NUMBERS) & 0xFFFFFFFF if rng.random() < 0.03 else 0
    data = b"".join(parts)
    return damaged(rng, data) if rng.random() < 0.25 else data


def native(rng: random.Random) -> dict[str, bytes]:
    """A capture."""
    header, records = rng.choice(captures())
    return {"x.pgtrace": _file(rng, header, _records(rng, records))}


def stream(rng: random.Random) -> dict[str, bytes]:
    """A capture that is compressed: read as a stream."""
    return {"x.pgtrace.gz": _packed(rng, next(iter(native(rng).values())))}


def _packed(rng: random.Random, data: bytes) -> bytes:
    packed = gzip.compress(data, 1)
    if rng.random() < 0.2:
        packed += packed
    return damaged(rng, packed) if rng.random() < 0.3 else packed


def segments(rng: random.Random) -> dict[str, bytes]:
    """A directory of segments, some of which may be missing, foreign or misnamed."""
    header, records = rng.choice(captures())
    changed = _records(rng, records)
    files = {}
    number = rng.choice((1, 1, 1, 2, 65535, 65536, 16777215, 16777216, 999999999999))
    size = max(1, len(changed) // rng.choice((1, 2, 3)))
    for at in range(0, len(changed), size):
        carried = [record for record in changed[:at] if type(record) is not Data][: rng.choice((0, 3, 50))]
        files[f"{number:06}.pgtrace"] = _file(rng, header, [*carried, *changed[at : at + size]], flags=int(bool(carried)))
        number += rng.choice((1, 1, 1, 1, 2))
    if rng.random() < 0.1:
        files[rng.choice(("000001.pgtrace", "000002.pgtrace", "x.pgtrace"))] = damaged(rng, rng.choice(goldens()))
    return files


def _json(rng: random.Random, value: Any) -> Any:
    """Some value below this one changed."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(sorted(value))
        if rng.random() < 0.08:
            return {key: one for key, one in value.items() if key != name}
        return value | {name if rng.random() < 0.95 else rng.choice(TEXTS): _json(rng, value[name])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        return [*value[:at], _json(rng, value[at]), *value[at + rng.choice((0, 1, 1, 1)) :]]
    number, text = rng.choice(NUMBERS), rng.choice(TEXTS)
    return rng.choice(
        (number, -number, text, None, True, 1.5, [], {}, {"hex": "00ff"}, {"text": text}, {"text_hex": "ff00"}, [[[]]], 10**30)
    )


def jsonl(rng: random.Random) -> dict[str, bytes]:
    """Lines of JSON."""
    lines: list[Any] = list(rng.choice(json_lines()))
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        what = rng.randrange(8)
        if what == 0 and len(lines) > 1:
            del lines[at]
        elif what == 1:
            lines.insert(rng.randrange(1, len(lines) + 1), lines[at])
        elif what == 2:
            lines[at] = rng.choice(rng.choice(json_lines()))
        else:
            lines[at] = _json(rng, lines[at])
    data = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
    if rng.random() < 0.2:
        data = damaged(rng, data)
    return {"x.jsonl.gz": _packed(rng, data)} if rng.random() < 0.1 else {"x.jsonl": data}


def golden(rng: random.Random) -> dict[str, bytes]:
    """Text of libpq's trace."""
    return {"x.trace": _text(rng, rng.choice(goldens()), rng.choice(goldens()))}


def _text(rng: random.Random, text: bytes, other: bytes) -> bytes:
    lines = text.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(lines))
        what = rng.randrange(7)
        if what == 0:
            lines[at] = rng.choice(other.split(b"\n"))
        elif what == 1:
            lines.insert(at, rng.choice(lines))
        elif what == 2:
            words = lines[at].split(rng.choice((b"\t", b" ", b'"', b"'", b".")))
            words[rng.randrange(len(words))] = rng.choice(
                (str(rng.choice(NUMBERS)).encode(), rng.choice(TEXTS).encode("utf-8", "surrogatepass"), b"-1", b"NN", b"NNNN")
            )
            lines[at] = rng.choice((b"\t", b" ", b'"', b"'", b".")).join(words)
        elif what == 3 and len(lines) > 1:
            del lines[at]
        elif what == 4:
            lines[at] = lines[at] * rng.choice((2, 30))
        else:
            lines[at] = damaged(rng, lines[at])
    return b"\n".join(lines)


def pcap(rng: random.Random) -> dict[str, bytes]:
    """Packets: their own heads, those around them, what is in them."""
    data = rng.choice(packets())
    if rng.random() < 0.3:
        return {"x.pcap": damaged(rng, data)}
    order = "<" if data[:1] in (b"\xd4", b"\x4d") else ">"
    parts, at = [], 24
    while at + 16 <= len(data):
        size = min(struct.unpack_from(order + "I", data, at + 8)[0], len(data))
        parts.append(bytearray(data[at : at + 16 + size]))
        at += 16 + size
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        if not parts:
            break
        place = rng.randrange(len(parts))
        one = parts[place]
        what = rng.randrange(8)
        if what == 0:
            parts.insert(rng.randrange(len(parts)), bytearray(one))
        elif what == 1:
            other = rng.randrange(len(parts))
            parts[place], parts[other] = parts[other], one
        elif what == 2:
            del parts[place]
        elif what == 3:  # a word of the heads, of the link, of IP and of TCP
            width = rng.choice((1, 2, 4))
            where = rng.randrange(0, min(90, max(1, len(one) - width)))
            one[where : where + width] = rng.choice(NUMBERS).to_bytes(8, "big")[-width:]
        elif what == 4 and len(one) > 70:
            one[60:] = _wire(rng, bytes(one[60:]))
            struct.pack_into(order + "II", one, 8, len(one) - 16, len(one) - 16)
        else:
            parts[place] = bytearray(one[:16] + damaged(rng, bytes(one[16:])))
    return {"x.pcap": data[:24] + b"".join(map(bytes, parts))}


def toml(rng: random.Random) -> dict[str, bytes]:
    """Budgets."""
    text = _text(rng, rng.choice(BUDGETS), rng.choice(BUDGETS))
    if rng.random() < 0.1:
        text += rng.choice(
            (b"x = " + b"[" * 5000, b"a." * 3000 + b"b = 1", b"[" + b"a." * 3000 + b"b]", b"x = " + b"{a=" * 3000, b"x = " + b"9" * 5000)
        )
    return {rng.choice(("pyproject.toml", "budgets.toml")): text}


def filters(rng: random.Random) -> dict[str, bytes]:
    """Expressions of the filter language."""
    text = _text(rng, rng.choice(FILTERS), rng.choice(FILTERS)).replace(b"\n", b" ")
    words = text.split(b" ")
    for _ in range(rng.choice((0, 1, 2))):
        words.insert(
            rng.randrange(len(words) + 1),
            rng.choice(
                (
                    b"(",
                    b")",
                    b"not",
                    b"or",
                    b"and",
                    b"~",
                    b'sql ~ "' + b"(a{1,9})" * 9 + b'"',
                    b"(" * 50,
                    b"not " * 3000,
                    b'sql ~ "' + b"(" * 500 + b'"',
                    b"ms > 1e999",
                )
            ),
        )
    return {"filter.txt": b" ".join(words)}


KINDS: dict[str, Callable[[random.Random], dict[str, bytes]]] = {
    "native": native, "stream": stream, "segments": segments, "jsonl": jsonl, "golden": golden, "pcap": pcap, "toml": toml,
    "filter": filters,
}  # fmt: skip
WEIGHTS = {"native": 30, "stream": 10, "segments": 8, "jsonl": 16, "golden": 14, "pcap": 14, "toml": 4, "filter": 4}


def mutant(seed: int, number: int, kind: str = "") -> Mutant:
    """The mutant of that number in the run of that seed, of any kind or of that one."""
    rng = random.Random(f"{seed}:{number}")
    (name,) = (kind,) if kind else rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
    return Mutant(name, KINDS[name](rng))
