"""Sessions as scripts: what passed, one read a line, in the manual's words.

    0   F StartupMessage user=app
    1   B AuthenticationOk | ReadyForQuery I
    10  F Parse s1 SELECT $1 | Bind - s1 params=42 | Execute - | Sync
    12  B ParseComplete | BindComplete | DataRow 42 ×3 | CommandComplete SELECT 3 | ReadyForQuery I

A line is `[ms] [cN] F|B message [| message ...]`; ms is the time of the read (else 1 ms after the
line before), cN the connection (else c1). `-` is the empty name, NULL is NULL, `''` an empty value,
` ×3` the same message three times. Other lines: `mark begin|end NAME`, `setting KEY VALUE`, `gap
BYTES` (of all connections, or of one: `c1 gap BYTES`), `c1 close F|B|pgtrace`, `c1 ends F|B|pgtrace
FIN|RST|...` (a direction), `c1 opaque F|B BYTES`, `c1 fact KEY VALUE`, `c1 raw F|B HEX`, `end`. A
connection that does not begin with a start-up packet gets a plain start-up (1 set-up round trip of
no time) before its first line.

play() feeds connection 1 to a Session; records() and write() make a capture of the script with the
real writer. Nothing is mocked: messages are built by their own classes.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pgtrace.capture import record
from pgtrace.capture.record import Record
from pgtrace.capture.versions import VERSION, Header
from pgtrace.capture.writer import CaptureWriter
from pgtrace.protocol import authentication as auth
from pgtrace.protocol import backend, frontend, startup
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import Message
from pgtrace.session.connection import Session
from pgtrace.session.effects import Counts, Effect, Tally
from pgtrace.session.events import Exchange, Observer, Passage
from pgtrace.session.statements import Portal, Statement

MS = 1_000_000
"""ns in a millisecond."""
WALL_NS = 1_700_000_000_000_000_000
MONOTONIC_NS = 5_000_000_000
"""The two clocks of a written capture's header; a script's 0 ms is then."""

PLAIN_START = (
    (FRONTEND, "StartupMessage user=app database=shop"),
    (BACKEND, "AuthenticationOk | ParameterStatus server_version 18.1 | BackendKeyData {number} 7777 | ReadyForQuery I"),
)
SIDES = ("F", "B", "pgtrace")
_UNTYPED = ("StartupMessage", "SSLRequest", "GSSENCRequest", "CancelRequest")
_TIMES = re.compile(r" ×(\d+)$")


def _name(word: str) -> str:
    return "" if word == "-" else word


def _value(word: str) -> bytes | None:
    return None if word == "NULL" else b"" if word == "''" else word.encode()


def _list(rest: str, key: str) -> list[str]:
    found = re.search(rf"\b{key}=(\S+)", rest)
    return found[1].split(",") if found else []


def _formats(rest: str, key: str) -> tuple[int, ...]:
    return tuple(int(one) for one in _list(rest, key))


def _startup(rest: str) -> Message:
    pairs = [one.partition("=")[::2] for one in rest.split()]
    major, _, minor = dict(pairs).get("protocol", "3.0").partition(".")
    if major == "2":
        return startup.Version2StartupMessage(0x20000, dict(pairs).get("database", ""), dict(pairs).get("user", ""), "", "", "")
    return startup.StartupMessage(int(major) << 16 | int(minor), tuple((key, value) for key, value in pairs if key != "protocol"))


def _parse(rest: str) -> Message:
    name, _, sql = rest.partition(" ")
    name, _, types = name.partition("(")
    return frontend.Parse(_name(name), sql, tuple(int(one) for one in types.rstrip(")").split(",") if one))


def _bind(rest: str) -> Message:
    portal, statement = rest.split()[:2]
    values = tuple(_value(one) for one in _list(rest, "params"))
    return frontend.Bind(_name(portal), _name(statement), _formats(rest, "in"), values, _formats(rest, "out"))


def _function_call(rest: str) -> Message:
    values = tuple(_value(one) for one in _list(rest, "params"))
    return frontend.FunctionCall(int(rest.split(maxsplit=1)[0]), _formats(rest, "in"), values, 0)


def _error(rest: str) -> Message:
    severity = rest.split(maxsplit=1)[0] if rest.split(maxsplit=1)[0] in ("FATAL", "PANIC") else "ERROR"
    code, _, text = rest.removeprefix(severity).strip().partition(" ")
    return backend.ErrorResponse((("S", severity), ("V", severity), ("C", code), ("M", text)))


def _notice(rest: str) -> Message:
    if not rest.startswith("WARNING "):
        return backend.NoticeResponse((("S", "NOTICE"), ("C", "00000"), ("M", rest)))
    severity, code, text = rest.split(maxsplit=2)
    return backend.NoticeResponse((("S", severity), ("V", severity), ("C", code), ("M", text)))


def _columns(rest: str) -> Message:
    columns = []
    for word in rest.split():
        name, oid, *binary = word.split(":")
        columns.append(backend.Column(name, 0, 0, int(oid), -1, -1, 1 if binary else 0))
    return backend.RowDescription(tuple(columns))


def _kind_and_name(cls: type[frontend.Describe] | type[frontend.Close]) -> Callable[[str], Message]:
    return lambda rest: cls(rest.split()[0], _name(rest.split()[1]))


def _execute(rest: str) -> Message:
    portal, *most = rest.split()
    return frontend.Execute(_name(portal), int(most[0]) if most else 0)


def _sasl_initial(rest: str) -> Message:
    mechanism, data = rest.split()
    return auth.SASLInitialResponse(mechanism, data.encode())


def _negotiate(rest: str) -> Message:
    version, *options = rest.split()
    major, _, minor = version.partition(".")
    return backend.NegotiateProtocolVersion(int(major) << 16 | int(minor), tuple(options))


_BUILDERS: tuple[dict[str, Callable[[str], Message]], dict[str, Callable[[str], Message]]] = (
    {
        "StartupMessage": _startup,
        "SSLRequest": lambda rest: startup.SSLRequest(),
        "GSSENCRequest": lambda rest: startup.GSSENCRequest(),
        "CancelRequest": lambda rest: startup.CancelRequest(int(rest.split()[0]), rest.split()[1].encode()),
        "PasswordMessage": lambda rest: auth.PasswordMessage(rest),
        "SASLInitialResponse": _sasl_initial,
        "SASLResponse": lambda rest: auth.SASLResponse(rest.encode()),
        "GSSResponse": lambda rest: auth.GSSResponse(rest.encode()),
        "Query": lambda rest: frontend.Query(rest),
        "Parse": _parse,
        "Bind": _bind,
        "Describe": _kind_and_name(frontend.Describe),
        "Execute": _execute,
        "Close": _kind_and_name(frontend.Close),
        "Sync": lambda rest: frontend.Sync(),
        "Flush": lambda rest: frontend.Flush(),
        "FunctionCall": _function_call,
        "CopyData": lambda rest: frontend.CopyData(rest.encode()),
        "CopyDone": lambda rest: frontend.CopyDone(),
        "CopyFail": lambda rest: frontend.CopyFail(rest),
        "Terminate": lambda rest: frontend.Terminate(),
    },
    {
        "SSLRequestReply": lambda rest: startup.SSLRequestReply(rest),
        "Version2Error": lambda rest: startup.Version2Error(f"{rest}\n"),
        "GSSENCRequestReply": lambda rest: startup.GSSENCRequestReply(rest),
        "AuthenticationOk": lambda rest: auth.AuthenticationOk(),
        "AuthenticationCleartextPassword": lambda rest: auth.AuthenticationCleartextPassword(),
        "AuthenticationMD5Password": lambda rest: auth.AuthenticationMD5Password(rest.encode()),
        "AuthenticationGSS": lambda rest: auth.AuthenticationGSS(),
        "AuthenticationGSSContinue": lambda rest: auth.AuthenticationGSSContinue(rest.encode()),
        "AuthenticationSSPI": lambda rest: auth.AuthenticationSSPI(),
        "AuthenticationSASL": lambda rest: auth.AuthenticationSASL(tuple(rest.split())),
        "AuthenticationSASLContinue": lambda rest: auth.AuthenticationSASLContinue(rest.encode()),
        "AuthenticationSASLFinal": lambda rest: auth.AuthenticationSASLFinal(rest.encode()),
        "NegotiateProtocolVersion": _negotiate,
        "BackendKeyData": lambda rest: backend.BackendKeyData(int(rest.split()[0]), rest.split()[1].encode()),
        "ParameterStatus": lambda rest: backend.ParameterStatus(rest.split()[0], rest.partition(" ")[2]),
        "ReadyForQuery": lambda rest: backend.ReadyForQuery(rest),
        "RowDescription": _columns,
        "ParameterDescription": lambda rest: backend.ParameterDescription(tuple(int(one) for one in rest.split())),
        "DataRow": lambda rest: backend.DataRow(tuple(_value(one) for one in rest.split())),
        "CommandComplete": lambda rest: backend.CommandComplete(rest),
        "EmptyQueryResponse": lambda rest: backend.EmptyQueryResponse(),
        "ErrorResponse": _error,
        "NoticeResponse": _notice,
        "ParseComplete": lambda rest: backend.ParseComplete(),
        "BindComplete": lambda rest: backend.BindComplete(),
        "CloseComplete": lambda rest: backend.CloseComplete(),
        "NoData": lambda rest: backend.NoData(),
        "PortalSuspended": lambda rest: backend.PortalSuspended(),
        "NotificationResponse": lambda rest: backend.NotificationResponse(4711, rest.split()[0], rest.partition(" ")[2]),
        "CopyInResponse": lambda rest: backend.CopyInResponse(0, (0,)),
        "CopyOutResponse": lambda rest: backend.CopyOutResponse(0, (0,)),
        "CopyBothResponse": lambda rest: backend.CopyBothResponse(0, ()),
        "CopyData": lambda rest: backend.CopyData(rest.encode()),
        "CopyDone": lambda rest: backend.CopyDone(),
        "FunctionCallResponse": lambda rest: backend.FunctionCallResponse(_value(rest)),
    },
)


def message(side: int, text: str) -> bytes:
    """The bytes of one message as a script writes it."""
    times = _TIMES.search(text)
    if times:
        text = text[: times.start()]
    word, _, rest = text.strip().partition(" ")
    return _BUILDERS[side][word](rest.strip()).wire() * (int(times[1]) if times else 1)


@functools.lru_cache(maxsize=1000)
def wire(side: int, text: str) -> bytes:
    """The bytes of messages separated by ` | `."""
    return b"".join(message(side, one) for one in text.split(" | "))


def records(script: str) -> Iterator[Record]:
    """The records of a script, times in ns from its 0 ms."""
    offsets: dict[int, list[int]] = {}
    marks: dict[str, int] = {}
    numbers = itertools.count(1)
    time_ns = 0

    def data(number: int, side: int, sent: bytes) -> Record:
        offset = offsets[number][side]
        offsets[number][side] += len(sent)
        return record.Data(time_ns, number, side, offset, sent)

    for line in script.strip().splitlines():
        words = line.split(None, 1)
        if not words or line.strip().startswith("#"):
            continue
        rest = line.strip()
        if re.fullmatch(r"[\d.]+", words[0]):
            time_ns = round(float(words[0]) * MS)
            rest = words[1].strip()
        else:
            time_ns += MS
        number = 0
        if re.match(r"c\d+ ", rest):
            first, _, rest = rest.partition(" ")
            number = int(first[1:])
        verb, _, rest = rest.partition(" ")
        if verb == "mark":
            what, _, name = rest.partition(" ")
            if what == "begin":
                marks[name] = next(numbers)
            yield record.Mark(time_ns, what == "begin", name, marks[name])
            continue
        if verb == "setting":
            yield record.Setting(time_ns, *rest.split(maxsplit=1))
            continue
        if verb == "end":
            yield record.End(time_ns)
            continue
        if verb == "gap":
            lost = int(rest)
            for offset in [offsets[number]] if number else list(offsets.values()):
                offset[BACKEND] += lost
            yield record.Gap(time_ns, number, record.NEITHER, lost, 1)
            continue
        number = number or 1
        if number not in offsets:
            offsets[number] = [0, 0]
            client = f"127.0.0.1:{40000 + number}"
            yield record.Open(time_ns, number, ":6433", "db:5432", client, "10.0.0.1:5432", WALL_NS + time_ns)
            if verb in "FB" and not (verb == "F" and rest.split()[0] in _UNTYPED):
                for side, text in PLAIN_START:
                    yield data(number, side, wire(side, text.format(number=number)))
        if verb in ("F", "B"):
            side = "FB".index(verb)
            yield data(number, side, wire(side, rest))
        elif verb == "close":
            yield record.Close(time_ns, number, SIDES.index(rest), "FIN")
        elif verb == "ends":
            who, how = rest.split()
            yield record.Ended(time_ns, number, SIDES.index(who), how)
        elif verb == "fact":
            key, _, value = rest.partition(" ")
            yield record.Fact(time_ns, number, key, value)
        elif verb == "raw":
            yield data(number, "FB".index(rest[0]), bytes.fromhex(rest[1:]))
        elif verb == "opaque":
            side, length = "FB".index(rest[0]), int(rest[1:])
            offsets[number][side] += length
            yield record.Opaque(time_ns, number, side, offsets[number][side] - length, length)
        else:
            raise ValueError(f"no such line: {line}")


def write(path: Path, script: str, *, wall_ns: int = WALL_NS, block_records: int = 3, notes: Sequence[Record] = ()) -> Path:
    """A capture of the script: a few records a block, as many small flushes make it. `notes` of a
    program come at their times, after what has the same."""
    header = Header(VERSION, os.urandom(4), wall_ns, MONOTONIC_NS, "0.1.0", "test")
    with CaptureWriter(path, header=header) as writer:
        for part in _parts(sorted([*records(script), *notes], key=lambda one: one.time_ns) if notes else records(script), block_records):
            writer.write([one._replace(time_ns=one.time_ns + MONOTONIC_NS) for one in part])
    return path


def _parts(items: Iterable[Record], size: int) -> Iterator[list[Record]]:
    rest = iter(items)
    while part := list(itertools.islice(rest, size)):
        yield part


@dataclass(frozen=True)
class RoundTrip:
    """A round trip as it was told."""

    exchange: Exchange
    passage: Passage

    def __getattr__(self, name: str) -> Any:
        for one in (self.passage, self.exchange, self.exchange.effect):
            if hasattr(one, name):
                return getattr(one, name)
        raise AttributeError(name)


class Ran(NamedTuple):
    """What a round trip ran of one statement, most often one execution."""

    statement: Statement
    executions: int
    rows: int
    values_text: int
    values_binary: int
    failed: bool

    @property
    def continues(self) -> bool:
        return not self.executions


def said(exchange: Exchange, passage: Passage) -> dict[str, object]:
    """All that is said of a round trip but its waits, as values that compare."""
    effect, tally = exchange.effect, Tally()
    effect.counts.add_to(tally, 1, passage.rows)
    values: dict[str, object] = {name: getattr(effect, name) for name in Effect.__slots__ if name not in ("counts", "note")}
    values |= {f"counted {name}": value if isinstance(value := getattr(tally, name), int) else dict(value) for name in Tally.__slots__}
    values |= {name: value for name, value in passage._asdict().items() if name not in ("departure", "note", "replaces")}
    if passage.departure is not None:
        gone = passage.departure
        values["departure"] = (gone.at_ns, gone.side, gone.how, gone.waits_for, gone.is_after_end, gone.answered_ns, gone.reached)
    values["parts"] = sorted(
        (
            repr(part.statement.sql), part.statement.name, part.is_carried, part.parses, part.executions, part.ended, part.reused,
            part.errors,
            part.dropped, part.forgotten, exchange.returned(part, passage.rows),
        )
        for part in exchange.parts
    )  # fmt: skip
    values["statements"] = [statement.sql for statement in exchange.statements]
    values["portals"] = [(portal.name, portal.statement.sql, portal.result_formats) for portal in exchange.portals]
    values["first, copying, error"] = tuple(one and one.sql for one in (exchange.first, exchange.copying)), exchange.error
    return values


class Heard(Observer):
    """What a session said, in lists."""

    def __init__(self) -> None:
        self.round_trips: list[RoundTrip] = []
        self.waits: list[tuple[Statement, int]] = []
        self.others: list[int] = []

    def happened(self, exchange: Exchange, passage: Passage) -> None:
        if exchange.rows_differ and exchange.first is not None:
            self.waited(exchange.first, passage.waited_ns)
        told = RoundTrip(exchange, passage)
        if passage.replaces is None:
            self.round_trips.append(told)
        else:
            before = next(place for place, one in enumerate(self.round_trips) if one.exchange is passage.replaces[0])
            self.round_trips[before] = told

    def waited(self, statement: Statement, wait_ns: int) -> None:
        self.waits.append((statement, wait_ns))

    def alone(self, side: int, code: int, body: bytes, size: int, time_ns: int, counts: Counts | None) -> None:
        self.others.append(code)

    @property
    def executions(self) -> list[Ran]:
        """What ran, by round trip and statement."""
        return [
            Ran(part.statement, part.executions, *one.exchange.returned(part, one.passage.rows), failed=bool(part.errors))
            for one in self.round_trips
            for part in one.exchange.parts
            if part.ended
        ]

    @property
    def failures(self) -> list[Statement | None]:
        """The statement of each error, then None for each that belongs to none."""
        found = [part.statement for one in self.round_trips for part in one.exchange.parts for _ in range(part.errors)]
        errors = sum(one.exchange.effect.errors for one in self.round_trips) + self.others.count(ord("E"))
        return [*found, *[None] * (errors - len(found))]

    @property
    def ran(self) -> list[str | None]:
        """The SQL of every execution, in order; a continued portal's is no new one."""
        return [one.statement.sql for one in self.executions for _ in range(one.executions)]

    @property
    def waits_ms(self) -> list[float]:
        """What was waited for, then 0 for each execution that ended with the one before."""
        at_once = sum(part.at_once for one in self.round_trips for part in one.exchange.parts)
        return [*(wait_ns / MS for _, wait_ns in self.waits), *[0.0] * at_once]


