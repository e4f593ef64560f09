"""The records of a capture: what was read, when and where, and the bytes of each record.

A record is one event that the recorder saw: a read, a connection that opened or ended, something
that had to be left out. No record is derived from another, so a better decoder gets more out of the
same capture.

- Every record begins with `time_ns`, the recorder's monotonic clock. The file's header says which
  wall-clock time that is.
- `connection` counts from 1 within its capture. In a Gap or a Pause, 0 means all of them.
- `side` is FRONTEND or BACKEND (protocol/codes.py). NEITHER means pgtrace itself in a Close or an
  Ended, and both directions in a Gap or a Pause.
- An Ended is about one direction, the Close about the connection: a driver's FIN can come seconds
  before the Close. An RST ends both directions, so it may follow a FIN of its own side; bytes
  written to that side after the FIN did not arrive. If there is no Ended before a Close, the end
  was not seen.
- `offset` is where the record's bytes begin in that direction's stream on the driver's side, so a
  reader can start anywhere and knows what it missed.
- Data, Made, Rewrite, Opaque and Elided make up the stream: each advances its direction by the
  bytes that it holds or counts.

On disk a record is a length word, a kind byte and fields. LAYOUTS defines both encoding and
decoding, and docs/captures.md describes it for people. Only Data has its own code, because nearly
every record is one. Unknown kinds are skipped, and so are bytes after the last known field: that is
how a minor version adds kinds and fields. Records are named tuples because reading a large capture
makes a million of them; branch on them with `type(record) is Data`.

Text is UTF-8, and surrogateescape keeps every other byte: host names and facts come from outside.

Two kinds of records cannot be written: a record longer than LONGEST, and one whose fields do not
fit its layout. encode() raises Unwritable for it, and encode_parts() writes the Gap of gap_of()
instead, so only that record is lost. A longer read becomes several records, so nothing of it is
lost.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from pgtrace.protocol.codes import BACKEND

DECRYPTED: Final = "tls.frontend"
"""The key of a Fact: pgtrace terminated the driver's TLS itself, so both directions are the
decrypted stream from here on. Its value is the TLS version."""
OPENING: Final = "opening"
"""The key of a Fact: a driver did not begin with a start-up packet, and its bytes are not kept. Its
value is "TLS" for an immediate handshake, or "unknown"."""
FAULT: Final = "fault"
"""The key of a Fact: a fault rule applied here. Its value is the rule. Unlike other facts it is an
event and is not carried into later segments."""
LEG: Final = "leg"
"""The key of a Fact: the letter of the leg that the connection is on, if the recorder has
several."""
LABEL: Final = "label"
"""The key of a Setting: the name of the variant that was captured."""
NEITHER: Final = 2
"""The `side` of a Close or an Ended by pgtrace itself, and of a Gap or a Pause in both
directions."""
FIN: Final = "FIN"
"""How a direction ended: the sender has nothing more to send. It may still read."""
RST: Final = "RST"
"""How a direction ended: both directions are over immediately."""
CLOSE_NOTIFY: Final = "close_notify"
"""How a direction ended: as with FIN, but announced by TLS."""
LOST: Final = "lost"
"""How a direction ended: the system gave up on a peer that had not answered for too long."""
PEER: Final = "peer"
"""Why a leg is not read: its peer, the session's other leg, does not accept what was read
before."""
DISK: Final = "disk"
"""Why a leg is not read: the recorder waits for the disk."""


LONGEST: Final = 16 * 1024 * 1024
"""The most bytes in a record, and in the records of a block."""


class Unwritable(ValueError):
    """A record that the format cannot hold."""


class Data(NamedTuple):
    """One read of the recorder: bytes as they passed, never cut or joined at message boundaries."""

    time_ns: int
    connection: int
    side: int
    offset: int
    data: bytes


class Open(NamedTuple):
    """A driver connected. `client` is the peer of the driver's leg, `server` the peer of the
    upstream leg ("" if there is none)."""

    time_ns: int
    connection: int
    listener: str
    upstream: str
    client: str
    server: str
    wall_ns: int


class Close(NamedTuple):
    """The connection ended. `side` is the side that ended first (NEITHER: pgtrace); `how` is "FIN",
    "RST" or "pgtrace"."""

    time_ns: int
    connection: int
    side: int
    how: str


class Ended(NamedTuple):
    """One direction ended. The time is when the end was read (frontend) or passed on to the driver
    (backend). `how` is FIN, RST, CLOSE_NOTIFY or LOST."""

    time_ns: int
    connection: int
    side: int
    how: str


class Pause(NamedTuple):
    """Reading a leg stops (`begin`) or continues.

    `connection` 0 means every connection, `side` NEITHER both legs. `why` is PEER or DISK. A leg is
    read when neither applies, so the two may overlap. A pause lasts until its end, or until the
    connection closes.
    """

    time_ns: int
    connection: int
    side: int
    begin: bool
    why: str


class Fact(NamedTuple):
    """A fact about a connection that is not in its stream, such as ("tls.backend", "TLSv1.3")."""

    time_ns: int
    connection: int
    key: str
    value: str


class Opaque(NamedTuple):
    """Bytes that passed and are counted but not kept: encrypted, or impossible to frame while
    secrets may pass."""

    time_ns: int
    connection: int
    side: int
    offset: int
    length: int


class Made(NamedTuple):
    """Bytes that pgtrace itself sent to the driver. They are part of the backend's stream."""

    time_ns: int
    connection: int
    offset: int
    data: bytes


