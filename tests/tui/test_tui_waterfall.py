"""The waterfall and the folded timeline on the screen: what they look like, and what the keys and the mouse do to the axis."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual import events

from tests.tui import screens
from tests.tui.driving import Drive, Driven
from tests.wire_recording import (
    BOUND,
    EXECUTE,
    FLUSH,
    INT8,
    PARSED,
    SYNC,
    TEXT,
    Recording,
    bind,
    columns,
    describe,
    done,
    error,
    int8,
    parameters,
    parse,
    query,
    ready,
    row,
)  # fmt: skip

ITEMS = "SELECT id, sku, price FROM items WHERE order_id = $1"


@pytest.fixture
def orders(recording: Recording) -> Recording:
    """Twelve times the same in a transaction, one that fails, an answer that takes its time, and a transaction that stands."""
    one, two = recording.connect("asyncpg"), recording.connect("psycopg")
    name = "__asyncpg_stmt_1__"
    described = PARSED + parameters(INT8) + columns(("id", INT8), ("sku", TEXT))
    recording.trip(one, query("BEGIN"), done("BEGIN") + ready("T"))
    recording.trip(one, parse(name, ITEMS) + describe("S", name) + FLUSH, described)
    for order in range(12):
        answer = BOUND + row(int8(order), b"SKU-1") * 3 + done("SELECT 3") + ready("T")
        recording.trip(one, bind(name, int8(order)) + EXECUTE + SYNC, answer)
        recording.wait(0.3)
    recording.trip(one, query("COMMIT"), done("COMMIT") + ready())
    recording.trip(two, query("BEGIN"), done("BEGIN") + ready("T"))
    recording.trip(two, query("INSERT INTO audit VALUES (1)"), error("23505", "duplicate key") + ready("E"))
    recording.trip(two, query("ROLLBACK"), done("ROLLBACK") + ready())
    recording.send(one, query("SELECT g FROM generate_series(1, 9) g"))
    recording.wait(1)
    recording.answer(one, columns(("g", INT8), binary=False) + row(b"1"))
    recording.wait(5)
    recording.answer(one, row(b"2") * 8 + done("SELECT 9") + ready())
    recording.wait(0.5)
    recording.trip(two, query("BEGIN"), done("BEGIN") + ready("T"))
    recording.trip(two, query("UPDATE stock SET n = 1"), done("UPDATE 1") + ready("T"))
    recording.flush()
    return recording


def axis(driven: Driven) -> tuple[int, int]:
    shown = driven.areas.timeline._axis
    return shown.start_ns, shown.start_ns + shown.span_ns


def selected(lines: list[str]) -> str:
    return next(line for line in lines if line.startswith("▌"))


@screens.begun
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("folded-repeats", ("X",)),
        ("folded-transactions", ("X", "X", "g", "j", "j")),
        ("waterfall", ("w",)),
        ("waterfall-zoomed", ("w", "g", "j", "j", "j", "z", "minus", "minus")),
    ],
)
async def test_what_it_looks_like(orders: Recording, drive: Drive, name: str, keys: tuple[str, ...], turn: int) -> None:
    async with drive(orders, screens.begun_with(name, turn)) as driven:
        await driven.type(*keys)
        await screens.check_sizes(name, driven)


@screens.begun
async def test_statements_in_turn_are_one_line(recording: Recording, drive: Drive, turn: int) -> None:
    one = recording.connect("psycopg")
    for order in range(50):
        for table in ("customers", "order_lines"):
            answer = columns(("id", INT8), binary=False) + row(b"1") + done("SELECT 1") + ready()
            recording.trip(one, query(f"SELECT id FROM {table} WHERE order_id = {order}"), answer)
    recording.trip(one, query("SELECT 1 FROM customers"), error("42501", "not allowed") + ready())
    recording.flush()
    async with drive(recording, screens.begun_with("folded-loop", turn)) as driven:
        await driven.type("X")
        await screens.check_sizes("folded-loop", driven)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("width", range(60, 241, 6))
async def test_every_width_is_filled(orders: Recording, drive: Drive, width: int) -> None:
    async with drive(orders, (width, 24), ascii_only=bool(width % 4)) as driven:
        for keys in (("X",), ("X",), ("w",), ("g", "z"), ("plus", "l", "minus")):
            assert {cell_len(line) for line in await driven.press(*keys)} == {width}


async def test_w_gives_the_bar_the_room_of_rows_and_bytes_and_takes_it_back(orders: Recording, drive: Drive) -> None:
    async with drive(orders) as driven:
        before = await driven.lines()
        wide = await driven.press("w")
        assert " rows bytes " not in wide[6]
        assert any("━" in line and "───" in line and "FROM generate" in line for line in wide)
        assert (await driven.press("w"))[:-1] == before[:-1]


async def test_z_sets_the_axis_to_the_row_and_Z_back(orders: Recording, drive: Drive) -> None:
    async with drive(orders) as driven:
        await driven.type("w", "g", "j", "j", "j")
        whole, item = axis(driven), driven.areas.timeline.item
        assert item is not None
        await driven.type("z")
        assert axis(driven) == (item.opened_ns, item.end_ns)
        await driven.type("Z")
        assert axis(driven) == whole


async def test_plus_and_minus_zoom_around_the_row_and_h_l_move_along(orders: Recording, drive: Drive) -> None:
    async with drive(orders) as driven:
        await driven.type("w", "g", "j", "j", "j", "z")
        start, end = axis(driven)
        await driven.type("minus")
        wider = axis(driven)
        assert wider[0] < start
        assert wider[1] > end
        assert wider[1] - wider[0] == pytest.approx(2 * (end - start), rel=0.01)
        await driven.type("plus")
        assert axis(driven)[1] - axis(driven)[0] == pytest.approx(end - start, rel=0.01)
        before = axis(driven)
        await driven.type("l")
        assert axis(driven)[0] - before[0] == pytest.approx((end - start) / 4, rel=0.01)
        await driven.type("h")
        assert axis(driven) == before
        assert driven.areas.timeline.sideways == 0


async def test_without_a_waterfall_nothing_zooms(orders: Recording, drive: Drive) -> None:
    async with drive(orders) as driven:
        for key in ("z", "plus"):
            before = axis(driven)
            await driven.type(key)
            assert axis(driven) == before
        await driven.type("l")
        assert driven.areas.timeline.sideways


async def test_a_drag_on_the_axis_is_the_axis(orders: Recording, drive: Drive) -> None:
    async with drive(orders) as driven:
        await driven.type("w")
        timeline = driven.areas.timeline
        bar = next(column for column in timeline._columns(timeline.size.width) if column.name == "bar")
        begun, ended = (timeline._axis.time_at(cell) for cell in (4, 12))
        for kind, cell in ((events.MouseDown, 12), (events.MouseUp, 4)):
            timeline.post_message(kind(timeline, bar.start + cell, 0, 0, 0, 1, False, False, False))
            await driven.settle()
        assert axis(driven) == (begun, ended)


async def test_a_transaction_that_stands_folds_as_it_grows(orders: Recording, drive: Drive) -> None:
    async with drive(orders, live=True) as driven:
        lines = await driven.press("X", "X")
        assert any("2 rt — open  stock  UPDATE" in line for line in lines)
        number = len(driven.app.view.listing)
        orders.trip(2, query("UPDATE stock SET n = 2"), done("UPDATE 1") + ready("T"))
        lines = await driven.arrived(orders)
        assert any("3 rt — open  stock  UPDATE" in line for line in lines)
        orders.trip(2, query("COMMIT"), done("COMMIT") + ready())
        lines = await driven.arrived(orders)
        assert any("4 rt  stock  UPDATE" in line for line in lines)
        assert len(driven.app.view.listing) == number


async def test_x_unfolds_what_is_folded_and_folds_it_again(orders: Recording, drive: Drive) -> None:
    async with drive(orders) as driven:
        lines = await driven.press("X", "X", "g", "j", "j")
        assert "▸ Q · PDH · BES×12 · Q" in selected(lines)
        lines = await driven.press("x")
        assert any("▸ 12 × BES → 2DCZ" in line for line in lines)
        place = driven.areas.timeline.place
        assert "▸ Q · PDH · BES×12 · Q" in selected(await driven.press("x"))
        assert driven.areas.timeline.place == place
