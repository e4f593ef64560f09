"""The throw-away server: it asks for the password on every way in, and nothing of it is left, however it ends."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from pgtrace.demo import embedded, ways
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.ways import EmbeddedError, Way
from pgtrace.errors import MissingExtra

pytestmark = pytest.mark.live


CHILD = """
import sys
from pgtrace.demo.embedded import EmbeddedServer
with EmbeddedServer() as server:
    print(server.pid, server.socket_directory.parent, flush=True)
    sys.stdin.read()
"""


def hosts(server: EmbeddedServer) -> list[str]:
    return [server.host, str(server.socket_directory)]


def test_every_way_in_asks_for_the_password(server):
    for host in hosts(server):
        where = {"host": host, "port": server.port, "user": server.user, "dbname": server.database}
        with psycopg.connect(password=server.password, **where) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
            assert connection.info.server_version >= 180000
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(password="wrong", **where)
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(**where)


def test_authentication_is_scram(server):
    with psycopg.connect(server.url(), require_auth="scram-sha-256"):
        pass


def test_url_and_environment_lead_there(server):
    environment = os.environ | server.environment()
    command = [sys.executable, "-c", "import psycopg; print(psycopg.connect().execute('select inet_server_port()').fetchone()[0])"]
    assert int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout) == server.port
    assert server.url("elsewhere", 1) == f"postgresql://{server.user}:{server.password}@elsewhere:1/{server.database}"


def test_stop_removes_everything():
    with EmbeddedServer() as server:
        directory, pid = server.socket_directory.parent, server.pid
        assert directory.stat().st_mode & 0o777 == 0o700
        assert is_alive(pid)
    assert not directory.exists()
    assert not is_alive(pid)
    server.stop()
    with pytest.raises(EmbeddedError, match="not running"):
        _ = server.socket_directory


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waiting for a process of somebody else's needs Linux")
@pytest.mark.parametrize("how", ["killed", "interrupted", "finished"])
def test_nothing_is_left_when_the_process_ends(how):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    pid, directory = child.stdout.readline().split()
    keeper = parent_of(int(pid))
    if how == "killed":
        child.kill()
    elif how == "interrupted":
        child.send_signal(2)
    child.stdin.close()
    child.wait()
    child.stdout.close()
    wait_for_end(keeper)
    assert not Path(directory).exists()
    assert not is_alive(int(pid))


def test_a_long_temporary_path_leaves_room_for_the_socket(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with EmbeddedServer() as server:
        assert server.socket_directory.parent.parent == Path("/tmp")
        assert list(long.iterdir()) == []


def test_missing_wheel_names_the_extra(monkeypatch):
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'pgtrace\[demo\]'"):
        EmbeddedServer().start()


def test_uid_without_a_name_says_so(monkeypatch):
    monkeypatch.setattr(ways.os, "geteuid", lambda: 4_000_000)
    monkeypatch.setattr(ways, "_ways", lambda: iter([Way("fails", prefix=("false",))]))
    with pytest.raises(EmbeddedError, match="uid 4000000 has no entry in /etc/passwd"):
        EmbeddedServer().start()


def test_a_failing_server_is_one_line():
    with pytest.raises(EmbeddedError, match=r"^cannot start the embedded PostgreSQL: postgres: .*FATAL: .*contains errors$"):
        EmbeddedServer(settings={"nonsense": "1"}).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has more than one way")
@pytest.mark.parametrize("name", ["user namespace", "nobody, copied"])
def test_other_ways_of_root(name, monkeypatch):
    chosen = [way for way in ways._ways() if way.name == name]
    assert chosen
    monkeypatch.setattr(ways, "_ways", lambda: iter(chosen))
    try:
        server = EmbeddedServer().start()
    except EmbeddedError as error:
        if name == "user namespace":
            pytest.skip(f"user namespaces are not allowed here: {error}")
        raise
    try:
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        server.stop()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def parent_of(pid: int) -> int:
    return int(subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, check=True).stdout)


def wait_for_end(pid: int) -> None:
    """Wait for a process that is nobody's child of ours, by what the kernel offers for it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([descriptor], [], [], 30)[0]
    os.close(descriptor)
