"""Statements, connections and transactions: what they show, and the ways through them from a cold start."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from pgtrace.tui.model.copying import safe
from pgtrace.tui.model.fields import Field, fit
from pgtrace.tui.model.view import View
from pgtrace.tui.panes.connections import Connections
from pgtrace.tui.panes.statements import Statements
from pgtrace.tui.panes.transactions import Transactions
from pgtrace.tui.widgets.table import TablePane
from tests.tui import screens
from tests.tui.driving import Drive
from tests.wire_recording import (
    EXECUTE,
    FLUSH,
    PARSED,
    SYNC,
    Recording,
    bind,
    checkout,
    describe,
    done,
    error,
    int8,
    parse,
    query,
    ready,
    row,
)

HOSTILE = "\x1b]0;owned\x07\u202e[bold]"
PANES: dict[str, type[TablePane[Any]]] = {"2": Statements, "3": Connections, "5": Transactions}


def leaks(recording: Recording) -> int:
    """A connection that prepares the same query under ever new names, and never closes one."""
    leaking = recording.connect("asyncpg", application_name="worker")
    for number in range(12):
        name = f"__asyncpg_stmt_{number + 1:x}__"
        sent = (
            parse(name, f"SELECT id FROM items WHERE id IN ({', '.join(['$1'] * (number + 1))}, $2)") + bind(name, int8(1)) + EXECUTE + SYNC
        )
        recording.trip(leaking, sent, PARSED + b"2\0\0\0\4" + row(int8(1)) + done("SELECT 1") + ready(), 0.3 + number / 10)
    return leaking


@pytest.fixture
def busy(recording: Recording) -> Recording:
    """The shop, then one connection that leaks, one that waits in a transaction, one that was lost in one, and names meant to do harm."""
    checkout(recording)
    leaks(recording)
    idle = recording.connect("pg8000", user="batch")
    recording.trip(idle, query("begin"), done("BEGIN") + ready("T"))
    recording.trip(idle, query("UPDATE stock SET held = held + 1"), done("UPDATE 9") + ready("T"), 3)
    lost = recording.connect("psycopg", database=f"db{HOSTILE}")
    recording.trip(lost, query("BEGIN"), done("BEGIN") + ready("T"))
    recording.trip(lost, query(f"SELECT '{HOSTILE}', \"{HOSTILE}\""), error("42703", f"column {HOSTILE} does not exist") + ready("E"), 1.5)
    recording.close(lost, terminate=False)
    recording.wait(1200)
    recording.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
    recording.end()
    return recording


@screens.begun
@pytest.mark.parametrize("pane", ["statements", "connections", "transactions"])
async def test_what_a_pane_looks_like(busy: Recording, drive: Drive, pane: str, turn: int) -> None:
    async with drive(busy, screens.begun_with(pane, turn)) as driven:
        await driven.type({"statements": "2", "connections": "3", "transactions": "5"}[pane])
        await screens.check_sizes(pane, driven)


def under_cursor(lines: list[str]) -> str:
    return next(line for line in lines if line.startswith("▌"))


async def test_which_statement_costs_most_round_trips(busy: Recording, drive: Drive) -> None:
    """One key: it is the first line; a second shows its round trips, as many as the table said."""
    async with drive(busy) as driven:
        lines = await driven.press("2")
        assert under_cursor(lines).split()[1] == "12"
        assert "SELECT … FROM items WHERE id IN" in under_cursor(lines)
        lines = await driven.press("enter")
        assert driven.areas.pane == "timeline"
        assert driven.app.view.listing.matching == 12
        tabs = next(line for line in lines if line.startswith(" 1 Timeline"))
        assert "/ driver:asyncpg" in tabs
        assert tabs.rstrip().endswith(f"12 of {len(driven.app.view.trace.rows)}")
        await driven.type("escape")
        assert driven.areas.pane == "statements"
        assert driven.app.view.listing.filtering.everything


async def test_each_statement_has_the_round_trips_it_counts(busy: Recording, drive: Drive) -> None:
    async with drive(busy) as driven:
        await driven.type("2")
        statements = driven.areas.panes["statements"]
        assert isinstance(statements, Statements)
        seen = set()
        for item in list(statements.items):
            await driven.type("enter")
            shown = driven.app.view.listing
            assert shown.matching == item.group.round_trips, item.group.sql
            seen.add(item.group.sql)
            await driven.type("escape", "j")
        assert len(seen) > 12


async def test_which_connection_leaks_prepared_statements(busy: Recording, drive: Drive) -> None:
    """Three keys: by live statements."""
    async with drive(busy) as driven:
        lines = await driven.press("3", "s", "s")
        assert "live▾" in lines[4]
        assert under_cursor(lines).split()[0] == "▌c4"
        assert " 12 live, 0 reused, 12 in all" in "\n".join(lines)
        lines = await driven.press("c")
        assert driven.areas.pane == "timeline"
        assert "/ conn:4" in "\n".join(lines[3:8])


async def test_the_longest_and_the_idlest_transaction(busy: Recording, drive: Drive) -> None:
    async with drive(busy) as driven:
        lines = await driven.press("5")
        rows = [line for line in lines[5:] if " c" in line[:16]]
        assert "open" in under_cursor(lines)
        assert "c5" in under_cursor(lines)
        assert any("lost" in line for line in rows)
        assert any("ROLLBACK" in line and "c2" in line for line in rows)
        assert any("COMMIT" in line and "c3" in line for line in rows)
        await driven.type("j", "enter")
        chosen = driven.areas.panes["transactions"]
        assert isinstance(chosen, Transactions)
        assert chosen.item is not None
        assert driven.app.view.listing.matching == chosen.item.round_trips + (chosen.item.end == "lost")
        await driven.type("escape")
        assert driven.areas.pane == "transactions"
        lines = await driven.press("s")
        assert "idle▾" in lines[4]


async def test_sorting_goes_round_and_turns(busy: Recording, drive: Drive) -> None:
    async with drive(busy, (200, 60)) as driven:
        for key, pane in PANES.items():
            await driven.type(key)
            for name in (*pane.SORTS[1:], pane.SORTS[0]):
                head = (await driven.press("s"))[4]
                assert f"{name}▾" in head or f"{name}▴" in head, name
            shown = driven.areas.panes[driven.areas.pane]
            assert isinstance(shown, TablePane)
            before = list(shown.items)
            await driven.type("S")
            assert [shown.identity(one) for one in shown.items] != [shown.identity(one) for one in before]
            keys = [(shown.first(one), shown._fields[shown.sorted_by].key(shown, one)) for one in shown.items]  # type: ignore[misc]
            assert [first for first, _ in keys] == sorted((first for first, _ in keys), reverse=True)
            assert all(a[1] <= b[1] for a, b in pairwise(keys) if a[0] == b[0])


async def test_the_cursor_stays_on_its_item(recording: Recording, drive: Drive) -> None:
    checkout(recording)
    recording.flush()
    async with drive(recording, live=True) as driven:
        await driven.type("2", "j", "j")
        pane = driven.areas.panes["statements"]
        assert isinstance(pane, Statements)
        assert pane.item is not None
        chosen, cursor = pane.identity(pane.item), pane.cursor
        for _ in range(9):
            recording.trip(1, query("SELECT brand_new()"), done("SELECT 1") + ready())
        await driven.arrived(recording)
        assert not pane.advance(pane._gathering._touched_s + 1.9, 1.0), "nothing moves while somebody is at the keys"
        assert pane.advance(pane._gathering._touched_s + 1e6, 1.0)
        assert "brand_new" in pane.items[0].group.sql
        assert pane.identity(pane.item) == chosen
        assert pane.cursor == cursor + 1


async def test_a_click_on_a_head_sorts(busy: Recording, drive: Drive) -> None:
    async with drive(busy) as driven:
        head = (await driven.press("3"))[4]
        await driven.pilot.click("#connections", offset=(head.index("live") + 1, 0))
        assert "live▾" in (await driven.lines())[4]
        await driven.pilot.click("#connections", offset=(head.index("live") + 1, 0))
        assert "live▴" in (await driven.lines())[4]


async def test_copying(busy: Recording, drive: Drive) -> None:
    async with drive(busy) as driven:
        await driven.type("2", "y", "s")
        assert driven.app.clipboard == "SELECT id FROM items WHERE id IN ($1)"
        await driven.type("3", "y", "r")
        assert driven.app.clipboard.startswith("            c1  asyncpg: client_encoding")
        await driven.type("5", "y", "f")
        assert driven.app.clipboard == "Q×2"


async def test_nothing_from_the_wire_is_obeyed(busy: Recording, drive: Drive) -> None:
    async with drive(busy, (200, 60)) as driven:
        for key, count in (("2", len(PANES)), ("3", 6), ("5", 4)):
            text = "\n".join(await driven.press(key, *"G"))
            for _ in range(count):
                text += "\n".join(await driven.press("k"))
            assert not set(text) & set("\x1b\x07\u202e"), key
        assert safe(HOSTILE)[:4] in "\n".join(await driven.press("3", "G", "k"))


@pytest.mark.parametrize(("live", "ended"), [(False, True), (False, False), (True, True), (True, False)])
async def test_a_pane_of_nothing_says_so(recording: Recording, drive: Drive, *, live: bool, ended: bool) -> None:
    """More may come only while the capture grows."""
    recording.connect()
    recording.flush()
    if ended:
        recording.end()
    async with drive(recording, (80, 24), live=live) as driven:
        for key, what in (("2", "statements"), ("5", "transactions")):
            told = f"no {what} yet" if live and not ended else f"no {what}"
            assert told in [line.strip() for line in await driven.press(key)]
            assert "enter does nothing" not in "\n".join(await driven.press("enter"))


@pytest.mark.parametrize(("live", "ended"), [(False, True), (False, False), (True, True), (True, False)])
async def test_a_capture_of_nothing_says_so(recording: Recording, drive: Drive, *, live: bool, ended: bool) -> None:
    recording.flush()
    if ended:
        recording.end()
    async with drive(recording, (80, 24), live=live) as driven:
        told = "nothing in this capture yet" if live and not ended else "nothing in this capture"
        assert told in [line.strip() for line in await driven.lines()]
        told = "no connections yet" if live and not ended else "no connections"
        assert told in [line.strip() for line in await driven.press("3")]


async def test_paused_panes_stand_still(recording: Recording, drive: Drive) -> None:
    checkout(recording)
    recording.flush()
    async with drive(recording, live=True) as driven:
        await driven.type("2", "space")
        pane = driven.areas.panes["statements"]
        assert isinstance(pane, Statements)
        while pane.advance(1e9, 1.0):  # what was there before the pause
            pass
        before = await driven.lines()
        recording.trip(1, query("SELECT more"), done("SELECT 1") + ready())
        await driven.arrived(recording)
        assert not pane.advance(1e9, 1.0)
        assert (await driven.lines())[4:-1] == before[4:-1]


@pytest.mark.parametrize("key", PANES)
async def test_every_width_is_filled_exactly(busy: Recording, view_of: Callable[..., View], key: str) -> None:
    view = view_of(busy)
    view.trace.update()
    view.reading.sync()
    view.reading.tick(0.0)
    pane = PANES[key](view)
    while not pane.advance(1e9, 1.0):
        pass
    always = {field.name for field in pane.FIELDS if not field.rank}
    before: set[str] = set()
    for width in range(60, 241):
        shown = pane.columns(width)
        names = {column.name for column in shown}
        assert names >= always, width
        assert before <= names, width
        before = names
        ends = [0, *(column.end for column in shown)]
        assert all(column.start >= end for column, end in zip(shown, ends, strict=False)), width
        assert ends[-1] == width - 1, width
        for drawn in (*pane.heads(width), *(pane.line(index, width, selected=index == 1) for index in range(pane.count()))):
            assert cell_len(drawn.text) == drawn.cell_length == width, (width, drawn.text)
        for item in pane.items:
            assert {strip.cell_length for strip in pane.details(item, width)} == {width}
    assert before == {field.name for field in pane.FIELDS}


def test_columns_leave_by_rank() -> None:
    fields = (("a", 0, 10, 0), ("b", 1, 10, 2), ("c", 1, 10, 1), ("sql", 1, 0, 0))
    assert [column.name for column in fit(fields, 20, 40)] == ["a", "sql"]
    assert [column.name for column in fit(fields, 20, 44)] == ["a", "c", "sql"]
    assert [(column.start, column.width) for column in fit(fields, 20, 60)] == [(1, 10), (12, 10), (23, 10), (34, 25)]


def test_one_flexible_column_each() -> None:
    for pane in PANES.values():
        fields: tuple[Field[Any], ...] = pane.FIELDS
        assert sum(not field.width for field in fields) == 1
        assert set(pane.SORTS) <= {field.name for field in fields if field.key is not None}


async def test_fifty_thousand_statements_are_gathered_in_slices(recording: Recording, view_of: Callable[..., View]) -> None:
    """None of them takes long: no slice looks at more than a few hundred statements."""
    one = recording.connect()
    for number in range(3_000):
        recording.trip(one, query(f"SELECT c{number}"), done("SELECT 1") + ready(), 0.1)
    recording.end()
    view = view_of(recording)
    view.trace.update()
    view.reading.tick(0.0)
    steps = list(Statements(view).gather())
    assert steps.count(None) > 2 * 3_000 // 64
    assert steps[-1] is not None
    assert len(steps[-1]) == 3_000


async def test_statements_of_several_drivers_as_one(busy: Recording, drive: Drive) -> None:
    """`D`: the same SQL under two drivers is one line with the sum, and the drivers' shares below; `D` again: two lines."""
    async with drive(two_drivers(busy.path.with_name("two.pgtrace"), "SELECT shared FROM both WHERE id = $1")) as driven:
        lines = await driven.press("2")
        assert sum("FROM both" in line and ("asyncpg" in line or "pg8000" in line) for line in lines) == 2
        lines = await driven.press("D")
        one = [line for line in lines if "FROM both" in line and "all 2" in line]
        assert len(one) == 1
        assert one[0].split()[1] == "8"
        assert any(line.startswith(" drivers    asyncpg 5 · pg8000 3 round trips") for line in lines)
        await driven.type("enter")
        assert driven.app.view.listing.matching == 8
        await driven.type("escape")
        assert sum("FROM both" in line and ("asyncpg" in line or "pg8000" in line) for line in await driven.press("D")) == 2


