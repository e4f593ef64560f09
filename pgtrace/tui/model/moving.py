"""Finds targets for the timeline's cursor: the next problem, the next slow round trip, the same
statement again, or a time.

Places are found in the index itself, some ten thousand entries at a time, so of a million rows none
is built only to be passed over. Rows that are not listed are passed over too.

A slow round trip is one of the slowest twentieth after set-up that took at least twice the median:
you do not have to choose a number, and nothing is slow if all round trips take about the same time.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import ClassVar, Final

from pgtrace.trace.histogram import Histogram
from pgtrace.tui.model.asking import Asking, Fault
from pgtrace.tui.model.items import Item
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.listing import Listing

STRETCH: Final = 16_384
"""How many entries are searched at once."""
_SECONDS: Final = re.compile(r"([+-]?)(\d{1,12}(?:\.\d*)?|\.\d+) ?(ms|s)?")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d(?:\.\d{1,6})?))?")
_WRONG_TIME: Final = "a time is 12.5 (seconds, as in the time column), +1.5, -20ms, or 10:21:07"


def slow_ns(durations: Histogram) -> int:
    """How long a round trip must take to be slow."""
    return max(durations.percentile(95), 2 * durations.percentile(50))


def next_problem(listing: Listing, item: Item, direction: int, problems: Sequence[int]) -> int | None:
    """The place of the next or previous listed problem; `problems` are places that rise."""
    places = problems[bisect_right(problems, item.place) :] if direction > 0 else problems[: bisect_left(problems, item.place)][::-1]
    return next((place for place in places if place not in item.places and listing.shows(place)), None)


def next_slow(listing: Listing, item: Item, direction: int, least_ns: int) -> int | None:
    """The place of the next or previous listed round trip that took at least so long."""
    rows = listing.trace.rows
    least_ms = _as_stored(least_ns / 1e6)

    def places(start: int, stop: int) -> list[int]:
        return [start + number for number, took_ms in enumerate(rows.columns(start, stop).durations_ms) if took_ms >= least_ms]

    return _first(listing, item, direction, places, lambda place: rows[place].is_round_trip)


def next_same(listing: Listing, item: Item, direction: int) -> int | None:
    """The place of the next or previous listed row with a statement of this one."""
    rows = listing.trace.rows
    groups = {group for row in item.rows for group in row.label.groups}
    labels = {number for number, label in enumerate(rows.all_labels) if not groups.isdisjoint(label.groups)}

    def places(start: int, stop: int) -> list[int]:
        return [start + number for number, label in enumerate(rows.columns(start, stop).labels) if label in labels]

    return _first(listing, item, direction, places, lambda _: True)


def index_at(listing: Listing, time_ns: int) -> int:
    """The first line that began at that moment or later, or the last line."""
    rows = listing.trace.rows
    return min(
        bisect_left(range(len(listing)), time_ns, key=lambda index: rows.entry(listing.place(index)).opened_ns), max(0, len(listing) - 1)
    )


def moment_ns(text: str, here_ns: int, start_ns: int) -> int | None:
    """Parse a time: seconds since the start, seconds from here, or the time of day. Returns ns
    since the start of the capture; None if it is not a time.

    `here_ns` is since the start, `start_ns` since 1970. A time of day is the first one after the
    start.
    """
    text = text.strip()
    if found := _SECONDS.fullmatch(text):
        sign, number, unit = found.groups()
        ns = round(float(number) * (1e6 if unit == "ms" else 1e9))
        return ns if not sign else here_ns + (ns if sign == "+" else -ns)
    if (found := _CLOCK.fullmatch(text)) is None:
        return None
    hour, minute, second = int(found[1]), int(found[2]), float(found[3] or 0)
    if hour > 23 or minute > 59 or second >= 60:
        return None
    begun = datetime.fromtimestamp(start_ns / 1e9)
    meant = begun.replace(hour=hour, minute=minute, second=0, microsecond=0) + timedelta(seconds=second)
    if meant < begun.replace(microsecond=0):
        meant += timedelta(days=1)
    return round((meant.timestamp() - start_ns / 1e9) * 1e9)


class AskedMoment(Asking):
    """Asks for the time to go to."""

    label = "go to"
    HINTS: ClassVar[Hints] = (("12.5", "seconds"), ("+1.5", "from here"), ("10:21:07", "time of day"), ("esc", "back"))

    def __init__(self, here_ns: int, start_ns: int, go: Callable[[int], None]) -> None:
        self._here_ns, self._start_ns, self._go = here_ns, start_ns, go

    def accepted(self, text: str) -> Fault | None:
        time_ns = moment_ns(text, self._here_ns, self._start_ns)
        if time_ns is None:
            return Fault(0, len(text), _WRONG_TIME)
        self._go(time_ns)
        return None


def _as_stored(milliseconds: float) -> float:
    """A bound that a duration of that length reaches, however the index rounded it."""
    return milliseconds * (1 - 1e-6)


def _first(
    listing: Listing, item: Item, direction: int, places: Callable[[int, int], list[int]], wanted: Callable[[int], bool]
) -> int | None:
    """The nearest listed and wanted place before or after an item."""
    for start, stop in _stretches(listing.rows, item, direction):
        found = places(start, stop)
        for place in found if direction > 0 else reversed(found):
            if wanted(place) and listing.shows(place) and place not in item.places:
                return place
    return None


def _stretches(count: int, item: Item, direction: int) -> Iterator[tuple[int, int]]:
    if direction > 0:
        for start in range(item.place + 1, count, STRETCH):
            yield start, min(count, start + STRETCH)
    else:
        for stop in range(item.place, 0, -STRETCH):
            yield max(0, stop - STRETCH), stop
