"""The application under its keys, at the sizes of the design, over a capture of real messages."""

from __future__ import annotations

import pytest

from pgtrace.tui.model.theme import MONO
from tests.tui.driving import Drive
from tests.wire_recording import Recording, bind, checkout, done, error, int8, query, ready


async def test_long_sql_is_read_sideways(shop: Recording, drive: Drive) -> None:
    async with drive(shop, (80, 24)) as driven:
        assert not any("name FROM users" in line for line in await driven.lines())
        assert any("…, name FROM users" in line for line in await driven.press("l"))
        assert any("SELECT … FROM users" in line for line in await driven.press("h"))


async def test_a_key_without_use_says_so(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        for key in ("z", "space", "u"):
            assert " does nothing here" in (await driven.press(key))[-1], key
        assert "x does nothing here" in (await driven.press("j", "j", "j", "x"))[-1]
        assert "does nothing here" not in (await driven.press("j"))[-1]
        await driven.type("4")
        for key in ("x", "c", "C", "X", "n", "d", "y", "f", "t"):
            assert f" {key} does nothing here" in (await driven.press(key))[-1], key
        assert driven.app.view.listing.filtering.everything
        await driven.type("question_mark")
        assert "c does nothing here" in (await driven.press("c"))[-1]


@pytest.mark.parametrize(
    ("before", "key", "left"),
    [
        ("D", "j", ""),
        ("D", "down", ""),
        ("D", "n", ""),
        ("D", "tab", ""),
        ("D", "enter", ""),
        ("D", "2", ""),
        ("D", "X", ""),
        ("D", "t", ""),
        ("D", "G", ""),
        ("D", "y", ""),
        ("D", "slash", ""),
        ("D", "colon", ""),
        ("D", "f5", "D does nothing here; ? shows the keys"),
        ("D", "a", "a does nothing here; ? shows the keys"),
        ("D", "T", "theme "),
        ("R", "D", "D does nothing here; ? shows the keys"),
        ("T", "D", "D does nothing here; ? shows the keys"),
        ("less_than_sign", "j", ""),
        ("less_than_sign", "less_than_sign", "no earlier round trip of "),
        ("E", "j", ""),
        ("E", "E", "E needs --explain-dsn"),
        ("m", "j", ""),
    ],
)
async def test_a_notice_goes_with_the_next_key_that_does_something(shop: Recording, drive: Drive, before: str, key: str, left: str) -> None:
    async with drive(shop, (80, 24)) as driven:
        keys = (await driven.lines())[-1]
        footer = driven.areas.footer
        for _ in range(2):
            assert (await driven.press(before))[-1] != keys
            assert footer.notice
            last = (await driven.press(key))[-1]
            assert footer.notice.startswith(left) if left else not footer.notice
            assert last.startswith(f" {left}") if left else "does nothing" not in last
            await driven.type("escape", "escape", "1", "g")


async def test_leaving_is_confirmed_while_its_question_is_there(shop: Recording, drive: Drive) -> None:
    async with drive(shop, live=True, unsaved=True) as driven:
        for _ in range(2):
            assert "press again" in (await driven.press("q"))[-1]
            assert "press again" not in (await driven.press("j"))[-1]
        await driven.type("q")
        assert driven.app.is_running
        await driven.type("q")
        assert not driven.app.is_running


async def test_a_listed_key_does_something(shop: Recording, drive: Drive) -> None:
    """The footer never names a key that has no use; help is always named."""
    async with drive(shop, (80, 24), live=True) as driven:
        for keys in ((), ("g",), ("n",), ("c",), ("enter",), ("tab",), ("2",), ("3",), ("4",), ("5",), ("question_mark",)):
            hint = (await driven.press(*keys))[-1]
            assert "? help" in hint or keys == ("question_mark",)
            bound = {"esc": "escape", "?": "question_mark", "/": "slash", "\\": "backslash"}
            for single in " ".join(key for key, _ in driven.areas.footer.keys).split():
                assert bound.get(single, single) in driven.main.active_bindings, (keys, single)


async def test_120x40(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        lines = await driven.lines()
    assert lines[0].startswith(" pgtrace  shop.pgtrace   ■ ended without an end record")
    assert " ".join(lines[1].split()) == "conn set-up round trips exec rt/ex pipelined prepared reused errors rows sent recv wait ms"
    assert lines[2].split()[:6] == ["all", "3", "9", "13", "12", "1.08"]
    assert lines[6].startswith(" 1 Timeline   2 Statements   3 Connections   4 Drivers   5 Transactions")
    assert lines[6].rstrip().endswith("fold set-up")
    assert lines[7].split()[:3] == ["time", "cn", "driver"]
    assert lines[8].startswith("▌  0.0000  c1 ")
    assert lines[-1].startswith(" enter inspect  n next problem  / filter  c connection")
    assert lines[-1].rstrip().endswith("1/19")


async def test_the_only_driver_is_named_in_the_totals(recording: Recording, drive: Drive) -> None:
    connection = recording.connect("asyncpg")
    recording.trip(connection, bind("__asyncpg_stmt_1__", int8(1)) + b"S\0\0\0\4", b"2\0\0\0\4" + ready())
    recording.flush()
    async with drive(recording) as driven:
        lines = await driven.lines()
        assert lines[2].startswith(" asyncpg ")
        assert lines[3].startswith(" 1 Timeline")
        assert "driver" not in lines[4]
    async with drive(recording, (80, 24)) as driven:
        assert (await driven.lines())[1].rstrip().endswith("0 errors                 asyncpg")


async def test_80x24_has_words_for_totals_and_no_driver_lines(shop: Recording, drive: Drive) -> None:
    async with drive(shop, (80, 24)) as driven:
        lines = await driven.lines()
    assert lines[1].rstrip() == " 13 rt  9 set-up  12 exec  1 prepared  2 reused  1 error"
    assert lines[2].startswith(" 1 Time  2 Stmts  3 Conns  4 Drivers  5 Txs")
    assert lines[3].split() == ["time", "cn", "sent", "→", "back", "SQL", "!+f", "rows", "ms"]


async def test_the_spelled_line_says_the_row_in_words(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        lines = await driven.press("n")
    assert lines[-2].rstrip() == (
        " Parse Bind Describe Execute ×5 Sync → …CommandComplete×2 ErrorResponse(23505) 2 executions skipped ReadyForQuery(E)"
    )


async def test_the_inspector_opens_on_the_error_with_its_bytes_inverted(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        lines = await driven.press("n", "enter")
        text = "\n".join(lines)
        assert "round trip 17 · c2" in text
        assert "depth 5" in text
        assert "2.10 ms · 34 messages · esc closes" in text
        assert any(line.startswith("▌B←   2.100   3  E ErrorResponse") for line in lines)
        assert "▌sqlstate              23505" in text
        style = driven.app.view.pen.on("background")["inverted"]
        strips = driven.app.screen._compositor.render_strips()
        inverted = "".join(segment.text for strip in strips for segment in strip if segment.style == style)
        assert "C23505" in inverted.replace(" ", "") or "4332 3335" in inverted


async def test_the_inspector_shows_typed_values(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await driven.type("j", "j", "j", "j", "j", "enter")
        text = "\n".join(await driven.press("tab", "j", "j", "j", "j"))
    assert "Bind" in text
    assert "707" in text
    assert "int8 binary" in text


async def test_at_80x24_the_inspector_has_the_body(shop: Recording, drive: Drive) -> None:
    async with drive(shop, (80, 24)) as driven:
        lines = await driven.press("n", "enter")
        text = "\n".join(lines)
        assert lines[3].startswith("── round trip 17")
        assert "── ErrorResponse  backend  offset" in text
        assert "45 00 00 00" in text
        assert "sent → back" not in text
        lines = await driven.press("escape")
        assert "sent → back" in "\n".join(lines)


async def test_esc_is_one_step_back_and_never_quits(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await driven.type("c", "enter", "tab")
        assert driven.app.focused is driven.areas.inspector.fields
        await driven.type("escape")
        assert driven.app.focused is driven.areas.inspector.messages
        await driven.type("escape")
        assert not driven.areas.inspector.display
        assert driven.app.focused is driven.areas.timeline
        assert "/ conn:1" in await driven.text()
        await driven.type("escape")
        assert "/ conn:1" not in await driven.text()
        await driven.type("escape", "escape")
        assert driven.app.is_running


async def test_n_stops_at_problems_and_says_when_there_is_none(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        lines = await driven.press("n")
        assert any(line.startswith("▌") and "23505" in line for line in lines)
        lines = await driven.press("n")
        assert "no further problem" in lines[-1]
        lines = await driven.press("G", "N")
        assert any(line.startswith("▌") and "23505" in line for line in lines)


async def test_only_this_connection_and_driver(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        lines = await driven.press("j", "c")
        assert "/ conn:2  6 of 25" in lines[6]
        assert {line[11:13] for line in lines[8:12]} == {"c2"}
        await driven.type("c")
        lines = await driven.press("C")
        assert "/ driver:" in lines[6]
        assert {line[11:13] for line in lines[8:12]} == {"c2"}


async def test_folding_keeps_the_cursor_on_its_row(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await driven.type("n")
        place = driven.areas.timeline.place
        for level in ("repeats", "transactions"):
            assert f"fold {level}" in (await driven.press("X"))[6]
            assert driven.areas.timeline.place in driven.areas.timeline.item.places
        lines = await driven.press("X")
        assert driven.areas.timeline.place == place
        assert "fold" not in lines[6]
        assert any("encryption requested" in line for line in lines)
        await driven.type("X")
        assert driven.areas.timeline.place == place
        lines = await driven.press("g", "x")
        assert sum("set-up rt" in line for line in lines) == 2


async def test_the_time_column_cycles(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await driven.type("j")
        for head, cell in (("clock", ":"), ("above", "+0.0012"), ("same cn", " "), ("time", "0.0012")):
            lines = await driven.press("t")
            assert head in lines[7], head
            assert cell in lines[9][:10], head


async def test_drivers_side_by_side(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        lines = await driven.press("4")
        text = "\n".join(lines)
        assert lines[3].startswith(" 1 Timeline   2 Statements   3 Connections   4 Drivers   5 Transactions")
        assert "round trips / execution" in text
        assert "BES ×3" in text
        assert "per execution" not in lines[4]
        lines = await driven.press("a")
        assert "per execution" in lines[4]
        await driven.type("l", "l", "enter")
        assert driven.areas.pane == "timeline"
        assert driven.app.view.listing.filtering.text == f"driver:{driven.app.view.snapshot.drivers[2].driver}"
        await driven.type("escape")
        assert driven.areas.pane == "drivers"
        assert driven.app.view.listing.filtering.everything


async def test_three_drivers_fit_at_80(shop: Recording, drive: Drive) -> None:
    async with drive(shop, (80, 24)) as driven:
        lines = await driven.press("4")
        for driver in driven.app.view.snapshot.drivers:
            assert driver.driver in lines[3]


async def test_help_is_one_screen(shop: Recording, drive: Drive) -> None:
    for size in ((80, 24), (120, 40)):
        async with drive(shop, size) as driven:
            text = "\n".join(await driven.press("question_mark"))
            assert "what a row says   round trip = the driver had to wait for the network once" in text
            assert "next area" in text
            if size == (80, 24):
                text = "\n".join(await driven.press("G"))
            assert "select text with shift" in text
            text = "\n".join(await driven.press("escape"))
            assert "what a row says" not in text


async def test_too_small_says_what_it_needs(shop: Recording, drive: Drive) -> None:
    async with drive(shop, (59, 20)) as driven:
        lines = await driven.lines()
        assert lines[0].strip() == "needs 60x12"
        assert not "".join(lines[1:]).strip()
        assert "pgtrace" in (await driven.resize(80, 24))[0]


async def test_following_and_not_following(recording: Recording, drive: Drive) -> None:
    checkout(recording)
    recording.flush()
    async with drive(recording, live=True) as driven:
        lines = await driven.lines()
        assert lines[-1].rstrip().endswith("follow")
        assert lines[0].startswith(" pgtrace  :6433 → db:5432   ● live")
        assert driven.areas.timeline.cursor == driven.areas.timeline.count() - 1
        recording.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
        lines = await driven.arrived(recording)
        assert driven.areas.timeline.cursor == driven.areas.timeline.count() - 1 == 19
        await driven.type("k")
        assert not driven.areas.timeline.following
        place, line = driven.areas.timeline.place, driven.areas.timeline.cursor - driven.areas.timeline.top
        for _ in range(30):
            recording.trip(1, query("SELECT 2"), done("SELECT 1") + ready())
        lines = await driven.arrived(recording)
        assert driven.areas.timeline.place == place
        assert driven.areas.timeline.cursor - driven.areas.timeline.top == line
        assert "19/50" in lines[-1]
        assert "▼ " in lines[-1]
        assert "new  G" in lines[-1]
        lines = await driven.press("G")
        assert driven.areas.timeline.following
        assert lines[-1].rstrip().endswith("follow")


async def test_an_open_row_is_completed_in_place(recording: Recording, drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgtrace.tui.model.view.WAITS_NS", 1 << 62)  # however slow the machine is
    connection = recording.connect()
    recording.send(connection, query("SELECT slow()"))
    recording.flush()
    async with drive(recording, live=True) as driven:
        row = next(line for line in await driven.lines() if "SELECT slow()" in line)
        assert "Q → …" in row
        recording.wait(3)
        recording.answer(connection, done("SELECT 1") + ready())
        row = next(line for line in await driven.arrived(recording) if "SELECT slow()" in line)
        assert "Q → CZ" in row
        assert " 3.00 " in row


async def test_pause_freezes_the_screen_and_counts_what_waits(shop: Recording, drive: Drive) -> None:
    async with drive(shop, live=True) as driven:
        before = await driven.press("space")
        assert "❚❚ paused" in before[0]
        for _ in range(12):
            shop.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
        paused = await driven.arrived(shop)
        assert "❚❚ paused  12 new" in paused[0]
        assert paused[1:-1] == before[1:-1]
        for key, rows in (("X", "set-up rt"), ("X", "set-up rt"), ("X", "encryption requested"), ("X", "set-up rt"), ("c", "/ conn:")):
            text = "\n".join(await driven.press(key))
            assert rows in text
            assert "SELECT 1" not in text
        assert " of 25" in (await driven.press("g"))[6]
        await driven.type("escape", "space")
        driven.app.tick()
        assert driven.areas.timeline.count() == 31


async def test_what_was_open_stays_open_while_paused(recording: Recording, drive: Drive) -> None:
    connection = recording.connect()
    recording.send(connection, query("SELECT slow()"))
    recording.flush()
    async with drive(recording, live=True) as driven:
        await driven.type("enter", "space")
        recording.wait(3)
        recording.answer(connection, done("SELECT 1") + ready())
        lines = await driven.arrived(recording)
        assert any("Q → …" in line for line in lines)
        assert "CommandComplete" not in "\n".join(lines)
        await driven.type("space")
        driven.app.tick()
        lines = await driven.lines()
        assert any("Q → CZ" in line for line in lines)
        assert "CommandComplete" in "\n".join(lines)


async def test_nothing_yet_shows_where_to_connect(recording: Recording, drive: Drive) -> None:
    recording.flush()
    login = (("PGUSER", "app"), ("PGPASSWORD", "s3cret"), ("PGDATABASE", "shop"))
    told = {"addresses": ("127.0.0.1:6433", "[::1]:6433"), "environment": login}
    async with drive(recording, (80, 24), live=True, **told) as driven:
        lines = [line.strip() for line in await driven.lines()]
        start = lines.index("Point a driver here:")
        assert lines[start + 1 : start + 6] == [
            "export PGHOST=127.0.0.1 PGPORT=6433 PGSSLMODE=disable",
            "export PGUSER=app PGPASSWORD=s3cret PGDATABASE=shop",
            "export DATABASE_URL=postgresql://app:s3cret@127.0.0.1:6433/shop",
            "psql -h 127.0.0.1 -p 6433 -U app shop",
            "also on [::1]:6433",
        ]
        assert lines[-1] == "y copy  1 - 6 panes  q quit  ? help"
        assert "n does nothing here" in (await driven.press("n"))[-1]
        await driven.type("y")
        assert driven.app.clipboard.splitlines() == lines[start + 1 : start + 5]
        checkout(recording)
        text = "\n".join(await driven.arrived(recording))
        assert "Point a driver here:" not in text
        assert "set-up rt" in text
        assert driven.app.focused is driven.areas.timeline


async def test_an_upstream_that_refuses_is_told(recording: Recording, drive: Drive) -> None:
    recording.flush()
    warning = "cannot reach db:5432: Connection refused"
    async with drive(recording, live=True, warning=warning) as driven:
        assert warning in await driven.text()
        connection = recording.connect()
        recording.trip(connection, b"", error("57P03", "pgtrace: cannot reach db:5432"))
        lines = await driven.arrived(recording)
        assert "✗ upstream refused" in lines[0]


async def test_gaps_are_told_everywhere(shop: Recording, drive: Drive) -> None:
    shop.gap(2, 41 * 1024)
    shop.trip(3, query("SELECT 1"), done("SELECT 1") + ready())
    shop.flush()
    async with drive(shop) as driven:
        lines = await driven.lines()
        assert "1 gap: counts are lower bounds" in lines[0]
        assert "≥13" in lines[2] or "≥14" in lines[2]
        assert any("╱╱ gap" in line and "on c2" in line for line in lines)


async def test_a_torn_tail_is_told(shop: Recording, drive: Drive) -> None:
    shop.flush()
    with shop.path.open("ab") as file:
        file.write(shop.path.read_bytes()[-200:-50])
    async with drive(shop) as driven:
        assert "■ truncated  last 150 bytes are half a record; everything before is complete" in (await driven.lines())[0]


async def test_a_finished_capture_says_how_long_it_is(shop: Recording, drive: Drive) -> None:
    shop.end()
    async with drive(shop) as driven:
        assert "■ 42 ms" in (await driven.lines())[0]


async def test_quit_asks_before_it_throws_a_recording_away(shop: Recording, drive: Drive) -> None:
    async with drive(shop, live=True, unsaved=True) as driven:
        lines = await driven.press("q")
        assert "not saved" in lines[-1]
        assert driven.app.is_running
        await driven.pilot.press("q")
        await driven.settle()
        assert driven.app.return_code == 0
        assert not driven.app.is_running


async def test_quit(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await driven.pilot.press("ctrl+c")
        await driven.settle()
        assert not driven.app.is_running


async def test_long_runs_are_one_line_until_opened(recording: Recording, drive: Drive) -> None:
    connection = recording.connect()
    rows = b"".join(b"D\0\0\0\x0f\0\1\0\0\0\x05" + f"{number:05d}".encode() for number in range(300))
    recording.trip(connection, query("SELECT many"), rows + done("SELECT 300") + ready())
    recording.flush()
    async with drive(recording) as driven:
        text = "\n".join(await driven.press("j", "enter"))
        assert "DataRow ×300" in text
        await driven.type("j", "enter")
        assert driven.areas.inspector.messages.count() > 100


async def test_without_colour_nothing_has_one(shop: Recording, drive: Drive) -> None:
    async with drive(shop, palette=MONO) as driven:
        await driven.type("n", "enter")
        for strip in driven.app.screen._compositor.render_strips():
            for segment in strip:
                style = segment.style
                assert style is None or style.color is None or style.color.is_default, segment
                assert style is None or style.bgcolor is None or style.bgcolor.is_default, segment


@pytest.mark.parametrize("keys", [(), ("n", "enter"), ("2",), ("3",), ("4",), ("5",), ("question_mark",)])
async def test_ascii_only_screens_are_ascii(shop: Recording, drive: Drive, keys: tuple[str, ...]) -> None:
    async with drive(shop, (80, 24), ascii_only=True) as driven:
        lines = await driven.press(*keys) if keys else await driven.lines()
        assert "".join(lines).isascii()
        assert {len(line) for line in lines} == {80}


async def test_prepared_values_of_a_reused_statement(shop: Recording, drive: Drive) -> None:
    shop.trip(1, bind("__asyncpg_stmt_1__", int8(4242)) + b"S\0\0\0\4", b"2\0\0\0\4" + ready())
    shop.flush()
    async with drive(shop) as driven:
        text = "\n".join(await driven.press("G", "enter"))
        assert "4242" in text


async def test_a_row_without_messages_says_what_it_is(shop: Recording, drive: Drive) -> None:
    shop.gap(2, 4096)
    shop.flush()
    async with drive(shop) as driven:
        text = "\n".join(await driven.press("G", "enter"))
        assert text.count("not recorded on c2") >= 2


async def test_an_ended_file_opens_at_its_beginning_with_nothing_new(shop: Recording, drive: Drive) -> None:
    shop.end()
    async with drive(shop, live=True, listener="", files=("/somewhere/shop.pgtrace",)) as driven:
        lines = await driven.lines()
        assert lines[0].startswith(" pgtrace  shop.pgtrace   ■ 42 ms")
        assert lines[8].startswith("▌")
        assert lines[-1].rstrip().endswith("1/19")


async def test_a_growing_file_is_live(shop: Recording, drive: Drive) -> None:
    async with drive(shop, live=True, listener="", files=("shop.pgtrace",)) as driven:
        assert "ended without an end record" in (await driven.lines())[0]
        shop.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
        lines = await driven.arrived(shop)
        assert "● live" in lines[0]
        assert lines[-1].rstrip().endswith("follow")


async def test_a_recorder_that_died_is_told(shop: Recording, drive: Drive) -> None:
    async with drive(shop, live=True) as driven:
        driven.app.view.recorder = type("Gone", (), {"alive": False})()
        assert "■ the recorder has ended" in (await driven.lines())[0]


async def test_a_cursor_moved_while_loading_stays(shop: Recording, drive: Drive) -> None:
    shop.end()
    async with drive(shop, live=True, listener="", files=("shop.pgtrace",)) as driven:
        timeline = driven.areas.timeline
        timeline._fresh = True
        await driven.type("n")
        place = timeline.place
        assert place > 0
        timeline.refresh_list()
        assert timeline.place == place


async def test_a_mark_is_no_connections(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        lines = await driven.press("j", "j", "j", "enter")
        assert any(line.startswith("── mark ─") for line in lines)
        await driven.type("escape", "g", "t", "t", "t")
        lines = await driven.press("j", "j", "j", "j")
        assert next(line for line in lines if line.startswith("▌") and "PDH" in line)[1:10].strip() == "+0.0036"


async def test_a_filter_taken_back_makes_nothing_new(shop: Recording, drive: Drive) -> None:
    """Rows that were there are not new when a filter, a pane's or a typed one, or a fold gives them their lines back."""
    for number in range(40):
        shop.trip(1, query(f"SELECT {number}"), done("SELECT 1") + ready())
    shop.flush()
    async with drive(shop, (80, 24), live=True) as driven:
        timeline = driven.areas.timeline
        await driven.type("6", "enter")
        assert timeline.new == 0
        assert timeline.count() < len(driven.app.view.trace.rows)
        lines = await driven.press("escape", "1")
        assert timeline.new == 0
        assert "new" not in lines[-1]
        await driven.type("X", "X", "X", "X", "C", "C")
        assert timeline.new == 0
        await driven.type("g")
        for number in range(3):
            shop.trip(1, query(f"SELECT {number}"), done("SELECT 1") + ready())
        lines = await driven.arrived(shop)
        assert timeline.new == 3
        assert "▼ 3 new  G" in lines[-1]
        await driven.type("G")
        assert timeline.new == 0


async def test_a_tick_after_the_screens_are_closed_draws_nothing(shop: Recording, drive: Drive) -> None:
    """The timer runs on while the application closes its screens, and something may be new by then."""
    async with drive(shop, (80, 24)) as driven:
        app = driven.app
        await driven.type("j")
    app.view.reading.growing = not app.view.reading.growing
    app.tick()
