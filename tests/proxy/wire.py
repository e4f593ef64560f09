"""Bytes of the start-up, and what every socket needs."""

from __future__ import annotations

import socket
import struct

STARTUP = b"\0\0\0\x11\0\3\0\0user\0me\0\0"
SSL_REQUEST = struct.pack(">II", 8, 80877103)
GSSENC_REQUEST = struct.pack(">II", 8, 80877104)
READY = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"


def message(kind: bytes, body: bytes) -> bytes:
    """A message of that type."""
    return struct.pack(">cI", kind, len(body) + 4) + body


def row(data: bytes) -> bytes:
    """A message that holds `data`, so that a capture keeps it."""
    return message(b"D", data)


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """That many bytes, fewer only at the end of the stream."""
    parts = bytearray()
    while len(parts) < size and (data := sock.recv(min(1 << 20, size - len(parts)))):
        parts += data
    return bytes(parts)


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the end of the stream."""
    parts = bytearray()
    while data := sock.recv(1 << 20):
        parts += data
    return bytes(parts)


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


OFFER = message(b"R", b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
PLAIN_OFFER = message(b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0")
