"""Captures that hold very many of one thing, written as fast as Python can: what a reader may keep of it has to be bounded.

    python -m tests.crowds connections 300000 out.pgtrace

Each crowd is a generator of records in CROWDS: given a number, that many of whatever its name says.
Ids count up, so that nothing is equal to anything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import islice

from pgtrace.capture.record import Close, Data, End, Fact, Mark, Open, Record, Resume, Setting
from pgtrace.capture.writer import CaptureWriter
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.wire_recording import bind, columns, describe, done, error, int16, int32, message, parse, query, ready, startup, string

STEP_NS = 50_000
WELCOME = message("R", int32(0)) + ready()
SYNC = message("S")
EXECUTE = message("E", string("") + int32(0))
ANSWERED = b"2\0\0\0\4" + done("SELECT 0") + ready()
LONG_BYTES = 1_000_000
AT_ONCE = 2000
"""Records in a block."""


class Wire:
    """Reads of one connection after the other, each at a time of its own."""

    def __init__(self) -> None:
        self.now = 1_000_000_000
        self.offsets: dict[tuple[int, int], int] = {}

    def tick(self) -> int:
        self.now += STEP_NS
        return self.now

    def open(
        self, number: int, parameters: dict[str, str] | None = None, *, key: bool = False, welcome: bytes = WELCOME
    ) -> Iterator[Record]:
        """It opens and is let in."""
        port = 1024 + number % 60000
        yield Open(self.tick(), number, "127.0.0.1:6433", "db:5432", f"10.0.{number // 60000}.1:{port}", "127.0.0.1:5432", 1)
        yield self.read(number, FRONTEND, startup(**({"user": "somebody"} if parameters is None else parameters)))
        backend_key = message("K", int32(number & 0x7FFFFFFF) + (number * 2654435761 % (1 << 32)).to_bytes(4, "big")) if key else b""
        yield self.read(number, BACKEND, welcome[:-6] + backend_key + welcome[-6:])

    def read(self, number: int, side: int, data: bytes) -> Data:
        offset = self.offsets.get((number, side), 0)
        self.offsets[number, side] = offset + len(data)
        return Data(self.tick(), number, side, offset, data)

    def trip(self, number: int, asked: bytes, answer: bytes) -> Iterator[Record]:
        yield self.read(number, FRONTEND, asked)
        yield self.read(number, BACKEND, answer)

    def close(self, number: int) -> Iterator[Record]:
        yield self.read(number, FRONTEND, message("X"))
        yield Close(self.tick(), number, FRONTEND, "FIN")
        for side in (FRONTEND, BACKEND):
            self.offsets.pop((number, side), None)


def connections(number: int, *, closed: bool = True, ask: bool = True, **parameters: str) -> Iterator[Record]:
    """Tiny connections, one after the other; a `%d` in a parameter is the connection's number."""
    wire = Wire()
    for one in range(1, number + 1):
        given = {name: value % one if "%d" in value else value for name, value in {"user": "somebody", **parameters}.items()}
        yield from wire.open(one, given, key=True)
        if ask:
            yield from wire.trip(one, query("select 1"), done("SELECT 1") + ready())
        if closed:
            yield from wire.close(one)


def left_open(number: int) -> Iterator[Record]:
    """Connections that stay open, all of them."""
    return connections(number, closed=False)


def never_started(number: int) -> Iterator[Record]:
    """Connections of which nothing but the opening is seen."""
    wire = Wire()
    for one in range(1, number + 1):
        yield Open(wire.tick(), one, "127.0.0.1:6433", "db:5432", f"10.0.{one // 60000}.1:{one % 60000}", "127.0.0.1:5432", 1)


def applications(number: int) -> Iterator[Record]:
    """A user, a database and an application name for each connection."""
    return connections(number, user="user %d", database="database %d", application_name="application %d " + "x" * 200)


def drivers(number: int) -> Iterator[Record]:
    """A driver for each connection, as a golden names it."""
    wire = Wire()
    for one in range(1, number + 1):
        yield from wire.open(one)
        yield Fact(wire.tick(), one, "driver", f"driver {one}")
        yield from wire.trip(one, query(f"select a{one} from t"), done("SELECT 1") + ready())
        yield from wire.close(one)


