"""Rows counted in COPY data, against the server's own count: text, CSV and binary, out of a table and back in, cut anywhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import psycopg
import pytest

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.inspect import details
from pgtrace.inspect.copy_reading import RowsEnd
from pgtrace.recorder import Recorder
from pgtrace.trace.trace import Trace

OPTIONS = [
    "",
    "(FORMAT text, HEADER, DELIMITER '|')",
    "(FORMAT csv)",
    "(FORMAT csv, HEADER, FORCE_QUOTE *)",
    "(FORMAT csv, QUOTE '''', ESCAPE E'\\\\', FORCE_QUOTE (body))",
    "CSV HEADER QUOTE AS '|' DELIMITER AS ';'",
    "(FORMAT binary)",
]
ROWS = 500


def strange_texts() -> list[str | None]:
    """Texts of what the formats have to quote or escape."""
    rnd = random.Random(3)
    pieces = ["a", "é", '"', "'", "\\", "\n", "\r", "\t", ",", "|", ";", "\\.", "\\N", '""', "\\n", ""]
    texts: list[str | None] = ["".join(rnd.choices(pieces, k=rnd.randint(0, 12))) for _ in range(ROWS - 4)]
    return [*texts, None, "\\.", "\n\\.\n", ""]


@pytest.fixture
def connection(server: EmbeddedServer, proxy: Recorder) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url(proxy.host, proxy.port), autocommit=True) as connection:
        connection.execute("create temporary table source (id int, body text); create temporary table target (id int, body text)")
        connection.cursor().executemany("insert into source values (%s, %s)", list(enumerate(strange_texts())))
        yield connection


def totals(trace: Trace) -> list[int]:
    """The rows each CopyDone ends, by the data before it."""
    messages = [message for place in range(len(trace.rows)) for message in details.read(trace, place).messages]
    return [message.inside.total for message in messages if isinstance(message.inside, RowsEnd)]


@pytest.mark.parametrize("options", OPTIONS)
def test_rows_are_what_the_server_counted(
    connection: psycopg.Connection, proxy: Recorder, trace_of: Callable[[Recorder], Trace], options: str
) -> None:
    without_quoting = options.replace(", FORCE_QUOTE *", "").replace(", FORCE_QUOTE (body)", "")
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY source TO STDOUT {options}") as copy:
            data = b"".join(copy)
        assert cursor.rowcount == ROWS
        for sizes in ([1], [7, 100], [8192]):
            rnd = random.Random(sizes[0])
            connection.pgconn.exec_(f"COPY target (id, body) FROM STDIN {without_quoting}".encode())
            position = 0
            while position < len(data):
                size = rnd.choice(sizes)
                connection.pgconn.put_copy_data(data[position : position + size])
                position += size
            connection.pgconn.put_copy_end()
            assert connection.pgconn.get_result().command_tuples == ROWS  # type: ignore[union-attr]
            assert connection.pgconn.get_result() is None
    same = connection.execute("select count(*) from (select * from target except select * from source) as different").fetchone()
    assert same == (0,)
    connection.close()
    trace = trace_of(proxy)
    assert totals(trace) == [ROWS] * 4
    counters = trace.totals()
    assert (counters.copy_out_rows, counters.copy_in_rows) == (ROWS, 3 * ROWS)


def test_rows_that_passed_and_rows_that_were_copied_are_two_things(
    connection: psycopg.Connection, proxy: Recorder, trace_of: Callable[[Recorder], Trace]
) -> None:
    """A COPY with WHERE takes fewer rows than it is sent; a failed one takes none. The counters are
    the server's count, the details the data's."""
    with connection.cursor() as cursor:
        with cursor.copy("COPY target FROM STDIN WHERE id > 2") as copy:
            copy.write("1\ta\n2\tb\n3\tc\n4\td")
        assert cursor.rowcount == 2
        with pytest.raises(psycopg.errors.InvalidTextRepresentation), cursor.copy("COPY target FROM STDIN") as copy:
            copy.write("1\ta\nno number\tb\n")
    connection.close()
    trace = trace_of(proxy)
    assert totals(trace) == [4, 2]
    assert trace.totals().copy_in_rows == 2
