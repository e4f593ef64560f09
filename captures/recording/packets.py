"""tcpdump on the loopback: a second pair of eyes on the driver's leg of a recorder."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from captures.recording.scenarios import Unavailable

LOOPBACK: Final = "lo0" if sys.platform == "darwin" else "lo"
_LISTENS_WITHIN_S: Final = 20.0
_ARRIVES_WITHIN_S: Final = 20.0
_LOOK_AGAIN_S: Final = 0.01
_LAST: Final = b"everything before this datagram has been captured"


class LostPackets(RuntimeError):
    """The kernel dropped packets before tcpdump had them: nothing can be compared."""


@contextmanager
def tcpdump(path: Path, port: int) -> Iterator[None]:
    """Whatever passes that port of the loopback while the block runs is in the pcap at `path` after
    it. Raises Unavailable where that cannot be had."""
    program = shutil.which("tcpdump")
    if program is None:
        raise Unavailable("tcpdump is not installed")
    # The kernel keeps a place of the longest length for each packet: with 256 KiB a burst of 64 fills 16 MiB.
    command = [program, "-i", LOOPBACK, "-n", "-U", "--immediate-mode", "-B", "65536", "-s", "70000", "-w", "-", "port", str(port)]
    with path.open("wb") as file, subprocess.Popen(command, stderr=subprocess.PIPE, stdout=file) as process:
        assert process.stderr is not None
        told = b""
        try:
            while b"listening on" not in told:
                ready, _, _ = select.select([process.stderr], [], [], _LISTENS_WITHIN_S)
                more = os.read(process.stderr.fileno(), 65536) if ready else b""
                if not more:
                    raise Unavailable(f"tcpdump may not listen here: {told.decode().strip() or 'it does not begin'}")
                told += more
            yield
            _until_arrived(path, port)
        finally:
            process.send_signal(signal.SIGINT)
            told = process.stderr.read()
    if b"\n0 packets dropped by kernel" not in told:
        raise LostPackets(f"tcpdump lost packets: {told.decode()}")


def _until_arrived(path: Path, port: int) -> None:
    """What is captured now has gone the way of everything before it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(_LAST, ("127.0.0.1", port))
    deadline = time.monotonic() + _ARRIVES_WITHIN_S
    while _LAST not in path.read_bytes():
        if time.monotonic() > deadline:
            raise RuntimeError("tcpdump does not keep up")
        time.sleep(_LOOK_AGAIN_S)
