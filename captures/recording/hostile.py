"""Make the sessions of captures/hostile: `python -m captures.recording.hostile`.

Each is what a server, or a pooler, may say and seldom does, said to every driver that has a
recording of the same work: a file has one connection for each driver, and `pgtrace serve` finds a
driver's own by its first request. A session is a change of the server's half of a scenario. The
files are lines of JSON, to be edited; the first line of each has the reason.
"""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Close, Data, End, Made, Open
from pgtrace.capture.versions import VERSION, Header
from pgtrace.capture.writer import CaptureWriter
from pgtrace.export import jsonl
from pgtrace.framing import Framer
from pgtrace.protocol import backend, codes
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.trace.trace import Trace

HERE: Final = Path(__file__).parents[1]
DRIVERS: Final = ("asyncpg", "psycopg", "psycopg2", "pg8000", "pgx", "node-postgres", "pgjdbc", "sqlx")
PLACE: Final = HERE / "hostile"
MS: Final = 1_000_000
Group = tuple[list[bytes], list[bytes]]
"""What a driver sent, and what it got: whole messages."""
Change = Callable[[list[Group]], list[Group]]

NOTICE: Final = backend.NoticeResponse((("S", "NOTICE"), ("V", "NOTICE"), ("C", "00000"), ("M", "again"))).wire()
STATUS: Final = backend.ParameterStatus("TimeZone", "Asia/Kathmandu").wire()
NOTIFICATION: Final = backend.NotificationResponse(4711, "elsewhere", "").wire()
FEW_FIELDS: Final = backend.ErrorResponse((("S", "ERROR"), ("M", "no such thing"))).wire()
READY: Final = b"Z\0\0\0\5I"
SYNC: Final = b"S\0\0\0\4"
UNKNOWN: Final = b"y\0\0\0\x08what"


@dataclass(frozen=True, slots=True)
class Hostile:
    """One session."""

    name: str
    reason: str
    change: Change
    scenario: str = "one_query"
    fails: bool = False
    """Whether a driver has to raise an error."""
    options: tuple[str, ...] = ()
    """Of `pgtrace serve`."""
    kept: bool = True
    """Whether it is a file; what would be too long is made when it is needed."""


def error(sqlstate: str, message: str, severity: str = "ERROR") -> bytes:
    return backend.ErrorResponse((("S", severity), ("V", severity), ("C", sqlstate), ("M", message))).wire()


def answers(groups: list[Group]) -> list[int]:
    """The groups in which rows came."""
    return [number for number, (_, answer) in enumerate(groups) if any(message[:1] == b"D" for message in answer)]


