"""The Findings pane over captures of real drivers and a real pooler: its screen at three sizes,
its keys, and what the timeline makes of findings."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.tui import screens
from tests.tui.driving import Driven, opened
from tests.wire_recording import Recording, done, query, ready

DATA = Path(__file__).parents[1] / "data"
FILES = tuple(f"{name}.pgtrace" for name in ("pooler_26000", "pipeline_error", "values_in_text", "idle_in_transaction"))


def findings(size: tuple[int, int], files: tuple[str, ...] = FILES) -> AbstractAsyncContextManager[Driven]:
    """The application over those captures, everything read and advised."""
    return opened([DATA / "findings" / name for name in files], size)


@pytest.mark.parametrize("size", screens.SIZES)
async def test_the_screen(size: tuple[int, int]) -> None:
    async with findings(size) as driven:
        screens.check(f"findings-{size[0]}x{size[1]}", await driven.press("6"))


async def test_enter_goes_to_the_evidence_and_esc_comes_back() -> None:
    async with findings((120, 40)) as driven:
        await driven.type("6", "j", "j")
        chosen = driven.areas.panes["findings"].finding
        assert chosen is not None
        await driven.type("enter")
        assert driven.areas.pane == "timeline"
        assert driven.areas.timeline.place == chosen.evidence[0].place
        (connection,) = chosen.note.connections
        sql = driven.app.view.trace.rows[chosen.evidence[0].place].label.sql
        assert driven.app.view.listing.filtering.text == f'conn:{driven.app.view.connection_name(connection)} like:"{sql}"'
        assert all(driven.app.view.listing.shows(one.place) for one in chosen.evidence)
        await driven.type("escape")
        assert driven.areas.pane == "findings"
        assert driven.areas.panes["findings"].finding == chosen


@pytest.mark.parametrize("connections", [2, 12])
async def test_enter_shows_the_rows_of_all_its_connections(recording: Recording, drive: object, connections: int) -> None:
    """Of one statement only: that is what was found. More connections than a finding keeps are those of its driver."""
    numbers = [recording.connect("asyncpg") for _ in range(connections)]
    for number in numbers:
        recording.trip(number, query("BEGIN"), done("BEGIN") + ready("T"))
        for value in range(6):
            recording.trip(number, query(f"SELECT name FROM item WHERE id = {value}"), done("SELECT 1") + ready("T"))
        recording.trip(number, query("COMMIT"), done("COMMIT") + ready())
    recording.end()
    async with drive(recording) as driven:  # type: ignore[operator]
        await driven.type("6")
        chosen = driven.areas.panes["findings"].finding
        assert chosen is not None
        assert len(chosen.note.connections) + chosen.note.more_connections == connections
        assert f" {'c1 c2 ' if connections == 2 else 'c1 c2 +10 '}" in "\n".join(await driven.lines())
        await driven.press("enter")
        view = driven.app.view
        shown = [view.listing[index].rows for index in range(len(view.listing))]
        rows = [row for rows in shown for row in rows]
        assert len(rows) == 6 * connections
        assert {row.connection for row in rows} == {number - 1 for number in numbers}
        assert all(row.label.sql.startswith("SELECT name FROM item") for row in rows)
        assert view.listing.filtering.text.startswith("(conn:1 or conn:2) like:" if connections == 2 else "driver:")


async def test_y_copies_the_remedy() -> None:
    async with findings((120, 40)) as driven:
        said = (await driven.press("6", "y", "r"))[-1]
        assert said.startswith(" remedy copied, also in ")
        assert "statement_cache_size=0" in Path(said.rpartition(" in ")[2].strip()).read_text(encoding="utf-8")


async def test_rows_of_a_finding_have_a_sign_and_n_goes_from_finding_to_finding() -> None:
    async with findings((120, 40), ("values_in_text.pgtrace",)) as driven:
        lines = await driven.press("1")
        marks = lines[4].index("!+f") if "!+f" in lines[4] else lines[5].index("!+f")
        assert [line[marks] for line in lines if " BES " in line] == ["!"] * 12
        assert " ✗" not in "\n".join(lines)
    async with findings((120, 40), (str(DATA.parents[1] / "captures" / "pq" / "ten_queries.pgtrace"),)) as driven:
        await driven.type("1", "g")
        firsts = sorted({one.evidence[0].place for one in driven.app.view.snapshot.findings})
        found = []
        for _ in firsts:
            await driven.type("n")
            found.append(driven.areas.timeline.place)
        assert found == firsts
        assert (await driven.press("n"))[-1].startswith(" no further problem")
        await driven.type("N")
        assert driven.areas.timeline.place == firsts[-2]


async def test_what_was_found_grows_with_the_capture(recording: Recording, drive: object) -> None:
    connection = recording.connect()
    recording.flush()
    async with drive(recording, live=True) as driven:  # type: ignore[operator]
        assert "nothing found so far" in "\n".join(await driven.press("6"))
        for number in range(8):
            recording.trip(connection, query(f"SELECT name FROM item WHERE id = {number}"), done("SELECT 0") + ready())
        driven.app.view.snapshots._findings_until_s = 0.0
        lines = await driven.arrived(recording)
        assert any(line.startswith("▌    7 round trips n+1 ") for line in lines)
        assert any("6 Findings (1)" in line for line in lines)
        await driven.type("space")
        for number in range(4):
            recording.trip(connection, query(f"SELECT name FROM item WHERE id = {number}"), done("SELECT 0") + ready())
        driven.app.view.snapshots._findings_until_s = 0.0
        assert any("7 round trips n+1 " in line for line in await driven.arrived(recording))  # paused
        await driven.type("space")
        driven.app.view.snapshots._findings_until_s = 0.0
        assert any("11 round trips n+1 " in line for line in await driven.arrived(recording))


async def test_hostile_text_is_shown_escaped(recording: Recording, drive: object) -> None:
    connection = recording.connect()
    for number in range(6):
        recording.trip(
            connection, query(f"SELECT '\x1b[31m[bold]\u202e' || name FROM item WHERE id = {number}, e\x1b"), done("SELECT 0") + ready()
        )
    recording.flush()
    async with drive(recording) as driven:  # type: ignore[operator]
        text = "\n".join(await driven.press("6"))
    assert "5 round trips n+1" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


async def test_that_nothing_was_found_is_said_only_where_nothing_failed() -> None:
    async with opened([DATA.parents[1] / "captures" / "asyncpg" / "failure.pgtrace"], (120, 40)) as driven:
        assert "no finding; 1 error that no finding explains: 23505 x1" in "\n".join(await driven.press("6"))
