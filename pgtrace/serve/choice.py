"""Chooses the recorded connection for each driver.

Several drivers may send the same start-up, so at start-up a recorded connection is only reserved:
the first free one with the same start-up parameters, else the first free one. The choice is made at
the first flush point, by the requests up to there. If another driver holds the recorded connection
that fits, the two are swapped.

When all of a kind have been used, they are used again from the first, and `repeated` counts it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from pgtrace.serve.recording import Recording
from pgtrace.serve.script import Script

_LOOKED_AT: Final = 1000
"""The most recorded connections that are compared with a first request."""
Parameters = tuple[tuple[str, str], ...]


class Reservation:
    """A driver's place before its first request."""

    __slots__ = ("is_repeat", "script")

    def __init__(self, script: Script, *, is_repeat: bool) -> None:
        self.script = script
        self.is_repeat = is_repeat
        """Whether its recorded connection was taken before."""


class Choice:
    """The connections of a recording, and which of them are free."""

    def __init__(self, recording: Recording) -> None:
        self._scripts = recording.scripts
        self._left: dict[Parameters, dict[int, Script]] = {}
        self._all: dict[Parameters, list[Script]] = {}
        self._again: dict[Parameters, int] = {}
        self._holders: dict[int, Reservation] = {}
        self._firsts: dict[bytes, deque[Script]] = {}
        self.taken = 0
        """Recorded connections that drivers have taken."""
        self.repeated = 0
        """How often one was taken again."""
        for script in self._scripts:
            self._left.setdefault(script.parameters, {})[script.number] = script
            self._all.setdefault(script.parameters, []).append(script)
            if (first := script.first_request()) < len(script.steps):
                self._firsts.setdefault(script.steps[first].key, deque()).append(script)

    @property
    def left(self) -> int:
        """The number of recorded connections that no driver has taken."""
        return len(self._scripts) - self.taken

    def reserve(self, parameters: Parameters) -> Reservation:
        """Reserve a recorded connection for a driver with these start-up parameters."""
        kinds = [parameters] if parameters in self._all else list(islice(self._all, _LOOKED_AT))
        for kind in kinds:
            left = self._left[kind]
            if left:
                script = left.pop(next(iter(left)))
                reservation = Reservation(script, is_repeat=False)
                self._holders[script.number] = reservation
                return reservation
        kind = kinds[0]
        at = self._again.get(kind, 0)
        self._again[kind] = at + 1
        return Reservation(self._all[kind][at % len(self._all[kind])], is_repeat=True)

    def commit(self, mine: Reservation, keys: Sequence[bytes]) -> Script:
        """The recorded connection for a driver whose first requests have these keys; the reserved
        one if no other fits better.
        """
        if keys and not _fits(mine.script, keys):
            self._exchange(mine, keys)
        if mine.is_repeat:
            self.repeated += 1
        else:
            self.taken += 1
            self._holders.pop(mine.script.number, None)
        return mine.script

    def release(self, mine: Reservation) -> None:
        """Use up the recorded connection of a driver that left without a request."""
        self.commit(mine, ())

    def _exchange(self, mine: Reservation, keys: Sequence[bytes]) -> None:
        used: Script | None = None
        for script in self._candidates(keys[0]):
            if not _fits(script, keys):
                continue
            left = self._left[script.parameters]
            if script.number in left:
                if not mine.is_repeat:
                    del self._holders[mine.script.number]
                    self._left[mine.script.parameters][mine.script.number] = mine.script
                del left[script.number]
                mine.script, mine.is_repeat = script, False
                self._holders[script.number] = mine
                return
            if (other := self._holders.get(script.number)) is not None:
                mine.script, other.script = other.script, mine.script
                mine.is_repeat, other.is_repeat = other.is_repeat, mine.is_repeat
                for one in (mine, other):
                    if not one.is_repeat:
                        self._holders[one.script.number] = one
                return
            used = used or script
        if used is not None:
            if not mine.is_repeat:
                del self._holders[mine.script.number]
                self._left[mine.script.parameters][mine.script.number] = mine.script
            mine.script, mine.is_repeat = used, True

    def _candidates(self, key: bytes) -> Iterable[Script]:
        scripts = self._firsts.get(key)
        if scripts is None:
            return
        for _ in range(min(len(scripts), _LOOKED_AT)):
            script = scripts[0]
            scripts.rotate(-1)  # the next search begins with the next one
            yield script


def _fits(script: Script, keys: Sequence[bytes]) -> bool:
    at = script.first_request()
    steps = script.steps
    for key in keys:
        while at < len(steps) and not steps[at].asks:
            at += 1
        if at >= len(steps) or steps[at].key != key:
            return False
        at += 1
    return True