def in_answer(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    """Change an answer with rows: the third one, or the last if there are fewer."""

    def changed(groups: list[Group]) -> list[Group]:
        place = answers(groups)[:3][-1]
        sent, answer = groups[place]
        return [*groups[:place], (sent, change(answer)), *groups[place + 1 :]]

    return changed


def before_rows(*messages: bytes) -> Change:
    """Put messages before the row of an answer, and after it."""

    def put(answer: list[bytes]) -> list[bytes]:
        at = next(number for number, message in enumerate(answer) if message[:1] == b"D")
        return [*answer[:at], *messages, answer[at], *messages, *answer[at + 1 :]]

    return in_answer(put)


def started(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    """Change what the server says at start-up."""
    return lambda groups: [(groups[0][0], change(groups[0][1])), *groups[1:]]


def fails_at_once(message: bytes) -> Change:
    """An error in place of the first answer; nothing else is answered."""

    def failing(groups: list[Group]) -> list[Group]:
        sent, _ = groups[1]
        stop = next(number for number, one in enumerate(sent) if one[:1] in (b"S", b"H", b"Q"))
        sent = sent[: stop + 1]
        if sent[-1][:1] == b"H":
            return [groups[0], (sent, [message]), ([SYNC], [READY]), (sent, [message]), ([SYNC], [READY])]
        return [groups[0], (sent, [message, READY])]

    return failing


def ends_idle(groups: list[Group]) -> list[Group]:
    place = answers(groups)[:3][-1]
    return [
        *groups[:place],
        (groups[place][0], [*groups[place][1], error("57P01", "terminating connection due to administrator command", "FATAL")]),
    ]


def wider(name: str, value: bytes, times: int = 1) -> Callable[[list[bytes]], list[bytes]]:
    """An answer with more columns."""
    column = name.encode() + b"\0" + struct.pack(">ihihih", 0, 0, 25, -1, -1, 0)
    cell = struct.pack(">i", len(value)) + value

    def widened(answer: list[bytes]) -> list[bytes]:
        return [
            _longer(message, column, times) if message[:1] == b"T" else _longer(message, cell, times) if message[:1] == b"D" else message
            for message in answer
        ]

    return widened


def _longer(message: bytes, part: bytes, times: int) -> bytes:
    count = int.from_bytes(message[5:7], "big") + times
    body = struct.pack(">H", count) + message[7:] + part * times
    return message[:1] + struct.pack(">I", len(body) + 4) + body


def nameless(groups: list[Group]) -> list[Group]:
    def of(message: bytes) -> bytes:
        if message[:1] != b"T":
            return message
        columns = backend.RowDescription.parse(message[5:]).columns
        return backend.RowDescription(tuple(backend.Column("", *column[1:]) for column in columns)).wire()

    return [(sent, [of(message) for message in answer]) for sent, answer in groups]


def tagged(answer: list[bytes]) -> list[bytes]:
    return [backend.CommandComplete("FROBNICATE 7").wire() if message[:1] == b"C" else message for message in answer]


def with_key(answer: list[bytes]) -> list[bytes]:
    return [
        b"K" + struct.pack(">I", 4 + 4 + 256) + message[5:9] + bytes(range(256)) if message[:1] == b"K" else message for message in answer
    ]


def everywhere(groups: list[Group]) -> list[Group]:
    return [
        groups[0],
        *((sent, [one for message in answer for one in (STATUS, NOTICE, NOTIFICATION, message)]) for sent, answer in groups[1:]),
    ]


SESSIONS: Final = (
    Hostile("as_recorded", "Nothing is changed: every driver has to work.", lambda groups: groups),
    Hostile("split_every_byte", "Each byte comes alone. Reads do not follow "
        "messages.", lambda groups: groups, options=("--split", "1"), kept=False),
    Hostile("parameter_status_in_rows", "A ParameterStatus may come at any time, also between rows: a reload of the "
        "configuration.", before_rows(STATUS)),
    Hostile("notification_in_rows", "A NotificationResponse comes when it comes.", before_rows(NOTIFICATION), "ten_queries"),
    Hostile("notices_in_rows", "A function with RAISE NOTICE in a loop: a hundred notices in one answer.", before_rows(*[NOTICE] * 50)),
    Hostile("asynchronous_everywhere", "All three asynchronous messages before each other message.", everywhere),
    Hostile("error_before_parse_complete", "The first statement is refused: no rows.", fails_at_once(error("42601", "syntax error")),
    fails=True),
    Hostile("error_of_few_fields", "Not a server: an error with a severity and a message, without an SQLSTATE.",
            fails_at_once(FEW_FIELDS), fails=True),
    Hostile("fatal_while_idle", "An administrator, or a time limit, ends an idle connection.", ends_idle, "ten_queries", fails=True),
    Hostile("copy_refused", "An error in place of CopyInResponse.", fails_at_once(error("42501", "permission denied")), "copy_in",
            fails=True),
    Hostile("negotiated_version", "A NegotiateProtocolVersion that names an option, which was not asked for.",
            started(lambda answer: [backend.NegotiateProtocolVersion(3 << 16, ("_pq_.greasing",)).wire(), *answer])),
    Hostile("key_of_256_bytes", "The longest cancel key of protocol 3.2.", started(with_key)),
    Hostile("no_key", "Some poolers have no cancel key.", started(lambda answer: [one for one in answer if one[:1] != b"K"])),
    Hostile("no_parameters", "A server that reports no parameter at all.",
    started(lambda answer: [one for one in answer if one[:1] != b"S"])),
    Hostile("more_columns_than_before", "A table was altered: one column more than was "
        "described.", in_answer(wider("added", b"x")), "ten_queries"),
    Hostile("empty_column_names", "Columns may be called nothing, all of them.", nameless),
    Hostile("unknown_command_tag", "An extension has a command that nobody knows.", in_answer(tagged)),
    Hostile("unknown_message", "A message type of a later protocol version.", before_rows(UNKNOWN)),
    Hostile("1600_columns", "The most columns of a table, and then some.", in_answer(wider("c", b"1", 1600)), kept=False),
)  # fmt: skip


def groups_of(path: Path) -> list[Group]:
    """What passed on the first connection, without the password's messages."""
    framer, found = Framer(), [(list[bytes](), list[bytes]())]
    ready = False
    with CaptureReader(path) as reader:
        records = [record for block in reader.read(1 << 30) for record in block.records]
    number = next(record.connection for record in records if isinstance(record, Data) and len(record.data) != 8)
    for record in records:
        if not isinstance(record, Data | Made) or record.connection != number:
            continue
        side = BACKEND if isinstance(record, Made) else record.side
        for code, body, _ in framer.feed(side, record.data):
            if (side == FRONTEND and code in (ord("p"), ord("X"))) or code in (codes.SSL_REQUEST, codes.SSL_REPLY):
                continue
            if code == ord("R") and side == BACKEND and body[:4] != bytes(4):
                continue
            if side == FRONTEND and found[-1][1] and ready:
                found.append(([], []))
            ready = ready or (code == ord("Z") and side == BACKEND)
            kind = bytes([code]) if code < 256 else b""
            found[-1][side].append(kind + struct.pack(">I", len(body) + 4) + body)
    return found


def text(session: Hostile) -> str:
    """The lines of one session."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "session.pgtrace")
        writer = CaptureWriter(path, header=Header(VERSION, b"mark", 0, 0, "", ""))
        for number, groups in enumerate(_connections(session), 1):
            writer.write(list(_records(number, groups)))
        writer.write([End(MS)])
        writer.close()
        trace = Trace.open([path])
        while trace.update():
            pass
        lines = "".join(str(piece.content) for piece in jsonl.export(trace))
        trace.close()
    first, _, rest = lines.partition("\n")
    return json.dumps(json.loads(first) | {"reason": session.reason}, separators=(",", ":"), ensure_ascii=False) + "\n" + rest


def _connections(session: Hostile) -> Iterator[list[Group]]:
    for driver in DRIVERS:
        path = HERE / driver / f"{session.scenario}.pgtrace"
        if path.exists():
            yield session.change(groups_of(path))


def _records(number: int, groups: list[Group]) -> Iterator[Open | Data | Close]:
    yield Open(0, number, "", "", "", "", 0)
    at = [0, 0]
    for group in [*groups, ([b"X\0\0\0\4"], [])]:
        for side in (FRONTEND, BACKEND):
            for message in group[side]:
                yield Data(0, number, side, at[side], message)
                at[side] += len(message)
    yield Close(0, number, FRONTEND, "FIN")


def main() -> None:
    """Write all of them."""
    PLACE.mkdir(exist_ok=True)
    for session in SESSIONS:
        if session.kept:
            (PLACE / f"{session.name}.jsonl").write_text(text(session), encoding="utf-8")
            print(f"{session.name}.jsonl")


if __name__ == "__main__":
    main()
