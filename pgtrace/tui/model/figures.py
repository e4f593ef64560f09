"""Numbers as the screen writes them: counts and bytes in five cells, milliseconds with two
decimals, seconds to a tenth of a millisecond."""

from __future__ import annotations


def count(number: int) -> str:
    """A count or a number of bytes in at most five cells: 959, 9.2k, 18k, 1.2M; a dot for zero."""
    if number < 1000:
        return str(number) if number else "·"
    value = float(number)
    for unit in "kMGT":
        value /= 1000
        if value < 9.95:
            return f"{value:.1f}{unit}"
        if value < 999.5:
            return f"{value:.0f}{unit}"
    return f"{value / 1000:.0f}P"


def whole(number: int) -> str:
    """A count written out if it fits seven cells, else shortened; a dot for zero."""
    return count(number) if not number or number >= 10_000_000 else str(number)


def grouped(number: int) -> str:
    """A number in groups of three."""
    return f"{number:,}".replace(",", " ")


def milliseconds(duration_ns: int) -> str:
    """Milliseconds with two decimals; without any from 1000 ms on."""
    ms = duration_ns / 1e6
    return f"{ms:.2f}" if ms < 999.995 else f"{ms:.0f}"


def seconds(time_ns: int) -> str:
    """Seconds to a tenth of a millisecond, with fewer decimals if eight cells are too few."""
    value = time_ns / 1e9
    return f"{value:.4f}" if value < 999 else f"{value:.2f}" if value < 99_999 else f"{value:.0f}"


def span(duration_ns: int) -> str:
    """A duration for people: 850 ms, 12.4 s, 2 min 14 s, 3 h 05 min."""
    total = duration_ns / 1e9
    if total < 1:
        return f"{duration_ns / 1e6:.0f} ms"
    if total < 60:
        return f"{total:.1f} s"
    minutes, rest = divmod(int(total), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
