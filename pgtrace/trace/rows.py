"""The timeline's index: one entry of fixed size for each row.

Rows are in the order in which they began and never move; an open row is completed in place.

An entry takes 96 bytes in an unlinked, mapped temporary file, so a reader's memory does not grow
with the capture. If the disk of TMPDIR is full, the index continues in memory, up to a bound. What
many rows share is kept once, in memory (interned.py). The counts of a row are an Effect
(session/effects.py), stored by number.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import compress
from typing import Any, Final, Literal

from pgtrace.trace.interned import Interned
from pgtrace.trace.row import Label, Row, RowEntry, RowKind, Shape

STRETCH: Final = 4096
"""The number of rows that are summed together for a second look (stretches.py)."""

_ENTRY: Final = struct.Struct("=QqQQIIIIffQQQIIQ")
_ENTRY_BYTES: Final = _ENTRY.size
_SIZE: Final = struct.Struct("=Q")
_TIMES: Final = struct.Struct("=I")
_SIZES_AT: Final = 56
"""The offset of the bytes of each side in an entry."""
_TIMES_AT: Final = _ENTRY.size - _SIZE.size - _TIMES.size
_COLUMNS: Final[dict[str, tuple[Literal["q", "Q", "I", "f"], int]]] = {
    "opened_ns": ("q", 8),
    "connections": ("I", 32),
    "labels": ("I", 36),
    "shapes": ("I", 40),
    "rows": ("I", 44),
    "durations_ms": ("f", 48),
    "first_ms": ("f", 52),
    "sent_bytes": ("Q", 56),
    "received_bytes": ("Q", 64),
    "wait_ns": ("Q", 72),
    "effects": ("I", 80),
    "times": ("I", 84),
    "values": ("Q", 88),
}
"""Fields that can be read for many entries together: type and offset."""
_CLOSE_TOGETHER: Final = 8
"""If at least one row in this many is wanted, all of them are decoded together."""
_FIRST_ENTRIES: Final = 4096
_MOST_IN_MEMORY: Final = 64 * 1024 * 1024
_MOST_UINT32: Final = 0xFFFFFFFF
_MOST_UINT64: Final = 0xFFFFFFFFFFFFFFFF


class Columns:
    """Some rows of an index, column by column: each field is decoded for all rows together, on
    first use.

    Valid until the trace reads more.
    """

    __slots__ = ("_alike", "_known", "_mask", "_of", "index", "places")

    def __init__(self, index: RowIndex, places: Sequence[int], of: Columns | None = None, mask: Sequence[int] = ()) -> None:
        """With `of`: the rows of `of` that `mask` selects."""
        self.index = index
        self.places = places
        self._of = of
        self._mask = mask
        self._known: dict[str, list[Any]] = {}
        self._alike: Counter[tuple[int, int, int]] | None = None

    @classmethod
    def of_keys(cls, index: RowIndex, keys: Collection[tuple[int, int, int]]) -> Columns:
        """One row for each of these combinations of connection, shape and label. Such rows have no
        other columns, and no real place."""
        found = cls(index, range(len(keys)))
        found._known = dict(zip(("connections", "shapes", "labels"), map(list, zip(*keys, strict=True)), strict=True))
        return found

    def __len__(self) -> int:
        return len(self.places)

    def where(self, mask: Sequence[int]) -> Columns:
        """The rows whose mask is not 0."""
        return Columns(self.index, list(compress(self.places, mask)), self, mask)

    @property
    def alike(self) -> Counter[tuple[int, int, int]]:
        """The number of rows of each connection, shape and label, in the order of first occurrence:
        most rows are like others."""
        if self._alike is None:
            self._alike = Counter(self.keys)
        return self._alike

    @property
    def keys(self) -> list[tuple[int, int, int]]:
        """The connection, shape and label of each row."""
        found = self._known.get("keys")
        if found is None:
            found = self._known["keys"] = list(zip(self.connections, self.shapes, self.labels, strict=True))
        return found

    @property
    def round_trips(self) -> Columns:
        """The rows that are round trips, set-up included."""
        shape_at, shapes = self.index.shape_at, self.shapes
        others = {number for number in set(shapes) if shape_at(number).kind > RowKind.SETUP}
        return self.where([number not in others for number in shapes]) if others else self

    @property
    def complete(self) -> Columns:
        """The rows that are not open."""
        return self.where([not math.isnan(duration) for duration in self.durations_ms]) if self.any_open else self

    @property
    def any_open(self) -> bool:
        """Whether a row is open; the sum of the durations is then NaN."""
        return math.isnan(sum(self.durations_ms))

    @property
    def open(self) -> list[int]:
        """The places of the open rows."""
        if not self.any_open:
            return []
        return [place for place, duration in zip(self.places, self.durations_ms, strict=True) if math.isnan(duration)]

    @property
    def opened_ns(self) -> list[int]:
        return self._column("opened_ns")

    @property
    def connections(self) -> list[int]:
        return self._column("connections")

    @property
    def labels(self) -> list[int]:
        return self._column("labels")

    @property
    def shapes(self) -> list[int]:
        return self._column("shapes")

    @property
    def rows(self) -> list[int]:
        return self._column("rows")

    @property
    def durations_ms(self) -> list[float]:
        """NaN while a row is open."""
        return self._column("durations_ms")

    @property
    def first_ms(self) -> list[float]:
        """The time from the opening to the first byte of the answer; NaN without an answer."""
        return self._column("first_ms")

    @property
    def sent_bytes(self) -> list[int]:
        return self._column("sent_bytes")

    @property
    def received_bytes(self) -> list[int]:
        return self._column("received_bytes")

    @property
    def wait_ns(self) -> list[int]:
        return self._column("wait_ns")

    @property
    def effects(self) -> list[int]:
        return self._column("effects")

    @property
    def times(self) -> list[int]:
        return self._column("times")

    @property
    def values(self) -> list[int]:
        return self._column("values")

    def _column(self, name: str) -> list[Any]:
        found = self._known.get(name)
        if found is None:
            found = self.index.column(name, self.places) if self._of is None else list(compress(self._of._column(name), self._mask))
            self._known[name] = found
        return found


class RowIndex:
    """All rows of a trace, by place."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="pgtrace-rows-")  # noqa: SIM115 - lives as long as the index
        self._in_memory = False
        self._map = self._mapped(_FIRST_ENTRIES)
        self._size = _FIRST_ENTRIES
        self._count = 0
        interned = Interned()
        self.shape: Callable[[Shape], int] = interned.shape
        self.label: Callable[[Label], int] = interned.label
        self.shape_at: Callable[[int], Shape] = interned.shape_at
        self.label_at: Callable[[int], Label] = interned.label_at
        self.all_labels: Sequence[Label] = interned.labels
        """All labels, by number. The list grows."""
        self.relabelled: Counter[int] = Counter()
        """By the number of a stretch: how often its rows were given another label."""

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> Row:
        if not 0 <= place < self._count:
            raise IndexError(place)
        entry = self.entry(place)
        return Row(
            number=place + 1,
            connection=entry.connection,
            opened_ns=entry.opened_ns,
            duration_ns=None if math.isnan(entry.duration_ms) else round(entry.duration_ms * 1e6),
            first_ns=None if math.isnan(entry.first_ms) else round(entry.first_ms * 1e6),
            rows=entry.rows,
            sent_bytes=entry.sent_bytes,
            received_bytes=entry.received_bytes,
            shape=self.shape_at(entry.shape),
            label=self.label_at(entry.label),
        )

    def __iter__(self) -> Iterator[Row]:
        for place in range(self._count):
            yield self[place]

    def entry(self, place: int) -> RowEntry:
        """The entry itself, with the position and offsets at which the details find the row's bytes
        again."""
        position, opened, frontend, backend, *rest = _ENTRY.unpack_from(self._map, place * _ENTRY.size)
        return RowEntry(position, opened, (frontend, backend), *rest)

    def reserve(self) -> int:
        """The place of a new row at the end. It is empty until put() fills it."""
        place = self._count
        if place == self._size:
            self._map = self._mapped(2 * self._size, self._map)
            self._size *= 2
        self._count += 1
        return place

    def append(self, entry: RowEntry) -> int:
        """Add a row at the end. Returns its place."""
        place = self.reserve()
        self.put(place, entry)
        return place

    def put(self, place: int, entry: RowEntry) -> None:
        """Write the row at this place again."""
        self.write(
            place,
            entry.position,
            entry.opened_ns,
            entry.offsets,
            entry.connection,
            entry.label,
            entry.shape,
            entry.rows,
            entry.duration_ms,
            entry.first_ms,
            entry.sent_bytes,
            entry.received_bytes,
            entry.wait_ns,
            entry.effect,
            entry.times,
            entry.values,
        )

    def write(
        self,
        place: int,
        position: int,
        opened_ns: int,
        offsets: tuple[int, int],
        connection: int,
        label: int,
        shape: int,
        rows: int,
        duration_ms: float,
        first_ms: float,
        sent_bytes: int,
        received_bytes: int,
        wait_ns: int,
        effect: int,
        times: int,
        values: int,
    ) -> None:
        """Write a row without making an entry, as reading does for each round trip. The fields are
        those of RowEntry, in its order."""
        _ENTRY.pack_into(
            self._map,
            place * _ENTRY_BYTES,
            position,
            opened_ns,
            offsets[0],
            offsets[1],
            connection,
            label,
            shape,
            rows if rows < _MOST_UINT32 else _MOST_UINT32,
            duration_ms,
            first_ms,
            sent_bytes,
            received_bytes,
            wait_ns,
            effect,
            times if times < _MOST_UINT32 else _MOST_UINT32,
            values & _MOST_UINT64,
        )

    def columns(self, start: int, stop: int) -> Columns:
        """The rows at these places, column by column."""
        return Columns(self, range(start, min(stop, self._count)))

    def at(self, places: Sequence[int]) -> Columns:
        """The rows at these places, which are in rising order. Rows that are close together are
        decoded with the rows between them."""
        if isinstance(places, range) or not places:
            return Columns(self, places)
        first, span = places[0], places[-1] + 1 - places[0]
        whole = Columns(self, range(first, first + span))
        if span == len(places):
            return whole
        if span > _CLOSE_TOGETHER * len(places):
            return Columns(self, places)
        mask = bytearray(span)
        for place in places:
            mask[place - first] = 1
        return whole.where(mask)

    def column(self, name: str, places: Sequence[int]) -> list[Any]:
        """One field of the entries at these places."""
        form, at = _COLUMNS[name]
        if isinstance(places, range):
            with memoryview(self._map) as whole, whole[places.start * _ENTRY.size : places.stop * _ENTRY.size].cast(form) as fields:
                size = struct.calcsize(form)
                return fields[at // size :: _ENTRY.size // size].tolist()
        unpack, whole_map = struct.Struct(f"={form}").unpack_from, self._map
        return [unpack(whole_map, place * _ENTRY.size + at)[0] for place in places]

    def grow(self, place: int, side: int, size: int) -> None:
        """Add another message of this side to the row at this place, which is not a round trip."""
        at = place * _ENTRY.size + _SIZES_AT + side * _SIZE.size
        _SIZE.pack_into(self._map, at, _SIZE.unpack_from(self._map, at)[0] + size)
        at = place * _ENTRY.size + _TIMES_AT
        _TIMES.pack_into(self._map, at, min(_TIMES.unpack_from(self._map, at)[0] + 1, _MOST_UINT32))

    def relabel(self, place: int, label: Label) -> None:
        """Give the row at this place another label."""
        entry = self.entry(place)
        entry.label = self.label(label)
        self.relabelled[place // STRETCH] += 1
        self.put(place, entry)

    def close(self) -> None:
        """Delete the temporary file."""
        self._map.close()
        self._file.close()

    def _mapped(self, entries: int, before: mmap.mmap | None = None) -> mmap.mmap:
        """Room for that many entries, with those of the map `before`, which is closed. Raises
        OSError."""
        size = entries * _ENTRY.size
        if not self._in_memory:
            try:
                _allocate(self._file.fileno(), size)
            except OSError:
                self._in_memory = True
            else:
                if before is not None:
                    before.close()
                return mmap.mmap(self._file.fileno(), size)
        if size > _MOST_IN_MEMORY:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        grown = mmap.mmap(-1, size)
        if before is not None:
            with memoryview(before) as entries_before:
                grown.write(entries_before)
            before.close()
        return grown


def _allocate(descriptor: int, size: int) -> None:
    """Make a file of this size, with its blocks allocated on disk: if the disk is full, writing
    into the map of a file with holes kills the process (SIGBUS). Raises OSError."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except AttributeError:  # macOS
        os.truncate(descriptor, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # the file system cannot allocate
            raise
        os.truncate(descriptor, size)
