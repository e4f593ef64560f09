"""The event loop of a replay: sockets and timers.

It uses `selectors`, not asyncio: at `max` each answer is followed by one send, and asyncio's
transport and protocol would cost as much as the rest of the replay.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

MAX: Final = 0.0
"""The speed without a clock."""
READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE
_FOREVER_NS: Final = 1 << 62
_LOOK_S: Final = 0.1
"""How often Ctrl-C is checked, in seconds."""


class Loop:
    """Calls back when a socket is ready, or a time has come; a context manager that closes it."""

    def __init__(self, speed: float, first_ns: int) -> None:
        """Recorded time passes at that speed, and is `first_ns` when the loop starts."""
        self.is_at_max = speed == MAX
        self._speed = speed
        self._first_ns = first_ns
        self._started_ns = 0
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[int, int, Callable[[], object]]] = []
        self._number = 0

    def __enter__(self) -> Self:
        self._started_ns = time.monotonic_ns()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._selector.close()

    def until_ns(self) -> int:
        """The present recorded time; without a clock, later than all recorded times."""
        if self.is_at_max:
            return _FOREVER_NS
        return self._first_ns + round((time.monotonic_ns() - self._started_ns) * self._speed)

    def passed(self, last_ns: int) -> float:
        """The share of the recorded time up to `last_ns` that has passed, from 0 to 1; 1 without a
        clock.
        """
        if self.is_at_max or not self._started_ns:
            return 1.0
        return min(1.0, (self.until_ns() - self._first_ns) / max(1, last_ns - self._first_ns))

    def at(self, recorded_ns: int, then: Callable[[], object]) -> None:
        """Call `then` when a recorded time has come."""
        self._call_at(self._due_ns(recorded_ns), then)

    def after(self, recorded_ns: int, most_ns: int, then: Callable[[], object]) -> None:
        """Call `then` after a recorded period; without a clock, after at most `most_ns`."""
        delay_ns = min(recorded_ns, most_ns) if self.is_at_max else round(recorded_ns / self._speed)
        self._call_at(time.monotonic_ns() + delay_ns, then)

    def watch(self, file: int | socket.socket, events: int, then: Callable[[int], object]) -> None:
        """Call `then` with the events whenever a socket is ready for one of them."""
        self._selector.register(file, events, then)

    def rewatch(self, file: socket.socket, events: int, then: Callable[[int], object]) -> None:
        """Change the events and the callback of a watched socket."""
        self._selector.modify(file, events, then)

    def unwatch(self, file: int | socket.socket) -> None:
        """Stop watching a socket."""
        self._selector.unregister(file)

    def turn(self, before_ns: int | None) -> None:
        """Wait for a socket, a timer, the recorded time `before_ns`, or at most a moment; then make
        the calls that are due.
        """
        clocked = before_ns is not None and not self.is_at_max
        pause_s = self._pause_s(before_ns if clocked else None) if clocked or self._timers else _LOOK_S
        for key, events in self._selector.select(pause_s):
            key.data(events)
        while self._timers and self._timers[0][0] <= time.monotonic_ns():
            heapq.heappop(self._timers)[2]()

    def _pause_s(self, before_ns: int | None) -> float:
        """How long to wait, in seconds: until a timer or that recorded time, at most a moment."""
        due_ns = [self._timers[0][0]] if self._timers else []
        if before_ns is not None:
            due_ns.append(self._due_ns(before_ns))
        return max(0.0, min(_LOOK_S, (min(due_ns) - time.monotonic_ns()) / 1e9))

    def _due_ns(self, recorded_ns: int) -> int:
        return self._started_ns + round((recorded_ns - self._first_ns) / self._speed)

    def _call_at(self, due_ns: int, then: Callable[[], object]) -> None:
        self._number += 1
        heapq.heappush(self._timers, (due_ns, self._number, then))
