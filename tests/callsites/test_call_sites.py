"""The line of code of each statement, with real drivers: every statement says its own line, and the notes have to agree."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import pytest

from pgtrace.callsites import variables
from pgtrace.callsites.notes import WHOLE, Notes, Site
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.inspect.executed import executed
from pgtrace.judge.advice import Advice
from pgtrace.judge.lines import with_lines
from pgtrace.recorder import Recorder
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace
from tests.traces import fully_read

PROGRAM = Path(__file__).parent / "program.py"
HANDING_ON = Path(__file__).parent / "handing_on.py"
GOOD = ["ended_first", "awaited", "below_and_above", "rolled_back", "executor", "main_thread"]
BAD = ["asyncpg_tasks", "psycopg_tasks", "psycopg2_threads"]
"""What handing_on.py does well, and what it does not."""
SHAPES = [
    "asyncpg", "asyncpg_pool", "psycopg", "psycopg_async", "psycopg2", "pg8000", "threads", "sqlalchemy", "sqlalchemy_async", "fork",
    "django", "django_async", "tortoise", "uvloop asyncpg_pool", "uvloop psycopg_async", "uvloop sqlalchemy_async",
]  # fmt: skip
LINE = re.compile(rb"'line (\d+)'")


def environment(server: EmbeddedServer, directory: Path) -> dict[str, str]:
    given = {**os.environ, **server.environment()}
    return given | variables(str(directory), given, lines=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_statement_has_its_line(server: EmbeddedServer, tmp_path: Path, shape: str) -> None:
    tmp_path.chmod(0o700)
    seen = subprocess.run(
        [sys.executable, str(PROGRAM), shape], env=environment(server, tmp_path), capture_output=True, check=False, timeout=60
    )
    assert seen.returncode == 0, seen.stderr.decode()
    source = PROGRAM.read_text().splitlines()
    texts = {}
    for number, line in enumerate(source, 1):
        for found in re.finditer(r"here\((?:\"(.*?)\")?\)", line):
            for text in possible((found[1] or "select {}").format(f"'line {number}'")):
                texts[zlib.crc32(text)] = number
    notes = Notes(str(tmp_path))
    right = 0
    wrong: Counter[tuple[int, Site | None]] = Counter()
    for note in notes.read():
        expected = texts.get(note.crc)
        if expected is not None and (note.site is None or (Path(note.site.file).name, note.site.line) != ("program.py", expected)):
            wrong[expected, note.site] += 1
        right += expected is not None
    notes.close()
    assert right >= 9
    assert not wrong


def possible(text: str) -> list[bytes]:
    """The statement as a driver may send it."""
    if "%" in text:
        literal = text.partition("%")[0]
        numbered = re.sub(r"%(?:\(\w+\))?s", "$1", text)
        return [literal.encode(), numbered.encode(), text.replace("%s", "'x'").encode(), text.replace("%s", "$1").encode()]
    return [
        text.encode(),
        f"SELECT {text}".encode(),
        f'DECLARE "named" CURSOR WITHOUT HOLD FOR {text}'.encode(),
        f'DECLARE "c" CURSOR FOR {text}'.encode(),
    ]


@pytest.mark.parametrize(
    "shape", ["asyncpg", "asyncpg_pool", "psycopg", "psycopg_async", "psycopg2", "pg8000", "threads", "sqlalchemy_async", "fork"]
)
def test_each_round_trip_has_the_lines_of_its_statements(server: EmbeddedServer, tmp_path: Path, shape: str) -> None:
    """Recorded and read again: what a row's statements say is what its notes say, and hardly a row has none."""
    capture = tmp_path / "x.pgtrace"
    with Recorder("127.0.0.1:0", f"{server.host}:{server.port}", write=capture, when_behind="wait", call_sites=True) as recorder:
        given = {**os.environ, **server.environment(), "PGHOST": "127.0.0.1", "PGPORT": str(recorder.port)}
        given |= recorder.call_site_variables(given)
        subprocess.run([sys.executable, str(PROGRAM), shape], env=given, check=True, timeout=60)
        assert recorder.noting_processes >= 1
        recorder.flush()
    trace = fully_read(capture)
    told = unknown = 0
    for place in range(len(trace.rows)):
        row = trace.rows[place]
        if row.shape.kind is not RowKind.ROUND_TRIP:
            continue
        texts = {text for one in executed(trace, place) if (text := one.sql) and "'line " in text}
        lines = {int(found[1]) for text in texts for found in re.finditer(r"'line (\d+)'", text)}
        noted = {site.line for site in trace.call_sites.at(place)}
        told += bool(noted)
        unknown += bool(lines) and not noted
        assert not noted or not lines or lines == noted, (row.shape.flight, texts, trace.call_sites.at(place))
    trace.close()
    assert told > 10
    assert unknown == 0, f"{unknown} of {told + unknown} without a line"


