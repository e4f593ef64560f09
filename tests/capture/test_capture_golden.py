"""Goldens as FILEs: read back they are the captures they came from, as far as a golden tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pgtrace.capture.golden import Golden
from pgtrace.capture.importing import Import
from pgtrace.capture.record import End, Open, encode
from pgtrace.errors import CaptureError, NewerCapture
from pgtrace.export import golden
from pgtrace.trace.connection import Connection
from pgtrace.trace.trace import Trace
from tests import commands
from tests.corpus import CAPTURES, in_turn, name
from tests.playbook import write

ASYNCPG = Path(__file__).parents[2] / "captures" / "asyncpg"
NOT_TOLD = ("frontend_bytes", "backend_bytes", "wait_ns", "client_ns")
"""Counters a golden does not keep: drawn names and blanked errors have other lengths, and times are none of its business."""


class Opened(ExitStack):
    """Traces that are closed in the end."""

    def read(self, path: Path) -> Trace:
        trace = Trace.open([path])
        self.callback(trace.close)
        while trace.update():
            pass
        return trace

    def read_back(self, text: str, directory: Path) -> Trace:
        """The golden as a capture."""
        return self.read(imported(text, directory))


@pytest.fixture
def opened() -> Iterator[Opened]:
    with Opened() as stack:
        yield stack


def imported(text: str, directory: Path) -> Path:
    """A capture of the golden."""
    path, capture = directory / "x.trace", directory / "x.pgtrace"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    capture.unlink(missing_ok=True)
    with Import(str(path), str(capture)) as one:
        while one.step():
            pass
    return capture


def told(trace: Trace) -> dict[str, object]:
    return {key: value for key, value in trace.totals().as_dict().items() if key not in NOT_TOLD}


WAYS: list[dict[str, bool]] = [{}, {"plain": True}, {"everything": True}]


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    ("path", "options"),
    [pytest.param(path, way, id=f"{name(path)}-{''.join(way) or 'regress'}") for path, ways in in_turn(WAYS) for way in ways],
)
def test_a_capture_s_golden_counts_what_the_capture_counts(path: Path, options: dict[str, bool], tmp_path: Path, opened: Opened) -> None:
    trace = opened.read(path)
    text = golden.text(trace, **options)  # type: ignore[arg-type]
    again = opened.read_back(text, tmp_path)
    assert told(again) == told(trace)
    assert again.complete
    assert [who(one) for one in again.connections] == [who(one) for one in trace.connections]
    assert [row.shape.flight for row in rows(again)] == [row.shape.flight for row in rows(trace)]
    assert golden.text(again, **options) == text  # type: ignore[arg-type]


def who(connection: Connection) -> tuple[str, str]:
    """A cancel has its session's driver, and a golden does not always say which session that is."""
    return connection.kind, "" if connection.kind == "cancel" else connection.driver


def rows(trace: Trace) -> list[object]:
    """Rows by connection, as a golden has them."""
    found = [trace.rows[place] for place in range(len(trace.rows))]
    return sorted(found, key=lambda row: row.connection)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("path", [path for path in CAPTURES if path.stem in ("failure", "pool", "executemany", "copy_in")], ids=str)
def test_by_content_the_sums_are_the_same(path: Path, tmp_path: Path, opened: Opened) -> None:
    trace = opened.read(path)
    again = opened.read_back(golden.text(trace, order="content"), tmp_path)
    assert told(again) | {"statements_live": 0} == told(trace) | {"statements_live": 0}


WINDOW = """
F StartupMessage user=app
B AuthenticationOk | ReadyForQuery I
F Query BEGIN
B CommandComplete BEGIN | ReadyForQuery T
F Parse s SELECT 1 | Sync
B ParseComplete | ReadyForQuery T
mark begin x
B NotificationResponse orders 1
F Bind - s | Execute - | Sync
B BindComplete | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery T
F Query COMMIT
B CommandComplete COMMIT | ReadyForQuery I
F Query BEGIN
B CommandComplete BEGIN | ReadyForQuery T
mark end x
"""


def test_a_mark_s_golden_counts_what_the_mark_counts(tmp_path: Path, opened: Opened) -> None:
    trace = opened.read(write(tmp_path / "w.pgtrace", WINDOW))
    again = opened.read_back(golden.text(trace, mark="x"), tmp_path)
    expected = {key: value for key, value in trace.mark_counters()["x"].as_dict().items() if key not in NOT_TOLD}
    assert told(again) | {"statements_live": 0} == expected | {"statements_live": 0}
    assert expected["transactions"] == expected["notifications"] == 1
    assert golden.text(again).splitlines()[2:] == sorted_to_the_round_trip(golden.text(trace, mark="x").splitlines()[2:])


