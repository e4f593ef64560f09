"""What a read is known by: its bytes without the values in them.

Two reads that differ only in parameter values, or in the number and values of rows of the same columns, mean the same to the state machine. asked_key() and
answered_key() say what is equal in such reads of the frontend or backend by stepping over the values: of each Bind the head and the result formats, of
the first run of DataRow its columns, everything else whole. What is not known by its bytes is told by its frames: their meaning is what makes two
reads one, and the bytes are remembered for the next time.

Nothing here depends on a session's state, so one memory serves all sessions of a capture. Reads that hold anything but the messages listed below (COPY,
errors, notices, authentication) mean nothing here: None.
"""

from __future__ import annotations

import struct
from typing import Final, TypeVar

from pgtrace.framing import Frame
from pgtrace.session.bodies import Bodies
from pgtrace.session.effects import Effects
from pgtrace.session.names import Room

LONGEST: Final = 64
"""Messages of one read that are looked at; deep pipelines are the plain machine's."""
REMEMBERED: Final = 2_048
"""Reads known by their bytes, each side, before all is forgotten."""
_SHORT: Final = 256
"""Bytes of the end of a read that is remembered to hold no Bind."""
LARGEST: Final = 16_384
"""Bytes of a read, values left out, that are looked at."""

_FRONTEND: Final = frozenset(b"PDESHCQ")
_BIND: Final = ord("B")
_EXECUTE: Final = ord("E")
_NAMED: Final = frozenset(b"DC")
_WHOLE: Final = frozenset(b"ZTtn123sI")
_ROW: Final = ord("D")
_COMPLETE: Final = ord("C")

_HEADER: Final = struct.Struct(">BI").unpack_from
_INT16: Final = struct.Struct(">H").unpack_from
_INT32: Final = struct.Struct(">i").unpack_from

Key = bytes | tuple[bytes, ...]
M = TypeVar("M")


class Asked:
    """What a read of the frontend means. Two that mean the same are one object."""

    __slots__ = ("is_self_contained",)

    def __init__(self, *, is_self_contained: bool) -> None:
        self.is_self_contained = is_self_contained
        """Whether every portal it is about was bound in the same read: those of earlier reads are no part of it."""


class Answered:
    """What a read of the backend means, whatever its rows. Two that mean the same are one object."""

    __slots__ = ()


