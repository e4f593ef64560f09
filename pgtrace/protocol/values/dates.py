"""Dates and times, as the server prints them with DateStyle ISO, IntervalStyle postgres and
TimeZone UTC.

Dates are days and timestamps are microseconds since 2000-01-01. They also reach before Christ and
beyond the year 9999, where Python's datetime ends. The largest and the smallest number are the
infinities. A timestamptz has no zone on the wire: the session's TimeZone decides how the server
prints it; here it is always UTC. An interval is three numbers that are not converted into each
other: months, days, microseconds. Sources: date.c, timestamp.c, datetime.c in PostgreSQL's
src/backend/utils/adt.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

_MICROSECONDS_PER_DAY: Final = 86_400_000_000
_INT32: Final = (-(2**31), 2**31 - 1)
_INT64: Final = (-(2**63), 2**63 - 1)
_LARGEST_ZONE_SECONDS: Final = 16 * 3600


def _calendar(days: int) -> tuple[str, str]:
    """A day, counted from 2000-01-01, as `YYYY-MM-DD` and the era that follows. Uses the civil
    calendar with years that begin in March."""
    era, day_of_era = divmod(days + 730_425, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    year = year_of_era + era * 400 + (month <= 2)
    return f"{year if year > 0 else 1 - year:04d}-{month:02d}-{day:02d}", "" if year > 0 else " BC"


def _clock(microseconds: int) -> str:
    """`HH:MM:SS` and the fraction without trailing zeros. Hours may exceed 23."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    tail = f".{fraction:06d}".rstrip("0") if fraction else ""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{tail}"


def _date(data: bytes) -> str:
    (days,) = struct.unpack(">i", data)
    if days in _INT32:
        return "infinity" if days > 0 else "-infinity"
    day, era = _calendar(days)
    return day + era


def _moment(zone: str) -> Callable[[bytes], str]:
    def read(data: bytes) -> str:
        (microseconds,) = struct.unpack(">q", data)
        if microseconds in _INT64:
            return "infinity" if microseconds > 0 else "-infinity"
        days, rest = divmod(microseconds, _MICROSECONDS_PER_DAY)
        day, era = _calendar(days)
        return f"{day} {_clock(rest)}{zone}{era}"

    return read


def _time(data: bytes) -> str:
    (microseconds,) = struct.unpack(">q", data)
    if not 0 <= microseconds <= _MICROSECONDS_PER_DAY:
        raise ValueError("not a time of day")
    return _clock(microseconds)


def _timetz(data: bytes) -> str:
    """The zone is stored as seconds west of Greenwich."""
    (west,) = struct.unpack(">i", data[8:])
    if abs(west) >= _LARGEST_ZONE_SECONDS:
        raise ValueError("not a time zone")
    hours, rest = divmod(abs(west), 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [f"{hours:02d}"] + [f"{minutes:02d}"] * bool(rest) + [f"{seconds:02d}"] * bool(seconds)
    return f"{_time(data[:8])}{'-' if west > 0 else '+'}{':'.join(parts)}"


def _interval(data: bytes) -> str:
    microseconds, days, months = struct.unpack(">qii", data)
    if (microseconds, days, months) in tuple(zip(_INT64, _INT32, _INT32, strict=True)):
        return "infinity" if months > 0 else "-infinity"
    years = abs(months) // 12 * (1 if months > 0 else -1)
    parts: list[str] = []
    negative = False  # the part before was negative, so a positive one needs its sign
    for number, unit in ((years, "year"), (months - 12 * years, "mon"), (days, "day")):
        if number:
            parts.append(f"{'+' if negative and number > 0 else ''}{number} {unit}{'' if number == 1 else 's'}")
            negative = number < 0
    if microseconds or not parts:
        parts.append(f"{'-' if microseconds < 0 else '+' if negative else ''}{_clock(abs(microseconds))}")
    return " ".join(parts)


READERS: Final[dict[str, Callable[[bytes], str]]] = {
    "date": _date,
    "time": _time,
    "timetz": _timetz,
    "timestamp": _moment(""),
    "timestamptz": _moment("+00"),
    "interval": _interval,
}
