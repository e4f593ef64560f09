"""One session seen twice: by a recorder, and by tcpdump on the driver's leg before it.

    python tests/live/packet_recording.py DIRECTORY

records every workload of the demo that way and puts `NAME.pcap` and `NAME.pgtrace` there. The samples in tests/data/packets were made so; they let the
comparison be made where tcpdump is not installed or not allowed.
"""

from __future__ import annotations

import dataclasses
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from traffic import until

from pgtrace.address import parse_listen, parse_upstream
from pgtrace.capture.pcap import Pcap
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Close
from pgtrace.capture.writer import CaptureWriter
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.workloads import VARIANTS, Variant
from pgtrace.demo.workloads.common import SCHEMA, Target
from pgtrace.recorder import Recorder

LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
LISTENS_WITHIN_S = 20.0


@contextmanager
def tcpdump(path: Path, port: int) -> Iterator[None]:
    """tcpdump writes what passes that port on the loopback into `path`; what has passed before the end is there after it."""
    program = shutil.which("tcpdump")
    if program is None:
        pytest.skip("no tcpdump on this machine")
    command = [program, "-i", LOOPBACK, "-n", "-U", "--immediate-mode", "-B", "16384", "-w", "-", "tcp", "port", str(port)]
    with path.open("wb") as file:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=file)
    assert process.stderr is not None
    try:
        told = b""
        while b"listening on" not in told:
            ready, _, _ = select.select([process.stderr], [], [], LISTENS_WITHIN_S)
            assert ready, "tcpdump does not begin"
            more = os.read(process.stderr.fileno(), 65536)
            if not more:
                pytest.skip(f"tcpdump may not listen here: {told.decode().strip()}")
            told += more
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        process.stderr.close()


def closed(path: Path) -> int:
    """How many connections have ended in that pcap."""
    pcap = Pcap(frozenset())
    return sum(type(record) is Close for record in pcap.feed(path.read_bytes()) + pcap.finish())


@contextmanager
def seen_twice(server: EmbeddedServer, pcap: Path, capture: Path) -> Iterator[Recorder]:
    """A recorder with tcpdump before it. All connections have to be closed in the block; at its end both have seen that."""
    recorder = Recorder(parse_listen("127.0.0.1:0"), parse_upstream(f"{server.host}:{server.port}", {}), write=capture)
    with recorder, tcpdump(pcap, recorder.port):
        yield recorder
        accepted = recorder.stats()["accepted"]
        until(lambda: recorder.stats()["connections"], lambda live: live == 0)
        until(lambda: closed(pcap), lambda seen: seen == accepted)


def prepare(server: EmbeddedServer) -> None:
    """The tables of the demo's work."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("drop table if exists sale, item")
        connection.execute(SCHEMA)


def work(variant: Variant, server: EmbeddedServer, host: str, port: int) -> None:
    """One round of the demo's work through that address."""
    variant.load()(Target(host, port, server.user, server.password, server.database))


def main(directory: Path) -> None:
    """Make the samples."""
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as scratch:
        prepare(server)
        for variant in VARIANTS:
            name = variant.name.replace(" ", "_")
            capture = Path(scratch, name)
            with seen_twice(server, directory / f"{name}.pcap", capture) as recorder:
                work(variant, server, recorder.host, recorder.port)
            with (
                CaptureReader(capture) as reader,
                CaptureWriter(directory / f"{name}.pgtrace", header=dataclasses.replace(reader.header, host="")) as writer,
            ):
                while blocks := reader.read():
                    writer.write(record for block in blocks for record in block.records)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
