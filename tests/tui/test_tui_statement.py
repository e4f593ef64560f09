"""What leads the inspector: the statements of the row, their values, and what was skipped."""

from __future__ import annotations

import zlib
from pathlib import Path

from pgtrace.capture.record import CallSite
from pgtrace.tui.model import statement
from pgtrace.tui.model.statement import Ran
from tests.tui.driving import Drive, opened
from tests.wire_recording import EXECUTE, SYNC, Recording, bind, done, int8, message, parse, query, ready

FINDINGS = Path(__file__).parents[1] / "data" / "findings"
LONG = "SELECT " + ",\n  ".join(f"column_{number}" for number in range(400)) + "\nFROM t WHERE id = $1"


def texts(lines: list[statement.Runs]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def test_a_statement_with_its_values_on_its_line() -> None:
    one = Ran(0, 1, "SELECT $1", (("$1", "7"),))
    assert texts(statement.lines([one], 0, 80)) == [" SELECT $1   $1 7  "]
    assert texts(statement.lines([one], 0, 80, in_place=True)) == [" SELECT 7"]


def test_a_long_one_is_cut_and_counted() -> None:
    lines = texts(statement.lines([Ran(0, 1, LONG, (("$1", "7"),))], 0, 80))
    assert len(lines) == statement.LINES
    assert lines[-1].startswith(" + ")
    assert "S all of it" in lines[-1]
    assert "$1 7" in lines[-1]


def test_those_of_several_rows_are_numbered_through() -> None:
    """Each is the first execution of its row."""
    ran = [Ran(place, 1, f"SELECT {place}") for place in range(3, 6)]
    assert texts(statement.lines(ran, 0, 80)) == [" 1 of 3  SELECT 3", " 2 of 3  SELECT 4", " 3 of 3  SELECT 5"]
    assert texts(statement.whole(ran, 80, in_place=False))[::3] == ["-- 1 of 3", "-- 2 of 3", "-- 3 of 3"]
    (alone,) = texts(statement.lines(ran[:1], 0, 80))
    assert alone == " SELECT 3"


def test_equal_ones_are_told_once() -> None:
    ran = [Ran(0, number, "SELECT $1", (("$1", str(number)),)) for number in range(1, 6)]
    assert texts(statement.lines(ran, 2, 80)) == [
        " 3 of 5  SELECT $1   $1 3  ",
        " 4 of 5  the same statement   $1 4  ",
        " 5 of 5  the same statement   $1 5  ",
    ]


def test_whole_keeps_the_line_breaks_and_every_value() -> None:
    lines = texts(statement.whole([Ran(0, 1, LONG, (("$1", "x" * 200),))], 80, in_place=False))
    assert len(lines) == 402
    assert lines[-1] == "$1 " + "x" * 200


async def test_a_reused_bind_has_its_statement_and_y_copies_it_first(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        text = "\n".join(await driven.press(*"jjjjj", "enter"))
        assert "Bind" in text
        assert " SELECT id, email, name FROM users WHERE id = $1   $1 707" in text
        assert " SELECT id, email, name FROM users WHERE id = 707" in "\n".join(await driven.press("p"))
        await driven.type("p", "y")
        offers = driven.main.clipboard.offers()
        assert offers[0].name == "SQL"
        assert offers[0].text() == "SELECT id, email, name FROM users WHERE id = $1"


async def test_what_a_pipeline_skipped_says_so(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        lines = await driven.press("n", "enter")
        assert any(line.startswith(" 3 of 5  INSERT INTO audit (user_id, what)") for line in lines)
        assert sum("skipped  the same statement" in line for line in lines) == 2
        lines = await driven.press("g")
        assert any(line.startswith(" 1 of 5  INSERT") for line in lines)


async def test_S_shows_all_of_it_and_gives_the_messages_back(recording: Recording, drive: Drive) -> None:
    connection = recording.connect()
    recording.trip(
        connection, parse("", LONG, 20) + bind("", int8(7)) + EXECUTE + SYNC, message("1") + message("2") + done("SELECT 0") + ready()
    )
    recording.end()
    async with drive(recording) as driven:
        text = "\n".join(await driven.press("j", "enter"))
        assert "S all of it" in text
        text = "\n".join(await driven.press("S"))
        assert "SQL as it was written" in text
        assert driven.areas.sheet.count() == 402
        assert "WHERE id = $1" in "\n".join(await driven.press("G"))
        assert "WHERE id = 7" in "\n".join(await driven.press("p"))
        assert "BindComplete" in "\n".join(await driven.press("S"))


async def test_the_line_of_code_leads(recording: Recording, drive: Drive) -> None:
    connection = recording.connect()
    sql = "SELECT 41"
    note = CallSite(recording._time(), 4701, 40001, 1, zlib.crc32(sql.encode()), 0xFFFFFFFF, 0, "app/orders.py", 41, "add_items")
    recording._put(note)
    recording.trip(connection, query(sql), done("SELECT 1") + ready())
    recording.end()
    async with drive(recording) as driven:
        lines = await driven.press("j", "enter")
        assert any(line.startswith(" at app/orders.py:41 in add_items") for line in lines)


async def test_a_megabyte_of_sql_is_shown() -> None:
    ran = [Ran(0, 1, "SELECT " + "漢字, " * 250_000)]
    lines = texts(statement.lines(ran, 0, 120))
    assert len(lines) == statement.LINES
    assert "+ >" in lines[-1]
    assert "y copies them" in texts(statement.whole(ran, 120, in_place=False))[-1]


async def test_an_error_of_a_pipeline_at_its_statement() -> None:
    async with opened([FINDINGS / "pipeline_error.pgtrace"], (80, 24)) as driven:
        lines = await driven.press("n", "enter", "p")
        assert any(line.startswith(" 3 of 5  insert into item (id, name) values (1, 'tea')") for line in lines)
