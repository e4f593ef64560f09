"""What the kernel knows about a leg's socket, and the options that we set on it.

A sender can get rid of as many bytes as all the buffers on the way hold. We keep pgtrace's own
buffers small, so that this is not much more than without pgtrace (at most 1 MiB more if the peers
are near). Of the bytes we write, at most UNSENT_BYTES wait unsent, however many are in transit.
From a near peer, at most UNREAD_BYTES wait to be read. A far peer needs as many bytes in transit as
its distance requires, and gets them: the kernel ensures that, with or without pgtrace.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
import sys
import termios
from collections.abc import Iterator
from typing import Any, Final

UNSENT_BYTES: Final = 128 * 1024
UNREAD_BYTES: Final = 192 * 1024
"""The value for SO_RCVBUF. Linux doubles it for its own bookkeeping."""
NEAR_US: Final = 1000
"""A peer whose first answer took less time is near: on the same machine or the same network."""
LEFT_BYTES: Final = 1024 * 1024
"""The most bytes that we still read from a socket that was reset."""
KEEPALIVE_IDLE_S: Final = 60
KEEPALIVE_INTERVAL_S: Final = 10
KEEPALIVE_PROBES: Final = 6
_KEEPIDLE: Final[int] = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", 0))
"""macOS has a different name for it."""
_LINUX: Final = sys.platform.startswith("linux")
_NOTSENT_LOWAT: Final = 25 if _LINUX else 0x201
_SIOCOUTQ: Final = 0x5411
_RTT: Final = struct.Struct("=68xI").unpack_from
"""Reads the round trip time, in us, from Linux's struct tcp_info."""
_TCP_CLOSE: Final = 7
"""Linux's state of a connection that does not exist any more. While one side has not ended its
direction, only a reset leads to it."""
_LINGER_OFF: Final = struct.pack("ii", 1, 0)
"""The value for SO_LINGER that makes a close send a reset."""
GONE: Final = (OSError, ValueError)
"""What the system raises for a socket that is already closed. With a delay, its leg learns of that
later."""
_READ_BYTES: Final = 256 * 1024


def prepare(sock: Any) -> None:
    """Set the options of a leg's socket: no Nagle, so nothing is held back to be joined; small
    buffers; keep-alive, so that we notice a dead peer within two minutes.

    TCP_USER_TIMEOUT stays off, because it would end a session whose peer is alive but does not
    read.
    """
    if sock is None or sock.family == socket.AF_UNIX:
        return
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, _KEEPIDLE, KEEPALIVE_IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
        sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT_BYTES)
        if _LINUX and _RTT(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 72))[0] < NEAR_US:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BYTES)
    except OSError:
        pass


def undelivered_bytes(sock: Any) -> int:
    """How many written bytes the peer's kernel has not acknowledged; 0 if the system does not
    say."""
    return _queued(sock, _SIOCOUTQ) if _LINUX else 0


def is_reset(sock: Any, *, is_tls: bool) -> bool:
    """Whether the peer has reset a socket that we do not read any more. This clears the socket's
    error, but not with TLS, which needs the error in order to close immediately."""
    try:
        if not is_tls:
            return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        return _LINUX and sock.family != socket.AF_UNIX and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
    except GONE:
        return False


def unread_bytes(sock: Any) -> int:
    """How many of the peer's bytes have not been read here."""
    return _queued(sock, termios.FIONREAD)


def _queued(sock: Any, request: int) -> int:
    queued = array.array("i", [0])
    # TLS forgets its socket a moment before it reports that the connection is lost
    if sock is None:
        return 0
    try:
        fcntl.ioctl(sock.fileno(), request, queued)
    except GONE:
        return 0
    return queued[0]


def leftover(sock: Any) -> Iterator[bytes]:
    """The bytes that a reset socket still holds, because the kernel keeps what had arrived
    before."""
    size = 0
    try:
        while sock is not None and size < LEFT_BYTES and (data := os.read(sock.fileno(), _READ_BYTES)):
            size += len(data)
            yield data
    except OSError:
        pass


def reset_at_close(sock: Any) -> None:
    """Make the socket's close send RST."""
    if sock is not None and sock.family != socket.AF_UNIX:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        except GONE:
            pass
