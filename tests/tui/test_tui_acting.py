"""What can be done from the screen: save, export, mark, delay, page, and any command by name."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.recorder import Recorder
from pgtrace.trace.trace import Trace
from pgtrace.tui.actions.commands import by_key, does, name_of
from pgtrace.tui.app import PgTraceApp
from pgtrace.tui.model.keys import KEYS
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.theme import Pen
from pgtrace.tui.model.view import View
from tests.traces import fully_read
from tests.tui.driving import Drive, Driven, shown
from tests.wire_recording import Recording, done, query, ready

if TYPE_CHECKING:
    import psycopg

WITHIN_S = 60.0


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Paths in the footer are short."""
    monkeypatch.chdir(tmp_path)
    return Path()


async def until(driven: Driven, met: Callable[[], object]) -> list[str]:
    """Ticks until something holds, which a thread or the recorder brings about."""
    async with asyncio.timeout(WITHIN_S):
        while not met():
            await asyncio.sleep(0.01)
            driven.app.view.reading._next_draw_s = 0.0
            driven.app.tick()
    return await driven.lines()


async def typed(driven: Driven, text: str, then: str = "enter") -> list[str]:
    await driven.type("ctrl+u")
    driven.main.pasted(text)
    return await driven.press(then)


def rows_of(path: Path) -> list[str]:
    trace = fully_read(path)
    found = [row.label.sql for row in trace.rows]
    trace.close()
    return found


@asynccontextmanager
async def live(server: EmbeddedServer) -> AsyncIterator[tuple[Driven, Recorder, psycopg.Connection]]:
    """A temporary recording on the screen, and a session through it."""
    import psycopg

    with Recorder(upstream=f"{server.host}:{server.port}") as recorder:
        trace = Trace.open([recorder.capture])
        source = Source(listener=":6433", upstream="db", live=True, temporary=True, unsaved=True)
        app = PgTraceApp(View(trace, source, Pen(), recorder))
        with closing(trace), psycopg.connect(server.url(recorder.host, recorder.port), autocommit=True) as session:
            async with shown(app) as driven:
                session.execute("SELECT 'first'")
                await until(driven, lambda: any(row.label.sql == "SELECT 'first'" for row in trace.rows))
                yield driven, recorder, session


async def test_a_recording_is_saved_with_what_comes_later(server: EmbeddedServer, here: Path) -> None:
    path = here / "kept.pgtrace"
    async with live(server) as (driven, recorder, session):
        assert "press again to quit" in (await driven.press("q"))[-1]
        assert driven.app.is_running
        await driven.type("e")
        assert driven.areas.prompt.value.endswith(".pgtrace")
        await typed(driven, str(path))
        saving = driven.main.files.saving
        assert saving is not None
        lines = await until(driven, lambda: saving.complete and driven.areas.footer.notice)
        assert f"saved to {path}; new traffic is added until you quit" in lines[-1]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        session.execute("SELECT 'later'")
        await driven.type("e")
        assert "being saved to" in (await typed(driven, str(here / "again.pgtrace")))[-2]
        await driven.type("escape", "q")
        assert not driven.app.is_running
        driven.main.files.finish()
        first = rows_of(recorder.capture)
    assert rows_of(path) == first
    assert "SELECT 'later'" in first
    trace = fully_read(path)
    assert (trace.ended, trace.torn_bytes) == (True, 0)
    trace.close()


async def test_a_file_that_is_there_or_cannot_be_made_is_refused_and_the_question_stays(server: EmbeddedServer, here: Path) -> None:
    there = here / "there.pgtrace"
    there.write_text("mine")
    async with live(server) as (driven, _, _session):
        await driven.type("e")
        assert "already exists: choose another name or remove it" in (await typed(driven, str(there)))[-2]
        assert there.read_text() == "mine"
        assert "no such file or directory" in "".join(await typed(driven, str(here / "none" / "x.pgtrace")))
        assert "unknown format: the name must end in .pgtrace, " in (await typed(driven, str(here / "x")))[-2]
        assert driven.main.files.saving is None
        assert "press again" in (await driven.press("escape", "q"))[-1]