class Rewrite(NamedTuple):
    """A read that pgtrace changed. `data` was sent on and is part of the stream; `original` was
    received and is not."""

    time_ns: int
    connection: int
    side: int
    offset: int
    original: bytes
    data: bytes


class Elided(NamedTuple):
    """Row messages left out on request: how many, their bytes, and the sum of their column
    counts."""

    time_ns: int
    connection: int
    side: int
    offset: int
    messages: int
    bytes: int
    columns: int


class Gap(NamedTuple):
    """What could not be recorded, or cannot be read any more: the bytes and records lost, as far as
    they were counted."""

    time_ns: int
    connection: int
    side: int
    bytes: int
    records: int


class Mark(NamedTuple):
    """A named interval begins or ends. Both records have the same `id`."""

    time_ns: int
    begin: bool
    name: str
    id: int


class Setting(NamedTuple):
    """A setting of the recorder that applies from here on, such as ("rtt", "20000000")."""

    time_ns: int
    key: str
    value: str


class Resume(NamedTuple):
    """A connection continues in this segment: its start-up bytes again, and the position of each
    direction's stream.

    `startup` is what the driver sent up to its StartupMessage, `replies` what the backend sent from
    there to the first ReadyForQuery. Both are as recorded, with secrets blanked. Neither is part of
    this segment's stream.
    """

    time_ns: int
    connection: int
    startup: bytes
    offsets: tuple[int, int]
    replies: bytes = b""


class CallSite(NamedTuple):
    """A line of the program was about to send a statement (callsites/notes.py). The record precedes
    the statement's bytes."""

    time_ns: int
    backend_pid: int
    port: int
    sequence: int
    crc: int
    length: int
    flags: int
    file: str
    line: int
    function: str
    marks: str = ""
    """The names of the marks that were open, separated by 0x1F; the innermost is last."""


class End(NamedTuple):
    """The recorder stopped in good order; no record follows."""

    time_ns: int


Record = Data | Open | Close | Fact | Opaque | Made | Rewrite | Elided | Gap | Mark | Setting | Resume | End | Ended | Pause | CallSite

LAYOUTS: Final[dict[int, tuple[type[Record], str]]] = {
    1: (Data, "QIBQr"),
    2: (Open, "QIssssQ"),
    3: (Close, "QIBs"),
    4: (Fact, "QIss"),
    5: (Opaque, "QIBQQ"),
    6: (Made, "QIQr"),
    7: (Rewrite, "QIBQyy"),
    8: (Elided, "QIBQQQQ"),
    9: (Gap, "QIBQQ"),
    10: (Mark, "Q?sQ"),
    11: (Setting, "Qss"),
    12: (Resume, "QIypy"),
    13: (End, "Q"),
    14: (Ended, "QIBs"),
    15: (Pause, "QIB?s"),
    16: (CallSite, "QIIQIQIsIsS"),
}
"""Kind byte -> class and fields. Q, I, B: integers of 8, 4, 1 bytes. ?: a byte 0 or 1. s: text, y:
bytes, each after a length of 4 bytes. p: two Q. r: the rest. S: text at the end, left out if it is
empty."""

DATA: Final = 1
"""The kind byte of Data."""
DATA_HEAD: Final = struct.Struct(">IBQIBQ")
"""What precedes the bytes of a Data record: length, kind and fields."""
STREAM: Final = slice(13, 18)
"""The part of that head that identifies the stream: connection and side."""
DATA_FIXED: Final = DATA_HEAD.size - 4
"""What the length word of a Data record counts besides the record's bytes."""

_LONGEST_READ: Final = LONGEST - DATA_HEAD.size