def two_drivers(path: Path, sql: str) -> Recording:
    """One statement under asyncpg and under pg8000."""
    recording = Recording(path)
    one, two = recording.connect("asyncpg"), recording.connect("pg8000")
    for connection, times, name in ((one, 5, "__asyncpg_stmt_1__"), (two, 1, "")):
        for _ in range(times):
            sent = (parse(name, sql), describe("S", name), bind(name, int8(1)) + EXECUTE)
            if name:
                recording.trip(connection, b"".join(sent) + SYNC, PARSED + b"2\0\0\0\4" + done("SELECT 0") + ready())
            else:
                recording.trip(connection, sent[0] + FLUSH + SYNC, PARSED + ready())
                recording.trip(connection, sent[1] + FLUSH + SYNC, b"t\0\0\0\x06\0\0" + b"n\0\0\0\4" + ready())
                recording.trip(connection, sent[2] + FLUSH + SYNC, b"2\0\0\0\4" + done("SELECT 0") + ready())
    recording.trip(two, query("begin transaction"), done("BEGIN") + ready("T"))
    recording.trip(two, query("commit"), done("COMMIT") + ready())
    recording.end()
    return recording


async def test_a_statement_tells_its_findings(recording: Recording, drive: Drive) -> None:
    connection = recording.connect()
    for number in range(8):
        recording.trip(connection, query(f"SELECT name FROM item WHERE id = {number}"), done("SELECT 0") + ready())
    recording.end()
    async with drive(recording) as driven:
        lines = await driven.press("2")
        assert any(line.startswith(" ! n+1 SELECT name FROM item WHERE id = ") for line in lines)


