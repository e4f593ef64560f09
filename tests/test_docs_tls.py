"""The table of libpq's parameters in docs/tls.md has a line for each that the installed libpq
knows, and says what the code does with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgtrace.parameters import PARAMETERS

PAGE = (Path(__file__).parent.parent / "docs" / "tls.md").read_text(encoding="utf-8")
LINE = re.compile(r"^\| `(\w+)` \| (?:`(PG\w+)`)? ?\| (honoured|refused|the driver's|without meaning) \| (.*)\|$", re.MULTILINE)
WORDS = {"place": ("honoured",), "leg": ("honoured", "refused"), "driver": ("the driver's",), "none": ("without meaning",)}


@pytest.mark.live
def test_every_parameter_of_libpq_has_its_line() -> None:
    """One that is new in libpq fails here until somebody decides what becomes of it."""
    from psycopg import pq

    libpqs = [(one.keyword.decode(), one.envvar.decode() if one.envvar else "") for one in pq.Conninfo.get_defaults()]
    assert sorted(found[:2] for found in LINE.findall(PAGE)) == sorted(libpqs)


def test_the_lines_say_what_the_code_does() -> None:
    for key, _, here, _ in LINE.findall(PAGE):
        assert here in WORDS[PARAMETERS[key].role], key
