"""What a capture counts, without what depends on where, when and with what it was recorded."""

from __future__ import annotations

from typing import Any

from pgtrace.report import stats
from pgtrace.trace.trace import Trace


def comparable(trace: Trace) -> dict[str, Any]:
    """The statistics of a trace, read to its end, without what depends on where and when it was recorded."""
    while trace.update():
        continue
    told = stats.as_dict(trace)
    for connection in told["connections"]:
        del connection["upstream"]  # tcpdump sees the driver's leg alone
        del connection["end"], connection["ends"], connection["left_open"]  # who was first follows from times
    compared = _without_times_and_files(told)
    assert isinstance(compared, dict)
    return compared


def _without_times_and_files(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times_and_files(one) for key, one in value.items() if not (key.endswith("_ns") or key in ("file", "files"))}
    if isinstance(value, list):
        return [_without_times_and_files(one) for one in value]
    return value