LATEST_NS: Final = 1 << 62
"""Every time and every offset is below this, so their sums and differences fit into 64 bits."""
_MOST_COUNTED: Final = 1 << 48
_LAST_CONNECTION: Final = (1 << 32) - 1
_LIMITS: Final = {
    "time_ns": LATEST_NS, "wall_ns": LATEST_NS, "offset": LATEST_NS, "offsets": LATEST_NS, "side": NEITHER,
    "length": _MOST_COUNTED, "bytes": _MOST_COUNTED, "records": _MOST_COUNTED, "messages": _MOST_COUNTED, "columns": _MOST_COUNTED,
}  # fmt: skip
"""Field -> its exclusive upper limit. A side is NEITHER only where _OF_BOTH_SIDES allows it."""
_OF_BOTH_SIDES: Final[frozenset[type[Record]]] = frozenset({Close, Gap, Ended, Pause})
_OF_ALL_CONNECTIONS: Final[frozenset[type[Record]]] = frozenset({Gap, Pause})

_KINDS: Final = {cls: (kind, fields) for kind, (cls, fields) in LAYOUTS.items()}
_LENGTH: Final = struct.Struct(">I")
_PREFIX: Final = struct.Struct(">IB")
_INTEGERS: Final = {letter: struct.Struct(">" + letter) for letter in "QIB?"}
_PAIR: Final = struct.Struct(">QQ")
_CONNECTION_AT: Final = 13
"""The offset of the connection's number in a record that has one: after length, kind and time."""
_KIND_BEFORE: Final = 9
"""The distance in bytes from the kind byte to that number."""
_TIME: Final = _INTEGERS["Q"]


def misfit(record: Record) -> str:
    """The field of a record that cannot be right (a third side, a time beyond all clocks), and its
    value; empty if all fields can be right."""
    kind = type(record)
    value: Any
    for name, value in zip(record._fields, record, strict=True):
        if name == "connection":
            fits = 0 < value <= _LAST_CONNECTION or (not value and kind in _OF_ALL_CONNECTIONS)
        elif (limit := _LIMITS.get(name)) is not None:
            most = limit if name != "side" or kind not in _OF_BOTH_SIDES else limit + 1
            fits = all(0 <= one < most for one in (value if isinstance(value, tuple) else (value,)))
        else:
            fits = True
        if not fits:
            return f"{name} {value}"
    return ""


def encode(record: Record) -> bytes:
    """The bytes of one record, length word first. Raises Unwritable."""
    try:
        if wrong := misfit(record):
            raise ValueError(f"it says {wrong}")
        encoded = _encode(record)
    except Exception as error:  # whatever a field holds, only this record fails
        raise Unwritable(f"a record ({type(record).__name__}) cannot be written: {error}") from error
    if len(encoded) > LONGEST:
        raise Unwritable(f"a record ({type(record).__name__}) of {len(encoded)} bytes cannot be written: the format holds {LONGEST}")
    return encoded


def _encode(record: Record) -> bytes:
    if type(record) is Data:
        time_ns, connection, side, offset, data = record
        return DATA_HEAD.pack(len(data) + DATA_FIXED, DATA, time_ns, connection, side, offset) + data
    kind, fields = _KINDS[type(record)]
    parts: list[bytes] = []
    value: Any
    for letter, value in zip(fields, record, strict=True):
        if letter in _INTEGERS:
            parts.append(_INTEGERS[letter].pack(value))
        elif letter == "p":
            parts.append(_PAIR.pack(*value))
        elif letter == "r":
            parts.append(value)
        elif letter != "S" or value:
            content = value if letter == "y" else encode_text(value)
            parts += (_LENGTH.pack(len(content)), content)
    body = b"".join(parts)
    return _PREFIX.pack(len(body) + 1, kind) + body


def encode_parts(records: Iterable[Record]) -> list[bytes]:
    """Encode records as pieces, two per record: for a Data its head and its bytes, which are not
    copied; for any other record nothing and its encoding. A record that cannot be written becomes a
    Gap."""
    parts: list[bytes] = []
    append = parts.append
    head = DATA_HEAD.pack
    for record in records:
        if type(record) is Data:
            time_ns, connection, side, offset, data = record
            while len(data) > _LONGEST_READ:
                append(head(_LONGEST_READ + DATA_FIXED, DATA, time_ns, connection, side, offset))
                append(data[:_LONGEST_READ])
                offset, data = offset + _LONGEST_READ, data[_LONGEST_READ:]
            append(head(len(data) + DATA_FIXED, DATA, time_ns, connection, side, offset))
            append(data)
        else:
            append(b"")
            append(_encode_or_gap(record))
    return parts


