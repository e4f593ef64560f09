"""What Python's ssl cannot be asked for: KeyUpdate of either side, and every cipher suite of TLS
1.3. openssl's own client and server speak through a relay."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pgtrace.capture.pcap import Pcap
from pgtrace.capture.record import DECRYPTED, Fact, Opaque
from pgtrace.capture.tls.keylog import KeyLog
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.capture import packet_forge as forge
from tests.capture.packet_forge import Talk
from tests.capture.tls_talk import ECDSA

OPENSSL = shutil.which("openssl")
WITHIN_S = 20.0
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")


class Relay:
    """Between both, and on paper."""

    def __init__(self, driver: socket.socket, server: socket.socket) -> None:
        self.talk = Talk().open()
        self._ends = (driver, server)

    def until(self, done: Callable[[], bool]) -> None:
        """Pass on what comes until something is so."""
        deadline = time.monotonic() + WITHIN_S
        while not done():
            assert time.monotonic() < deadline
            for end in select.select(self._ends, [], [], 0.01)[0]:
                side = self._ends.index(end)
                data = end.recv(65536)
                assert data
                self.talk.send(side, data)
                self._ends[1 - side].sendall(data)

    def sent(self, side: int) -> int:
        """Bytes of that side so far."""
        return self.talk.next[side]


def process(*arguments: str | Path) -> subprocess.Popen[bytes]:
    made = subprocess.Popen([str(OPENSSL), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert made.stdout is not None
    os.set_blocking(made.stdout.fileno(), False)
    return made


def listens(made: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WITHIN_S
    told = b""
    while b"ACCEPT" not in told:
        assert time.monotonic() < deadline
        if select.select([made.stdout], [], [], 0.1)[0]:
            told += made.stdout.read() or b""


@pytest.mark.parametrize(
    "suite", ["AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256", "AES_128_CCM_SHA256", "AES_128_CCM_8_SHA256"]
)
def test_keys_that_are_renewed(suite: str, tmp_path: Path) -> None:
    (tmp_path / "cert").write_bytes(b"".join(blob.bytes() for blob in ECDSA.cert_chain_pems))
    (tmp_path / "key").write_bytes(ECDSA.private_key_pem.bytes())
    with socket.socket() as free, socket.create_server(("127.0.0.1", 0)) as listener:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        common = ("-tls1_3", "-ciphersuites", f"TLS_{suite}")
        server = process(
            "s_server",
            "-accept",
            str(port),
            "-cert",
            tmp_path / "cert",
            "-key",
            tmp_path / "key",
            "-keylogfile",
            tmp_path / "keys",
            *common,
        )
        listens(server)
        client = process("s_client", "-connect", f"127.0.0.1:{listener.getsockname()[1]}", *common)
        try:
            driver, _ = listener.accept()
            with driver, socket.create_connection(("127.0.0.1", port)) as upstream:
                relay = Relay(driver, upstream)
                told = [b"", b""]
                ends = (client, server)

                def heard(side: int, text: bytes) -> bool:
                    told[side] += ends[side].stdout.read() or b""  # type: ignore[union-attr]
                    return text in told[side]

                def put(side: int, text: bytes) -> None:
                    before = relay.sent(side)
                    ends[side].stdin.write(text)  # type: ignore[union-attr]
                    ends[side].stdin.flush()  # type: ignore[union-attr]
                    relay.until(lambda: heard(1 - side, text) if len(text) > 2 else relay.sent(side) > before)

                relay.until(lambda: heard(FRONTEND, b"Verify return code"))
                for turn in range(3):
                    for side in (FRONTEND, BACKEND):
                        put(side, b"text %d of side %d\n" % (turn, side))
                        put(side, (b"k\n", b"K\n")[turn % 2])  # K asks the other side for one, too
                put(FRONTEND, b"the last\n")
                put(BACKEND, b"the last one\n")
        finally:
            for one in (client, server):
                one.kill()
                one.communicate()
    pcap = Pcap(keylog=KeyLog(str(tmp_path / "keys")))
    found = pcap.feed(forge.pcap(forge.frames(relay.talk.sent))) + pcap.finish()
    assert [one.value for one in found if isinstance(one, Fact) and one.key == DECRYPTED] == ["TLSv1.3"]
    assert pcap.notes() == []
    # No PostgreSQL, so it is only counted; but as plain bytes.
    for side, last in ((FRONTEND, b"the last\n"), (BACKEND, b"the last one\n")):
        assert sum(one.length for one in found if isinstance(one, Opaque) and one.side == side) == 3 * 17 + len(last)
