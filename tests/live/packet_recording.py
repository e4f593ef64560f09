"""One session seen twice: by a recorder, and by tcpdump on the driver's leg before it.

    python -m tests.live.packet_recording DIRECTORY

records every workload of the demo that way and puts `NAME.pcap` and `NAME.pgtrace` there. The
samples in tests/data/packets were made so; they let the comparison be made where tcpdump is not
installed or not allowed.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from captures.recording import packets
from captures.recording.scenarios import Unavailable
from pgtrace.address import parse_listen, parse_upstream
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.writer import CaptureWriter
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.workloads import VARIANTS, Variant
from pgtrace.demo.workloads.common import SCHEMA, Target
from pgtrace.recorder import Recorder
from tests.live.traffic import until


@contextmanager
def tcpdump(path: Path, port: int) -> Iterator[None]:
    """See captures/recording/packets.py; where it cannot be had, the test is skipped."""
    try:
        with packets.tcpdump(path, port):
            yield
    except Unavailable as reason:
        pytest.skip(str(reason))


@contextmanager
def seen_twice(server: EmbeddedServer, pcap: Path, capture: Path) -> Iterator[Recorder]:
    """A recorder with tcpdump before it. All connections have to be closed in the block; at its end both have seen that."""
    recorder = Recorder(parse_listen("127.0.0.1:0"), parse_upstream(f"{server.host}:{server.port}", {}), write=capture)
    with recorder, tcpdump(pcap, recorder.port):
        yield recorder
        until(lambda: recorder.stats()["connections"], lambda live: live == 0)


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
