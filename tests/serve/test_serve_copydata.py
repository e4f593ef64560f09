"""Where the data of a COPY differs, however it is cut."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pgtrace.protocol import frontend
from tests.serve.served import Served


def differing(kind: str, chance: random.Random, rows: list[str]) -> list[str]:
    at = chance.randrange(len(rows))
    match kind:
        case "changed":
            return [*rows[:at], rows[at] + "x", *rows[at + 1 :]]
        case "shorter":
            return rows[: at or 1]
        case _:
            return [*rows, "more"]


@pytest.mark.parametrize("any_order", [False, True])
def test_copy_data_that_differs_says_the_row(tmp_path: Path, any_order: bool) -> None:
    chance = random.Random(11)
    rows = [f"{number}\tname {number}" for number in range(1, 9)]
    recorded = "".join(row + "\n" for row in rows)
    frames = frontend.CopyData(recorded[:17].encode()).wire() + frontend.CopyData(recorded[17:].encode()).wire()
    script = f"""
    F Query COPY item FROM STDIN
    B CopyInResponse 0 0,0
    raw F {frames.hex()}
    F CopyDone
    B CommandComplete COPY 8 | ReadyForQuery I
    F Terminate
    close F
    """
    served = Served.script(tmp_path, script, False, any_order)
    for _ in range(40):
        now = differing(chance.choice(("changed", "shorter", "longer")), chance, rows)
        data = "".join(row + "\n" for row in now).encode()
        driver = served.connect()
        driver.says("Query COPY item FROM STDIN")
        cut = chance.randrange(1, 20)
        for at in range(0, len(data), cut):
            driver.sends(frontend.CopyData(data[at : at + cut]).wire())
        driver.says("CopyDone")
        at = next((at for at in range(8) if rows[at : at + 1] != now[at : at + 1]), 8)
        before, other = (f"'{one[at]}'" if at < len(one) else "no such row" for one in (rows, now))
        assert served.mismatches.pop().detail == f"row {at + 1} of the copy data: recorded {before}, now {other}; --any-values ignores it"
        driver.session.disconnected()
    assert not served.mismatches


def test_binary_copy_data_that_differs_says_the_byte(tmp_path: Path) -> None:
    data = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\1\0\0\0\4\0\0\0\x29\xff\xff"
    script = f"""
    F Query COPY item FROM STDIN
    B CopyInResponse 1 1
    raw F {frontend.CopyData(data).wire().hex()}
    F CopyDone
    B CommandComplete COPY 1 | ReadyForQuery I
    F Terminate
    close F
    """
    served = Served.script(tmp_path, script)
    driver = served.connect()
    driver.says("Query COPY item FROM STDIN")
    driver.sends(frontend.CopyData(data[:28] + b"\x2a\xff\xff").wire())
    driver.says("CopyDone")
    assert served.mismatches[0].detail == "copy data from byte 29: recorded \\x29ffff, now \\x2affff; --any-values ignores it"
