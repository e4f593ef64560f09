"""One rule for all readers: no exception but PgTraceError leaves one, within 256 MiB of anonymous
memory, in time that is linear in the input.

Files that broke it are kept in tests/data/hostile; mutants of all inputs are tried here, some with
each commit and for hours with PGTRACE_NIGHTLY=1.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from pgtrace.ask import budget_tables
from pgtrace.ask.filter import parse
from pgtrace.capture.record import Close, Data, End, Open
from pgtrace.capture.versions import Header
from pgtrace.capture.writer import CaptureWriter
from pgtrace.errors import PgTraceError
from pgtrace.export import FORMATS
from pgtrace.protocol import registry
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests import commands
from tests.readers import reader_fuzz, reader_mutants, reader_views
from tests.readers.reader_fuzz import contained
from tests.readers.reader_views import look, opened

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded by RLIMIT_DATA, and read from /proc")

HOSTILE = Path(__file__).parent.parent / "data" / "hostile"
FILES = sorted(HOSTILE.iterdir())
NIGHTLY = bool(os.environ.get("PGTRACE_NIGHTLY"))
COUNT, SECONDS = (2_000_000, 2 * 3600.0) if NIGHTLY else (250, 15.0)
EACH_KIND = 150 if NIGHTLY else 60
"""Of eleven handlers taken out of the readers, 60 find what 150 find: six."""
HEADER = Header((1, 1), b"\1\2\3\4", 10**18, 10**9, "0.1.0", "here")
STARTUP = b"\0\0\0\x17\0\3\0\0user\0somebody\0\0"
READY = b"Z\0\0\0\5I"
WELCOME = b"R\0\0\0\x08\0\0\0\0" + READY


@pytest.fixture(scope="module", autouse=True)
def _imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the views import and compile is there before a process is made for each file."""
    look(reader_mutants.ROOT / "captures/psycopg/ten_queries.pgtrace", tmp_path_factory.mktemp("imported"))
    registry.warm()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_that_broke_a_reader_is_read_or_refused(path: Path) -> None:
    """By every view, one after the other."""
    if path.suffix == ".toml":
        with pytest.raises(PgTraceError):
            budget_tables.parse(path.read_text(encoding="utf-8"), path.name)
    assert contained(lambda scratch: look(path, scratch), 30.0) == ""


@pytest.mark.sampled(2)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_that_broke_a_reader_is_a_line_of_the_command_line(path: Path) -> None:
    ended = commands.call("stats", "-q", path, text=False)
    assert ended.returncode in (0, 4)
    assert ended.stderr.count(b"\n") <= 2
    assert not set(ended.stderr) & {0x1B, 0x9B}
    if ended.returncode:
        assert path.name.encode() in ended.stderr


@pytest.mark.parametrize("kind", list(reader_mutants.KINDS))
def test_no_mutant_breaks_the_rule(kind: str, tmp_path: Path) -> None:
    """The same mutants each time, of each kind of input."""
    result = reader_fuzz.run(EACH_KIND, seed=1, seconds=120.0, finds=tmp_path, kind=kind)
    assert found(tmp_path) == ""
    assert result.inputs > EACH_KIND // 3


@pytest.mark.timeout(SECONDS + 300)
def test_no_other_mutant_does(tmp_path: Path) -> None:
    """Others each time; the seed makes them again."""
    seed = random.randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    workers = os.cpu_count() or 1 if NIGHTLY else 1
    result = reader_fuzz.run(COUNT, seed=seed, seconds=SECONDS, finds=tmp_path, workers=workers)
    sys.stdout.write(f"{result}\n")
    for path in tmp_path.iterdir() if NIGHTLY else ():
        if path.suffix != ".txt":
            (shutil.copytree if path.is_dir() else shutil.copy)(path, HOSTILE / path.name)
    assert found(tmp_path) == "", f"seed {seed}"
    assert result.peak_bytes < reader_fuzz.MOST_BYTES


def found(finds: Path) -> str:
    return "\n".join(f"{path.name}\n{path.read_text()}" for path in sorted(finds.glob("*.txt")))


# That these tests can fail.


def breaks(_scratch: Path) -> None:
    raise IndexError("a reader's")


def hangs(_scratch: Path) -> None:
    while True:
        pass


def grows(_scratch: Path) -> None:
    bytearray(300 * 1024 * 1024)


@pytest.mark.parametrize(("action", "most_s", "words"), [(breaks, 60.0, "IndexError"), (hangs, 0.1, "Hang"), (grows, 60.0, "MemoryError")])
def test_what_breaks_the_rule_is_seen(action: Callable[[Path], None], most_s: float, words: str) -> None:
    assert words in contained(action, most_s)


# Large inputs.


