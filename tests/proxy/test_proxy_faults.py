"""Faults on one connection, between plain sockets: what is delivered, what is not, and what is recorded of it."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgtrace.capture.blocks import Block
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Close, Data, Fact, Record, Setting
from pgtrace.faults import parse
from pgtrace.inspect import details
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.recorder import Recorder
from pgtrace.report import messages
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace
from tests.proxy.drivers import connect, log_in
from tests.proxy.recorded import of_kind, recording, records, stream, wait_for_end
from tests.proxy.upstreams import Scripted, echo
from tests.proxy.wire import READY, STARTUP, read_all, read_exactly, reset, row

SYNC = b"S\0\0\0\4"
PARSE = b"P\0\0\0\x10\0select 1\0\0\0"
ORDERS = b"P\0\0\0\x1c\0select * from orders\0\0\0"


@contextlib.contextmanager
def struck(serve: Callable[[socket.socket], None], *rules: str, **options: object) -> Iterator[tuple[Scripted, Recorder]]:
    """A recorder with rules before a server."""
    with Scripted(serve) as server, recording(server.upstream, faults=[parse(rule) for rule in rules], **options) as recorder:
        yield server, recorder


def faults_in(found: list[Record], connection: int = 1) -> list[str]:
    return [fact.value for fact in of_kind(found, Fact) if fact.key == "fault" and fact.connection == connection]  # type: ignore[union-attr]


class Hearing:
    """A server that lets everybody in, remembers what comes, and how it ended."""

    def __init__(self, answer: bytes = b"") -> None:
        self.heard = b""
        self.end = ""
        self._answer = answer

    def __call__(self, connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY + self._answer)
        try:
            while data := connection.recv(1 << 16):
                self.heard += data
            self.end = "FIN"
        except ConnectionResetError:
            self.end = "RST"


def end_of(driver: socket.socket) -> tuple[bytes, str]:
    """What comes to the driver, and how it ends."""
    data = b""
    try:
        while piece := driver.recv(1 << 16):
            data += piece
    except ConnectionResetError:
        return data, "RST"
    return data, "FIN"


@pytest.mark.parametrize(("action", "how"), [("close", "FIN"), ("reset", "RST")])
@pytest.mark.parametrize(
    ("moment", "passed"),
    [
        ("before Sync#2", PARSE + SYNC + ORDERS),
        ("after Sync#2", PARSE + SYNC + ORDERS + SYNC),
        ("inside Sync#2", PARSE + SYNC + ORDERS + SYNC[:2]),
        ("before Parse ~ /from ORDERS/", PARSE + SYNC),
        ("inside Parse#2", PARSE + SYNC + ORDERS[:14]),
        ("after 20B F", None),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.sampled(2)
def test_the_server_gets_what_stands_before_the_place(action: str, how: str, moment: str, passed: bytes | None, piece: int) -> None:
    hearing = Hearing()
    sent = PARSE + SYNC + ORDERS + SYNC + PARSE
    with struck(hearing, f"{action} {moment}") as (_, recorder), connect(recorder) as driver:
        if passed is not None:
            log_in(driver)
        else:
            driver.sendall(STARTUP)
            passed = sent[: 20 - len(STARTUP)]
            assert read_exactly(driver, len(READY)) == READY
        told = False  # of a reset a socket tells once
        try:
            for at in range(0, len(sent), piece):
                driver.sendall(sent[at : at + piece])
        except ConnectionError:
            told = True
        ended = end_of(driver)
        assert ended == (b"", how) or (told and ended == (b"", "FIN"))
        found = wait_for_end(recorder)
    assert (hearing.heard, hearing.end) == (passed, how)
    assert faults_in(found) == [f"{action} {moment}"]
    assert [(record.side, record.how) for record in of_kind(found, Close)] == [(2, "pgtrace")]  # type: ignore[union-attr]
    recorded = stream(found, FRONTEND)
    assert recorded.startswith(STARTUP + passed)
    assert (STARTUP + sent).startswith(recorded)


ROWS = row(b"one") + row(b"two") + row(b"three")
TAIL = b"C\0\0\0\x0dSELECT 3\0Z\0\0\0\5I"


@pytest.mark.parametrize(("action", "how"), [("close", "FIN"), ("reset", "RST")])
@pytest.mark.parametrize(
    ("moment", "delivered"),
    [
        ("before DataRow#2", row(b"one")),
        ("after DataRow#2", row(b"one") + row(b"two")),
        ("inside DataRow#3", row(b"one") + row(b"two") + row(b"three")[:5]),
        ("before DataRow ~ /^thr/", row(b"one") + row(b"two")),
        ("before reply to Query", b""),
        ("after reply to Query", ROWS + TAIL),
        ("after 23B B", (ROWS + TAIL)[: 23 - len(READY)]),
        ("after ReadyForQuery#2", ROWS + TAIL),
    ],
)
def test_the_driver_gets_what_stands_before_the_place(action: str, how: str, moment: str, delivered: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY)
        with contextlib.suppress(ConnectionError):
            connection.recv(100)
            connection.sendall(ROWS + TAIL)
            read_all(connection)

    with struck(serve, f"{action} {moment}") as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        driver.sendall(b"Q\0\0\0\x0cselect\0\0")
        assert end_of(driver) == (delivered, how)
        found = wait_for_end(recorder)
    assert stream(found, BACKEND) == READY + delivered
    assert faults_in(found) == [f"{action} {moment}"]


def test_what_had_arrived_of_the_other_direction_is_delivered() -> None:
    """The driver's Sync has been read and waits out its delay when the server's row strikes."""
    heard: list[bytes] = []
    strikes = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY)
        assert strikes.wait(20)
        connection.sendall(ROWS)
        heard.append(read_all(connection))

    with struck(serve, "delay 500ms F", "close before DataRow") as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        driver.sendall(SYNC)
        while SYNC not in stream(records(recorder), FRONTEND):
            pass
        strikes.set()
        assert end_of(driver) == (b"", "FIN")
        wait_for_end(recorder)
    assert heard == [SYNC]


@pytest.mark.parametrize("rtt_ns", [0, 4_000_000])
def test_a_delay_at_a_message_holds_what_is_behind_it(rtt_ns: int) -> None:
    with struck(echo, "delay 60ms before Sync", rtt_ns=rtt_ns) as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        for _ in range(5):
            began = time.monotonic()
            driver.sendall(PARSE + SYNC + PARSE)
            assert read_exactly(driver, len(PARSE)) == PARSE
            assert read_exactly(driver, len(SYNC + PARSE)) == SYNC + PARSE
            assert time.monotonic() - began >= 0.06
        driver.close()
        found = wait_for_end(recorder)
    assert faults_in(found) == ["delay 60ms before Sync"] * 5
    sent, came = (
        [record.time_ns for record in of_kind(found, Data) if record.side == side and record.data[:1] == PARSE[:1]]  # type: ignore[union-attr]
        for side in (FRONTEND, BACKEND)
    )
    waits = [min(back for back in came if back > there) - there for there in sent]
    assert min(waits) < 60_000_000, "what is before it waits for nothing but, once in a while, a busy machine"


def test_each_such_message_waits_where_it_stands() -> None:
    with struck(Hearing(ROWS), "delay 40ms before DataRow") as (_, recorder), connect(recorder) as driver:
        driver.sendall(STARTUP)
        read_exactly(driver, len(READY + ROWS))
        driver.close()
        found = wait_for_end(recorder)
    times = [record.time_ns for record in of_kind(found, Data) if record.side == BACKEND and record.data[:1] == b"D"]  # type: ignore[union-attr]
    assert len(times) == 3
    assert all(later - earlier >= 30_000_000 for earlier, later in itertools.pairwise(times))


def test_latency_keeps_the_order_and_is_one_way_where_that_is_said() -> None:
    with struck(echo, "delay 30ms~20ms B") as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        sent = b"".join(row(str(number).encode()) for number in range(200))
        began = time.monotonic()
        for at in range(0, len(sent), 50):
            driver.sendall(sent[at : at + 50])
        assert read_exactly(driver, len(sent)) == sent
        assert 0.01 <= time.monotonic() - began < 5
        driver.close()
        assert faults_in(wait_for_end(recorder)) == ["delay 30ms~20ms B"]


def test_two_runs_are_delayed_alike() -> None:
    from pgtrace.proxy.fault_rules import FaultRules
    from pgtrace.proxy.faults import Faults
    from pgtrace.proxy.pauses import Pauses
    from pgtrace.proxy.relay import Session
    from pgtrace.proxy.tape import Tape

    rule = parse("delay 30ms~20ms")
    runs = []
    for _ in range(2):
        session = Session(3, Pauses(Tape(lambda *_: None, b"")), None, 0)  # type: ignore[arg-type]
        faults = Faults(FaultRules([rule], print), session)
        runs.append([faults.latency_ns(FRONTEND) for _ in range(100)])
    assert runs[0] == runs[1]
    assert min(runs[0]) >= 10_000_000
    assert max(runs[0]) <= 50_000_000
    assert len(set(runs[0])) > 50


@pytest.mark.parametrize(("rule", "size"), [("split 1", 1), ("split 7B", 7), ("split 1kB every 1ms", 1000)])
def test_pieces(rule: str, size: int) -> None:
    data = row(bytes(range(256)) * 8)
    with struck(echo, rule) as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        driver.sendall(data)
        assert read_exactly(driver, len(data)) == data
        driver.close()
        found = wait_for_end(recorder)
    pieces = [record.data for record in of_kind(found, Data) if record.side == BACKEND]  # type: ignore[union-attr]
    assert b"".join(pieces) == READY + data
    assert max(map(len, pieces)) == size


def test_pieces_arrive_as_pieces() -> None:
    read: list[int] = []

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY)
        while data := connection.recv(1 << 16):
            read.append(len(data))

    with struck(serve, "split 3 every 5ms F") as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        driver.sendall(bytes(90))
        driver.shutdown(socket.SHUT_WR)
        read_all(driver)
    assert sum(read) == 90
    assert len(read) > 5


def test_a_rate() -> None:
    data = row(bytes(100_000))
    with struck(echo, "limit 200kB/s B") as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        began = time.monotonic()
        driver.sendall(data)
        assert read_exactly(driver, len(data)) == data
        assert 0.45 <= time.monotonic() - began < 5


def test_the_end_comes_later() -> None:
    with struck(echo, "delay 200ms at end") as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        driver.sendall(b"last")
        assert read_exactly(driver, 4) == b"last"
        began = time.monotonic()
        driver.shutdown(socket.SHUT_WR)
        assert read_all(driver) == b""
        assert time.monotonic() - began >= 0.4  # each way
        assert faults_in(wait_for_end(recorder)) == ["delay 200ms at end"] * 2


def test_nothing_passes_a_connection_that_hangs() -> None:
    hearing = Hearing(b"")
    with struck(hearing, "hang after Sync") as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        driver.sendall(PARSE + SYNC + PARSE)
        driver.settimeout(0.3)
        with pytest.raises(TimeoutError):
            driver.recv(1)
        driver.close()
        found = wait_for_end(recorder)
    assert hearing.heard == PARSE + SYNC
    assert stream(found, FRONTEND) == STARTUP + PARSE + SYNC + PARSE


def test_a_connection_that_hangs_is_closed_in_its_time() -> None:
    with struck(Hearing(), "hang 200ms after Sync") as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        began = time.monotonic()
        driver.sendall(SYNC)
        assert end_of(driver) == (b"", "FIN")
        assert time.monotonic() - began >= 0.19
        wait_for_end(recorder)


def test_after_a_time_also_before_there_is_anything() -> None:
    with struck(Hearing(), "reset after 150ms") as (_, recorder):
        for logs_in in (False, True):
            with connect(recorder) as driver:
                began = time.monotonic()
                if logs_in:
                    log_in(driver)
                assert end_of(driver) == (b"", "RST")
                assert 0.14 <= time.monotonic() - began < 5
        assert [faults_in(wait_for_end(recorder), number) for number in (1, 2)] == [["reset after 150ms"]] * 2


@pytest.mark.parametrize(("rule", "how"), [("close at connect", "FIN"), ("reset at connect", "RST")])
def test_a_server_that_is_down(rule: str, how: str) -> None:
    with struck(echo, rule) as (server, recorder), connect(recorder) as driver:
        with contextlib.suppress(ConnectionError):
            driver.sendall(STARTUP)
        assert end_of(driver)[0] == b""
        assert faults_in(wait_for_end(recorder)) == [rule]
        assert server.accepted == 0


def test_a_server_that_takes_the_connection_and_says_nothing() -> None:
    with struck(echo, "hang 200ms at connect once") as (server, recorder), connect(recorder) as driver:
        driver.sendall(STARTUP)
        assert end_of(driver) == (b"", "FIN")
        wait_for_end(recorder)
        assert server.accepted == 0
        with connect(recorder) as second:
            log_in(second)


def test_a_slow_accept() -> None:
    with struck(echo, "delay 200ms at connect") as (_, recorder), connect(recorder) as driver:
        began = time.monotonic()
        log_in(driver)
        assert time.monotonic() - began >= 0.19


def test_once_is_one_connection() -> None:
    with struck(Hearing(), "close before Sync once") as (_, recorder):
        with connect(recorder) as driver:
            log_in(driver)
            driver.sendall(SYNC)
            assert end_of(driver) == (b"", "FIN")
        with connect(recorder) as driver:
            log_in(driver)
            driver.sendall(SYNC)
            driver.shutdown(socket.SHUT_WR)
            assert read_all(driver) == b""
        found = wait_for_end(recorder)
    assert [faults_in(found, number) for number in (1, 2)] == [["close before Sync once"], []]


def test_rules_behind_the_one_that_ends_the_connection_do_not_strike() -> None:
    with struck(Hearing(), "close before Sync once", "delay 1ms before Parse ~ /orders/ once", "delay 50ms F") as (_, recorder):
        for _ in range(2):
            with connect(recorder) as driver:
                log_in(driver)
                driver.sendall(PARSE + SYNC + ORDERS)
                driver.shutdown(socket.SHUT_WR)
                assert end_of(driver) == (b"", "FIN")
        found = wait_for_end(recorder)
    always = "delay 50ms F"
    assert [faults_in(found, 1), faults_in(found, 2)] == [
        [always, "close before Sync once"],
        [always, "delay 1ms before Parse ~ /orders/ once"],
    ]


def test_half_a_message_at_the_end_is_delivered() -> None:
    """Bytes that wait for a decision are no victims of one that never comes."""
    hearing = Hearing()
    with struck(hearing, "close before Parse ~ /orders/") as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        driver.sendall(SYNC + ORDERS[:-3])
        driver.shutdown(socket.SHUT_WR)
        read_all(driver)
        wait_for_end(recorder)
    assert hearing.heard == SYNC + ORDERS[:-3]


def test_a_long_message_is_not_collected() -> None:
    """It passes in the pieces in which it comes, also where its body is searched."""
    data = row(b"x" * 5_000_000)
    first = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY + data[:1_000_000])
        assert first.wait(20)
        connection.sendall(data[1_000_000:])

    with struck(serve, "close before DataRow ~ /y/", "delay 1ms after CommandComplete") as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        got = read_exactly(driver, 1_000_000)
        first.set()
        assert got + read_all(driver) == data


def test_what_is_not_postgresql_passes() -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"heard " + connection.recv(100))

    with struck(serve, "close before Query", "delay 1ms before DataRow") as (_, recorder), connect(recorder) as driver:
        driver.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_all(driver) == b"heard GET / HTTP/1.1\r\n\r\n"


def test_an_expression_that_cannot_be_matched_is_told_and_does_not_strike() -> None:
    text = bytes(random.Random(1).choices(b"ab", k=20_000))
    message = struct.pack(">cI", b"P", len(text) + 9) + b"\0" + text + b"\0\0\0\0"[:4]
    with struck(echo, "close before Parse ~ /(a|b)*a(a|b){12}c/") as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        driver.sendall(message)
        assert read_exactly(driver, len(message)) == message
        assert "the expression needs too many states" in recorder.log


def test_the_rules_are_a_setting() -> None:
    with struck(echo, "split 1", "delay 1ms at end", "split 1") as (_, recorder):
        found = wait_for_end(recorder)
    assert [(record.key, record.value) for record in of_kind(found, Setting)] == [("faults", "split 1\ndelay 1ms at end")]  # type: ignore[union-attr]


def test_a_reset_of_the_driver_passes_a_line_with_faults() -> None:
    hearing = Hearing()
    with struck(hearing, "delay 1ms before Sync") as (_, recorder):
        driver = connect(recorder)
        log_in(driver)
        driver.sendall(PARSE)
        reset(driver)
        wait_for_end(recorder)
    assert (hearing.heard, hearing.end) == (PARSE, "RST")


def test_a_strike_is_a_row_of_its_connection() -> None:
    with struck(Hearing(), "close before Sync") as (_, recorder), connect(recorder) as driver:
        log_in(driver)
        driver.sendall(PARSE + SYNC)
        assert end_of(driver) == (b"", "FIN")
        wait_for_end(recorder)
        with contextlib.closing(Trace.open([recorder.capture])) as trace:
            trace.update()
            rows = list(trace.rows)
            lines = [messages.round_trip_line(trace, row) for row in rows]
            (line,) = [line for line, row in zip(lines, rows, strict=True) if row.shape.kind is RowKind.FAULT]
            assert line.split()[1] == "c1"
            assert "  fault: close before Sync  " in line
            assert [
                message
                for row in range(len(rows))
                if rows[row].shape.kind is RowKind.FAULT
                for message in details.read(trace, row).messages
            ] == []


def test_segments_do_not_carry_strikes(tmp_path: Path) -> None:
    """They are events: a long session would carry more and more of them."""
    rule = parse("delay 1us before Sync")
    with (
        Scripted(echo) as server,
        recording(server.upstream, faults=[rule], write=tmp_path / "kept", keep_bytes=1 << 20) as recorder,
        connect(recorder) as driver,
    ):
        log_in(driver)
        big = row(bytes(200_000))
        for _ in range(8):
            driver.sendall(SYNC + big)
            assert read_exactly(driver, len(SYNC + big)) == SYNC + big
            recorder.flush()
        newest = sorted((tmp_path / "kept").iterdir())[-1]
        carried = [block for block in blocks_of(newest) if block.carried]
        facts = [record for block in carried for record in block.records if type(record) is Fact]
        assert {fact.key for fact in facts} >= {"server"}
        assert "fault" not in {fact.key for fact in facts}


def blocks_of(path: Path) -> list[Block]:
    reader = CaptureReader(path)
    found: list[Block] = []
    while blocks := reader.read():
        found += blocks
    return found


@pytest.mark.parametrize(
    ("rule", "greeting"),
    [
        ("close before StartupMessage", b""),
        ("hang 50ms before StartupMessage", b""),
        ("close before reply to StartupMessage", b""),
        ("close inside Authentication", READY[:4]),
        ("close before ReadyForQuery", READY[:9]),
    ],
)
def test_a_fault_within_the_start_up(rule: str, greeting: bytes) -> None:
    with struck(Hearing(), rule) as (_, recorder), connect(recorder) as driver:
        driver.sendall(STARTUP)
        assert end_of(driver) == (greeting, "FIN")
        assert faults_in(wait_for_end(recorder)) == [rule]
