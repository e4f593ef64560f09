"""A row fills its line exactly at every width, and nothing from the wire gets through unescaped."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from rich.cells import cell_len

from pgtrace.trace.trace import Trace
from pgtrace.tui.model import rowtext
from pgtrace.tui.model.axis import Axis
from pgtrace.tui.model.columns import columns
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.surroundings import Surroundings
from pgtrace.tui.model.theme import DARK, Pen
from pgtrace.tui.model.view import View
from pgtrace.tui.panes import rowline
from tests import playbook
from tests.wire_recording import Recording, done, error, message, parse, query, ready, string

HOSTILE = [
    "SELECT '\x1b]0;title\x07', '\x1b[2J'",
    "SELECT '[/]', a[1], '[link=x]y[/link]', '[@click=app.quit]q[/]'",
    "SELECT '漢字漢字漢字', 'e\u0301e\u0301', '🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂' FROM 表 WHERE 列 = 1 AND 名前 = '日本語の長い文字列'",
    "SELECT\n1,\n\t2 -- \u202egnirts\u202c \u200b",
    "SELECT '" + "x" * 20_000 + "'",
    "\x00\x7f\x9b31m",
    "",
]


def shown(view: View, width: int, index: int, *, selected: bool = False) -> str:
    item = view.listing[index]
    layout = columns(width, driver=True, connection=2)
    bar = next((column.width for column in layout if column.name == "bar"), 12)
    axis = Axis([(item.opened_ns, view.item_end_ns(item))], bar)
    return rowline.row(view, item, layout, width, axis, Surroundings(), selected=selected).text


@pytest.fixture
def hostile(recording: Recording, view_of: object) -> View:
    connection = recording.connect("x\x1b]2;evil\x07漢")
    for sql in HOSTILE:
        text = sql.encode().replace(b"\0", b"\x01")
        recording.trip(connection, message("Q", text + b"\0"), done("SELECT 1") + ready())
        recording.trip(connection, message("P", text + b"\0" + text + b"\0\0\0") + message("S"), message("1") + ready("T"))
        recording.trip(connection, query("x"), error("42\x1b01", sql.replace("\0", "\x01")) + ready("E"))
    recording.mark("mark \x1b[31m漢字" * 20)
    recording.gap(connection, 12345)
    recording.answer(connection, message("A", b"\0\0\0\1" + string("ch\x1bannel") + string("\x07")))
    recording.send(connection, parse("", "SELECT 1"))
    recording.flush()
    view: View = view_of(recording)  # type: ignore[operator]
    view.reading.tick(0.0)
    return view


@pytest.mark.parametrize("ascii_only", [False, True])
def test_every_row_fills_every_width(hostile: View, ascii_only: bool) -> None:
    hostile.pen.ascii_only = ascii_only
    hostile.pen.ellipsis = ".." if ascii_only else "…"
    for width in range(60, 241, 1 if not ascii_only else 7):
        for index in range(len(hostile.listing)):
            text = shown(hostile, width, index, selected=index == 1)
            assert cell_len(text) == width, (width, index, text)
            assert text.isprintable() or not text.isascii()
            assert not set(text) & set("\x1b\x07\x9b\x7f\u202e\u200b\n\t"), (width, index)
            if ascii_only:
                assert text.isascii()


def test_markup_is_text(hostile: View) -> None:
    assert any("'[/]'" in shown(hostile, 240, index) for index in range(len(hostile.listing)))


def test_heads_fill_every_width(view: View) -> None:
    for width in range(60, 241):
        layout = columns(width)
        bar = next((column.width for column in layout if column.name == "bar"), 12)
        head = rowline.head(view, layout, width, Axis([(0, 1)], bar)).text
        assert cell_len(head) == width
        assert "SQL" in head


def test_a_failed_pipeline(view: View) -> None:
    index = view.listing.index(view.survey.problems[0])
    text = shown(view, 120, index, selected=True)
    assert text.startswith("▌")
    assert "c2┊" in text
    assert "PBDE×5 S → …E skip×2 Z" in text
    assert "23505 duplicate key" in text
    assert "✗ t" in text
    assert "2.10" in text


def test_rails_follow_ready_for_query(view: View) -> None:
    lines = [shown(view, 120, index) for index in range(len(view.listing))]
    assert [line[13] for line in lines if line[11:13] == "c3"] == [" ", "╭", "│", "│", "│", "╰"]
    assert [line[13] for line in lines if line[11:13] == "c2"] == [" ", "╭", "┊", "╰"]


def test_a_fold_tells_what_was_in_it(view: View) -> None:
    text = shown(view, 120, 0)
    assert "▸ SSL · Start · p" in text
    assert "3 set-up rt, server 18.6" in text


def test_an_error_brings_its_sql_from_160_cells_on(recording: Recording, view_of: object) -> None:
    connection = recording.connect()
    recording.trip(connection, query("SELECT boom() AS what"), error("XX000", "boom") + ready())
    recording.flush()
    view = view_of(recording)  # type: ignore[operator]
    view.reading.tick(0.0)
    assert "boom() AS what" in shown(view, 200, 1)
    assert "boom() AS what" not in shown(view, 120, 1)


def test_an_open_round_trip_is_drawn_at_once(recording: Recording, view_of: object) -> None:
    connection = recording.connect()
    recording.send(connection, query("SELECT pg_sleep(10)"))
    recording.wait(500)
    other = recording.connect()
    assert other == 2
    recording.flush()
    view = view_of(recording)  # type: ignore[operator]
    view.reading.tick(0.0)
    text = shown(view, 120, 1)
    assert "Q → …" in text
    assert "50" in text.split("pg_sleep(10)")[1]


def test_a_row_in_words_names_what_only_one_message_can_mean(view: View) -> None:
    words = [rowtext.in_words(row) for row in view.trace.rows if row.is_round_trip]
    assert "Parse(__asyncpg_stmt_1__) Describe Flush → ParseComplete ParameterDescription RowDescription" in words
    assert "Bind(__asyncpg_stmt_1__) Execute Sync → BindComplete DataRow CommandComplete ReadyForQuery(I)" in words
    assert any("BindComplete DataRow×20 CommandComplete" in text for text in words)
    assert any(text.startswith("Parse Bind Describe Execute ×5 Sync → …CommandComplete×2 ErrorResponse(23505)") for text in words)


def test_a_fold_tells_that_tls_was_refused(tmp_path: Path) -> None:
    trace = Trace.open([playbook.write(tmp_path / "refused.pgtrace", "F SSLRequest\nB SSLRequestReply N\nc1 ends F FIN\nc1 close F")])
    with contextlib.closing(trace):
        view = View(trace, Source(live=False, files=("refused.pgtrace",)), Pen(DARK))
        view.reading.tick(0.0)
        text = shown(view, 160, 0)
        assert "▸ SSL" in text
        assert "wanted TLS, was answered N and left: --tls auto" in text
        assert "wanted TLS, was answered" in shown(view, 80, 0)