async def test_a_disk_that_is_full_is_one_line_and_quitting_asks_again(
    server: EmbeddedServer, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = here / "full.pgtrace"
    async with live(server) as (driven, _, _session):

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("pgtrace.capture.writer.CaptureWriter.copy", full)
        await driven.type("e")
        await typed(driven, str(path))
        saving = driven.main.files.saving
        assert saving is not None
        lines = await until(driven, lambda: saving.failed and driven.areas.footer.notice)
        assert f"not saved to {path}: no space left on device" in lines[-1]
        assert not path.exists()
        assert "press again" in (await driven.press("q"))[-1]


async def test_what_is_shown_is_exported_in_the_format_of_its_name(shop: Recording, drive: Drive, here: Path) -> None:
    shop.end()
    async with drive(shop) as driven:
        await driven.type("n", "c", "e")
        text = driven.areas.prompt.value
        shown: list[str] = []
        for _ in range(8):
            if not driven.areas.prompt.value.endswith(".pcapng"):
                shown = await driven.press("tab")
        assert "; 6 of 25 rows" in "\n".join(shown)
        assert driven.areas.prompt.value == text.rpartition(".")[0] + ".pcapng"
        path = here / "shop.trace"
        await typed(driven, str(path))
        await until(driven, lambda: not driven.main.files.exports)
        assert f"6 rows written to {path}" in driven.areas.footer.notice
        assert path.read_text().count("# connection") == 1
        assert "ROLLBACK" in path.read_text()
        assert "LISTEN" not in path.read_text()
        whole = here / "shop.jsonl"
        await driven.type(":")
        await typed(driven, f"export jsonl {whole}")
        await until(driven, lambda: not driven.main.files.exports)
        assert f"everything written to {whole}" in driven.areas.footer.notice
        assert "LISTEN" in whole.read_text()
        await driven.type("e")
        assert "the recording is in " in (await typed(driven, str(here / "x.pgtrace")))[-2]


async def test_a_mark_is_a_row_at_once_and_a_delay_is_in_the_status(server: EmbeddedServer) -> None:
    async with live(server) as (driven, recorder, session):
        await driven.type("m")
        await typed(driven, "checkout")
        lines = await until(driven, lambda: any(row.label.sql == "checkout" for row in driven.app.view.trace.rows))
        assert "mark checkout begins; m ends it" in lines[-1]
        assert "mark checkout" in lines[0]
        session.execute("SELECT 'inside'")
        await driven.type("m")
        lines = await until(driven, lambda: any(row.label.sql == "checkout ends" for row in driven.app.view.trace.rows))
        assert "mark checkout" not in lines[0]
        assert driven.app.view.trace.mark_counters()["checkout"].round_trips == 1

        await driven.type(":")
        assert "is not a duration" in "\n".join(await typed(driven, "rtt soon"))
        await typed(driven, "rtt 20ms")
        lines = await until(driven, lambda: driven.app.view.trace.settings.get((0, "rtt")) == "20000000" or (recorder.flush() and False))
        assert "rtt 20 ms" in lines[0]
        session.execute("SELECT 'slow'")
        await until(
            driven,
            lambda: any(row.label.sql == "SELECT 'slow'" and (row.duration_ns or 0) >= 20_000_000 for row in driven.app.view.trace.rows),
        )


async def test_a_finished_capture_has_nothing_to_record_into(shop: Recording, drive: Drive) -> None:
    shop.end()
    async with drive(shop) as driven:
        assert "this recording is over" in (await driven.press("m"))[-1]
        await driven.type(":")
        assert "this recording is over" in "\n".join(await typed(driven, "rtt 5ms"))


def test_every_key_has_a_command() -> None:
    assert [key for key in KEYS if not name_of(key)] == []
    for name, keys in by_key().items():
        assert does(keys), name
        owners = [key.owner for key in keys]
        assert len({key.action for key in keys if owners.count(key.owner) > 1}) <= 1, name


async def test_commands_by_name(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await driven.type("n", ":")
        listed = "\n".join(await typed(driven, "fo", "tab"))
        assert "fold-level" in listed
        assert driven.areas.prompt.value == "fold"
        await driven.type("tab")
        assert driven.areas.prompt.value == "fold-level"
        await driven.type("enter")
        assert driven.app.view.listing.fold == "repeats"
        await driven.type(":")
        assert "unknown command 'fly'" in "\n".join(await typed(driven, "  fly away"))
        fault = driven.areas.prompt.fault
        assert fault is not None
        assert (fault.start, fault.end) == (2, 5)
        assert "takes no argument" in "\n".join(await typed(driven, "copy it"))
        assert "sort does nothing here" in "\n".join(await typed(driven, "sort"))
        await typed(driven, "statements")
        assert driven.areas.pane == "statements"
        await driven.type(":")
        await typed(driven, "sort")
        await driven.type(":")
        await typed(driven, "goto 0.003")
        assert driven.areas.pane == "timeline"
        item = driven.areas.timeline.item
        assert item is not None
        assert driven.app.view.listing[driven.areas.timeline.cursor - 1].opened_ns < 3_000_000 <= item.opened_ns
        await driven.type(":", "up")
        assert driven.areas.prompt.value == "goto 0.003"
        assert "a time is 12.5" in "\n".join(await typed(driven, "goto there"))
        await typed(driven, "theme light")
        assert driven.app.view.pen.palette.name == "light"
        await driven.type(":")
        await typed(driven, "quit")
        assert not driven.app.is_running


async def test_an_argument_that_is_missing_is_said(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        names = [command.name for command in driven.main.commands]
        assert sorted(names) == ["export", "goto", "mark", "rtt", "save", "theme"]
        for name in names:
            if name not in by_key():
                await driven.type(":")
                assert f"{name} " in "\n".join(await typed(driven, name))
                assert driven.areas.prompt.fault is not None
                await driven.type("escape")


async def test_a_terminal_that_cannot_be_given_away_is_told(shop: Recording, drive: Drive) -> None:
    shop.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
    async with drive(shop) as driven:
        assert "this terminal cannot run a pager" in (await driven.press("v"))[-1]
        assert os.environ.get("PAGER", "") == ""