async def test_a_closed_connection_tells_what_it_left(busy: Recording, drive: Drive) -> None:
    """Its statements with their Binds, who ended it, and when it was busy."""
    shop = Recording(busy.path.with_name("closed.pgtrace"))
    one = shop.connect("asyncpg")
    name = "__asyncpg_stmt_1__"
    shop.trip(one, parse(name, "SELECT 1") + SYNC, PARSED + ready())
    for _ in range(3):
        shop.trip(one, bind(name) + EXECUTE + SYNC, b"2\0\0\0\4" + done("SELECT 1") + ready())
    shop.wait(100)
    shop.trip(one, query("SELECT 2"), done("SELECT 1") + ready())
    shop.close(one)
    shop.end()
    async with drive(shop) as driven:
        lines = await driven.press("3")
        assert under_cursor(lines).rstrip().endswith("▃┄┄┄┄┄┄┄┄┄┄▁")
        text = "\n".join(lines)
        assert " life       opened 0.0000   closed by driver 0.1037 with Terminate   end time unknown   104 ms" in text
        assert "1 live at its end, 2 reused, 1 in all" in text
        assert "stmt_1         SELECT 1  reused 2" in text
        assert " portals    none open" in text


async def test_who_has_said_terminate_is_not_idle(recording: Recording, drive: Drive) -> None:
    """A recording may end before the connection closes."""
    one = recording.connect("psycopg")
    recording.trip(one, query("SELECT 1"), done("SELECT 1") + ready())
    recording.send(one, b"X\0\0\0\4")
    recording.wait(1000)
    recording.end()
    async with drive(recording) as driven:
        line = under_cursor(await driven.press("3"))
        assert "sent Terminate" in line
        assert "idle" not in line


