"""Mixed load for a long time, and whether the recorder is afterwards what it was: its memory, its descriptors, and every answer right.

Eight kinds of work go through one recorder at once, each over and over on a thread of its own:
connections that come and go, prepared statements, large results, COPY both ways, pipelines with
errors, cancelled queries, readers that stall and hang up, bytes that are no PostgreSQL. Each checks
its answers itself. Once a minute everybody pauses, the recorder flushes, and its memory and
descriptors are read from /proc: figures of a moment when nothing passes, so that what is left is
what it keeps. The capture is a temporary one of 64 MiB, which rolls many times.

Exit code 1 where an answer was wrong, memory at the end is more than 2 MiB above that of minute 10
(of the first third, where the run is shorter), a descriptor is left open, or the recorder counts a
failed session.

    python -m bench.soak [--minutes N]      # 30 minutes
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import errors

from pgtrace.address import parse_listen, parse_upstream
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.recorder import Recorder

MIB = 1 << 20
GROWTH_BYTES = 2 * MIB
KEEP_BYTES = 64 * MIB
WARM_MINUTE = 10
PAUSE_S = 0.05
"""After each piece of work, so that the load is that of a busy day and not of a benchmark."""
PATIENCE_S = 120.0

Work = Callable[[str], None]


def comes_and_goes(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def prepared(url: str) -> None:
    with psycopg.connect(url, autocommit=True, prepare_threshold=1) as connection:
        for number in range(100):
            assert connection.execute("select %s::int + 1, %s::text", (number, "x" * number), binary=True).fetchone() == (
                number + 1,
                "x" * number,
            )


def large_result(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        assert sum(len(value) for (value,) in cursor.stream("select repeat('x', 1000) from generate_series(1, 8000)")) == 8_000_000


def copies(url: str) -> None:
    block = b"".join(b"%d\tline\n" % number for number in range(20_000))
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("create temporary table soak (number int, line text) on commit drop")
        with cursor.copy("copy soak from stdin") as copy:
            copy.write(block)
        out = io.BytesIO()
        with cursor.copy("copy soak to stdout") as copy:
            for piece in copy:
                out.write(piece)
        assert out.getvalue() == block


def pipelines(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            with connection.pipeline():
                for number in range(50):
                    connection.execute("select %s::int", (number,))
                connection.execute("select 1 / 0")
                connection.execute("select 'skipped'")
            raise AssertionError("the division by zero did not fail")
        except errors.DivisionByZero:
            pass
        assert connection.execute("select 2").fetchone() == (2,)


def cancels(url: str) -> None:
    over = threading.Event()
    with psycopg.connect(url, autocommit=True) as connection:

        def cancel() -> None:
            while not over.wait(0.1):  # one that overtakes its query cancels nothing
                connection.cancel_safe()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        try:
            connection.execute("select pg_sleep(60)")
            raise AssertionError("the query was not cancelled")
        except errors.QueryCanceled:
            pass
        finally:
            over.set()
            canceller.join()


def stalls(url: str) -> None:
    connection = psycopg.connect(url, autocommit=True)
    connection.pgconn.nonblocking = 1
    connection.pgconn.send_query(b"copy (select repeat('x', 1000) from generate_series(1, 100000)) to stdout")
    while connection.pgconn.flush():
        pass
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as sock:
        time.sleep(0.3)  # long enough for every buffer on the way to fill
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.pgconn.finish()


def noise(url: str) -> None:
    info = psycopg.conninfo.conninfo_to_dict(url)
    with socket.create_connection((str(info["host"]), int(str(info["port"]))), 20) as sock:
        sock.sendall(
            random.choice((b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\0\0\0\x08\x04\xd2\x16\x2f", b"\0", os.urandom(64)))
        )
        sock.shutdown(socket.SHUT_WR)
        try:
            while sock.recv(65536):
                pass
        except ConnectionResetError:
            pass


KINDS: tuple[Work, ...] = (comes_and_goes, prepared, large_result, copies, pipelines, cancels, stalls, noise)


class Worker(threading.Thread):
    """Does one kind of work until it is told to stop, and pauses when it is asked to."""

    def __init__(self, work: Work, url: str) -> None:
        super().__init__(name=work.__name__, daemon=True)
        self.done = 0
        self.failure: BaseException | None = None
        self.may_run = threading.Event()
        self.pausing = threading.Event()
        self.stopped = False
        self._work, self._url = work, url

    def run(self) -> None:
        try:
            while True:
                if not self.may_run.is_set():
                    self.pausing.set()
                    self.may_run.wait()
                    self.pausing.clear()
                if self.stopped:
                    return
                self._work(self._url)
                self.done += 1
                time.sleep(PAUSE_S)
        except BaseException as error:
            self.failure = error
            self.pausing.set()


class Figures:
    """The recorder's process at a moment when nothing passes."""

    def __init__(self, recorder: Recorder) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (stats := recorder.stats())["connections"] and time.monotonic() < deadline:
            time.sleep(0.05)
        recorder.flush()
        self.stats = stats
        status = Path(f"/proc/{recorder.pid}/status").read_text()
        self.resident = int(status.partition("VmRSS:")[2].split()[0]) * 1024
        self.peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        self.descriptors = len(os.listdir(f"/proc/{recorder.pid}/fd"))

    def __str__(self) -> str:
        return (
            f"{self.resident / MIB:.1f} MiB resident ({self.peak / MIB:.1f} MiB at most), {self.descriptors} descriptors, "
            f"{self.stats['accepted']} connections, {self.stats['lost_bytes']} bytes not recorded"
        )


