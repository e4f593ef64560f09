"""The key of a read: its bytes without the values in them.

Two reads are the same to the state machine if they differ only in parameter values, or in the
number and values of rows with the same columns. asked_key() and answered_key() return what such
reads of the frontend or backend have in common: of each Bind the head and the result formats, of
the first run of DataRow the number of columns, and everything else whole. A key seen for the first
time is decoded from its frames. Reads with equal meanings share one object, and the key is kept for
the next time.

Programs that put values into their SQL send a new text each time. So all reads that are one Query
with one statement share a meaning, `any text`, as long as their own text is new.

Nothing here depends on a session's state, so one cache serves all sessions of a capture. The key of
a read is None if it contains any other message than those listed below (COPY, errors, notices,
authentication).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeVar

from pgtrace.framing import Frame
from pgtrace.session.bodies import Bodies, is_one_statement
from pgtrace.session.effects import Effects
from pgtrace.session.names import Room

LONGEST: Final = 64
"""The most messages of a read that has a key. Deeper pipelines are left to the machine."""
REMEMBERED: Final = 2_048
"""The most reads cached for each side; then the cache is emptied."""
_SHORT: Final = 256
"""The most bytes at the end of a read that are remembered as containing no Bind."""
LARGEST: Final = 16_384
"""The most bytes of a read that has a key, without values."""

_ROWS_GUESSED: Final = 4
"""The most rows of a read that is recognised by its layout."""
_LAYOUTS: Final = 16
"""The most layouts that a form remembers."""
_OTHERS: Final = 256
"""How many reads with other layouts come before a form forgets its own."""
_CUTS: Final = 4_096
"""The most layouts of reads, whatever the bytes in them."""

_FRONTEND: Final = frozenset(b"PDESHCQ")
_BIND: Final = ord("B")
_QUERY: Final = ord("Q")
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
    """The meaning of a frontend read. Reads with equal meanings share one object."""

    __slots__ = ("is_any_text", "is_self_contained")

    def __init__(self, *, is_self_contained: bool, is_any_text: bool = False) -> None:
        self.is_self_contained = is_self_contained
        """Whether all the portals it uses are bound in the same read."""
        self.is_any_text = is_any_text
        """Whether it is a Query of one statement, whatever its text."""


class Answered:
    """The meaning of a backend read, without its rows. Reads with equal meanings share one
    object."""

    __slots__ = ()


Cut = Callable[[bytes], tuple[bytes, ...]]
"""Cuts the values out of a read: returns the pieces before, between and after them."""
Layouts = dict[int, tuple[Cut, tuple[bytes, ...]]]
"""How to cut a read, and its pieces, by the read's length. Reads of one form and length usually
differ only in values, and comparing pieces is quicker than walking through the lengths in a read.
"""


class _Form:
    """The layouts of reads with a known key."""

    __slots__ = ("_layouts", "_others")

    def __init__(self, key: Key) -> None:
        self._layouts: Layouts = {}
        self._others = 0
        """How many reads had another layout since no more are remembered."""
        if isinstance(key, bytes):
            self._remember(key, [0])

    def _remember(self, data: bytes, bounds: list[int]) -> None:
        """Compare reads of this length with this one from now on. `bounds` are the start and end of
        each of its pieces, without the end of the last one."""
        if len(self._layouts) >= _LAYOUTS:
            self._others += 1
            if self._others < _OTHERS:
                return
            self._others = 0
            self._layouts.clear()
        cut = _cut((*bounds, len(data)))
        self._layouts[len(data)] = cut, cut(data)


@lru_cache(maxsize=_CUTS)
def _cut(bounds: tuple[int, ...]) -> Cut:
    layout, position = [], 0
    for start, end in zip(bounds[::2], bounds[1::2], strict=True):
        layout.append(f"{start - position}x{end - start}s")
        position = end
    return struct.Struct("".join(layout)).unpack


class AskedForm(_Form):
    """The form of a frontend read with a known key. It checks quickly whether another read has the
    same key."""

    __slots__ = ("_at", "_before", "_behind", "_head", "_rest", "asked")

    def __init__(self, key: Key, asked: Asked, behind: int) -> None:
        """`behind`: how many bytes after the values of a Bind at the start of the read belong to
        that Bind."""
        super().__init__(key)
        self.asked = asked
        self._behind = behind
        self._before, self._head, self._rest = key if isinstance(key, tuple) and len(key) == 3 else (b"", b"", key)
        self._at = len(self._before)

    def is_of(self, data: bytes) -> bool:
        """Whether a read has the same key. May return False although the keys are equal."""
        layout = self._layouts.get(len(data))
        if layout is not None:
            cut, pieces = layout
            if cut(data) == pieces:
                return True
        return bool(self._head) and self._has_key(data)

    def _has_key(self, data: bytes) -> bool:
        """Whether a read with a Bind has the same key. If so, its layout is the first guess from
        now on."""
        at = self._at
        position = at + 5 + len(self._head)
        if data[at + 5 : position] != self._head or data[at] != _BIND or not data.startswith(self._before):
            return False
        bounds = [0]
        try:
            for _ in range(_INT16(self._head, len(self._head) - 2)[0]):
                length = _INT32(data, position)[0]
                bounds.append(position + 4)
                position += 4 + length if length > 0 else 4
                bounds.append(position)
            if data[position:] != self._rest or at + 1 + _INT32(data, at + 1)[0] != position + self._behind:
                return False
        except struct.error:
            return False
        self._remember(data, bounds)
        return True


class AnsweredForm(_Form):
    """The form of a backend read with a known key."""

    __slots__ = ("_before", "_columns", "_rest", "_rest_bytes", "_start", "answered")

    def __init__(self, key: Key, answered: Answered) -> None:
        super().__init__(key)
        self.answered = answered
        self._before, self._columns, self._rest = key if isinstance(key, tuple) else (key, b"", b"")
        self._start, self._rest_bytes = len(self._before), len(self._rest)

    def rows_of(self, data: bytes) -> int:
        """The number of rows in a read with the same key; -1 if its key differs."""
        layout = self._layouts.get(len(data))
        if layout is not None:
            cut, pieces = layout
            if cut(data) == pieces:
                return len(pieces) - 1
        return self._count_rows(data) if self._columns else -1

    def _count_rows(self, data: bytes) -> int:
        """The same for a read with rows. If they are few, its layout becomes the next first
        guess."""
        if not data.startswith(self._before) or not data.endswith(self._rest):
            return -1
        position, stop, rows = self._start, len(data) - self._rest_bytes, 0
        if data[position + 5 : position + 7] != self._columns:
            return -1
        bounds = [0]
        while position < stop:
            code, length = _HEADER(data, position)
            if code != _ROW or length < 6:
                return -1
            if rows < _ROWS_GUESSED:
                bounds += (position + 7, position + 1 + length)
            position += 1 + length
            rows += 1
        if position != stop:
            return -1
        if rows <= _ROWS_GUESSED:
            self._remember(data, bounds)
        return rows


class Reads:
    """The meanings of reads, by key and by frames. One object serves all sessions of a capture."""

    def __init__(self) -> None:
        self.bodies = Bodies()
        """Decoded parts of the reads' bodies."""
        self.room = Room()
        """The memory that the sessions may use for statements and portals."""
        self.effects = Effects()
        """The effects of the sessions' round trips."""
        self.asked: dict[Key | None, AskedForm] = {}
        self.answered: dict[Key | None, AnsweredForm] = {}
        self._bindless: set[bytes] = set()
        """Short reads, and ends of reads, that contain no Bind."""
        self._rests: dict[bytes, int] = {}
        """The bytes after the values of a read's only Bind, and how many of them belong to that
        Bind."""
        self._once: set[int] = set()
        """Hashes of keys seen once. A read is only decoded when its key is seen a second time."""
        self._any_text = AskedForm((), Asked(is_self_contained=True, is_any_text=True), 0)
        self._asked_by_meaning: dict[tuple[object, ...], Asked] = {}
        self._answered_by_meaning: dict[tuple[object, ...], Answered] = {}

    def asked_form(self, data: bytes) -> tuple[Key | None, AskedForm | None]:
        """The key of a frontend read, and its form if it is known. A Query with a new text has the
        form of `any text`; when it is sent again, it has a form of its own."""
        key = self.asked_key(data)
        form = self.asked.get(key)
        if form is None and key is not None and is_any_text(data) and self._is_new(key):
            form = self._any_text
        return key, form

    def asked_key(self, data: bytes) -> Key | None:
        """The common part of frontend reads that differ only in the values of their Binds. None if
        the lengths do not fit, or if the read has more than LONGEST messages."""
        try:
            if data[0] == _BIND:
                end, position = _around_values(data, 0)
                rest = data[position : position + _SHORT]
                if self._rests.get(rest) == 1 + _INT32(data, 1)[0] - position and position + len(rest) == len(data):
                    return b"", data[5:end], rest
            return self._parted(data)
        except (ValueError, IndexError, struct.error):
            return None

    def _parted(self, data: bytes) -> Key | None:
        """The parts of a read around the values of its Binds."""
        if (data[0] == _QUERY and 1 + _INT32(data, 1)[0] == len(data)) or data in self._bindless:
            return data
        parts: list[bytes] = []
        start = 0  # the start of the current common part
        position, passed = _next_bind(data, 0, 0)
        while position < len(data):
            stop = position + 1 + _INT32(data, position + 1)[0]
            end, behind = _around_values(data, position)
            if behind > stop:
                return None
            parts += (data[start:position], data[position + 5 : end], data[behind:stop])
            start = stop
            if len(data) - stop <= _SHORT and data[stop:] in self._bindless:
                break
            position, passed = _next_bind(data, stop, passed + 1)
        tail = data[start:]
        if not parts:
            _add(self._bindless, data)
            return data
        _add(self._bindless, tail)
        if len(parts) == 3:
            rest = parts[2] + tail
            if len(rest) <= _SHORT and self._rests.setdefault(rest, len(parts[2])) == len(parts[2]):
                if len(self._rests) > REMEMBERED:
                    self._rests.clear()
                return parts[0], parts[1], rest
        return (*parts, tail)

    def learn_asked(self, key: Key | None, frames: list[Frame]) -> Asked | None:
        """The meaning of a read that consists of these whole messages; None the first time."""
        if not frames or len(frames) > LONGEST or key is None or self._is_new(key):
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
        _remember(self.asked, key, AskedForm(key, asked, self._rests.get(key[2], 0) if isinstance(key, tuple) and len(key) == 3 else 0))
        return asked

    def learn_answered(self, key: Key | None, frames: list[Frame]) -> tuple[Answered | None, int]:
        """The meaning of a read that consists of these whole messages, and its number of rows."""
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
            _remember(self.answered, key, AnsweredForm(key, answered))
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

    def _is_new(self, key: Key | None) -> bool:
        """Whether a key is seen for the first time, as far as keys are remembered."""
        known = hash(key)
        if known in self._once:
            return False
        if len(self._once) >= REMEMBERED:
            self._once.clear()
        self._once.add(known)
        return True

    def _forget(self) -> None:
        for known in (self.asked, self.answered, self._asked_by_meaning, self._answered_by_meaning):
            known.clear()


