"""What advise says of a capture, for tests."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pgtrace.judge.advice import Advice
from pgtrace.judge.finding import Finding
from pgtrace.judge.unexplained import Unexplained
from pgtrace.trace.trace import Trace
from tests.traces import fully_read


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


def judge(capture: Path) -> tuple[list[Finding], Unexplained]:
    """The findings of a capture, and what none of them explains."""
    with closing(fully_read(capture)) as trace:
        advice = Advice(trace)
        assert advice.update()
        return advice.findings(), advice.unexplained()


@functools.cache
def judge_once(capture: Path) -> tuple[tuple[Finding, ...], Unexplained]:
    """The same of a capture of the repository: a process of tests reads each once."""
    found, left = judge(capture)
    return tuple(found), left


Judge = Callable[..., Judged]