def cancels(number: int) -> Iterator[Record]:
    """A session, and a connection that cancels it, again and again."""
    wire = Wire()
    for one in range(1, number + 1, 2):
        yield from wire.open(one, key=True)
        yield from wire.close(one)
        secret = int32(one & 0x7FFFFFFF) + (one * 2654435761 % (1 << 32)).to_bytes(4, "big")
        yield Open(wire.tick(), one + 1, "127.0.0.1:6433", "db:5432", "127.0.0.1:1", "127.0.0.1:5432", 1)
        yield wire.read(one + 1, FRONTEND, int32(16, 80877102) + secret)
        yield Close(wire.tick(), one + 1, FRONTEND, "FIN")


def resumed(number: int) -> Iterator[Record]:
    """Connections that go on from an earlier segment."""
    wire = Wire()
    for one in range(1, number + 1):
        yield Resume(wire.tick(), one, startup(user="somebody", application_name=f"a{one}"), (1000, 1000), WELCOME)


def _alone(what: Callable[[Wire, int], Iterator[Record]]) -> Callable[[int], Iterator[Record]]:
    """That on a connection of its own."""

    def crowd(number: int) -> Iterator[Record]:
        wire = Wire()
        yield from wire.open(1)
        yield from what(wire, number)

    return crowd


