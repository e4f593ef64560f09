"""The fact that says which process is at the other end of the driver's connection: `peer.process` = `4711 python3`.

A process id, a blank, and the name that the system has for it (Linux: /proc/<pid>/comm, what `ps` and `top` show), up to the end of the text. A process names
itself, so the name is text from outside like any other: it may hold blanks, control characters and bytes that are not UTF-8. There is no more than that: no
command line, no path, no user.
"""

from __future__ import annotations

from typing import Final, NamedTuple

KEY: Final = "peer.process"


class Process(NamedTuple):
    """A process of the host on which the recorder ran."""

    pid: int
    name: str

    @property
    def text(self) -> str:
        """The fact's value."""
        return f"{self.pid} {self.name}"


def read(text: str | None) -> Process | None:
    """What a fact's value says; None where there is no such fact, or it says something else."""
    pid, blank, name = (text or "").partition(" ")
    return Process(int(pid), name) if blank and pid.isascii() and pid.isdecimal() and len(pid) < 20 else None
