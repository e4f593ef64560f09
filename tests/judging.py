"""What advise says of a capture, for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pgtrace.judge.finding import Finding
from pgtrace.trace.trace import Trace


@dataclass(frozen=True, slots=True)
class Judged:
    """What advise says."""

    trace: Trace
    findings: list[Finding]
    errors: dict[str, int]
    """What no finding explains."""
    ends: dict[str, int]

    @property
    def told(self) -> list[tuple[str, int]]:
        return [(one.name, one.number) for one in self.findings]

    @property
    def names(self) -> list[str]:
        return [one.name for one in self.findings]

    def __getitem__(self, name: str) -> Finding:
        (found,) = [one for one in self.findings if one.name == name]
        return found

    @property
    def words(self) -> str:
        """All that is said."""
        return "\n".join("\n".join((one.what, one.kind.why, *one.remedies)) for one in self.findings)


Judge = Callable[..., Judged]