async def test_ends_are_told_as_they_come(recording: Recording, drive: Drive) -> None:
    """A driver that leaves while it waits: first that its direction has ended, then what became of it; and one that the server closed."""
    one, two = recording.connect("psycopg"), recording.connect("psycopg")
    recording.send(one, query("SELECT pg_sleep(4)"))
    recording.wait(1000)
    recording.ends(one, 0)
    recording.answer(two, error("25P03", "idle for too long").replace(b"ERROR", b"FATAL"))
    recording.ends(two, 1)
    recording.flush()
    async with drive(recording, (160, 40)) as driven:
        text = "\n".join(await driven.press("1"))
        assert "driver has ended its direction  SELECT pg_sleep(4)" in text
        assert "closed by the server (FIN) after 25P03" in text
        text = "\n".join(await driven.press("3"))
        assert "driver has ended its direction" in text
        assert "   closed by the server (FIN) after 25P03   server FIN at 1.00" in "\n".join(await driven.press("j"))
        recording.wait(3000)
        recording.answer(one, done("SELECT 1") + ready())
        recording.ends(one, 0, "RST")
        recording.close(one, terminate=False)
        await driven.arrived(recording)
        text = "\n".join(await driven.press("1"))
        assert "driver left while waiting for Query; the server worked on for 3" in text
        assert "closed by the driver (FIN) without Terminate" in text
        driven.areas.panes["connections"].gather_anew()  # where it is slow, the table has been gathered again by now
        text = "\n".join(await driven.press("3", "G"))
        assert "   driver FIN at 1.00" in text
        assert "   driver RST at 4.00" in text


