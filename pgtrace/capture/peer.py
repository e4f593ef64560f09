"""The fact that identifies the process at the other end of the driver's connection: `peer.process`
= `4711 python3`.

The value is a process id, a blank, and the system's name for the process (on Linux
/proc/<pid>/comm, as `ps` and `top` show it). A process can set its own name, so it is untrusted
text: it may hold blanks, control characters and bytes that are not UTF-8. Nothing else is recorded:
no command line, no path, no user.
"""

from __future__ import annotations

from typing import Final, NamedTuple

KEY: Final = "peer.process"


class Process(NamedTuple):
    """A process on the recorder's host."""

    pid: int
    name: str

    @property
    def text(self) -> str:
        """The fact's value."""
        return f"{self.pid} {self.name}"


def read(text: str | None) -> Process | None:
    """The process that a fact's value names; None if there is no such fact, or its value is
    something else."""
    pid, blank, name = (text or "").partition(" ")
    return Process(int(pid), name) if blank and pid.isascii() and pid.isdecimal() and len(pid) < 20 else None
