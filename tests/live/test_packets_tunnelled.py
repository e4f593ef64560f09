"""Tunnels that the kernel makes: a session through VXLAN, GENEVE, GRE and IP in IP between two
network namespaces, seen on the wire between them.

It needs root, ip (iproute2) and the kernel's modules; where one is missing, that tunnel is skipped.
The server is a script: it answers as PostgreSQL would, so that nothing else is needed in the
namespace.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.capture.packet_reading import counted
from tests.live.dissector import needs_tshark
from tests.live.traffic import until

pytestmark = [
    needs_tshark,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tcpdump") is None,
        reason="needs root, ip and tcpdump",
    ),
]
TUNNELS = {
    "vxlan": "type vxlan id 42 dstport 4789",
    "vxlan on a port of its own": "type vxlan id 42 dstport 14789",
    "geneve": "type geneve id 42",
    "gretap": "type gretap",
    "gre": "type gre",
    "ipip": "type ipip",
}
SERVER = """
import socket
with socket.create_server(("10.9.0.2", 5432)) as listener:
    print("listens", flush=True)
    driver, _ = listener.accept()
    def message():
        head = driver.recv(5, socket.MSG_WAITALL)
        return head[:1], driver.recv(int.from_bytes(head[1:], "big") - 4, socket.MSG_WAITALL) if head else b""
    driver.recv(int.from_bytes(driver.recv(4, socket.MSG_WAITALL), "big") - 4, socket.MSG_WAITALL)
    driver.sendall(b"R\\0\\0\\0\\x08\\0\\0\\0\\0Z\\0\\0\\0\\5I")
    while (kind := message()[0]) == b"Q":
        row = b"D" + (10 + 3000).to_bytes(4, "big") + b"\\0\\1" + (3000).to_bytes(4, "big") + bytes(3000)
        driver.sendall(row * 5 + b"C\\0\\0\\0\\x0dSELECT 5\\0Z\\0\\0\\0\\5I")
"""
CLIENT = """
import socket
with socket.create_connection(("10.9.0.2", 5432)) as server:
    server.sendall(b"\\0\\0\\0\\x12\\0\\3\\0\\0user\\0app\\0\\0")
    def ready():
        while True:
            head = server.recv(5, socket.MSG_WAITALL)
            server.recv(int.from_bytes(head[1:], "big") - 4, socket.MSG_WAITALL)
            if head[:1] == b"Z":
                return
    ready()
    for _ in range(20):
        server.sendall(b"Q\\0\\0\\0\\x0dselect 1\\0")
        ready()
    server.sendall(b"X\\0\\0\\0\\4")
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def inside(space: str, *command: str) -> list[str]:
    return ["ip", "netns", "exec", space, *command]


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[Any]:
    """A process that is over behind the block."""
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def spaces() -> Iterator[tuple[str, str]]:
    """Two namespaces with a cable between them."""
    names = (f"pgtrace-a-{os.getpid()}", f"pgtrace-b-{os.getpid()}")
    made: list[str] = []
    try:
        for name in names:
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespace may be made here: {error.stderr.decode().strip()}")
            made.append(name)
        ip("link", "add", "wire0", "netns", names[0], "type", "veth", "peer", "name", "wire1", "netns", names[1])
        for number, name in enumerate(names):
            for words in (f"addr add 192.168.9.{number + 1}/24 dev wire{number}", f"link set wire{number} up", "link set lo up"):
                ip("-n", name, *words.split())
        yield names
    finally:
        for name in made:
            ip("netns", "del", name)


@pytest.mark.parametrize("kind", TUNNELS)
def test_a_session_through_a_tunnel(kind: str, spaces: tuple[str, str], tmp_path: Path) -> None:
    for number, name in enumerate(spaces):
        ends = ["local", f"192.168.9.{number + 1}"] * (kind != "geneve") + ["remote", f"192.168.9.{2 - number}"]
        try:
            ip("-n", name, "link", "add", "tunnel", *TUNNELS[kind].split(), *ends)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this kernel has none: {error.stderr.decode().strip()}")
        ip("-n", name, "addr", "add", f"10.9.0.{number + 1}/24", "dev", "tunnel")
        ip("-n", name, "link", "set", "tunnel", "up")
    packets = tmp_path / "wire.pcap"
    dumping = ["tcpdump", "-i", "wire0", "-n", "-U", "--immediate-mode", "-B", "65536", "-w", "-"]
    with packets.open("wb") as file, ended(subprocess.Popen(inside(spaces[0], *dumping), stdout=file, stderr=subprocess.PIPE)) as tcpdump:
        while b"listening on" not in tcpdump.stderr.readline():
            assert tcpdump.poll() is None
        with ended(subprocess.Popen(inside(spaces[1], sys.executable, "-c", SERVER), stdout=subprocess.PIPE)) as server:
            assert server.stdout.readline() == b"listens\n"
            subprocess.run(inside(spaces[0], sys.executable, "-c", CLIENT), check=True, timeout=20)
            assert server.wait(timeout=20) == 0
        last = (
            "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'everything before this is written', "
            "('192.168.9.2', 9))"
        )
        subprocess.run(inside(spaces[0], sys.executable, "-c", last), check=True, timeout=20)
        until(lambda: b"everything before this" in packets.read_bytes(), bool)
    seen = counted(packets.read_bytes())
    assert seen["totals"]["round_trips"] == 20
    assert seen["totals"]["rows"] == 100
    assert seen["capture"]["complete"]
    if "own" not in kind:
        command = ["tshark", "-r", packets, "-Y", 'pgsql.type == "Simple query"', "-T", "fields", "-e", "pgsql.query"]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert told.count("select 1") == 20
