"""What is said about a recording that could not keep up."""

from __future__ import annotations

import pytest

from pgtrace.behind import DROP, WAIT, losses


@pytest.mark.parametrize(
    ("when_behind", "write_error", "remedy"),
    [
        (DROP, None, "--when-behind wait slows the traffic down instead"),
        (DROP, "No space left on device", "record to another one"),
        (WAIT, None, "record to another one"),
        (WAIT, "No space left on device", "record to another one"),
    ],
)
def test_the_remedy_is_one_that_helps(when_behind: str, write_error: str | None, remedy: str) -> None:
    """Waiting helps with a slow disk, and not with one that fails."""
    line = losses({"lost_records": 2, "lost_bytes": 70, "write_error": write_error}, when_behind)
    assert line.startswith("incomplete: 2 records with 70 bytes could not be recorded")
    assert remedy in line
    assert losses({"lost_records": 0, "lost_bytes": 0, "write_error": write_error}, when_behind) == ""