def _encode_or_gap(record: Record) -> bytes:
    for written in (record, gap_of(record)):
        try:
            return encode(written)
        except Unwritable:
            pass
    return encode(Gap(0, 0, NEITHER, 0, 1))


def gap_of(record: Record) -> Gap:
    """The Gap that reports a record missing from the capture: the bytes by which it advances its
    stream, or one record of no stream."""
    time_ns = record.time_ns
    if isinstance(record, Data | Rewrite):
        return Gap(time_ns, record.connection, record.side, len(record.data), 1)
    if isinstance(record, Made):
        return Gap(time_ns, record.connection, BACKEND, len(record.data), 1)
    if isinstance(record, Opaque):
        return Gap(time_ns, record.connection, record.side, record.length, 1)
    if isinstance(record, Elided):
        return Gap(time_ns, record.connection, record.side, record.bytes, 1)
    return record if isinstance(record, Gap) else Gap(time_ns, 0, NEITHER, 0, 1)


def time_of(head: bytes, rest: bytes) -> int:
    """The time of a record, from its two pieces."""
    time_ns: int = _TIME.unpack_from(head or rest, _PREFIX.size)[0]
    return time_ns


def encode_text(text: str) -> bytes:
    """The text as UTF-8. Bytes kept by surrogateescape come back unchanged; other lone surrogates
    are escaped."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def decode_all(buffer: bytes, first_ns: int = 0) -> list[Record]:
    """Every record in the bytes of one block, in order. `first_ns` is the block's first time.

    It never raises. Unknown kinds are left out, and a record whose fields do not fit its length or
    cannot be right becomes a Gap. So callers need not check: sides are valid, a connection has a
    number, and sums of numbers fit into 64 bits.
    """
    records: list[Record] = []
    append = records.append
    new: Callable[..., Data] = tuple.__new__
    head = DATA_HEAD.unpack_from
    # nearly every record is Data, and looking up globals for each takes a tenth of the time
    fixed, data, data_kind, least, too_late = DATA_HEAD.size, Data, DATA, DATA_FIXED, LATEST_NS
    end = len(buffer)
    last = end - fixed
    position = 0
    while True:
        while position <= last:
            length, kind, time_ns, connection, side, offset = head(buffer, position)
            stop = position + 4 + length
            if kind != data_kind or length < least or stop > end or side > 1 or not connection or time_ns >= too_late or offset >= too_late:
                break
            append(new(data, (time_ns, connection, side, offset, buffer[position + fixed : stop])))
            position = stop
        if position + 5 > end:
            break
        length, kind = _PREFIX.unpack_from(buffer, position)
        stop = position + 4 + length
        if length < 1 or stop > end:
            break
        if kind in LAYOUTS:
            append(
                _decode(kind, buffer[position + 5 : stop]) or Gap(records[-1].time_ns if records else first_ns, 0, NEITHER, length + 4, 1)
            )
        position = stop
    if position < end:
        append(Gap(records[-1].time_ns if records else first_ns, 0, NEITHER, end - position, 0))
    return records


def may_concern(buffer: bytes, connection: int) -> bool:
    """Whether the bytes of one block may hold a record of a connection. False only if its number
    does not occur where a record's head could have it."""
    number = _INTEGERS["I"].pack(connection)
    at = buffer.find(number, _CONNECTION_AT)
    while at >= 0:
        if buffer[at - _KIND_BEFORE] in LAYOUTS:
            return True
        at = buffer.find(number, at + 1)
    return False


def _decode(kind: int, body: bytes) -> Record | None:
    """One record from its fields, or None if they do not fit."""
    cls, fields = LAYOUTS[kind]
    values: list[Any] = []
    position = 0
    try:
        for letter in fields:
            if letter in _INTEGERS:
                integer = _INTEGERS[letter]
                values += integer.unpack_from(body, position)
                position += integer.size
            elif letter == "p":
                values.append(_PAIR.unpack_from(body, position))
                position += _PAIR.size
            elif letter == "r":
                values.append(body[position:])
            elif letter == "S" and position == len(body):
                values.append("")
            else:
                (length,) = _LENGTH.unpack_from(body, position)
                content = body[position + 4 : position + 4 + length]
                if len(content) < length:
                    return None
                values.append(content if letter == "y" else content.decode("utf-8", "surrogateescape"))
                position += 4 + length
    except struct.error:
        return None
    found = cls(*values)
    return None if misfit(found) else found
