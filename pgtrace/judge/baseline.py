"""Accepted findings and unexplained failures in a committed file, so that a job fails only for new
ones.

A finding is identified by its kind, driver, layer and subject (the normalised SQL, a SQLSTATE, a
flight), never by counts, rows or connections: a new recording of the same program has the same
ones. Former names of kinds are accepted. The file is sorted JSON with one finding per line, easy to
review:

    {"schema": "pgtrace.baseline/1",
     "findings": [{"finding": "n+1", "driver": "asyncpg", "layer": "", "about": "select ..."}],
     "unexplained": ["23505"]}
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pgtrace.errors import UsageError
from pgtrace.judge.finding import Finding
from pgtrace.judge.findings import FORMER
from pgtrace.judge.unexplained import Unexplained
from pgtrace.settingsfile import text_of

SCHEMA: Final = "pgtrace.baseline/1"
"""The largest file that is read, in bytes."""

Known = tuple[str, str, str, str]


def identity(finding: Finding) -> Known:
    """The key that identifies a finding from one recording to the next."""
    return finding.name, finding.driver, finding.layer, finding.note.subject


@dataclass(frozen=True, slots=True)
class Baseline:
    """The accepted findings and failures."""

    findings: frozenset[Known]
    unexplained: frozenset[str]

    @classmethod
    def of(cls, findings: Iterable[Finding], unexplained: Unexplained) -> Baseline:
        """A baseline that accepts everything found."""
        return cls(frozenset(map(identity, findings)), frozenset({*unexplained.errors, *unexplained.ends}))

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read the file. Raises UsageError if it is missing or not a baseline."""
        try:
            data: Any = json.loads(text_of(path))
        except FileNotFoundError:
            raise UsageError(f"{path}: there is no such baseline; --update-baseline writes it") from None
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError):
            raise UsageError(f"{path}: not a baseline: it is not JSON") from None
        try:
            if data["schema"] != SCHEMA:
                raise UsageError(f"{path}: not a baseline of this version: its schema is not {SCHEMA}")
            findings = frozenset(
                (FORMER.get(one["finding"], one["finding"]), one["driver"], one["layer"], one["about"]) for one in data["findings"]
            )
            return cls(findings, frozenset(map(str, data["unexplained"])))
        except (KeyError, TypeError):
            raise UsageError(f"{path}: not a baseline: fields are missing") from None

    def write(self, path: Path) -> None:
        """Replace the file. Raises UsageError if it cannot be written."""
        keys = ("finding", "driver", "layer", "about")
        lines = [json.dumps(dict(zip(keys, one, strict=True)), ensure_ascii=True) for one in sorted(self.findings)]
        body = ",\n    ".join(lines)
        listed = f"[\n    {body}\n  ]" if lines else "[]"
        text = (
            f'{{\n  "schema": {json.dumps(SCHEMA)},\n  "findings": {listed},\n  "unexplained": {json.dumps(sorted(self.unexplained))}\n}}\n'
        )
        made = None
        try:
            handle, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            mask = os.umask(0)
            os.umask(mask)
            Path(made).chmod(0o666 & ~mask)
            Path(made).replace(path)
        except OSError as error:
            if made is not None:
                Path(made).unlink(missing_ok=True)
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from None

    def has(self, finding: Finding) -> bool:
        """Whether the finding is accepted."""
        return identity(finding) in self.findings

    def new(self, unexplained: Unexplained) -> list[str]:
        """The unexplained SQLSTATEs and ends that are not accepted."""
        return [what for what in (*unexplained.errors, *unexplained.ends) if what not in self.unexplained]


NOTHING: Final = Baseline(frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class Verdict:
    """The findings and failures that fail a job."""

    findings: tuple[Finding, ...]
    unexplained: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.findings or self.unexplained)


UNEXPLAINED: Final = "unexplained"


def verdict(findings: Sequence[Finding], unexplained: Unexplained, kinds: frozenset[str] | None, baseline: Baseline) -> Verdict:
    """The findings of these kinds (None: of any kind) that the baseline does not accept. A kind
    that has joined another finding counts, too.
    """
    named = (one for one in findings if kinds is None or not kinds.isdisjoint((one.name, *one.note.parts)))
    failing = tuple(one for one in named if not baseline.has(one))
    return Verdict(failing, tuple(baseline.new(unexplained)) if kinds is None or UNEXPLAINED in kinds else ())