def long_row(path: Path, size: int) -> None:
    """A capture of one query with one row of that size."""
    value = b"".join(bytes((number % 251, 0x20 + number % 90)) for number in range(5000))
    content = (value * (size // len(value) + 1))[:size]
    row = b"\0\1" + size.to_bytes(4, "big") + content
    answer = b"D" + (len(row) + 4).to_bytes(4, "big") + row + b"C\0\0\0\x0dSELECT 1\0" + READY
    query = b"Q\0\0\0\x0dselect 1\0"
    with CaptureWriter(path, header=HEADER) as writer:
        writer.write(
            [Open(10**9, 1, "a", "b", "c", "d", 10**18), Data(10**9 + 1, 1, FRONTEND, 0, STARTUP), Data(10**9 + 2, 1, BACKEND, 0, WELCOME)]
        )
        writer.write([Data(10**9 + 3, 1, FRONTEND, len(STARTUP), query)])
        for at in range(0, len(answer), 256 * 1024):
            writer.write([Data(10**9 + 4 + at, 1, BACKEND, len(WELCOME) + at, answer[at : at + 256 * 1024])])
        sent, received = len(STARTUP) + len(query), len(WELCOME) + len(answer)
        writer.write([Data(2 * 10**9, 1, FRONTEND, sent, b"X\0\0\0\4"), Close(2 * 10**9, 1, FRONTEND, "FIN"), End(2 * 10**9)])
        assert received > size


@pytest.mark.parametrize("form", ["pqtrace", "jsonl"])
@pytest.mark.parametrize("mib", [2, 20])
def test_a_long_row_comes_back_from_what_is_exported(form: str, mib: int, tmp_path: Path) -> None:
    capture, text = tmp_path / "a.pgtrace", tmp_path / "text"
    long_row(capture, mib << 20)

    def there_and_back(scratch: Path) -> None:
        with opened(capture, scratch) as trace:
            before = trace.totals()
            with text.open("wb") as file:
                for piece in FORMATS[form].load()(trace):
                    file.write(piece.content.encode("utf-8", "surrogateescape") if isinstance(piece.content, str) else piece.content)
        with opened(text, scratch) as trace:
            after = trace.totals()
        assert before.rows == after.rows == 1
        assert (before.round_trips, before.executions) == (after.round_trips, after.executions) == (1, 1)
        assert (before.frontend_bytes, before.backend_bytes) == (after.frontend_bytes, after.backend_bytes)

    assert contained(there_and_back, 60.0) == ""


def bombs() -> Iterable[tuple[str, bytes, Callable[[], bytes], int]]:
    """A name, a beginning, what follows it again and again, and how many MiB of that."""
    capture = HEADER.encode()
    golden = b"# pgtrace golden 1\n"
    lines = b'{"schema":"pgtrace.jsonl/1","wall_ns":1,"monotonic_ns":1,"pgtrace":"a","host":"b","mark":"00000000","version":[1,0]}\n'
    yield "zeros behind a header", capture, lambda: bytes(1 << 20), 300
    yield "heads of blocks", capture, lambda: (b"PGTB" + HEADER.mark + bytes(4) + (1 << 24).to_bytes(4, "big")) * (1 << 16), 2
    yield "a line of a golden", golden + b'F\t100000\tQuery\t "', lambda: b"a" * (1 << 20), 300
    yield "quotes in a golden", golden + b'F\t1000000\tParse\t "', lambda: b'" "' * 300_000, 30
    yield "rows of which a golden has nothing", golden, lambda: b"B\t1073741823\tDataRow\n" * 40_000, 1
    yield "data of which a golden has nothing", golden, lambda: b"F\t60000\tCopyData\t 'BBBB'\n" * 5_000, 1
    yield "lines that are none", golden, lambda: b"\n" * (1 << 20), 60
    yield "a line of jsonl", lines, lambda: b'{"a":"' + b"a" * (1 << 20), 60
    yield "lists in jsonl", lines, lambda: b"[[],[]," * 140_000, 60
    yield "depth in jsonl", lines, lambda: b"[" * (1 << 20), 5


def packed(begin: bytes, again: bytes, times: int) -> bytes:
    """All of it with gzip, where each repetition is compressed once: nothing in it refers to what is before it."""
    packing = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    first, one = (packing.compress(data) + packing.flush(zlib.Z_FULL_FLUSH) for data in (begin, again))
    checksum = zlib.crc32(begin)
    for _ in range(times):
        checksum = zlib.crc32(again, checksum)
    ends = struct.pack("<II", checksum, (len(begin) + times * len(again)) & 0xFFFFFFFF)
    return b"\x1f\x8b\x08" + bytes(7) + first + one * times + packing.flush() + ends


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("name", "begin", "again", "times"), list(bombs()), ids=[bomb[0] for bomb in bombs()])
def test_what_compresses_well_is_bounded(name: str, begin: bytes, again: Callable[[], bytes], times: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(packed(begin, again(), times))
    assert contained(lambda scratch: look(path, scratch, ["stats"]), 60.0) == "", name


@pytest.mark.parametrize(
    "text",
    [
        "x or " * 10_000 + "x", "not " * 20_001 + "x", "(" * 20_000, "(" * 39 + "x" + ")" * 39, 'sql ~ "' + "(" * 20_000 + '"',
        'sql ~ "' + "a{1,1000}" * 200 + '"', 'sql ~ "' + "(a|b)*" * 20_000 + '"', "ms > 1e999 and ms < " + "9" * 20_000,
        "conn:" + "9" * 20_000,
        '"' * 20_001, "driver:" * 20_000,
    ],
    ids=["terms", "not", "parentheses", "depth", "groups", "repeats", "stars", "numbers", "connections", "quotes", "words"],
)  # fmt: skip
def test_a_filter_of_any_size_is_taken_or_refused(text: str) -> None:
    def filtered(scratch: Path) -> None:
        try:
            chosen = parse(text)
            with opened(reader_mutants.ROOT / "captures/psycopg/ten_queries.pgtrace", scratch) as trace:
                selection = chosen.over(trace)
                for place in range(len(trace.rows)):
                    selection.holds(place)
        except PgTraceError:
            pass

    assert contained(filtered) == ""


def test_several_files_are_bounded_in_number(tmp_path: Path) -> None:
    path = reader_mutants.ROOT / "captures/psql/one_query.pgtrace"
    with pytest.raises(PgTraceError, match="at most 256"):
        reader_views.Trace.open([path] * 257)


def test_a_run_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    began = time.monotonic()
    result = reader_fuzz.run(1_000_000, seed=1, seconds=0.3, finds=tmp_path)
    assert 0 < result.inputs < 1_000_000
    assert time.monotonic() - began < 20
