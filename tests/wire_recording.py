"""A capture made message by message, with values, times and drivers that a test computes.

Where a session can be written down, it is a script (playbook.py). The messages are built by the same classes.
"""

from __future__ import annotations

from pathlib import Path

from pgtrace.capture.record import Close, Data, End, Ended, Fact, Gap, Mark, Open, Record
from pgtrace.capture.versions import Header
from pgtrace.capture.writer import CaptureWriter
from pgtrace.protocol import backend, frontend
from pgtrace.protocol import startup as messages

MS = 1_000_000
INT8, TEXT = 20, 25


def message(code: str, body: bytes = b"") -> bytes:
    return code.encode() + (len(body) + 4).to_bytes(4, "big") + body


def string(text: str) -> bytes:
    return text.encode() + b"\0"


def int16(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)


def int32(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)


def startup(**parameters: str) -> bytes:
    return messages.StartupMessage(3 << 16, tuple(parameters.items())).wire()


def parse(name: str, sql: str, *types: int) -> bytes:
    return frontend.Parse(name, sql, types).wire()


def bind(name: str, *values: bytes | None, binary: bool = True) -> bytes:
    return frontend.Bind("", name, (int(binary),), values, (int(binary),)).wire()


def describe(kind: str, name: str = "") -> bytes:
    return frontend.Describe(kind, name).wire()


EXECUTE = frontend.Execute("", 0).wire()
SYNC = frontend.Sync().wire()
FLUSH = frontend.Flush().wire()
TERMINATE = frontend.Terminate().wire()
PARSED = backend.ParseComplete().wire()
BOUND = backend.BindComplete().wire()


def query(sql: str) -> bytes:
    return frontend.Query(sql).wire()


def columns(*named: tuple[str, int], binary: bool = True) -> bytes:
    return backend.RowDescription(tuple(backend.Column(name, 0, 0, oid, 8, -1, int(binary)) for name, oid in named)).wire()


def parameters(*oids: int) -> bytes:
    return backend.ParameterDescription(oids).wire()


def row(*values: bytes | None) -> bytes:
    return backend.DataRow(values).wire()


def done(tag: str) -> bytes:
    return backend.CommandComplete(tag).wire()


def ready(status: str = "I") -> bytes:
    return backend.ReadyForQuery(status).wire()


def error(sqlstate: str, text: str) -> bytes:
    return backend.ErrorResponse((("S", "ERROR"), ("V", "ERROR"), ("C", sqlstate), ("M", text))).wire()