def _prepared(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        asked = parse(f"s{one}", f"select c{one} from t where id = $1") + describe("S", f"s{one}") + SYNC
        yield from wire.trip(1, asked, b"1\0\0\0\4" + message("t", int16(1) + int32(23)) + columns((f"c{one}", 23)) + ready())


def _prepared_alike(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        asked = parse(f"s{one}", "select 1") + bind(f"s{one}") + EXECUTE + SYNC
        yield from wire.trip(1, asked, b"1\0\0\0\4" + ANSWERED)


def _portals(wire: Wire, number: int) -> Iterator[Record]:
    yield from wire.trip(1, query("begin"), done("BEGIN") + ready("T"))
    yield from wire.trip(1, parse("s", "select $1") + SYNC, b"1\0\0\0\4" + ready("T"))
    for one in range(number):
        bound = message("B", string(f"p{one}") + string("s") + int16(0, 1) + int32(1) + b"x" + int16(0))
        yield from wire.trip(1, bound + message("E", string(f"p{one}") + int32(1)) + SYNC, b"2\0\0\0\4" + message("s") + ready("T"))


def _earlier(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield from wire.trip(1, bind(f"s{one}") + EXECUTE + SYNC, ANSWERED)


def _long_names(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        name = f"{one} " + "x" * LONG_BYTES
        yield from wire.trip(1, parse(name, f"select {one}") + bind(name) + EXECUTE + SYNC, b"1\0\0\0\4" + ANSWERED)


def _names_of_100_kb(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        name = f"{one} " + "x" * 100_000
        yield from wire.trip(1, parse(name, f"select {one}") + bind(name) + EXECUTE + SYNC, b"1\0\0\0\4" + ANSWERED)


def _texts_of_100_kb(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield from wire.trip(1, parse(f"s{one}", f"select {one}, '" + "x" * 100_000 + f"', t{one}") + SYNC, b"1\0\0\0\4" + ready())


def _wide(wire: Wire, number: int) -> Iterator[Record]:
    described = columns(*((f"column_number_{column}", 23) for column in range(1600)))
    for one in range(number):
        yield from wire.trip(1, parse(f"s{one}", f"select {one}") + describe("S", f"s{one}") + SYNC, b"1\0\0\0\4" + described + ready())


def _errors(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield from wire.trip(1, query("select 1"), error(f"{one % 100000:05}", f"message {one}") + ready())


def _texts(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield from wire.trip(1, query(f"select a{one} from t"), done("SELECT 1") + ready())


def _in_one_transaction(wire: Wire, number: int) -> Iterator[Record]:
    yield from wire.trip(1, query("begin"), done("BEGIN") + ready("T"))
    for one in range(number):
        yield from wire.trip(1, query(f"update t{one % 5000} set x = {one}"), done("UPDATE 1") + ready("T"))


def _transactions(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield from wire.trip(1, query("begin"), done("BEGIN") + ready("T"))
        yield from wire.trip(1, query(f"update t{one} set x = 1"), done("UPDATE 1") + ready("T"))
        yield from wire.trip(1, query("commit"), done("COMMIT") + ready())


def _notices(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield wire.read(1, BACKEND, message("N", b"C" + string("01000") + b"M" + string(f"notice {one}") + b"\0"))


def _notifications(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield wire.read(1, BACKEND, message("A", int32(1) + string(f"channel {one}") + string("x")))


def _statuses(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield wire.read(1, BACKEND, message("S", string(f"name {one}") + string("value")))


def _unanswered(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield wire.read(1, FRONTEND, query(f"select {one}"))


def _unanswered_parses(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield wire.read(1, FRONTEND, parse(f"s{one}", f"select a{one}") + bind(f"s{one}") + EXECUTE)


def _long_query(wire: Wire, number: int) -> Iterator[Record]:
    """One Query of that many statements."""
    text = ";".join(f"select a{one}" for one in range(number))
    yield from wire.trip(1, query(text), done("SELECT 1") * number + ready())


def _facts(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield Fact(wire.tick(), 1, f"key {one}", f"value {one}")


def _faults(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield Fact(wire.tick(), 1, "fault", f"rule {one}")


def _settings(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield Setting(wire.tick(), f"key {one}", f"value {one}")


def _marks(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield Mark(wire.tick(), True, f"mark {one}", one)
        yield from wire.trip(1, query("select 1"), done("SELECT 1") + ready())
        yield Mark(wire.tick(), False, f"mark {one}", one)


def _marks_of_one_name(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield Mark(wire.tick(), True, "mark", one)
        yield from wire.trip(1, query("select 1"), done("SELECT 1") + ready())
        yield Mark(wire.tick(), False, "mark", one)


def _open_marks(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield Mark(wire.tick(), True, f"mark {one}", one)
        yield from wire.trip(1, query("select 1"), done("SELECT 1") + ready())


def _slots(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield from wire.trip(
            1,
            query(f"CREATE_REPLICATION_SLOT s{one} LOGICAL pgoutput"),
            columns(("slot_name", 25)) + done("CREATE_REPLICATION_SLOT") + ready(),
        )


def _copies(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield from wire.trip(1, query(f"copy t{one} from stdin"), message("G", b"\0" + int16(1, 0)))
        yield from wire.trip(1, message("d", b"1\n") + message("c"), done("COPY 1") + ready())


def _types(wire: Wire, number: int) -> Iterator[Record]:
    asked = "select oid, typname from pg_catalog.pg_type t"
    for one in range(number):
        row = message(
            "D", int16(2) + int32(len(str(one + 16384))) + str(one + 16384).encode() + int32(len(f"type{one}")) + f"type{one}".encode()
        )
        yield from wire.trip(1, query(asked), columns(("oid", 26), ("typname", 19)) + row + done("SELECT 1") + ready())


def _oids(wire: Wire, number: int) -> Iterator[Record]:
    for one in range(number):
        yield from wire.trip(1, parse("", "select $1", 100000 + one) + bind("", b"x") + EXECUTE + SYNC, b"1\0\0\0\4" + ANSWERED)


def start_up_parameters(number: int) -> Iterator[Record]:
    """That many start-up parameters, a thousand on each connection."""
    wire = Wire()
    for one in range(1, number // 1000 + 1):
        yield from wire.open(one, {f"parameter_{one}_{place}": f"value {place}" for place in range(1000)})
        yield from wire.close(one)


def marked_connections(number: int) -> Iterator[Record]:
    """Connections with a mark around each."""
    wire = Wire()
    for one in range(1, number + 1):
        yield Mark(wire.tick(), True, f"mark {one}", one)
        yield from wire.open(one)
        yield from wire.trip(one, query("select 1"), done("SELECT 1") + ready())
        yield from wire.close(one)
        yield Mark(wire.tick(), False, f"mark {one}", one)


CROWDS: dict[str, Callable[[int], Iterator[Record]]] = {
    "connections": connections, "left_open": left_open, "never_started": never_started, "applications": applications, "drivers": drivers,
    "cancels": cancels, "resumed": resumed, "start_up_parameters": start_up_parameters, "marked_connections": marked_connections,
    **{name.removeprefix("_"): _alone(what) for name, what in list(globals().items()) if name in (
        "_prepared", "_prepared_alike", "_portals", "_earlier", "_long_names", "_names_of_100_kb", "_texts_of_100_kb", "_wide",
        "_errors", "_texts",
        "_in_one_transaction", "_transactions", "_notices", "_notifications", "_statuses", "_unanswered", "_unanswered_parses",
        "_long_query", "_facts",
        "_faults", "_settings", "_marks", "_marks_of_one_name", "_open_marks", "_slots", "_copies", "_types", "_oids",
    )},
}  # fmt: skip


def write(name: str, number: int, path: str | os.PathLike[str]) -> None:
    """Write the capture with a crowd of that many."""
    records = CROWDS[name](number)
    with CaptureWriter(path) as writer:
        now = 0
        while some := list(islice(records, AT_ONCE)):
            writer.write(some)
            now = some[-1].time_ns
        writer.write([End(now + 1)])


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]), sys.argv[3])
