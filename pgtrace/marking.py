"""Marks in a running `pgtrace listen`, from another shell of the same user.

    marking.recorders()                       # the recorders that take marks: sockets and addresses
    marking.ask(socket, begin=True, name="checkout")

Each such recorder has a Unix socket in a private directory (temporary.py), which no other user can
enter. The recorder also asks the kernel who owns a connection. One JSON line is the request, one
the answer. The answer arrives when the mark has its place in the capture.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
from typing import Any, Final, NamedTuple

from pgtrace.errors import MarkError, NoOpenMark
from pgtrace.temporary import PREFIX, SHORT

KIND: Final = "marks"
"""The part of the name that identifies such a directory."""
SOCKET: Final = "marks.sock"
ANSWER_S: Final = 30.0
LONGEST_NAME: Final = 4_096
_LONGEST: Final = 1 << 16


class Reachable(NamedTuple):
    """A recorder that takes marks."""

    path: str
    """The path of its socket."""
    addresses: tuple[str, ...]
    """The addresses on which it listens."""


def recorders() -> list[Reachable]:
    """The recorders of this user that answer."""
    found = []
    for parent in dict.fromkeys((tempfile.gettempdir(), SHORT)):
        try:
            names = sorted(entry.path for entry in os.scandir(parent) if entry.name.startswith(f"{PREFIX}{KIND}-"))
        except OSError:
            continue
        for directory in names:
            path = os.path.join(directory, SOCKET)
            if _is_ours(directory) and os.path.exists(path):
                try:
                    found.append(Reachable(path, tuple(_request(path, {"do": "where"})["addresses"])))
                except (MarkError, KeyError):
                    continue
    return found


def choose(to: str | None) -> Reachable:
    """The recorder that listens at this address, or the only one. Raises MarkError."""
    running = recorders()
    if to is not None:
        wanted = to if to.startswith((":", "unix:")) or not to.isdecimal() else f":{to}"
        running_there = [one for one in running if any(_is_at(address, wanted) for address in one.addresses)]
        if not running_there:
            raise MarkError(f"no `pgtrace listen` of yours listens at {to}", _list(running))
        running = running_there
    if not running:
        raise MarkError("no `pgtrace listen` of yours is running")
    if len(running) > 1:
        raise MarkError("several are running: choose one with --to", _list(running))
    return running[0]


def ask(path: str, *, begin: bool, name: str) -> int:
    """Begin or end a mark. Returns its number. Raises NoOpenMark, MarkError."""
    reply = _request(path, {"do": "mark", "begin": begin, "name": name})
    if not reply["mark"]:
        raise NoOpenMark(name, reply["open"])
    return int(reply["mark"])


def _is_at(address: str, wanted: str) -> bool:
    if wanted.startswith(":"):
        return address.endswith(wanted)
    return wanted in (address, address.removeprefix("unix:")) or (
        address.startswith("unix:") and wanted == f"unix:{os.path.dirname(address[5:])}"
    )


def _list(running: list[Reachable]) -> str:
    return "running: " + "; ".join(", ".join(one.addresses) for one in running) if running else ""


def _is_ours(directory: str) -> bool:
    try:
        found = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _request(path: str, request: dict[str, Any]) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(ANSWER_S)
            sock.connect(path)
            sock.sendall(json.dumps(request).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n") and len(answer) < _LONGEST:
                data = sock.recv(_LONGEST)
                if not data:
                    break
                answer += data
        reply = json.loads(answer)
    except (OSError, ValueError) as error:
        raise MarkError(f"the recorder does not answer: {error}") from None
    if not isinstance(reply, dict) or "error" in reply:
        raise MarkError(f"the recorder refused: {reply.get('reason', reply) if isinstance(reply, dict) else reply}")
    return reply
