"""The places of the rows that match a filter, rising."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Sequence


class Matches:
    """A rising list of places: whether it has one, and its neighbours."""

    def __init__(self) -> None:
        self.places = array("Q")

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, place: int) -> bool:
        at = bisect_left(self.places, place)
        return at < len(self.places) and self.places[at] == place

    def clear(self) -> None:
        """Forget all of them."""
        self.places = array("Q")

    def extend(self, places: Iterable[int]) -> None:
        """Append rising places, all after the existing ones."""
        self.places.extend(places)

    def put(self, place: int, *, matches: bool) -> bool:
        """Add a place or remove it. Returns whether that changed anything."""
        at = bisect_left(self.places, place)
        if matches == (at < len(self.places) and self.places[at] == place):
            return False
        if matches:
            self.places.insert(at, place)
        else:
            self.places.pop(at)
        return True

    def behind(self, place: int, most: int) -> Sequence[int]:
        """At most `most` places after a place."""
        at = bisect_right(self.places, place) if place >= 0 else 0
        return self.places[at : at + most]

    def nearest(self, places: Sequence[int], direction: int) -> int | None:
        """The nearest place before or after these, and not one of them."""
        among: Container[int] = places
        at = bisect_right(self.places, places[-1]) if direction > 0 else bisect_left(self.places, places[0]) - 1
        while 0 <= at < len(self.places) and self.places[at] in among:
            at += direction
        return self.places[at] if 0 <= at < len(self.places) else None
