"""A password in an address, in every way somebody may write one, at each place where pgtrace takes an address: it reaches no file, no output and no packet.

The processes are real, with a real server behind them, where the address can be used; what they send is what strace saw of their system calls, where there
is strace: a resolver's packets, and those of the upstream leg. The role needs no password, so that the driver itself sends none.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from pgtrace.demo.embedded import EmbeddedServer

ONE, TWO = "Zq7xKm3w", "Wv9pLt4r"
"""The password, or two pieces of it with something between them."""
pytestmark = pytest.mark.timeout(600)
AT_ONCE = 3
CONNECT = "import psycopg; psycopg.connect('user=trust_role dbname=postgres').execute('select 1')"
TEST = "def test_it(pgtrace):\n    import psycopg\n    psycopg.connect(pgtrace.url(user='trust_role', database='postgres')).close()\n"


class Spelling(NamedTuple):
    """An address with HOST and PORT in it, and whether it can be used."""

    text: str
    is_usable: bool


SPELLINGS = [
    Spelling(f"postgresql://u:{ONE}@HOST:PORT/db", True),
    Spelling(f"postgres://u:{ONE}@HOST:PORT/db", True),
    Spelling(f"POSTGRESQL://u:{ONE}@HOST:PORT/db", True),
    Spelling(f"  postgresql://u:{ONE}@HOST:PORT/db", True),
    Spelling(f"postgresql+asyncpg://u:{ONE}@HOST:PORT/db", True),
    Spelling(f"postgresql+psycopg2://u:{ONE}@HOST:PORT/db", True),
    Spelling(f"jdbc:postgresql://HOST:PORT/db?user=u&password={ONE}", True),
    Spelling(f"postgresql://u@HOST:PORT/db?password={ONE}", True),
    Spelling(f"postgresql://u@HOST:PORT/db?p%61ssword={ONE}", True),
    Spelling(f"postgresql://HOST:PORT/db?user=u&password={ONE}@{TWO}", True),
    Spelling(f"postgresql://u:{ONE}%40{TWO}@HOST:PORT/db", True),
    Spelling(f"postgresql://u:{ONE}?{TWO}@HOST:PORT/db", True),
    Spelling(f"postgresql://u:{ONE}#{TWO}@HOST:PORT/db", True),
    Spelling(f"postgresql://u:{ONE}@HOST:PORT,HOST:PORT/db", True),
    Spelling(f"postgresql://u@HOST:PORT/db?sslpassword={ONE}&scram_client_key={TWO}", True),
    Spelling(f"host=HOST port=PORT user=u password={ONE}", True),
    Spelling(f"host=HOST port=PORT user=u password='{ONE} {TWO}'", True),
    Spelling(rf"host = HOST port = PORT password = '{ONE}\'{TWO}'dbname=db", True),
    Spelling(f"host=HOST,HOST port=PORT password={ONE}", True),
    Spelling(f"postgresql://u:{ONE}@{TWO}@HOST:PORT/db", False),
    Spelling(f"postgresql://u:{ONE}/{TWO}@HOST:PORT/db", False),
    Spelling(f"postgresql://u:{ONE} {TWO}@HOST:PORT/db", False),
    Spelling(f"postgresql://u:{ONE}@{TWO}?{ONE}={TWO}@HOST:PORT/db", False),
    Spelling(f"postgresql://HOST:PORT/db?password={ONE}&{TWO}=1", False),
    Spelling(f"postgresql://HOST?password={ONE}@{TWO}", False),
    Spelling(f"host=HOST port=PORT password={ONE} {TWO}", False),
    Spelling(f"host=HOST port=PORT password='{ONE}", False),
    Spelling(f"host=HOST port=PORT password={ONE} {TWO}=x", False),
    Spelling(f"hosst=HOST port=PORT password={ONE}", False),
    Spelling(f"host=HOST,password={ONE}", False),
    Spelling(f"host=/run;password={ONE}", False),
    Spelling(f"Server=HOST;Port=PORT;User Id=u;Password={ONE}", False),
    Spelling(f"u:{ONE}@HOST:PORT/db", False),
    Spelling(f"u/{ONE}@HOST:PORT", False),
    Spelling(f"HOST:PORT,u:{ONE}@HOST", False),
    Spelling(f"HOST:PORT,u:{ONE}", False),
    Spelling(f"/run/pg?password={ONE}", False),
    Spelling(f"unix:/run/u:{ONE}@HOST", False),
    Spelling(f"mysql://u:{ONE}@HOST:PORT/db", False),
    Spelling(f"psql postgresql://u:{ONE}@HOST:PORT/db", False),
]  # fmt: skip


@pytest.fixture
def at_server(tls_server: EmbeddedServer) -> Callable[[str], str]:
    """The address, with the real host and port in it."""
    return lambda text: text.replace("HOST", tls_server.host).replace("PORT", str(tls_server.port))


def environment(directory: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Nothing of PostgreSQL but what is said, and every temporary file where it can be found."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PYTEST")) and name != "DATABASE_URL"}
    places = dict.fromkeys(("TMPDIR", "XDG_STATE_HOME", "HOME"), str(directory))
    return clean | places | {"RES_OPTIONS": "timeout:1 attempts:1"} | dict(more)


def traced(directory: Path, *arguments: str) -> list[str]:
    """The command line under strace, where there is one."""
    strace = shutil.which("strace")
    before = [strace, "-f", "--seccomp-bpf", "-s", "4096", "-e", "trace=network", "-o", str(directory / "packets")] if strace else []
    return [*before, sys.executable, "-m", *arguments]


def assert_kept(directory: Path, output: str, *, went_out: bool) -> None:
    """No piece of the secret in the output or in a file, what strace saw of the network included."""
    files = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert not shutil.which("strace") or not went_out or b"socket(AF_INET" in files[directory / "packets"]
    for piece in (ONE, TWO):
        assert piece not in output
        assert [path.name for path, data in files.items() if piece.encode() in data] == []


def each(spellings: list[tuple[Path, Spelling]], run: Callable[[Path, Spelling], None]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(run, directory, spelling) for directory, spelling in spellings]:
            done.result()


@pytest.fixture
def spellings(tmp_path: Path) -> list[tuple[Path, Spelling]]:
    """Each with a directory of its own."""
    pairs = [(tmp_path / str(number), spelling) for number, spelling in enumerate(SPELLINGS)]
    for directory, _ in pairs:
        directory.mkdir()
    return pairs


def test_run(spellings: list[tuple[Path, Spelling]], at_server: Callable[[str], str]) -> None:
    def run(directory: Path, spelling: Spelling) -> None:
        program = ("--", sys.executable, "-c", CONNECT)
        asked = ("pgtrace", "run", "-v", "-w", str(directory / "capture"), "--upstream", at_server(spelling.text), *program)
        found = subprocess.run(
            traced(directory, *asked), env=environment(directory, {}), capture_output=True, text=True, check=False, timeout=60
        )
        assert found.returncode == (0 if spelling.is_usable else 2), (spelling.text, found.stderr)
        assert ("in --upstream" in found.stderr) == (spelling.is_usable), found.stderr
        assert (directory / "capture").exists() == spelling.is_usable
        assert_kept(directory, found.stdout + found.stderr, went_out=spelling.is_usable)

    each(spellings, run)


def test_a_programs_environment(spellings: list[tuple[Path, Spelling]], at_server: Callable[[str], str]) -> None:
    """The program keeps its password; what pgtrace makes of it says nothing of it. What is no address of PostgreSQL is the program's own business."""

    def run(directory: Path, spelling: Spelling) -> None:
        variables = {"DATABASE_URL": at_server(spelling.text)}
        found = subprocess.run(
            traced(directory, "pgtrace", "run", "-v", "-w", str(directory / "capture"), "--", sys.executable, "-c", CONNECT),
            env=environment(directory, variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not spelling.is_usable or found.returncode == 0, (spelling.text, found.stderr)
        assert_kept(directory, found.stdout + found.stderr, went_out=spelling.is_usable)

    each(spellings, run)


def test_listen(spellings: list[tuple[Path, Spelling]], at_server: Callable[[str], str]) -> None:
    def run(directory: Path, spelling: Spelling) -> None:
        asked = (
            "pgtrace",
            "listen",
            f"unix:{directory}",
            "--no-tui",
            "-w",
            str(directory / "capture"),
            "--upstream",
            at_server(spelling.text),
        )
        listener = subprocess.Popen(
            traced(directory, *asked), env=environment(directory, {}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            process_group=0,
        )  # fmt: skip
        assert listener.stderr is not None
        try:
            first = listener.stderr.readline()
            if spelling.is_usable:
                hint = listener.stderr.readline() if "in --upstream" in first else ""
                assert "->" in hint, (spelling.text, first)
                psycopg.connect(f"host={directory} port=6433 user=trust_role dbname=postgres").close()
                os.killpg(listener.pid, signal.SIGINT)
            output, errors = listener.communicate(timeout=30)
        finally:
            if listener.poll() is None:
                os.killpg(listener.pid, signal.SIGKILL)
                listener.communicate()
        assert listener.returncode == (130 if spelling.is_usable else 2), (spelling.text, first, errors)
        assert_kept(directory, output + first + errors, went_out=spelling.is_usable)

    each(spellings, run)


def test_the_option_of_pytest(spellings: list[tuple[Path, Spelling]], at_server: Callable[[str], str]) -> None:
    def run(directory: Path, spelling: Spelling) -> None:
        (directory / "test_it.py").write_text(TEST)
        options = ("-q", "-p", "no:cacheprovider", "--rootdir", str(directory), "--pgtrace-captures", str(directory))
        found = subprocess.run(
            traced(directory, "pytest", *options, f"--pgtrace-upstream={at_server(spelling.text)}", str(directory / "test_it.py")),
            env=environment(directory, {}),
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ("1 passed" in found.stdout) == spelling.is_usable, (spelling.text, found.stdout + found.stderr)
        assert_kept(directory, found.stdout + found.stderr, went_out=spelling.is_usable)

    each(spellings, run)
