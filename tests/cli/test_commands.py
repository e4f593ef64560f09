"""The commands as a user types them: forms, exit codes, what goes to stdout and what to stderr."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pgtrace
from pgtrace.cli import COMMANDS
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.recorder import Recorder
from pgtrace.trace.counters import KEYS
from tests import commands


def pgtrace_command(*args: str, **extra: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | extra
    return commands.run(*args, env=environment)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory, server: EmbeddedServer) -> Path:
    """Two psql sessions, recorded."""
    from pgtrace.address import parse_listen, parse_upstream

    path = tmp_path_factory.mktemp("cli") / "psql.pgtrace"
    with Recorder(parse_listen(":0"), parse_upstream(f"{server.host}:{server.port}", {}), write=path) as recorder:
        import psycopg

        for query in ("select 1", "select '\x1b]0;title\x07'"):
            with psycopg.connect(server.url(recorder.host, recorder.port), autocommit=True) as connection:
                connection.execute(query, binary=True)
    return path


def test_help_lists_what_exists_and_nothing_else() -> None:
    found = pgtrace_command("--help")
    assert found.returncode == 0
    listed = re.findall(r"^  (\w+)  ", found.stdout.partition("Commands:")[2], re.MULTILINE)
    assert listed == list(COMMANDS)
    for command in COMMANDS:
        text = pgtrace_command(command, "--help")
        assert text.returncode == 0
        assert "Example: pgtrace" in text.stdout
        assert re.findall(r"^  (-[qv], --\w+)", text.stdout, re.MULTILINE) == ["-q, --quiet", "-v, --verbose"]


@pytest.mark.parametrize("command", [["advise"], ["export", "--to", "jsonl"]], ids=" ".join)
def test_v_says_what_was_read(command: list[str], capture: Path) -> None:
    plain, more = pgtrace_command(*command, str(capture)), pgtrace_command(*command, "-v", str(capture))
    assert more.stdout == plain.stdout
    assert re.fullmatch(
        r"pgtrace: \S+: 2 connections, 2 round trips and \d+ for set-up, \d+ bytes\n", more.stderr.removeprefix(plain.stderr)
    )


def test_v_says_how_much_was_imported(capture: Path, tmp_path: Path) -> None:
    done = pgtrace_command("import", "-qv", str(capture), "-o", str(tmp_path / "again.pgtrace"))
    assert done.stderr == f"pgtrace: {capture}: {capture.stat().st_size} bytes read\n"


def test_what_does_not_exist_is_a_wrong_use() -> None:
    found = pgtrace_command("rewind", "x")
    assert found.returncode == 2
    assert "No such command" in found.stderr


def test_version_names_the_capture_version() -> None:
    found = subprocess.run([*commands.FRESH, "--version"], capture_output=True, text=True, check=True)
    assert found.stdout == f"pgtrace {pgtrace.__version__} (capture version 1)\n"


def test_shell_completion_knows_the_commands() -> None:
    found = pgtrace_command(_PGTRACE_COMPLETE="bash_complete", COMP_WORDS="pgtrace st", COMP_CWORD="1")
    assert "stats" in found.stdout


def test_help_loads_no_heavy_module() -> None:
    code = (
        "import sys, pgtrace.cli as c; c._run(c.root, ['--help']); print([m for m in ('textual', 'construct', 'msgspec') if m "
        "in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("options", "more"),
    [([], ("msgspec", "pgtrace.ask")), (["--filter", "ms > 0.01 and driver:psycopg"], ("msgspec",))],
    ids=["all", "filter"],
)
def test_stats_load_what_they_need(capture: Path, options: list[str], more: tuple[str, ...]) -> None:
    """The message classes, or the recorder, cost more to import than a small capture to read."""
    unneeded = ("construct", "pgtrace.recorder", "pgtrace.address", "pgtrace.faults", "pgtrace.masking", *more)
    code = (
        f"import sys, pgtrace.cli as c; c._run(c.root, ['stats', {str(capture)!r}, *{options}]); print([m for m in {unneeded} "
        f"if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


def test_stats_as_json_has_the_contracts_keys(capture: Path) -> None:
    found = pgtrace_command("stats", "--json", str(capture))
    assert found.returncode == 0
    assert not found.stderr
    stats = json.loads(found.stdout)
    assert stats["schema"] == "pgtrace.stats/1"
    assert set(KEYS) <= set(stats["totals"])
    assert stats["capture"] | {"duration_ns": 0} == {
        "files": [str(capture)],
        "duration_ns": 0,
        "connections": 2,
        "complete": True,
        "gaps": 0,
        "dropped_bytes": 0,
    }
    assert [one["round_trips"] for one in stats["connections"]] == [1, 1]
    assert {one["kind"] for one in stats["connections"]} == {"session"}


@pytest.mark.parametrize("by", ["driver", "connection", "statement", "mark"])
def test_stats_by_anything_is_a_table(capture: Path, by: str) -> None:
    found = pgtrace_command("stats", "--by", by, "-v", str(capture))
    assert found.returncode == 0
    assert str(capture) in found.stdout.splitlines()[0]


def test_show_prints_every_message_and_nothing_from_the_wire_is_interpreted(capture: Path) -> None:
    found = pgtrace_command("show", "--hex", "-v", str(capture))
    assert found.returncode == 0
    assert "\x1b" not in found.stdout
    assert "\x07" not in found.stdout
    assert "title" in found.stdout
    shown = re.findall(r"^ {12}[FB][→←].*  (\d+) B$", found.stdout, re.MULTILINE)
    stats = json.loads(pgtrace_command("stats", "--json", str(capture)).stdout)["totals"]
    assert len(shown) == sum(stats["frontend_messages"].values()) + sum(stats["backend_messages"].values())
    assert sum(map(int, shown)) == stats["frontend_bytes"] + stats["backend_bytes"]


def test_show_as_json_is_one_object_a_round_trip(capture: Path) -> None:
    found = pgtrace_command("show", "--json", str(capture))
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    stats = json.loads(pgtrace_command("stats", "--json", str(capture)).stdout)["totals"]
    assert sum(row["kind"] == "round_trip" for row in rows) == stats["round_trips"]
    assert sum(row["kind"] == "setup" for row in rows) == stats["setup_round_trips"]
    names = [message["type"] for row in rows for message in row["messages"] if message["side"] == "F"]
    assert {name: names.count(name) for name in names} == stats["frontend_messages"]


def test_a_reader_that_stops_early_is_no_error(capture: Path) -> None:
    command = f"{sys.executable} -m pgtrace show {capture} | head -n 1; exit ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert found.returncode == 0
    assert not found.stderr


def test_open_without_a_terminal_says_what_to_use(capture: Path) -> None:
    found = pgtrace_command("open", str(capture))
    assert found.returncode == 2
    assert "pgtrace show" in found.stderr


def test_a_truncated_capture_is_read_and_the_loss_told(capture: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pgtrace"
    cut.write_bytes(capture.read_bytes()[:-3])
    found = pgtrace_command("stats", str(cut))
    assert found.returncode == 0
    assert "the last block of the capture is cut off" in found.stderr


@pytest.fixture
def listening(server: EmbeddedServer) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`pgtrace listen` without a terminal, and its port."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    process = subprocess.Popen(
        [sys.executable, "-m", "pgtrace", "listen", "127.0.0.1:0", "--upstream", f"{server.host}:{server.port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    yield process, int(re.findall(r":(\d+) ->", line)[0])
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()


def test_listen_prints_a_line_for_each_round_trip(listening: tuple[subprocess.Popen[str], int], server: EmbeddedServer) -> None:
    import psycopg

    process, port = listening
    with psycopg.connect(server.url("127.0.0.1", port), autocommit=True) as connection:
        connection.execute("select 41 + 1")
    assert process.stdout is not None
    started = time.monotonic()
    lines = []
    while not lines or "Terminate" not in lines[-1]:
        lines.append(process.stdout.readline())
    assert time.monotonic() - started < 5
    assert any("Q → TDCZ" in line and "select 41 + 1" in line for line in lines)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


def test_run_is_transparent_to_its_program(server: EmbeddedServer) -> None:
    program = (
        "import os, psycopg; print(psycopg.connect(os.environ['DATABASE_URL']).execute('select 6 * 7').fetchone()[0]); raise SystemExit(3)"
    )
    found = pgtrace_command("run", "--", sys.executable, "-c", program, DATABASE_URL=server.url())
    assert found.returncode == 3
    assert found.stdout == "42\n"
    assert re.search(r"^psycopg|^unknown", found.stderr, re.MULTILINE)
