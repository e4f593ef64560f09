"""Which process is at the other end of a driver's socket. A thread searches; the loop only asks.

The loop appends to a queue, for a Unix socket after one getsockopt(SO_PEERCRED). The thread does
the rest, on Linux only.

- TCP: we ask the kernel (sock_diag.py) for the socket with the connection's addresses the other way
  round, which is the driver's own end, and get its inode. The process that has `socket:[inode]` in
  its /proc/<pid>/fd is the driver. We search only for addresses of this host, and only among
  processes whose descriptors we may read: those of the recorder's own user, or all of them for
  root. If several processes inherited a descriptor, the youngest one counts.
- One search covers all connections that wait: first the processes found before, then all others
  from the youngest, until none is missing. So a thousand connections of one process cost a few
  walks through its descriptors.
- A search reads at most LINKS descriptors. The thread takes at most a tenth of one processor,
  because it rests nine times as long as it searched. At most WAITING connections are in the queue;
  beyond that a connection gets no process. There is no search while the recorder is short of
  descriptors.

A process that is gone or out of sight (another user's, another container's) is not found. That is
not an error, and we do not search again. A process that is found becomes a fact (capture/peer.py)
if the session still exists. The fact says who held the socket at that time, moments after it was
opened.
"""

from __future__ import annotations

import os
import queue
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from pgtrace.capture.peer import Process
from pgtrace.proxy.sock_diag import SockDiag

WAITING: Final = 1000
LINKS: Final = 20_000
"""The most descriptors that one search may read."""
KNOWN: Final = 32
"""How many of the processes found recently are tried first."""
REST_S: Final = 0.005
"""The least time between two searches. Connections that arrive in the meantime share the next
one."""
REST_SHARE: Final = 9.0
_CREDENTIALS: Final = struct.Struct("iII")
_NAME_BYTES: Final = 256


class DriverSocket(NamedTuple):
    """A driver's socket, as seen from the recorder's end."""

    connection: int
    pid: int
    """The process id for a Unix socket; 0 if the process has to be found by the addresses."""
    ends: tuple[tuple[str, int], tuple[str, int]] | None
    """For TCP: the driver's address, then the recorder's."""


Found = list[tuple[int, Process]]


class DriverProcesses:
    """The thread that finds drivers' processes, and its queue."""

    def __init__(self, found: Callable[[Found], object], may_look: Callable[[], bool] = lambda: True) -> None:
        """`found` is called in the thread, with connections and their processes. If it raises
        RuntimeError, the loop is closed and the thread ends. `may_look` is also called in the
        thread: it says whether there are enough descriptors for a search."""
        self._found = found
        self._may_look = may_look
        self._waiting: queue.SimpleQueue[DriverSocket | None] = queue.SimpleQueue()
        self._stopped = False
        if sys.platform == "linux":
            threading.Thread(target=self._run, name="peers", daemon=True).start()

    def ask(self, connection: int, sock: Any, peer: Any, own: Any) -> None:
        """Queue a driver's socket, to have its process found. Never waits, and does nothing if no
        process can be found."""
        found = driver_socket(connection, sock, peer, own)
        if found is not None and self._waiting.qsize() < WAITING:
            self._waiting.put(found)

    def stop(self) -> None:
        """Stop the thread. Ask nothing afterwards."""
        self._stopped = True
        self._waiting.put(None)

    def _run(self) -> None:
        known: list[int] = []
        while not self._stopped:
            peers = [self._waiting.get()]
            while not self._waiting.empty():
                peers.append(self._waiting.get())
            began = time.monotonic()
            try:
                found = look([peer for peer in peers if peer is not None], known) if self._may_look() else []
            except OSError:
                found = []
            known = list(dict.fromkeys([*(process.pid for _, process in found), *known]))[:KNOWN]
            try:
                self._found(found)
            except RuntimeError:
                return
            time.sleep(max(REST_S, REST_SHARE * (time.monotonic() - began)))


def driver_socket(connection: int, sock: Any, peer: Any, own: Any) -> DriverSocket | None:
    """What is known about the driver's end without a search. None if it is not on this host, or if
    this system cannot tell."""
    if sys.platform != "linux":
        return None
    if sock.family == socket.AF_UNIX:
        pid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0]
        return DriverSocket(connection, pid, None) if pid else None
    if not peer or not (peer[0] == own[0] or peer[0].startswith("127.")):
        return None
    return DriverSocket(connection, 0, (peer[:2], own[:2]))


def look(peers: Sequence[DriverSocket], known: Iterable[int]) -> Found:
    """The processes of these sockets, as far as we can see them. The processes `known` are tried
    first. Raises OSError if the system gives no answer."""
    pids = {peer.connection: peer.pid for peer in peers if peer.ends is None}
    inodes = _inodes(peers) if len(pids) < len(peers) else {}
    pids |= {inodes[inode]: pid for inode, pid in _owners(set(inodes), known)}
    named = {pid: process for pid in set(pids.values()) if (process := _process(pid)) is not None}
    return [(connection, named[pid]) for connection, pid in pids.items() if pid in named]


def _inodes(peers: Sequence[DriverSocket]) -> dict[str, int]:
    """The inodes of the TCP sockets, each with its connection."""
    with SockDiag() as kernel:
        found = {peer.connection: kernel.tcp_socket(*peer.ends) for peer in peers if peer.ends is not None}
    return {str(one.inode): connection for connection, one in found.items() if one is not None and one.inode}


def _owners(inodes: set[str], known: Iterable[int]) -> Iterator[tuple[str, int]]:
    """The inodes of these sockets, each with a process that has the socket open."""
    links = 0
    for pid in _processes(known) if inodes else ():
        try:
            descriptors = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                link = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            except OSError:
                continue
            links += 1
            if link.startswith("socket:[") and (inode := link[8:-1]) in inodes:
                inodes.discard(inode)
                yield inode, pid
            if not inodes or links >= LINKS:
                return


def _processes(known: Iterable[int]) -> Iterator[int]:
    """The known processes, then all others of this host from the youngest, but never this
    process."""
    first = list(known)
    yield from first
    try:
        others = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return
    yield from sorted((pid for pid in others if pid not in first and pid != os.getpid()), reverse=True)


def _process(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            name = file.read(_NAME_BYTES)
    except OSError:
        return None
    return Process(pid, name.removesuffix(b"\n").decode("utf-8", "surrogateescape"))
