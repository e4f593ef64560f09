"""The scenario of test_gold_lapel.py, in a process that has no network but its own loopback:
`python -m tests.live.gold_lapel PROXY CAPTURE`.

Gold Lapel is a closed program that speaks to its maker's servers where it can, and creates a schema
in the database. So the server, the recorder, the proxy and its clients are all in here, the server
is a throw-away one, and the proxy runs as `nobody`.
"""

from __future__ import annotations

import fcntl
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg

from pgtrace import Recorder
from pgtrace.address import Leg, parse_listen, parse_upstream
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.ports import free_port
from pgtrace.kept import Kept

CLIENTS, TURNS, ITEMS = 2, 150, 5
ROLLED_BACK = "^tag1-([0-9]*[02468])?0[xy]$"
"""The tags of rows that were inserted, and rolled back."""
LOOK_UP = "select name from items where id = %s"
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_STARTS_WITHIN_S = 30.0


def loopback_up() -> None:
    """Switch the loopback of a new network on; there is nothing else in it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh22x", b"lo", 0)
        (flags,) = struct.unpack("16xh22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def work(url: str, client: int) -> None:
    """What a web program does: look-ups that come again, reads in transactions, and writes. The
    second client prepares nothing, has the values in the text of its look-ups, and rolls back."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None if client else 5) as connection:
        for turn in range(TURNS):
            connection.execute(LOOK_UP, [turn % ITEMS]).fetchall()
            if client:
                connection.execute(f"select name from items where id = {turn % ITEMS}".encode()).fetchall()
            with connection.transaction():
                connection.execute("select %s::text", [f"tag{client}-{turn}"]).fetchall()
            if turn % 5 == 0:
                with connection.transaction():
                    connection.execute("insert into tagged values (%s)", [f"tag{client}-{turn}w"])
            if turn % 10 == 0:
                with connection.transaction():
                    connection.execute("insert into tagged values (%s)", [f"tag{client}-{turn}x"])
                    connection.execute("insert into tagged values (%s)", [f"tag{client}-{turn}y"])
                    if client and turn % 20 == 0:
                        raise psycopg.Rollback


def record(program: str, path: str) -> None:
    """Both sides of the proxy in one capture."""
    nobody = pwd.getpwnam("nobody")
    port = free_port()
    with EmbeddedServer() as server, tempfile.TemporaryDirectory(dir="/tmp") as home:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("create table tagged (tag text)")
            connection.execute(f"create table items as select id, 'item ' || id as name from generate_series(0, {ITEMS - 1}) id")
        copied = shutil.copy(program, home)
        Path(copied).chmod(0o755)
        Path(home).chmod(0o777)
        behind = Leg(parse_listen("127.0.0.1:0"), parse_upstream(f"{server.host}:{server.port}", {}))
        with Recorder("127.0.0.1:0", f"127.0.0.1:{port}", write=path, more_legs=[behind], when_behind="wait") as recorder:
            back = int(recorder.addresses_of_legs[1][0].rpartition(":")[2])
            command = [copied, "--upstream", server.url(port=back), "--proxy-port", str(port), "--dashboard-port", "0"]
            with Kept(
                [*command, "--invalidation-port", "0"],
                orders=(signal.SIGTERM,),
                directory=Path(home),
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                env={"HOME": home, "PATH": "/usr/bin:/bin"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            ) as proxy:
                wait_for(port, proxy)
                url = recorder.url(user=server.user, password=server.password, database=server.database)
                clients = [threading.Thread(target=work, args=(url, client)) for client in range(CLIENTS)]
                for one in clients:
                    one.start()
                for one in clients:
                    one.join()
        with psycopg.connect(server.url()) as connection:
            print(*connection.execute("select count(*), count(*) filter (where tag ~ %s) from tagged", [ROLLED_BACK]).fetchone() or ())


def wait_for(port: int, proxy: Kept) -> None:
    until = time.monotonic() + _STARTS_WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if proxy.process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    loopback_up()
    record(*sys.argv[1:])
