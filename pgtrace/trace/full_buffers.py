"""Whose buffers are full: the recorder has stopped reading one side, because the other side does
not accept the bytes that wait for it.

A Pause record says when that began; it is written once the pause has lasted a while, or ended. A
pause lasts until its end, or until its connection closes.
"""

from __future__ import annotations

from pgtrace.capture.record import PEER, Pause


class FullBuffers:
    """The pauses of one capture that have not ended. Times are ns, from the start of the trace."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since: dict[tuple[int, int], int] = {}

    def note(self, time_ns: int, pause: Pause) -> None:
        """Take a Pause record: the beginning or the end of a pause."""
        if pause.why != PEER:
            return
        if pause.begin:
            self._since.setdefault((pause.connection, pause.side), time_ns)
        else:
            self._since.pop((pause.connection, pause.side), None)

    def closed(self, connection: int) -> None:
        """A connection has closed."""
        for key in [key for key in self._since if key[0] == connection]:
            del self._since[key]

    def of(self, connection: int) -> list[tuple[int, int]]:
        """The sides of a connection that are not read, each with the time since when."""
        return sorted((side, since) for (number, side), since in self._since.items() if number == connection)
