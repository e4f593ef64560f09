"""`diff` as a user types it: exit codes, JSON, colours, a packet capture or a stream as one of the two."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path

import pytest

from tests import commands

CAPTURES = Path(__file__).parents[2] / "captures"
BEFORE, AFTER = CAPTURES / "asyncpg" / "one_query.pgtrace", CAPTURES / "asyncpg" / "ten_queries.pgtrace"


def test_a_difference_is_1_and_none_is_0() -> None:
    found = commands.call("diff", BEFORE, AFTER)
    assert (found.returncode, found.stderr) == (1, "")
    assert "\x1b" not in found.stdout
    assert "runs 10 times, was once" in found.stdout.splitlines()[1]
    found = commands.call("diff", AFTER, AFTER)
    assert found.returncode == 0
    assert found.stdout.startswith("the same wire behaviour: ")


def test_json_says_which_side_is_which() -> None:
    found = commands.call("diff", "--json", BEFORE, AFTER)
    assert found.returncode == 1
    told = json.loads(found.stdout)
    assert (told["schema"], told["same"]) == ("pgtrace.diff/1", False)
    assert (told["a"]["file"], told["b"]["round_trips"]) == (str(BEFORE), 11)
    assert json.loads(commands.call("diff", "--json", AFTER, AFTER).stdout)["same"] is True


def test_a_stream_may_be_one_of_the_two() -> None:
    with AFTER.open("rb") as stream:
        assert commands.run("diff", "-", AFTER, stdin=stream).returncode == 0
    found = commands.call("diff", "-", "-")
    assert found.returncode == 2
    assert "only one of the two can be standard input" in found.stderr


def test_what_cannot_be_read_is_4(tmp_path: Path) -> None:
    assert commands.call("diff", AFTER, tmp_path / "absent.pgtrace").returncode == 4


@pytest.mark.parametrize("no_color", [False, True])
def test_colours_are_for_a_terminal_that_wants_them(no_color: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | ({"NO_COLOR": "1"} if no_color else {})
    main, side = pty.openpty()
    with commands.Command("diff", BEFORE, AFTER, stdout=side, env=environment) as process:
        os.close(side)
        shown = b""
        try:
            while data := os.read(main, 65536):
                shown += data
        except OSError:  # the end of a terminal
            pass
        os.close(main)
    assert process.returncode == 1
    assert (b"\x1b[32m" in shown) != no_color
    assert b"runs 10 times" in shown
