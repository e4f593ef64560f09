"""The questions a user comes with, from a cold start, with the keys counted: each is answered in as few as the design promises.

The same keys are typed on a real terminal, over a recording of real drivers doing the same work.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tui.driving import Driven, opened
from tests.tui.multiplexer import THERE, Multiplexer
from tests.tui.terminal import Terminal

ROOT = Path(__file__).parents[2]
FINDINGS = ROOT / "tests" / "data" / "findings"
BOTH = [ROOT / "captures" / driver / "ten_queries.pgtrace" for driver in ("asyncpg", "psycopg")]
NAMES = {"\r": "enter", "\x1b": "escape"}


class Journey:
    """Keys, counted."""

    def __init__(self, driven: Driven, most: int) -> None:
        self.driven, self.left = driven, most

    async def press(self, keys: str) -> list[str]:
        self.left -= len(keys)
        assert self.left >= 0, "too many keys"
        return await self.driven.press(*(NAMES.get(key, key) for key in keys))


def under_cursor(lines: list[str]) -> str:
    return next(line for line in lines if line.startswith("▌"))


async def test_which_statement_costs_the_most_round_trips() -> None:
    """`2`: it is the first; `enter`: its round trips, as many as were told."""
    async with opened([FINDINGS / "values_in_text.pgtrace", *BOTH]) as driven:
        journey = Journey(driven, 3)
        line = under_cursor(await journey.press("2"))
        told = int(line.split()[1])
        every = [view.group.round_trips for view in driven.app.view.trace.statements()]
        assert told == max(every)
        await journey.press("\r")
        assert driven.app.view.listing.matching == told


async def test_the_sql_of_the_costliest_statement_with_its_values() -> None:
    """`2 enter enter`: the statement leads the inspector, as it was written, with the values of this run behind it."""
    async with opened([ROOT / "captures" / "asyncpg" / "ten_queries.pgtrace"]) as driven:
        lines = await Journey(driven, 3).press("2\r\r")
        assert any(line.startswith(" select id, name, price from item where id = $1   $1 ") for line in lines), lines


async def test_what_a_failing_pipeline_skipped() -> None:
    """`n enter`: the failed statement with its values, and the two that were skipped, with theirs."""
    async with opened([FINDINGS / "pipeline_error.pgtrace"]) as driven:
        lines = await Journey(driven, 2).press("n\r")
        assert any(line.startswith(" 3 of 5  insert into item (id, name) values ($1, $2)   $1 1  $2 'tea'") for line in lines)
        assert [line[:18] for line in lines if "skipped  the same" in line] == [" 4 of 5  skipped  ", " 5 of 5  skipped  "]


async def test_why_an_endpoint_is_slow() -> None:
    """`X X`: its transaction is one line, with its round trips, tables and costliest statement."""
    async with opened([ROOT / "captures" / "django+psycopg" / "executemany.pgtrace"]) as driven:
        lines = await Journey(driven, 2).press("XX")
        assert any("▸ Q×3" in line and '3 rt  item  INSERT INTO "item"' in line for line in lines)


async def test_which_connection_leaks_prepared_statements() -> None:
    """`6`: the finding names it; or `3 s s`: the one with the most live stands first, and its statements are below."""
    async with opened([FINDINGS / "prepared_leak.pgtrace", *BOTH]) as driven:
        lines = await Journey(driven, 3).press("6")
        finding = next(line for line in lines if "prepared-leak" in line)
        connection = re.search(r"\b[ab]?:?c?\d+|\ba:1\b", finding.partition("asyncpg")[2])
        assert connection is not None
    async with opened([FINDINGS / "values_in_text.pgtrace", *BOTH]) as driven:
        lines = await Journey(driven, 3).press("3ss")
        most = max(one.statements_live for one in driven.app.view.trace.connections)
        assert under_cursor(lines).split()[0].lstrip("▌") == connection[0]
        assert f" {most} live" in "\n".join(lines)


async def test_why_a_pipeline_failed() -> None:
    """`n enter`: the error, which execution it was and what was skipped; `r`: the Bind, with the values that did it."""
    async with opened([FINDINGS / "pipeline_error.pgtrace"]) as driven:
        journey = Journey(driven, 4)
        lines = await journey.press("n\r")
        text = "\n".join(lines)
        assert "2 executions skipped" in text
        assert any(line.startswith("▌B←") and "   3  E ErrorResponse 23505" in line for line in lines)
        assert "Key (id)=(1) already exists." in text
        lines = await journey.press("r")
        assert sum(" skipped" in line for line in lines) > 4
        assert "skipped by the…" not in "\n".join(lines)
        assert any(line.startswith("▌F→") and "Bind" in line and "(1, 'tea')" in line for line in lines)


async def test_how_asyncpg_and_psycopg_differ() -> None:
    """`4`: side by side; what differs is bright, what does not is dim."""
    async with opened(BOTH) as driven:
        journey = Journey(driven, 2)
        lines = await journey.press("4")
        head = next(line for line in lines if "asyncpg" in line and "psycopg" in line)
        assert head.index("asyncpg") < head.index("psycopg")
        signature = [line.split() for line in lines if "BES ×" in line]
        assert signature
        pen, strips = driven.app.view.pen, driven.app.screen._compositor.render_strips()
        roles = {}
        for strip in strips:
            title = strip.text.strip("▌ ").partition("  ")[0]
            values = [segment.style for segment in strip if segment.text.strip() and any(letter.isdigit() for letter in segment.text)]
            roles[title] = values
        assert roles["set-up round trips each"] == [pen.on("background")["dim"]] * 2
        assert pen.on("background")["text"] in roles["Parse named / unnamed"]
        await journey.press("a")
        assert "per execution" in await driven.text()


async def test_the_round_trips_of_a_cell() -> None:
    """`4`, down to a counter, `enter`: those round trips, by a filter that can be read; each counter's is understood."""
    async with opened([FINDINGS / "pipeline_error.pgtrace", *BOTH]) as driven:
        await driven.type("4")
        drivers = driven.areas.panes["drivers"]
        seen = {}
        for place in range(drivers.count()):
            drivers.go(place)
            title = drivers.column_looked_at
            await driven.type("enter")
            listing = driven.app.view.listing
            seen[title] = listing.filtering.text, listing.matching
            await driven.type("escape")
            assert driven.areas.pane == "drivers"
        names = {driver.driver: driver.counters for driver in driven.app.view.snapshot.drivers}
        first = names[seen["Query"][0].split()[0].removeprefix("driver:")]
        assert seen["round trips"][1] >= first.round_trips
        assert seen["Query"] == (f"{seen['round trips'][0]} type:Query", first.queries)
        assert seen["pipelined executions"][0].endswith(" depth > 1")
        assert seen["errors"][1] == (1 if first.errors else 0)


