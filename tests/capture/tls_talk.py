"""A PostgreSQL session inside TLS as packets: OpenSSL on both sides, in memory, its secrets in a key log."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

import trustme

from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.capture.packet_forge import Talk

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
AUTHORITY = trustme.CA()
RSA = AUTHORITY.issue_cert("localhost", key_type=trustme.KeyType.RSA)
ECDSA = AUTHORITY.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)


def contexts(
    keylog: Path | None,
    *,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ciphers: str = "",
    curve: str = "",
    cert: trustme.LeafCert = ECDSA,
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's, which writes the key log, and a server's."""
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.configure_trust(client)
    cert.configure_cert(server)
    for one in (client, server):
        one.minimum_version = one.maximum_version = version
        one.set_alpn_protocols(["postgresql"])
        if ciphers:
            one.set_ciphers(ciphers)
    if curve:
        server.set_ecdh_curve(curve)
    if keylog is not None:
        client.keylog_filename = str(keylog)
    return client, server


class TlsTalk:
    """A Talk whose bytes go through TLS."""

    def __init__(self, both: tuple[ssl.SSLContext, ssl.SSLContext], talk: Talk | None = None, *, direct: bool = False) -> None:
        self.talk = talk or Talk()
        self._ways = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in both]
        self._ends = (
            both[0].wrap_bio(*self._ways[FRONTEND], server_hostname="localhost"),
            both[1].wrap_bio(*self._ways[BACKEND], server_side=True),
        )
        self.talk.open()
        if not direct:
            self.talk.send(FRONTEND, SSL_REQUEST).send(BACKEND, b"S")
        done = [False, False]
        while not all(done):
            for side, end in enumerate(self._ends):
                try:
                    end.do_handshake()
                    done[side] = True
                except ssl.SSLWantReadError:
                    pass
                self._pass_on(side)

    @property
    def cipher(self) -> str:
        """The cipher suite's name."""
        return self._ends[0].cipher()[0]

    def send(self, side: int, data: bytes) -> TlsTalk:
        """Data of the application."""
        self._ends[side].write(data)
        self._pass_on(side)
        try:
            self._ends[1 - side].read(len(data))
        except ssl.SSLWantReadError:
            pass
        return self

    def all(self, turns: Iterable[tuple[int, bytes]]) -> TlsTalk:
        """Turn by turn."""
        for side, data in turns:
            self.send(side, data)
        return self

    def close(self) -> TlsTalk:
        """close_notify of both, then both FINs."""
        for side in (FRONTEND, BACKEND):
            try:
                self._ends[side].unwrap()
            except ssl.SSLError:
                pass
            self._pass_on(side)
        self.talk.close()
        return self

    def _pass_on(self, side: int) -> None:
        if sent := self._ways[side][1].read():
            self.talk.send(side, sent)
            self._ways[1 - side][0].write(sent)