def int8(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


class Recording:
    """Writes a capture; `now` is its clock in ns since the start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = CaptureWriter(path)
        self.header: Header = self.writer.header
        self.now = 0
        self._records: list[Record] = []
        self._offsets: dict[tuple[int, int], int] = {}
        self._connections = 0

    def wait(self, ms: float) -> None:
        self.now += int(ms * MS)

    def send(self, connection: int, data: bytes) -> None:
        self._data(connection, 0, data)

    def answer(self, connection: int, data: bytes) -> None:
        self._data(connection, 1, data)

    def trip(self, connection: int, sent: bytes, received: bytes, ms: float = 0.4) -> None:
        """One round trip and a little pause behind it."""
        self.send(connection, sent)
        self.wait(ms)
        self.answer(connection, received)
        self.wait(0.1)

    def connect(self, driver: str = "asyncpg", user: str = "app", database: str = "shop", **parameters: str) -> int:
        """A session that gets through its start-up in three round trips."""
        self._connections += 1
        number = self._connections
        self._put(Open(self._time(), number, "127.0.0.1:6433", "db:5432", f"127.0.0.1:{40000 + number}", "10.0.0.5:5432", self._wall()))
        self.trip(number, int32(8, 80877103), b"N", 0.1)
        own = {"asyncpg": {"client_encoding": "'utf-8'"}, "psycopg": {"application_name": "shop", "client_encoding": "UTF8"}}
        self.trip(number, startup(user=user, database=database, **(own.get(driver, {}) | parameters)), message("R", int32(3)))
        hello = message("R", int32(0)) + message("S", string("server_version") + string("18.6"))
        hello += message("K", int32(4700 + number, number)) + ready()
        self.trip(number, message("p", b"\0" * 8), hello)
        return number

    def close(self, connection: int, *, terminate: bool = True) -> None:
        if terminate:
            self.send(connection, TERMINATE)
        self._put(Close(self._time(), connection, 0, "FIN"))

    def ends(self, connection: int, side: int, how: str = "FIN") -> None:
        self._put(Ended(self._time(), connection, side, how))

    def mark(self, name: str, begin: bool = True) -> None:
        self._put(Mark(self._time(), begin, name, 1))

    def fact(self, connection: int, key: str, value: str) -> None:
        self._put(Fact(self._time(), connection, key, value))

    def gap(self, connection: int, size: int) -> None:
        self._put(Gap(self._time(), connection, 1, size, 3))
        self._offsets[connection, 1] = self._offsets.get((connection, 1), 0) + size

    def flush(self) -> None:
        self.writer.write(self._records)
        self._records = []

    def end(self) -> Path:
        self._put(End(self._time()))
        self.flush()
        self.writer.close()
        return self.path

    def _data(self, connection: int, side: int, data: bytes) -> None:
        offset = self._offsets.get((connection, side), 0)
        self._offsets[connection, side] = offset + len(data)
        self._put(Data(self._time(), connection, side, offset, data))

    def _put(self, record: Record) -> None:
        self._records.append(record)

    def _time(self) -> int:
        return self.header.monotonic_ns + self.now

    def _wall(self) -> int:
        return self.header.wall_ns + self.now


def checkout(recording: Recording) -> None:
    """A little shop: three drivers, a transaction that fails, a pipeline, a mark, a gap in nothing."""
    one, two, three = recording.connect("asyncpg"), recording.connect("psycopg"), recording.connect("pg8000")
    users = "SELECT id, email, name FROM users WHERE id = $1"
    name = "__asyncpg_stmt_1__"
    recording.mark("test_profile")
    recording.trip(
        one, parse(name, users) + describe("S", name) + FLUSH, PARSED + parameters(INT8) + columns(("id", INT8), ("email", TEXT))
    )
    for user in (707, 708, 709):
        recording.trip(one, bind(name, int8(user)) + EXECUTE + SYNC, BOUND + row(int8(user), b"a@b.c") + done("SELECT 1") + ready())
    recording.mark("test_profile", begin=False)
    recording.trip(two, query("BEGIN"), done("BEGIN") + ready("T"))
    insert = (
        parse("", "INSERT INTO audit (user_id, what) VALUES ($1, $2)", INT8) + bind("", b"42", None, binary=False) + describe("P") + EXECUTE
    )
    good = PARSED + BOUND + message("n") + done("INSERT 0 1")
    failed = PARSED + BOUND + message("n") + error("23505", 'duplicate key value violates unique constraint "audit_pkey"') + ready("E")
    recording.trip(two, insert * 5 + SYNC, good * 2 + failed, 2.1)
    recording.trip(three, query("begin transaction"), done("BEGIN") + ready("T"))
    recording.trip(two, query("ROLLBACK"), done("ROLLBACK") + ready())
    rows = b"".join(row(str(number).encode(), b"x") for number in range(20))
    listed = columns(("id", INT8), ("v", TEXT), binary=False)
    recording.trip(three, parse("", "SELECT id, v FROM orders WHERE user_id = $1") + FLUSH + SYNC, PARSED + ready("T"))
    recording.trip(three, describe("S") + FLUSH + SYNC, parameters(INT8) + listed + ready("T"))
    recording.trip(three, bind("", b"42", binary=False) + FLUSH + EXECUTE + FLUSH + SYNC, BOUND + rows + done("SELECT 20") + ready("T"))
    recording.trip(three, query("commit"), done("COMMIT") + ready())
    recording.wait(30)
    recording.trip(one, query("LISTEN orders"), done("LISTEN") + ready())
    recording.answer(one, message("A", int32(4711) + string("orders") + string("new")))
