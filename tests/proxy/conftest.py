"""Recorders of these tests need not import the package first; tests/test_recorder.py starts fresh ones."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from pgtrace import control
from tests import commands


@pytest.fixture(scope="module", autouse=True)
def _forked() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": commands.recorder}))
        yield