class Listing(Observer):
    """All that a session says, as values that compare: of each round trip the last word, all waits
    together, what names meant when a run began."""

    def __init__(self) -> None:
        self.begun = 0
        self.round_trips: list[dict[str, object]] = []
        self.waits: Counter[tuple[str | None, int]] = Counter()
        self.others: list[tuple[object, ...]] = []
        self.names: dict[tuple[str, str], str | None] = {}
        self.meanings: list[dict[tuple[str, str], str | None]] = []
        self._places: dict[int, int] = {}

    def begins(self) -> int:
        self.begun += 1
        self.meanings.append(dict(self.names))
        return self.begun

    def happened(self, exchange: Exchange, passage: Passage) -> None:
        if exchange.rows_differ and exchange.first is not None:
            self.waited(exchange.first, passage.waited_ns)
        if passage.note not in self._places:
            self._places[passage.note] = len(self.round_trips)
            self.round_trips.append({})
        self.round_trips[self._places[passage.note]] = said(exchange, passage) | {"note": passage.note}
        for (told, _), times in (((exchange, passage), 1), *([(passage.replaces, -1)] if passage.replaces is not None else [])):
            for part in told.parts:
                self.waits[part.statement.sql, 0] += times * part.at_once

    def waited(self, statement: Statement, wait_ns: int) -> None:
        self.waits[statement.sql, wait_ns] += 1

    def alone(self, side: int, code: int, body: bytes, size: int, time_ns: int, counts: Counts | None) -> None:
        self.others.append((side, code, body, size, time_ns, counts is None))

    def named(self, kind: str, name: str, what: Statement | Portal) -> None:
        self.names[kind, name] = (what.statement if isinstance(what, Portal) else what).sql

    def copy_began(self, note: object, code: int, response: bytes, statement: Statement | None) -> None:
        self.others.append(("copy", note, code, response, statement and statement.sql))

    def copy_ended(self) -> None:
        self.others.append(("copied",))

    @property
    def all(self) -> tuple[object, ...]:
        """Everything, to compare."""
        return self.begun, self.round_trips, +self.waits, self.others, self.meanings