def main() -> int:
    """Run, print a line a minute, and judge; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Mixed load for a long time.")
    parser.add_argument("--minutes", type=int, default=30, metavar="N", help="how long (30)")
    minutes: int = parser.parse_args().minutes
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # a pipeline that fails is part of the load
    with EmbeddedServer() as server:
        upstream = parse_upstream(f"{server.host}:{server.port}", {})
        with Recorder(parse_listen("127.0.0.1:0"), upstream, keep_bytes=KEEP_BYTES) as recorder:
            return soak(recorder, server.url(recorder.host, recorder.port), minutes)


def soak(recorder: Recorder, url: str, minutes: int) -> int:
    """The load of `minutes` minutes on a recorder that is there."""
    base = Figures(recorder)
    print(f"start: {base}", flush=True)
    workers = [Worker(work, url) for work in KINDS]
    for worker in workers:
        worker.start()
    began = time.monotonic()
    figures: list[Figures] = []
    for minute in range(1, minutes + 1):
        for worker in workers:
            worker.may_run.set()
        time.sleep(max(0.0, began + 60 * minute - time.monotonic()))
        for worker in workers:
            worker.may_run.clear()
        for worker in workers:
            assert worker.pausing.wait(PATIENCE_S), f"{worker.name} does not come to an end"
        figures.append(Figures(recorder))
        print(f"minute {minute}: {figures[-1]}", flush=True)
        if any(worker.failure for worker in workers):
            break
    for worker in workers:
        worker.stopped = True
        worker.may_run.set()
        worker.join(PATIENCE_S)
    warm = figures[min(WARM_MINUTE, max(1, len(figures) // 3)) - 1]
    last = figures[-1]
    print("work done: " + ", ".join(f"{worker.name} {worker.done}" for worker in workers))
    print(
        f"memory: {(last.resident - warm.resident) / MIB:+.2f} MiB since the warm minute; descriptors: {base.descriptors} -> "
        f"{last.descriptors}"
    )
    wrong = [f"{worker.name}: {worker.failure!r}" for worker in workers if worker.failure]
    if last.resident - warm.resident > GROWTH_BYTES:
        wrong.append(f"memory grew by {(last.resident - warm.resident) / MIB:.2f} MiB")
    if last.descriptors != base.descriptors:
        wrong.append(f"{last.descriptors - base.descriptors} descriptors are left open")
    if last.stats["failures"]:
        wrong.append(f"{last.stats['failures']} sessions failed: {recorder.log}")
    for line in wrong:
        print(f"soak: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
