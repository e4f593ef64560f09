"""The inspector and the way along what is related: runs and their windows, blanked values, and `r R` with the keys counted."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from pgtrace.capture.record import Setting
from tests.tui.driving import Drive, Driven, opened
from tests.wire_recording import EXECUTE, SYNC, Recording, bind, columns, done, message, parse, query, ready, row, string

ROOT = Path(__file__).parents[2]
ROWS = 6_000


def at_cursor(driven: Driven) -> str:
    told = driven.areas.inspector.messages.message
    return told.name if told is not None else ""


@pytest.fixture
def long(recording: Recording) -> Recording:
    """A result of many rows."""
    connection = recording.connect()
    rows = b"".join(row(f"{number:05d}".encode()) for number in range(ROWS))
    recording.trip(connection, query("SELECT many"), rows + done(f"SELECT {ROWS}") + ready())
    recording.end()
    return recording


async def test_a_long_run_opens_window_by_window_to_its_end(long: Recording, drive: Drive) -> None:
    async with drive(long) as driven:
        text = "\n".join(await driven.press("j", "enter"))
        assert "DataRow ×6 000" in text
        assert "6 003 messages" in text
        messages = driven.areas.inspector.messages
        assert messages.count() == 4
        await driven.type("j")
        for opened_now in range(1, ROWS // 1000):
            lines = await driven.press("enter")
            assert messages.count() == 4 + opened_now * 1000
            assert any(line.startswith(f"▌B←   0.400  D DataRow '{(opened_now - 1) * 1000:05d}'") for line in lines)
            lines = await driven.press(*("end", "k", "k"))
            left = f"{ROWS - opened_now * 1000:,}".replace(",", " ")
            assert any(line.startswith(f"▌B←   0.400  D DataRow ×{left}") for line in lines), left
        await driven.type("enter", "end", "k", "k")
        assert messages.count() == ROWS + 3
        message = messages.message
        assert message is not None
        assert message.body.endswith(b"05999")
        assert messages.messages[-2].offset == message.offset + message.size
        assert "enter" not in driven.main.active_bindings or not messages.is_run


async def test_h_l_scroll_a_long_value_and_its_bytes(recording: Recording, drive: Drive) -> None:
    connection = recording.connect()
    recording.trip(connection, query("SELECT '" + "".join(f"{number:04d}" for number in range(500)) + "'"), done("SELECT 1") + ready())
    recording.end()
    async with drive(recording) as driven:
        lines = await driven.press("j", "enter", "tab", "j")
        assert any("Q····SELECT" in line for line in lines)
        lines = await driven.press(*["l"] * 10)
        assert not any("Q····SELECT" in line for line in lines)
        assert any("▌query              …003800390040" in line for line in lines)
        await driven.type(*["h"] * 10)
        assert driven.areas.inspector.fields.sideways == 0


async def test_what_was_blanked_is_told_as_such(recording: Recording, drive: Drive) -> None:
    recording._put(Setting(recording._time(), "redact", "params,rows"))
    connection = recording.connect()
    sent = parse("", "SELECT $1", 20) + bind("", b"********", binary=True) + EXECUTE + SYNC
    recording.trip(connection, sent, b"1\0\0\0\4" + b"2\0\0\0\4" + row(b"************", None, b"") + done("SELECT 1") + ready())
    recording.trip(connection, message("p", b"*" * 12), ready())
    recording.end()
    async with drive(recording) as driven:
        text = "\n".join(await driven.press("j", "enter", "j", "tab"))
        assert "Bind" in text
        assert "redacted, 8 bytes" in text
        text = "\n".join(await driven.press("shift+tab", "j", "j", "j", "j", "j"))
        assert "DataRow redacted, 12 bytes, N…" in text
        assert "1                redacted, 12 bytes" in text
        assert "2                NULL" in text


async def test_values_of_stars_are_values_where_nothing_was_blanked(recording: Recording, drive: Drive) -> None:
    connection = recording.connect()
    recording.trip(connection, query("SELECT '***'"), columns(("v", 25), binary=False) + row(b"***") + done("SELECT 1") + ready())
    recording.end()
    async with drive(recording) as driven:
        assert "DataRow '***'" in "\n".join(await driven.press("j", "enter"))


async def test_formats_are_told_in_words(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        lines = await driven.press("j", "j", "j", "j", "j", "enter")
        assert any("parameter_formats  [1]" in line and line.rstrip().endswith("binary") for line in lines)


def capture(path: str) -> AbstractAsyncContextManager[Driven]:
    return opened([ROOT / path])


async def test_r_goes_from_the_error_to_its_bind_and_on_to_the_parse_and_R_back() -> None:
    async with capture("tests/data/findings/pipeline_error.pgtrace") as driven:
        await driven.type("n", "enter")
        assert at_cursor(driven) == "ErrorResponse"
        lines = await driven.press("r")
        assert at_cursor(driven) == "Bind"
        assert "what failed" in lines[-1]
        assert any("$2" in line and "'tea'" in line for line in lines)
        await driven.type("r")
        assert at_cursor(driven) == "Parse"
        await driven.type("R")
        assert at_cursor(driven) == "Bind"
        await driven.type("R")
        assert at_cursor(driven) == "ErrorResponse"
        assert "R does nothing here" in (await driven.press("R"))[-1]


async def test_r_from_the_timeline_opens_the_inspector_and_R_closes_it() -> None:
    async with capture("tests/data/findings/pipeline_error.pgtrace") as driven:
        await driven.type("n", "r")
        assert driven.areas.inspecting
        assert at_cursor(driven) == "Bind"
        await driven.type("R")
        assert not driven.areas.inspecting
        assert driven.app.focused is driven.areas.timeline


async def test_r_goes_through_the_evidence_of_a_finding() -> None:
    """`6 enter r`: the Parse was accepted, a run was fine, then 26000; and `R` all the way back to the finding."""
    async with capture("tests/data/findings/pooler_26000.pgtrace") as driven:
        await driven.type("6", "r")
        finding = driven.app.view.snapshot.findings[0]
        seen = [driven.areas.timeline.place]
        for _ in finding.evidence[1:]:
            await driven.type("r")
            seen.append(driven.areas.timeline.place)
        assert seen == [evidence.place for evidence in finding.evidence]
        assert "26000" in driven.areas.timeline.item.row.label.error  # type: ignore[union-attr]
        for _ in seen:
            await driven.type("R")
        assert driven.areas.pane == "findings"


async def test_r_goes_from_a_cancel_to_its_victim_and_back() -> None:
    async with capture("captures/asyncpg/cancel.pgtrace") as driven:
        await driven.type("n")
        victim = driven.areas.timeline.place
        lines = await driven.press("r")
        assert any(line.startswith("▌") and "Cancel →" in line for line in lines)
        assert "the cancel" in lines[-1]
        await driven.type("r")
        assert driven.areas.timeline.place == victim


async def test_a_row_that_the_filter_hides_is_shown_and_R_brings_the_filter_back() -> None:
    async with capture("captures/asyncpg/cancel.pgtrace") as driven:
        await driven.type("n", "c")
        filtered = driven.app.view.listing.filtering.text
        assert filtered.startswith("conn:")
        lines = await driven.press("r")
        assert driven.app.view.listing.filtering.everything
        assert "all rows are shown" in lines[-1]
        await driven.type("R")
        assert driven.app.view.listing.filtering.text == filtered


async def test_a_row_related_to_nothing_says_so(recording: Recording, drive: Drive) -> None:
    connection = recording.connect()
    recording.trip(connection, query("SELECT 1"), done("SELECT 1") + ready())
    recording.answer(connection, message("N", b"M" + string("note") + b"\0"))
    recording.end()
    async with drive(recording) as driven:
        assert "nothing is related" in (await driven.press("j", "r"))[-1]
        assert "nothing is related" in (await driven.press("j", "r"))[-1]