class Plain(Session):
    """The plain machine alone, without the short cut of known exchanges."""

    def _take_frontend(self, time_ns: int, data: bytes) -> None:
        self._run(time_ns, data)

    def _take_backend(self, time_ns: int, data: bytes) -> None:
        self._backend(time_ns, self.framer.feed(BACKEND, data))


def play(script: str) -> tuple[Session, Heard]:
    """Connection 1 of a script through a session."""
    heard = Heard()
    session = Session(heard)
    for one in records(script):
        if isinstance(one, record.Data):
            session.receive(one.side, one.time_ns, one.data, one.offset)
        elif isinstance(one, record.Gap):
            session.gap(one.time_ns)
        elif isinstance(one, record.Close):
            session.close(one.time_ns)
        elif isinstance(one, record.Ended):
            session.ended(one.side, one.how, one.time_ns)
        elif isinstance(one, record.Opaque):
            session.opaque(one.side, one.time_ns, one.length)
    return session, heard


SECRET = "5ecre7"
SECRET_SAID = f"""
F Query alter role me password '{SECRET}'
B ErrorResponse 22P02 invalid: {SECRET} | ReadyForQuery I
F Parse - SELECT $1 -- {SECRET} | Bind - - params={SECRET} | Execute - | Sync
B ParseComplete | BindComplete | DataRow {SECRET} | CommandComplete SELECT 1 | ReadyForQuery I
F Terminate
close F
end
"""
"""A session that says a secret in its SQL, a message of the server, a parameter and a row."""