async def test_open_portals_and_cancels_are_told(recording: Recording, drive: Drive) -> None:
    one = recording.connect("asyncpg")
    recording.trip(one, query("BEGIN"), done("BEGIN") + ready("T"))
    recording.trip(one, parse("", "SELECT 1") + bind("") + SYNC, PARSED + b"2\0\0\0\4" + ready("T"))
    recording.flush()
    async with drive(recording) as driven:
        assert ' portals    "" of ""' in "\n".join(await driven.press("3"))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_head_of_a_sorted_column_keeps_its_gap(shop: Recording, drive: Drive, size: tuple[int, int]) -> None:
    """Whatever a table is sorted by, the heads are words of their own, the sorted one with its sign."""
    shop.end()
    async with drive(shop, size) as driven:
        for pane in ("2", "3", "5"):
            lines = await driven.press(pane)
            table = driven.areas.panes[driven.areas.pane]
            assert isinstance(table, TablePane)
            for _ in table.SORTS:
                head = lines[next(number for number, line in enumerate(lines) if line.startswith(" 1 Time")) + 1]
                there = {column.name for column in table.columns(size[0])}
                shown = [field.name if field.title is None else field.title for field in table.FIELDS if field.name in there]
                assert ("▾" in head or "▴" in head) == (table.sorted_by in there)
                plain = head.replace("▾", " ").replace("▴", " ")
                assert plain.split() == " ".join(shown).split(), head
                lines = await driven.press("s")


@pytest.mark.parametrize("width", [80, 100, 120, 200])
async def test_the_costs_of_a_statement_are_not_cut_off(recording: Recording, drive: Drive, width: int) -> None:
    connection = recording.connect()
    for ms in (*[10.12] * 6, *[120.12] * 6):
        recording.trip(connection, query("SELECT 1"), done("SELECT 1") + ready(), ms)
    recording.end()
    async with drive(recording, (width, 30)) as driven:
        lines = await driven.press("2")
    told = "12 rt for 12 exec" if width == 80 else "12 round trips for 12 executions"
    (cost,) = [line.rstrip() for line in lines if line.startswith(" cost")]
    assert re.fullmatch(rf" cost +{told}   ms p50 \S+  p95 \S+  max 120.12", cost)
    assert "…" not in cost


@pytest.mark.parametrize("key", ["2", "3", "4", "5", "6"])
async def test_a_pane_says_how_something_comes_while_nothing_has(recording: Recording, drive: Drive, key: str) -> None:
    """Where drivers connect to a listener; a file has what it has."""
    recording.flush()
    async with drive(recording, (80, 24), live=True, addresses=("127.0.0.1:6433",)) as driven:
        assert "; 1 shows where to point a driver" in "\n".join(await driven.press(key))
        recording.connect()
        recording.flush()
        assert "; 1 shows where" not in "\n".join(await driven.arrived(recording))
    recording.end()
    async with drive(recording) as driven:
        assert "; 1 shows where" not in "\n".join(await driven.press(key))
