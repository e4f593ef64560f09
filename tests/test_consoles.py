"""What a document says of a command's output: whole lines, and dots for others."""

from __future__ import annotations

import pytest

from tests import consoles


@pytest.mark.parametrize(
    "said",
    ["one\ntwo\nthree\n", "...\nthree\n", "one\n...\n", "one\n...\nthree\n", "...\ntwo\n...\n", "one\ntwo\n...\nthree\n", "o ...\n...\n"],
)
def test_output_is_as_said(said: str) -> None:
    assert consoles.matches("one\ntwo\nthree\n".replace("one", "o n e") if said.startswith("o ") else "one\ntwo\nthree\n", said)


@pytest.mark.parametrize("said", ["one\nthree\n", "...\ntwo\n", "one\n", "", "...\nfour\n...\n", "o.e\ntwo\nthree\n"])
def test_output_is_not_as_said(said: str) -> None:
    assert not consoles.matches("one\ntwo\nthree\n", said)


def test_a_console_has_several_commands() -> None:
    page = 'text\n\n```console\n$ a b\none\n$ c\n```\n\n```python title="x"\n$ d\n```\n'
    (console,) = consoles.blocks(page, "console")
    assert list(consoles.commands(console)) == [("a b", "one\n"), ("c", "")]
