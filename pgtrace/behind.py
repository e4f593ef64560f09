"""--when-behind: what to do when recording cannot keep up with the traffic, and the messages about
what was lost, with the remedy."""

from __future__ import annotations

from typing import Any, Final

DROP: Final = "drop"
"""Traffic never waits; records that do not fit become a counted gap."""
WAIT: Final = "wait"
"""Traffic waits for the disk, unless the disk accepts no data at all."""
WORDS: Final = (DROP, WAIT)
INCOMPLETE: Final = "incomplete"


def torn(size: int) -> str:
    """One line about a capture whose writer was stopped in the middle of a block."""
    return f"the last block of the capture is cut off after {size} bytes; everything before it was read"


def losses(stats: dict[str, Any], when_behind: str) -> str:
    """One line about what a recorder (its stats()) could not record, with the remedy; empty if it
    recorded everything."""
    if not stats["lost_records"]:
        return ""
    plural = "" if stats["lost_records"] == 1 else "s"
    reason = f" ({stats['write_error']})" if stats["write_error"] else ""
    if when_behind == WAIT or stats["write_error"]:
        remedy = "the capture's disk failed or accepted nothing: check it, or record to another one (-w)"
    else:
        remedy = "--when-behind wait slows the traffic down instead"
    return f"{INCOMPLETE}: {stats['lost_records']} record{plural} with {stats['lost_bytes']} bytes could not be recorded{reason}; {remedy}"


def gaps(count: int, size: int) -> str:
    """One line about a capture with gaps, for users who rely on its counts."""
    plural = "" if count == 1 else "s"
    return (
        f"{INCOMPLETE}: {count} gap{plural}, {size} bytes were not recorded, so counts are lower bounds; record again with "
        f"--when-behind wait"
    )
