"""The bar of work that takes long names the stage it has reached."""

from __future__ import annotations

import io
import sys

import pytest

from pgtrace.cli import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("quiet", [False, True])
def test_the_stage_is_named(quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PATIENCE_S", -1.0)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    done = 0

    def step() -> bool:
        nonlocal done
        done += 1
        return done < 10

    progress.turns(step, lambda: done / 10, lambda: "looking" if done < 5 else "writing", quiet=quiet)
    said = terminal.getvalue()
    assert said.find("looking") < said.find("writing") if not quiet else not said
    assert ("looking" in said) is not quiet