def sorted_to_the_round_trip(lines: list[str]) -> list[str]:
    """What came before the frontend was heard is read into its first round trip."""
    return [*lines[1:4], lines[0], *lines[4:]]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_however_it_is_cut(size: int) -> None:
    content = (ASYNCPG / "failure.trace").read_bytes()
    assert cut(content, size) == cut(content, len(content))


def cut(content: bytes, size: int) -> list[tuple[object, ...]]:
    """The records without their times."""
    reader = Golden("x.trace")
    records = [one for start in range(0, len(content), size) for one in reader.feed(content[start : start + size])]
    return [(type(one), *(() if isinstance(one, Open) else one[1:])) for one in records + reader.finish()]


def test_text_on_the_wire_begins_no_line(tmp_path: Path, opened: Opened) -> None:
    hostile = "SELECT '\nF\t4\tSync\n# connection 2: x\nB\t5\tReadyForQuery\t I\n\"'"
    script = "F StartupMessage user=app\nB AuthenticationOk | ReadyForQuery I\nF Query {}\nB CommandComplete SELECT 0 | ReadyForQuery I\n"
    trace = opened.read(write(tmp_path / "h.pgtrace", script.format("SELECT 1")))
    text = golden.text(trace).replace('F\t13\tQuery\t "SELECT 1"', f'F\t{len(hostile) + 5}\tQuery\t "{hostile}"')
    again = opened.read_back(text, tmp_path)
    assert again.totals().syncs == 0
    assert len(again.connections) == 1
    assert golden.text(again) == text


@pytest.mark.parametrize(
    ("text", "error", "reason"),
    [
        ("# pgtrace golden 2\n", NewerCapture, "capture version 2 was written by a newer pgtrace"),
        ("# pgtrace golden 1\n", None, "contains no message in libpq's trace format"),
        (
            "# pgtrace golden 1\nF\t4\tSync\nF\t5\tNo\n",
            CaptureError,
            "line 3 is not a message in libpq's trace format: unknown message No",
        ),
        ('F\t13\tQuery\t "SELECT\n1"\nB\tx', CaptureError, "line 1 is not a message"),
        (
            'F\t14\tQuery\t "SELECT 1"\n',
            CaptureError,
            "line 1 is not a message in libpq's trace format: its fields do not match its length",
        ),
    ],
)
def test_what_is_no_golden(text: str, error: type[CaptureError] | None, reason: str, tmp_path: Path) -> None:
    if error is not None:
        with pytest.raises(error, match=reason):
            imported(text, tmp_path)
    else:
        reader = Golden("x.trace")
        reader.feed(text.encode())
        reader.finish()
        assert reader.nothing_found() == reason


def test_the_reading_commands_take_a_golden() -> None:
    path = ASYNCPG / "ten_queries.trace"
    counted = commands.call("stats", "--json", path)
    totals = json.loads(counted.stdout)["totals"]
    assert (totals["setup_round_trips"], totals["round_trips"], totals["executions"]) == (4, 11, 10)
    shown = commands.call("show", path)
    assert "PDH → 1tT" in shown.stdout


def test_export_writes_the_golden_that_is_kept(tmp_path: Path) -> None:
    path = ASYNCPG / "ten_queries.pgtrace"
    out = tmp_path / "out.trace"
    assert commands.call("export", "--to", "pqtrace", path, "-o", out).returncode == 0
    assert out.read_bytes() == path.with_suffix(".trace").read_bytes()
    refused = commands.call("export", "--to", "pcapng", "--plain", path)
    assert (refused.returncode, "--to pcapng has no option --plain" in refused.stderr) == (2, True)


PIECES = st.sampled_from(
    b"""F\t4\tSync\n|B\tNN\tErrorResponse\t S "|F\t13\tQuery\t "|# connection 1: x\n|"|'| 1|\n|\t|\\x00|NNNN|B\t9\tDataRow\t""".split(b"|")
)


@given(st.lists(PIECES | st.binary(max_size=4), max_size=30))
def test_no_text_breaks_it(pieces: list[bytes]) -> None:
    """Whatever a file holds, it is records or one error; never anything else."""
    reader = Golden("x.trace")
    with suppress(CaptureError):
        records = [*reader.feed(b"".join(pieces)), *reader.finish()]
        assert isinstance(records[-1], End)
        for one in records:
            encode(one)
