"""Who is at the other end: layer and process beside the driver, in the Drivers pane and above the inspector."""

from __future__ import annotations

import re

import pytest

from tests.tui.driving import Drive
from tests.wire_recording import (
    EXECUTE,
    FLUSH,
    INT8,
    PARSED,
    SYNC,
    Recording,
    bind,
    columns,
    describe,
    done,
    parameters,
    parse,
    query,
    ready,
)

QUERY = "SELECT item.id, item.name \nFROM item \nWHERE item.id = $1::INTEGER"
BOUND_AND_DONE = b"2\0\0\0\4" + done("SELECT 0") + ready()


@pytest.fixture
def layered(recording: Recording) -> Recording:
    """asyncpg under SQLAlchemy in a process with a name of its own, and psycopg by itself."""
    one = recording.connect("asyncpg")
    recording.fact(one, "peer.process", "4711 web\x1b[2J")
    recording.trip(
        one,
        parse("__asyncpg_stmt_1__", QUERY) + describe("S", "__asyncpg_stmt_1__") + FLUSH,
        PARSED + parameters(INT8) + columns(("id", INT8)),
    )
    recording.trip(one, bind("__asyncpg_stmt_1__", b"\0" * 8) + EXECUTE + SYNC, BOUND_AND_DONE)
    two = recording.connect("psycopg")
    recording.trip(two, query("select 1"), done("SELECT 1") + ready())
    recording.flush()
    return recording


@pytest.mark.parametrize("size", [(80, 60), (120, 50)])
async def test_the_drivers_pane_tells_layer_and_process(layered: Recording, drive: Drive, size: tuple[int, int]) -> None:
    async with drive(layered, size=size) as driven:
        text = "\n".join(await driven.press("4"))
    assert re.search(r"^ *▌? *asyncpg +client_encoding is 'utf-8' with quotes", text, re.MULTILINE)
    assert re.search(r"^ *\+sqlalchemy +SQL laid out by its compiler", text, re.MULTILINE)
    assert re.search(r"^ +web\\x1b\[2J\[4711\]", text, re.MULTILINE)


async def test_the_inspector_tells_layer_and_process_of_its_row(layered: Recording, drive: Drive) -> None:
    async with drive(layered, size=(120, 40)) as driven:
        text = "\n".join(await driven.press("g", "j", "enter"))
        assert r"c1 asyncpg +sqlalchemy · stmt_1 · web\x1b[2J[4711] " in text
        text = "\n".join(await driven.press("escape", "G", "enter"))
        assert "c2 unknown " in text
        assert "sqlalchemy" not in text