async def test_what_the_pooler_did() -> None:
    """`6 enter r r`: the Parse was accepted, a run was fine, then 26000."""
    async with opened([FINDINGS / "pooler_26000.pgtrace"]) as driven:
        journey = Journey(driven, 4)
        await journey.press("6\r")
        assert "PDH → 1tT" in under_cursor(await driven.lines())
        assert "BES → 2DCZ" in under_cursor(await journey.press("r"))
        assert "26000" in under_cursor(await journey.press("r"))


typed = pytest.mark.parametrize(
    ("files", "keys", "seen"),
    [
        ([FINDINGS / "values_in_text.pgtrace", *BOTH], ("2", "\r"), ("rt▾", "/ driver:")),
        ([FINDINGS / "values_in_text.pgtrace", *BOTH], ("3", "s", "s"), ("busy, idle", "rt▾", "live▾")),
        ([FINDINGS / "prepared_leak.pgtrace"], ("6",), ("prepared-leak",)),
        ([FINDINGS / "pipeline_error.pgtrace"], ("n", "\r", "r"), ("2 executions skipped", "already exists", "what failed")),
        (BOTH, ("4",), ("Parse named / unnamed",)),
        (BOTH, ("7", "n", "\r"), ("PDH → 1tT", "n next difference", "beside")),
        ([FINDINGS / "pooler_26000.pgtrace"], ("6", "\r", "r"), ("remedy", "/ conn:1", "the next row of the finding")),
    ],
    ids=["statement", "connection", "leak", "pipeline", "drivers", "differences", "pooler"],
)


@pytest.mark.sampled(2)
@typed
def test_on_a_terminal(files: list[Path], keys: tuple[str, ...], seen: tuple[str, ...]) -> None:
    with Terminal("open", *map(str, files)) as terminal:
        terminal.wait_for("■ ")
        terminal.wait_for("6 Find")
        for key, text in zip(keys, seen, strict=True):
            terminal.after(key, text)
        terminal.type("q")
        assert terminal.ended() == 0


@pytest.mark.skipif(not THERE, reason="needs tmux")
@pytest.mark.sampled(3)
@typed
def test_in_tmux(tmp_path: Path, files: list[Path], keys: tuple[str, ...], seen: tuple[str, ...]) -> None:
    with Multiplexer(tmp_path, "open", *map(str, files)) as window:
        window.wait_for("6 Find")
        for key, text in zip(keys, seen, strict=True):
            window.press({"\r": "Enter"}.get(key, key))
            window.wait_for(text)
        window.press("q")
        assert window.ended() == 0


@pytest.mark.skipif(not THERE, reason="needs tmux")
def test_a_window_of_tmux_that_changes_its_size(tmp_path: Path) -> None:
    with Multiplexer(tmp_path, "open", *map(str, BOTH)) as window:
        window.wait_for("7 Diff (3)")
        window.press("1")
        window.wait_for("PBDES → 12TDCZ")
        for (width, height), heads in {
            (80, 24): "2 Stmts",
            (200, 60): "statement",
            (59, 20): "needs 60x12",
            (120, 40): "rt/ex pipelined",
        }.items():
            window.resize(width, height)
            lines = window.wait_for(heads)
            assert len(lines) <= height
            assert max(map(len, lines)) <= width
        window.press("C-c")
        assert window.ended() == 0
