"""`y`: what can be copied is told, goes to the clipboard and to a file, and holds nothing that a terminal would obey."""

from __future__ import annotations

from pathlib import Path

from pgtrace.tui.model.copying import safe
from tests.tui.driving import Drive, Driven
from tests.wire_recording import BOUND, EXECUTE, SYNC, Recording, bind, done, query, ready


def file_of(driven: Driven) -> Path:
    return Path(driven.areas.footer.notice.rpartition(" ")[2])


async def test_a_menu_says_what_and_a_key_copies_it(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await driven.type("j", "j", "j", "j")
        menu = (await driven.press("y"))[-1]
        assert menu.strip() == "copy  s SQL  r row  f flight in words  t PQtrace text  esc nothing"
        lines = await driven.press("s")
        assert driven.app.clipboard == "SELECT id, email, name FROM users WHERE id = $1"
        assert "SQL copied, also in " in lines[-1]
        path = file_of(driven)
        assert path.read_text() == driven.app.clipboard + "\n"
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert driven.app.focused is driven.areas.timeline
        await driven.type("y", "f")
        assert driven.app.clipboard.startswith("Parse(__asyncpg_stmt_1__) Describe Flush → ParseComplete ParameterDescription")
        await driven.type("y", "r")
        assert "PDH → 1tT" in driven.app.clipboard
    assert not path.exists()


async def test_in_the_inspector_there_are_values_and_bytes_too(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await driven.type("j", "j", "j", "j", "j", "enter")
        menu = (await driven.press("y"))[-1]
        assert menu.rstrip().endswith("t PQtrace text  m message  v value  h hex  esc nothing")
        await driven.type("h")
        whole = driven.app.clipboard
        assert whole.startswith("42000000")
        await driven.type("tab", "j", "j", "j", "j", "j", "y", "v")
        assert driven.app.clipboard == "707"
        assert driven.app.focused is driven.areas.inspector.fields
        await driven.type("y", "h")
        assert driven.app.clipboard == "00000008" + "00000000000002c3"
        assert driven.app.clipboard in whole


async def test_any_other_key_closes_the_menu_and_does_nothing_else(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        before = await driven.press("j")
        for key in ("escape", "q", "j", "question_mark"):
            await driven.type("y")
            assert await driven.press(key) == before
        assert driven.app.clipboard == ""
        await driven.type("y")
        await driven.pilot.click("#copy-menu", offset=(8, 0))
        assert " c2 " in driven.app.clipboard


async def test_what_was_run_can_be_run_again(shop: Recording, drive: Drive) -> None:
    """Of a row all of its statements; of a message its own."""
    async with drive(shop) as driven:
        await driven.type("j", "j", "j", "j", "j", "y", "p")
        assert driven.app.clipboard == "SELECT id, email, name FROM users WHERE id = '707'::int8;"
        await driven.type("n", "y", "p")
        insert = "INSERT INTO audit (user_id, what) VALUES ('42'::int8, NULL);"
        assert driven.app.clipboard.splitlines() == [insert] * 5
        await driven.type("y", "t")
        assert driven.app.clipboard.splitlines()[2:4] == [
            'F\t61\tParse\t "" "INSERT INTO audit (user_id, what) VALUES ($1, $2)" 1 20',
            'F\t26\tBind\t "" "" 1 0 2 2 \'42\' -1 1 0',
        ]
        await driven.type("enter", "y", "p")
        assert driven.app.clipboard == insert
        await driven.type("y", "m")
        assert "E ErrorResponse 23505 duplicate key" in driven.app.clipboard
        assert "sqlstate = 23505" in driven.app.clipboard


async def test_what_cannot_be_written_out_is_said(shop: Recording, drive: Drive) -> None:
    shop.trip(1, bind("earlier", b"1") + EXECUTE + SYNC, BOUND + done("SELECT 1") + ready())
    shop.trip(1, query(f"SELECT '{'x' * 5_000_000}'"), done("SELECT 1") + ready())
    shop.flush()
    async with drive(shop) as driven:
        assert "too large to copy" in (await driven.press("G", "y", "t"))[-1]
        assert "prepared before the capture began" in (await driven.press("k", "y", "p"))[-1]
        assert driven.app.clipboard == ""


async def test_a_long_menu_takes_two_lines(shop: Recording, drive: Drive) -> None:
    async with drive(shop, (80, 24)) as driven:
        await driven.type("n", "enter", "y")
        menu = (await driven.lines())[-2:]
        assert [line.split()[0] for line in menu] == ["copy", "e"]
        await driven.pilot.click("#copy-menu", offset=(menu[1].index("hex"), 1))
        assert driven.app.clipboard.startswith("45")
        assert not driven.areas.copy_menu.display
        await driven.type("y")
        await driven.pilot.click("#copy-menu", offset=(menu[1].index("nothing"), 1))
        assert driven.app.clipboard.startswith("45")


async def test_a_row_of_a_finding_has_its_remedy(recording: Recording, drive: Drive) -> None:
    one = recording.connect("asyncpg")
    recording.trip(one, query("BEGIN"), done("BEGIN") + ready("T"))
    for number in range(12):
        recording.trip(one, query(f"SELECT * FROM items WHERE id = {number}"), done("SELECT 1") + ready("T"))
    recording.trip(one, query("COMMIT"), done("COMMIT") + ready())
    recording.end()
    async with drive(recording) as driven:
        await driven.type("n", "y", "d")
        assert driven.app.clipboard == "\n".join(driven.app.view.snapshot.findings[0].remedies)
        assert "d remedy" not in (await driven.press("g", "y"))[-1]


async def test_bytes_are_what_they_are(shop: Recording, drive: Drive) -> None:
    """`u` shows a value as the bytes it took."""
    async with drive(shop) as driven:
        assert "u does nothing here" in (await driven.press("u"))[-1]
        await driven.type("j", "j", "j", "j", "j", "enter", "u")
        assert r"\x00\x00\x00\x08\x00\x00" in await driven.text()
        assert r"__asyncpg_stmt_1__\x00" in await driven.text()
        await driven.type("tab", "j", "j", "j", "j", "j")
        assert r"…\x00\x00\x02\xc3 " in "\n".join(await driven.press("l", "l"))
        await driven.type("u", "h", "h")
        assert r"\x00" not in await driven.text()


async def test_long_values_are_read_sideways(shop: Recording, drive: Drive) -> None:
    value = b"0123456789" * 12
    shop.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
    shop.trip(1, bind("s", value, binary=False) + b"S\0\0\0\4", b"2\0\0\0\4" + ready())
    shop.flush()
    async with drive(shop, (80, 24)) as driven:
        await driven.type("G", "enter", "tab", "j", "j", "j", "j", "j")
        row = next(line for line in await driven.lines() if line.startswith("▌  $1"))
        assert row.rstrip().endswith("… text")
        row = next(line for line in await driven.press("l", "l", "l", "l", "l") if line.startswith("▌  $1"))
        assert row.split()[2:] == ["…9" + "0123456789" * 4 + "'", "text"]
        await driven.type("k")
        assert next(line for line in await driven.press("j") if line.startswith("▌  $1")) == row


def test_line_breaks_and_tabs_stay_and_nothing_else() -> None:
    assert safe("SELECT\t1,\r\n 2\n") == "SELECT\t1,\n 2\n"
    assert safe("a\x1b]52;c;QQ==\x07b\x9bc\u202ed\udcff") == r"a\x1b]52;c;QQ==\x07b\x9bc\u202ed\xff"
