"""Messages in the words of libpq's own trace (PQtrace, version 18): one line each with direction, length, name and fields.

`decoded` writes what pgtrace read from a capture that way, `traced` takes libpq's file apart. How libpq writes each message is listed here from what it
prints, not from pgtrace's declarations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Data, Made, Rewrite
from pgtrace.framing import Framer
from pgtrace.protocol import codes, registry
from pgtrace.protocol.codes import BACKEND

LAYOUTS = {
    "Query": "s",
    "Parse": "ss[i]",
    "Bind": "ss[h][v][h]",
    "Describe": "bs",
    "Execute": "si",
    "Close": "bs",
    "CopyData": "d",
    "CopyFail": "s",
    "ParameterStatus": "ss",
    "ReadyForQuery": "b",
    "RowDescription": "[sihihih]",
    "ParameterDescription": "[i]",
    "DataRow": "[v]",
    "CommandComplete": "s",
    "ErrorResponse": "e",
    "NoticeResponse": "e",
    "NotificationResponse": "iss",
    "CopyInResponse": "b[h]",
    "CopyOutResponse": "b[h]",
    "BackendKeyData": "i?",
    "AuthenticationSASL": "m",
    "AuthenticationSASLContinue": "?",
    "AuthenticationSASLFinal": "?",
    "SASLInitialResponse": "s?",
    "SASLResponse": "?",
}
"""Fields of each message: s String, i Int32, h Int16, b Byte1, v nullable value, d bytes, e error fields, m mechanisms, [] a counted list,
? a secret and
all behind it. A message that is not here has none."""
SECRETS = {name for name, layout in LAYOUTS.items() if "?" in layout}
RECORD = re.compile(rb"^(?=[FB]\t\d+\t)", re.MULTILINE)


def escaped(data: bytes) -> str:
    return "'" + "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in data) + "'"


def written(kind: str, value: object) -> str:
    """One field as libpq writes it."""
    if kind == "s":
        return f'"{value}"'
    if kind == "h":
        return str(value & 0xFFFF)
    if kind == "b":
        letter = value if isinstance(value, str) else chr(value)
        return letter if letter.isprintable() else f"\\x{ord(letter):02x}"
    if kind == "v":
        return "-1" if value is None else f"{len(value)} {escaped(value)}"
    if kind == "d":
        return escaped(value)
    if kind == "e":
        return " ".join([*(f'{letter} "{text}"' for letter, text in value), "\\x00"])
    if kind == "m":
        return " ".join([*(f'"{mechanism}"' for mechanism in value), '""'])
    return str(value)


def fields(layout: str, values: tuple[object, ...]) -> Iterator[str]:
    parts = re.findall(r"\[\w+\]|\w|\?", layout)
    for part, value in zip(parts, values, strict=True):
        if part == "?":
            return
        if part.startswith("["):
            yield str(len(value))
            for item in value:
                yield from [written(part[1], item)] if len(part) == 3 else map(written, part[1:-1], item)
        else:
            yield written(part, value)


def line(side: int, code: int, body: bytes, size: int, authentication: int) -> str:
    """A message that pgtrace decoded, as libpq writes it."""
    if code == codes.SSL_REQUEST:
        return f"F\t{size}\tSSLRequest\t 1234 5679"
    if code == codes.SSL_REPLY:
        return f"B\t{size}\tSSLResponse\t {body.decode()}"
    message = registry.decode(side, code, body, authentication)
    if code == codes.STARTUP_MESSAGE:
        parameters = "".join(f' "{name}" "{value}"' for name, value in message.parameters)
        return f"F\t{size}\tStartupMessage\t {message.protocol >> 16} {message.protocol & 0xFFFF}{parameters}"
    head = f"{'FB'[side]}\t{size - 1}\t{message.NAME}"
    if message.NAME in SECRETS:
        return head
    values = tuple(getattr(message, name) for name in message.BODY.names)
    return "\t ".join([head, *([" ".join(fields(LAYOUTS[message.NAME], values))] if message.NAME in LAYOUTS else [])])


def decoded(capture: Path) -> tuple[list[str], list[str]]:
    """Every message of the capture's one connection, by direction."""
    lines: tuple[list[str], list[str]] = ([], [])
    framer, authentication = Framer(kept_bytes=1 << 30), -1
    reader = CaptureReader(capture)
    while blocks := reader.read():
        for record in (record for block in blocks for record in block.records if isinstance(record, (Data, Made, Rewrite))):
            side = BACKEND if isinstance(record, Made) else record.side
            for code, body, size in framer.feed(side, record.data):
                if (side, code) == (BACKEND, ord("R")):
                    authentication = codes.authentication_subtype(body)
                if code != ord("R") or authentication != codes.AUTH_OK:
                    lines[side].append(line(side, code, body, size, authentication))
    return lines


def traced(trace: Path) -> tuple[list[str], list[str]]:
    """Every message of libpq's trace, by direction, without its secrets. A field may hold line ends, so records are found by how they begin."""
    lines: tuple[list[str], list[str]] = ([], [])
    for record in RECORD.split(trace.read_bytes())[1:]:
        text = record.decode("utf-8", "surrogateescape").removesuffix("\n")
        direction, length, name, *_ = text.split("\t")
        lines["FB".index(direction)].append(f"{direction}\t{length}\t{name}" if name in SECRETS else text)
    return lines