def test_a_finding_names_its_lines(server: EmbeddedServer, tmp_path: Path) -> None:
    program = tmp_path / "orders.py"
    program.write_text(
        "import psycopg\n\ndef list_orders(c):\n    for i in range(12):\n        c.execute('select %s::int8', (i,))\n\n"
        "def again(c):\n    for i in range(5):\n        c.execute('select %s::text', (str(i),))\n\n"
        "with psycopg.connect('', autocommit=True) as c:\n    list_orders(c)\n    again(c)\n"
    )
    given = {**os.environ, **server.environment(), "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": os.getcwd()}

    def pgtrace(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pgtrace", *arguments], env=given, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    ran = pgtrace("run", "--call-sites", "--", sys.executable, "orders.py")
    assert "    at orders.py:5 in list_orders, 1" in ran.stderr, ran.stderr
    found = json.loads(pgtrace("advise", "--last", "--json").stdout)["findings"]
    lines = {finding["what"]: finding["call_sites"][0] for finding in found if finding["finding"] == "n+1"}
    assert {(one["file"], one["line"], one["function"]) for one in lines.values()} == {
        ("orders.py", 5, "list_orders"),
        ("orders.py", 9, "again"),
    }
    assert [one["times"] for one in lines.values()] == sorted((one["times"] for one in lines.values()), reverse=True)
    assert "  code      orders.py:5 in list_orders, 1" in pgtrace("advise", "--last").stdout


ONE_QUERY = {
    "asyncpg": "import asyncio, asyncpg\nasync def main():\n    c = await asyncpg.connect()\n    await c.execute('select 1')\n"
    "    await c.close()\nasyncio.run(main())",
    "psycopg": "import psycopg\nc = psycopg.connect(''); c.execute('select 1'); c.close()",
    "psycopg2": "import psycopg2\nc = psycopg2.connect(''); c.cursor().execute('select 1'); c.close()",
    "pg8000": "import pg8000.dbapi\nc = pg8000.dbapi.connect(USER, host=HOST, port=PORT, password=WORD, database=NAME)\n"
    "c.cursor().execute('select 1'); c.close()",
}


def test_the_notes_name_the_driver_of_a_session_that_shows_nothing(server: EmbeddedServer, tmp_path: Path) -> None:
    """Also where what passed looks like another's: psycopg's ClientCursor writes values into the text, as psycopg2 does."""
    capture = tmp_path / "x.pgtrace"
    client_cursor = "import psycopg\nc = psycopg.connect('', cursor_factory=psycopg.ClientCursor)\n"
    client_cursor += "for number in range(9): c.execute('select name from (values (1)) as v (name) where name = %s', (number,))"
    programs = [*ONE_QUERY.items(), ("psycopg", client_cursor)]
    with Recorder("127.0.0.1:0", f"{server.host}:{server.port}", write=capture, when_behind="wait", call_sites=True) as recorder:
        given = {**os.environ, **server.environment(), "PGHOST": "127.0.0.1", "PGPORT": str(recorder.port)}
        given |= recorder.call_site_variables(given)
        names = f"HOST, PORT, USER, WORD, NAME = '127.0.0.1', {recorder.port}, {server.user!r}, {server.password!r}, {server.database!r}\n"
        for _, program in programs:
            subprocess.run([sys.executable, "-c", names + program], env=given, check=True, timeout=30)
        recorder.flush()
    trace = fully_read(capture)
    assert [one.driver for one in trace.connections] == [name for name, _ in programs]
    trace.close()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_transaction_counts_once_for_its_line(server: EmbeddedServer, tmp_path: Path, driver: str) -> None:
    """BEGIN has the line of the statement, COMMIT one of its own: the finding counts transactions."""
    program = tmp_path / "orders.py"
    program.write_text(
        f"import {driver}\nc = {driver}.connect('')\nfor number in range(6):\n"
        "    c.cursor().execute('select name from (values (1)) as v (name) where name = %s', (number,))\n    c.commit()\n"
    )
    capture = tmp_path / "x.pgtrace"
    with Recorder("127.0.0.1:0", f"{server.host}:{server.port}", write=capture, when_behind="wait", call_sites=True) as recorder:
        given = {**os.environ, **server.environment(), "PGHOST": "127.0.0.1", "PGPORT": str(recorder.port)}
        subprocess.run([sys.executable, str(program)], env=given | recorder.call_site_variables(given), check=True, timeout=30)
        recorder.flush()
    trace = fully_read(capture)
    advice = Advice(trace)
    advice.update()
    (found,) = [one for one in with_lines(advice, advice.findings()) if one.name == "begin-commit"]
    assert found.note.times == 6
    assert [(site.line, times) for site, times in found.lines] == [(4, 6)]
    trace.close()


def test_notes_survive_a_kill(server: EmbeddedServer, tmp_path: Path) -> None:
    program = "import psycopg, os, signal; c = psycopg.connect(''); c.execute('select 1'); os.kill(os.getpid(), signal.SIGKILL)"
    seen = subprocess.run([sys.executable, "-c", program], env=environment(server, tmp_path), check=False, timeout=30)
    assert seen.returncode == -signal.SIGKILL
    found = Notes(str(tmp_path)).read()
    assert [(note.crc, note.length) for note in found] == [(zlib.crc32(text), WHOLE) for text in (b"BEGIN", b"select 1")]
    assert {note.site.line for note in found if note.site} == {1}


@pytest.mark.parametrize("way", [*GOOD, *BAD])
def test_another_goes_on_in_a_transaction(server: EmbeddedServer, tmp_path: Path, way: str) -> None:
    """Only where the transaction is another's: not below the one that began it, nor above it, nor where nobody can say."""
    capture = tmp_path / "x.pgtrace"
    with Recorder("127.0.0.1:0", f"{server.host}:{server.port}", write=capture, when_behind="wait", call_sites=True) as recorder:
        given = {**os.environ, **server.environment(), "PGHOST": "127.0.0.1", "PGPORT": str(recorder.port)}
        given |= recorder.call_site_variables(given)
        subprocess.run([sys.executable, str(HANDING_ON), way], env=given, check=True, timeout=60)
        recorder.flush()
    trace = Trace.open([capture])
    trace.read_until(1 << 62)
    advice = Advice(trace)
    advice.update()
    found = [one for one in with_lines(advice, advice.findings()) if one.name == "returned-in-transaction"]
    assert [one.number for one in found] == [1] * (way in BAD)
    for one in found:
        assert "another task or thread continues in the transaction" in one.what
        assert {Path(site.file).name for site, _ in one.lines} == {"handing_on.py"}
    assert trace.call_sites.joined
    trace.close()


def test_the_workers_of_gunicorn(server: EmbeddedServer, tmp_path: Path) -> None:
    """`--preload`: the application, and psycopg with it, is imported before the two workers are forked."""
    directory = tmp_path / "notes"
    directory.mkdir(mode=0o700)
    (tmp_path / "shop.py").write_text(
        "import psycopg\n\ndef application(environ, start_response):\n    with psycopg.connect('', autocommit=True) as connection:\n"
        "        connection.execute(\"select 'line 5'\")\n    start_response('200 OK', [])\n    return [b'']\n"
    )
    command = [sys.executable, "-m", "gunicorn", "--preload", "-w", "2", "-b", f"unix:{tmp_path}/socket", "shop:application"]
    process = subprocess.Popen(command, env=environment(server, directory), cwd=tmp_path, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        started = b""
        while started.count(b"Booting worker") < 2:
            line = process.stderr.readline()
            assert line, started
            started += line
        workers = {int(pid) for pid in re.findall(rb"Booting worker with pid: (\d+)", started)}
        for _ in range(40):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(f"{tmp_path}/socket")
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                while client.recv(4096):
                    pass
    finally:
        process.terminate()
        process.communicate(timeout=30)
    notes = Notes(str(directory))
    found = notes.read()
    assert {(note.site.file, note.site.line) for note in found if note.site} == {("shop.py", 5)}
    assert len(found) == 40
    assert notes.processes
    assert notes.processes <= workers
    notes.close()


def test_ten_thousand_statements(server: EmbeddedServer, tmp_path: Path) -> None:
    """Four threads of psycopg and a pool of asyncpg, 10,000 statements: each row has its line, and no row has another's."""
    program = tmp_path / "many.py"
    program.write_text(
        "import asyncio, threading, asyncpg, psycopg\n\n"
        "def one(number):\n    with psycopg.connect('', autocommit=True) as connection:\n        for _ in range(750):\n"
        "            connection.execute(\"select 'line 6'\")\n            connection.execute(\"select 'line 7', %s\", (number,))\n\n"
        "async def two(pool):\n    for _ in range(500):\n        await pool.fetchval(\"select 'line 11'\")\n"
        "        await pool.fetchval(\"select 'line 12', $1::int\", 1)\n\n"
        "async def main():\n    async with asyncpg.create_pool(min_size=4, max_size=4) as pool:\n"
        "        await asyncio.gather(*(two(pool) for _ in range(4)))\n\n"
        "threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]\n"
        "[thread.start() for thread in threads]\n[thread.join() for thread in threads]\nasyncio.run(main())\n"
    )
    capture = tmp_path / "x.pgtrace"
    with Recorder("127.0.0.1:0", f"{server.host}:{server.port}", write=capture, when_behind="wait", call_sites=True) as recorder:
        given = {**os.environ, **server.environment(), "PGHOST": "127.0.0.1", "PGPORT": str(recorder.port)}
        given |= recorder.call_site_variables(given)
        subprocess.run([sys.executable, str(program)], env=given, check=True, timeout=120)
        recorder.flush()
    trace = Trace.open([capture])
    trace.read_until(1 << 62)
    right = unknown = 0
    for place in range(len(trace.rows)):
        said = LINE.search(trace.rows[place].label.sql.encode())
        if said is None or not trace.rows[place].is_round_trip:
            continue
        noted = {site.line for site in trace.call_sites.at(place)}
        assert not noted or noted == {int(said[1])}, place
        right += bool(noted)
        unknown += not noted
    trace.close()
    assert right >= 10_000
    assert unknown == 0
