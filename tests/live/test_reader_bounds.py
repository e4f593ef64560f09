"""What reading a capture may cost: at most 256 MiB, however many statements and round trips it holds, and every one of them in the sums.

The capture is written here, record by record, as the recorder would have written it; recording as
much from a server takes minutes. A reader keeps 100,000 statements; those of the fewest round trips
beyond them are one line, "(other statements)". At night the test is of that number; otherwise of a
tenth of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import pytest

from pgtrace.capture.record import Close, Data, End, Open, Record
from pgtrace.capture.writer import CaptureWriter
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.corpus import NIGHTLY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

MIB = 1 << 20
BOUND = 256 * MIB
SCALE = 1 if NIGHTLY else 10
KEPT = 100_000 // SCALE
LARGE, EACH = 500 // SCALE, 200
"""Statements that ran many times, spread over the whole capture, and how often."""
SMALL = 115_000 // SCALE
"""Statements that ran once."""

STARTUP = b"\0\0\0\x17\0\3\0\0user\0somebody\0\0"
READY = b"Z\0\0\0\5I"
WELCOME = b"R\0\0\0\x08\0\0\0\0" + READY
ANSWER = b"C\0\0\0\x0dSELECT 1\0" + READY

READER = f"""
import json, re, sys
from pgtrace.cli.reading import read
from pgtrace.trace import statements
statements.GROUPS_KEPT = {KEPT}
"""
READER += """
trace = read(sys.argv[1:], timeline=False)
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
found = {view.group.sql: (view.group.executions, view.group.round_trips) for view in trace.statements()}
print(json.dumps({"peak": peak(), "statements": found, "round_trips": trace.totals().round_trips}))
"""


def query(name: str) -> bytes:
    sql = f"select {name} from item where id = $1".encode() + b"\0"
    return b"Q" + (len(sql) + 4).to_bytes(4, "big") + sql


def asked() -> Iterator[bytes]:
    """Every query of the session: after each 23 small ones that come once, 20 of the large ones in turn."""
    large = [query(f"large_{number}") for number in range(LARGE)]
    for number in range(SMALL):
        yield query(f"small_{number}")
        if number % 23 == 22:
            first = number // 23 * 20
            yield from (large[turn % LARGE] for turn in range(first, first + 20))


def session() -> Iterator[Record]:
    """A session of simple queries, 100 us apart."""
    clock = count(1, 50_000)
    offsets = [0, 0]

    def read(side: int, data: bytes) -> Data:
        offset = offsets[side]
        offsets[side] += len(data)
        return Data(next(clock), 1, side, offset, data)

    yield Open(next(clock), 1, "127.0.0.1:6433", "db:5432", "127.0.0.1:40000", "127.0.0.1:5432", 1)
    yield read(FRONTEND, STARTUP)
    yield read(BACKEND, WELCOME)
    for message in asked():
        yield read(FRONTEND, message)
        yield read(BACKEND, ANSWER)
    yield Close(next(clock), 1, FRONTEND, "FIN")
    yield End(next(clock))


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.pgtrace"
    records = session()
    with CaptureWriter(path) as writer:
        while some := list(islice(records, 5000)):
            writer.write(some)
    return path


def test_memory_with_more_statements_than_are_kept(capture):
    found = subprocess.run([sys.executable, "-c", READER, str(capture)], stdout=subprocess.PIPE, check=True)
    read = json.loads(found.stdout)
    print(f"a reader of {SMALL + LARGE} statements in {read['round_trips']} round trips: {read['peak'] / MIB:.1f} MiB")
    assert read["peak"] <= BOUND
    statements = read["statements"]
    assert read["round_trips"] == SMALL + LARGE * EACH
    assert [sum(column) for column in zip(*statements.values(), strict=True)] == [SMALL + LARGE * EACH] * 2
    assert len(statements) == KEPT + 1
    assert statements.pop("(other statements)") == [SMALL + LARGE - KEPT] * 2
    large = {sql: counted for sql, counted in statements.items() if "large" in sql}
    assert large == {f"select large_{number} from item where id = $1": [EACH, EACH] for number in range(LARGE)}
    assert set(map(tuple, (counted for sql, counted in statements.items() if "small" in sql))) == {(1, 1)}
