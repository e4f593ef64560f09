"""The socket on which another process of the same user begins and ends marks (pgtrace/marking.py).

The directory is private. If another user connects nevertheless, there is no answer: the kernel says
who owns a connection (SO_PEERCRED; on other systems only the directory guards it).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

_CREDENTIALS: Final = struct.Struct("=iII")
_LONGEST: Final = 1 << 16

Marker = Callable[[bool, str, Callable[[dict[str, Any]], None]], None]
"""Takes whether the mark begins, its name, and a function that takes the answer."""


async def listen(path: str, addresses: list[str], mark: Marker) -> asyncio.Server:
    """Accept requests on a socket with this path."""
    return await asyncio.get_running_loop().create_unix_server(lambda: _Request(addresses, mark), path)


class _Request(asyncio.Protocol):
    """One connection, which makes one request."""

    def __init__(self, addresses: list[str], mark: Marker) -> None:
        self._addresses = addresses
        self._mark = mark
        self._read = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        if not _is_ours(transport.get_extra_info("socket")):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._read += data
        if len(self._read) > _LONGEST:
            self._transport.abort()
        elif self._read.endswith(b"\n"):
            try:
                self._take(json.loads(self._read))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self._answer({"error": "request", "reason": f"{type(error).__name__}: {error}"})

    def _take(self, request: dict[str, Any]) -> None:
        match request["do"]:
            case "where":
                self._answer({"addresses": self._addresses})
            case "mark":
                self._mark(bool(request["begin"]), str(request["name"]), self._answer)
            case other:
                raise ValueError(f"unknown request {other!r}")

    def _answer(self, line: dict[str, Any]) -> None:
        if not self._transport.is_closing():
            self._transport.write(json.dumps(line).encode() + b"\n")
            self._transport.close()


def _is_ours(sock: Any) -> bool:
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    try:
        _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    except OSError:
        return False
    return bool(uid == os.geteuid())
