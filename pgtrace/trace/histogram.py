"""Durations in ns: exact total and maximum, percentiles within about 2 %, in constant memory.

The bucket of a value is its highest 6 bits: its length in bits, then the five bits after the first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

_NO_BUCKETS: Final[dict[int, int]] = {}
"""The buckets of most histograms: one object for all of them, never changed."""


class Histogram:
    """Counts durations by length."""

    __slots__ = ("buckets", "count", "max", "total")

    def __init__(self) -> None:
        self.buckets = _NO_BUCKETS
        """The number of durations in each bucket; empty while there is only one duration."""
        self.count = 0
        self.total = 0
        self.max = 0

    def add(self, value: int, times: int = 1) -> None:
        if self.buckets is _NO_BUCKETS:
            if not self.count and times == 1:
                self.count, self.total, self.max = 1, value, value
                return
            self.buckets = {_bucket(self.max): self.count} if self.count else {}
        shift = value.bit_length() - 6
        shift = shift if shift > 0 else 0
        bucket = (shift << 6) | (value >> shift)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + times
        self.count += times
        self.total += times * value
        self.max = value if value > self.max else self.max

    def add_all(self, values: Sequence[int]) -> None:
        """Add many values, faster than one by one."""
        added = Histogram()
        buckets = [(shift << 6) | (value >> shift) if (shift := value.bit_length() - 6) > 0 else value for value in values]
        added.buckets, added.count = Counter(buckets), len(values)
        added.total, added.max = sum(values), max(values, default=0)
        self.merge(added)

    def merge(self, other: Histogram) -> None:
        if not self.count:
            self.buckets = dict(other.buckets) if other.buckets else _NO_BUCKETS
        elif other.count:
            if self.buckets is _NO_BUCKETS:
                self.buckets = {_bucket(self.max): self.count}
            for bucket, count in (other.buckets or {_bucket(other.max): other.count}).items():
                self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.max = max(self.max, other.max)

    def percentile(self, percent: float) -> int:
        """The value below which `percent` percent of all values lie; 0 without values. It is exact
        if it is the maximum and no other value is in its bucket."""
        wanted = self.count * percent / 100
        seen = 0
        buckets = self.buckets or {_bucket(self.max): self.count}
        for bucket in sorted(buckets):
            seen += buckets[bucket]
            if seen >= wanted:
                if seen == self.count and buckets[bucket] == 1:
                    return self.max
                shift, value = bucket >> 6, bucket & 63
                return min(self.max, (value << shift) + (1 << shift >> 1))
        return self.max

    def shares(self, parts: int) -> list[tuple[int, int, int]]:
        """The values in `parts` ranges of equal ratio, from the least to the greatest: the bounds
        of each range, and how many values it has."""
        buckets = self.buckets or {_bucket(self.max): self.count}
        values = {min(self.max, ((bucket & 63) << (bucket >> 6)) + (1 << (bucket >> 6) >> 1)): times for bucket, times in buckets.items()}
        least, most = max(1, min(values)), max(1, self.max)
        ratio = (most / least) ** (1 / parts)
        edges = [round(least * ratio**number) for number in range(parts)] + [most]
        found = [0] * parts
        for value, times in values.items():
            at = int(math.log(value / least) / math.log(ratio)) if value > least and ratio > 1 else 0
            found[min(parts - 1, at)] += times
        return [(edges[number], edges[number + 1], found[number]) for number in range(parts)]

    def as_dict(self) -> dict[str, int]:
        return {"total": self.total, "p50": self.percentile(50), "p95": self.percentile(95), "max": self.max}


def _bucket(value: int) -> int:
    shift = value.bit_length() - 6
    return (shift << 6) | (value >> shift) if shift > 0 else value
