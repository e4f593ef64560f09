"""A password in an address, in every way somebody may write one, at each place where pgtrace takes
an address: it reaches no file, no output and no packet.

A real server stands behind it where the address can be used; what is sent is what strace saw of the
system calls of all processes, where there is strace: a resolver's packets, and those of the
upstream leg. The role needs no password, so that the driver itself sends none. All spellings of a
place are tried one after the other in one process, which runs the command as the shell would.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from pgtrace.demo.embedded import EmbeddedServer

pytestmark = pytest.mark.timeout(600)
ONE, TWO = "Zq7xKm3w", "Wv9pLt4r"
"""The password, or two pieces of it with something between them."""


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
    Spelling(f"postgresql://u@HOST:PORT/db?sslpassword={ONE}&oauth_client_secret={TWO}", True),
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


COMMON = """
import json, os, signal, sys, threading, time
from pathlib import Path

texts, directory = json.loads(sys.argv[1]), Path(sys.argv[2])
LOGIN = "user=trust_role dbname=postgres"
PROGRAM = ["--", sys.executable, "-c", f"import psycopg; psycopg.connect({LOGIN!r}).execute('select 1')"]

def pgtrace(*arguments):
    from pgtrace.cli import _run, root
    return _run(root, list(arguments))

def capture(number):
    return str(directory / f"capture{number}")
"""
PLACES = {
    "run": """
def use(number, text):
    return pgtrace("run", "-v", "-w", capture(number), "--upstream", text, *PROGRAM)
""",
    "a program's environment": """
def use(number, text):
    os.environ["DATABASE_URL"] = text
    return pgtrace("run", "-v", "-w", capture(number), *PROGRAM)
""",
    "listen": """
def use(number, text):
    import psycopg
    place, over = directory / f"socket{number}", threading.Event()

    def drive():
        seen = False
        while not over.wait(0.05):
            if not seen:
                try:
                    psycopg.connect(f"host={place} port=6433 {LOGIN}").close()
                    seen = True
                except psycopg.OperationalError:  # not there yet
                    continue
            os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = threading.Thread(target=drive)
    driver.start()
    code = pgtrace("listen", f"unix:{place}", "--no-tui", "-v", "-w", capture(number), "--upstream", text)
    over.set()
    driver.join()
    return 0 if code == 130 else code
""",
    "the option of pytest": """
TEST = "def test_it(pgtrace):\\n    import psycopg\\n    psycopg.connect(pgtrace.url(user='trust_role', database='postgres')).close()\\n"
(directory / "test_it.py").write_text(TEST)

def use(number, text):
    import pytest
    options = ("-q", "-p", "no:cacheprovider", "-W", "ignore", "--rootdir", str(directory), "-l", "--import-mode", "importlib")
    code = int(pytest.main([*options, "--pgtrace-captures", capture(number), f"--pgtrace-upstream={text}", str(directory / "test_it.py")]))
    return 0 if code == 0 else 2
""",
}
EACH = """
codes = [use(number, text) for number, text in enumerate(texts)]
(directory / "codes").write_text(json.dumps(codes))
"""


@pytest.mark.sampled(2)
@pytest.mark.parametrize("place", PLACES)
def test_no_piece_of_it_gets_out(place: str, tls_server: EmbeddedServer, tmp_path: Path) -> None:
    texts = [one.text.replace("HOST", tls_server.host).replace("PORT", str(tls_server.port)) for one in SPELLINGS]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PYTEST")) and name != "DATABASE_URL"}
    clean |= dict.fromkeys(("TMPDIR", "XDG_STATE_HOME", "HOME"), str(tmp_path)) | {"RES_OPTIONS": "timeout:1 attempts:1"}
    strace = shutil.which("strace")
    packets = tmp_path / "packets"
    before = [strace, "-f", "--seccomp-bpf", "-s", "4096", "-e", "trace=network", "-o", str(packets)] if strace else []
    found = subprocess.run(
        [*before, sys.executable, "-c", COMMON + PLACES[place] + EACH, json.dumps(texts), str(tmp_path)],
        env=clean, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    for spelling, code in zip(SPELLINGS, json.loads((tmp_path / "codes").read_text()), strict=True):
        # What is no address of PostgreSQL is the program's own business: it runs as without one,
        # and finds no server. Some drivers take what libpq does not.
        expected = {0} if spelling.is_usable else {0, 2, 3} if place == "a program's environment" else {2}
        assert code in expected, (spelling.text, found.stdout, found.stderr)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert strace is None or files[packets].count(b"connect(") >= sum(one.is_usable for one in SPELLINGS)
    assert len([path for path in files if "capture" in path.name or path.suffix == ".pgtrace"]) >= sum(one.is_usable for one in SPELLINGS)
    for piece in (ONE, TWO):
        assert piece not in found.stdout + found.stderr
        assert [path.name for path, data in files.items() if piece.encode() in data] == []