def is_any_text(data: bytes) -> bool:
    """Whether a read is exactly one Query, with one statement, of at most LARGEST bytes."""
    end = len(data) - 1
    if data[:1] != b"Q" or end > LARGEST or _INT32(data, 1)[0] != end or data.find(0, 5) != end:
        return False
    return is_one_statement(data[5:end])


def _remember(known: dict[Key | None, M], key: Key, meaning: M) -> None:
    if (len(key) if isinstance(key, bytes) else sum(map(len, key))) <= LARGEST:
        if len(known) >= REMEMBERED:
            known.clear()
        known[key] = meaning


def _add(known: set[bytes], data: bytes) -> None:
    if len(data) <= _SHORT:
        if len(known) >= REMEMBERED:
            known.clear()
        known.add(data)


def _around_values(data: bytes, position: int) -> tuple[int, int]:
    """The start and end of the values of the Bind at `position`."""
    end = data.index(0, data.index(0, position + 5) + 1) + 3
    formats = _INT16(data, end - 2)[0]
    if formats:
        end += 2 * formats
    behind = end + 2
    for _ in range(_INT16(data, end)[0]):
        length = _INT32(data, behind)[0]
        behind += 4 + length if length > 0 else 4
    return end + 2, behind


def _next_bind(data: bytes, position: int, passed: int) -> tuple[int, int]:
    """The position of the next Bind (or the end of the read), and how many messages come before it,
    `passed` of them before `position`.

    Raises ValueError if the read does not end at the end of a message, or if it has more than
    LONGEST messages.
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
    """The common part of backend reads that differ only in the first run of rows, and the number of
    those rows. The key is None if a length does not fit."""
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