class Reads:
    """Meanings of reads, by their bytes and by their frames. One serves all sessions of a capture."""

    def __init__(self) -> None:
        self.bodies = Bodies()
        """What the bodies in them say."""
        self.room = Room()
        """How much the sessions may know of statements and portals."""
        self.effects = Effects()
        """What their round trips did."""
        self.asked: dict[Key | None, Asked] = {}
        self.answered: dict[Key | None, Answered] = {}
        self._bindless: set[bytes] = set()
        """Ends of reads, and short reads, that hold no Bind."""
        self._asked_by_meaning: dict[tuple[object, ...], Asked] = {}
        self._answered_by_meaning: dict[tuple[object, ...], Answered] = {}

    def asked_key(self, data: bytes) -> Key | None:
        """What is equal in two frontend reads that differ in the values of their Binds; None where lengths do not fit, and of more than LONGEST messages."""
        parts: tuple[bytes, ...] = ()
        start = position = passed = 0  # of what is equal, of the Bind behind it; messages before it
        try:
            if data[0] != _BIND:
                if data in self._bindless:
                    return data
                position, passed = _next_bind(data, 0, 0)
            while position < len(data):
                stop = position + 1 + _INT32(data, position + 1)[0]
                end = data.index(0, data.index(0, position + 5) + 1) + 3
                formats = _INT16(data, end - 2)[0]
                if formats:
                    end += 2 * formats
                parts += (data[start:position], data[position + 5 : end + 2])
                position = end + 2
                for _ in range(_INT16(data, end)[0]):
                    length = _INT32(data, position)[0]
                    position += 4 + length if length > 0 else 4
                if position > stop:
                    return None
                parts += (data[position:stop],)
                if len(data) - stop <= _SHORT and (tail := data[stop:]) in self._bindless:
                    return (*parts, tail)
                start = stop
                position, passed = _next_bind(data, stop, passed + 1)
        except (ValueError, IndexError, struct.error):
            return None
        tail = data[start:]
        if len(tail) <= _SHORT:
            if len(self._bindless) >= REMEMBERED:
                self._bindless.clear()
            self._bindless.add(tail)
        return (*parts, tail) if parts else data

    def learn_asked(self, key: Key | None, frames: list[Frame]) -> Asked | None:
        """The meaning of a read whose whole messages these are."""
        if not frames or len(frames) > LONGEST:
            return None
        parts: list[object] = []
        size = 0
        for code, body, _ in frames:
            if code == _BIND:
                parts.append(self.bodies.bind(body))
            elif code in _FRONTEND:
                parts += (code, body)
                size += len(body)
            else:
                return None
        if size > LARGEST:
            return None
        meaning = tuple(parts)
        asked = self._asked_by_meaning.get(meaning)
        if asked is None:
            if len(self._asked_by_meaning) >= REMEMBERED:
                self._forget()
            asked = self._asked_by_meaning[meaning] = Asked(is_self_contained=self._is_self_contained(frames))
        if key is not None:
            _remember(self.asked, key, asked)
        return asked

    def learn_answered(self, key: Key | None, frames: list[Frame]) -> tuple[Answered | None, int]:
        """The meaning of a read whose whole messages these are, and its rows."""
        parts: list[object] = []
        rows = runs = latest = size = 0
        for code, body, _ in frames:
            if code == _ROW:
                rows += 1
                if latest != _ROW:
                    runs += 1
                    parts.append(body[:2])
            elif code == _COMPLETE:
                parts.append(body.rstrip(b"0123456789 \0"))
            elif code in _WHOLE:
                parts += (code, body)
                size += len(body)
            else:
                return None, 0
            latest = code
        if runs > 1 or size > LARGEST or not frames:
            return None, 0
        meaning = tuple(parts)
        answered = self._answered_by_meaning.get(meaning)
        if answered is None:
            if len(self._answered_by_meaning) >= REMEMBERED:
                self._forget()
            answered = self._answered_by_meaning[meaning] = Answered()
        if key is not None:
            _remember(self.answered, key, answered)
        return answered, rows

    def _is_self_contained(self, frames: list[Frame]) -> bool:
        bound: set[str] = set()
        for code, body, _ in frames:
            if code == _BIND:
                bound.add(self.bodies.bind(body)[0])
            elif code == _EXECUTE and self.bodies.portal(body) not in bound:
                return False
            elif code in _NAMED:
                kind, name = self.bodies.kind_and_name(body)
                if kind == "P" and name not in bound:
                    return False
        return True

    def _forget(self) -> None:
        for known in (self.asked, self.answered, self._asked_by_meaning, self._answered_by_meaning):
            known.clear()


def _remember(known: dict[Key | None, M], key: Key, meaning: M) -> None:
    if (len(key) if isinstance(key, bytes) else sum(map(len, key))) <= LARGEST:
        if len(known) >= REMEMBERED:
            known.clear()
        known[key] = meaning


def _next_bind(data: bytes, position: int, passed: int) -> tuple[int, int]:
    """Where the first Bind from there on begins, or the end, and how many messages of the read stand before it, `passed` of them before `position`.

    ValueError where no message ends there, or there are more than LONGEST.
    """
    end = len(data)
    while position < end:
        code, length = _HEADER(data, position)
        if passed >= LONGEST or length < 4:
            raise ValueError
        if code == _BIND:
            return position, passed
        position += 1 + length
        passed += 1
    if position != end:
        raise ValueError
    return end, passed


def answered_key(data: bytes) -> tuple[Key | None, int]:
    """What is equal in two backend reads that differ in the first run of rows, and its rows; no key where a length does not fit."""
    end = len(data)
    position = 0
    try:
        while position < end:
            code, length = _HEADER(data, position)
            if code == _ROW:
                break
            if length < 4:
                return None, 0
            position += 1 + length
        else:
            return data, 0
        first, rows = position, 0
        while code == _ROW:
            if length < 6:
                return None, 0
            rows += 1
            position += 1 + length
            code, length = _HEADER(data, position)
    except struct.error:
        return None, 0
    return (data[:first], data[first + 5 : first + 7], data[position:]), rows
