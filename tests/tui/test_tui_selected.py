"""What a filter selects is the same in every pane, and never more than that."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from pgtrace.ask.filter import parse
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.judge.advice import Advice
from pgtrace.trace.feed import Feed
from pgtrace.trace.trace import Trace
from pgtrace.tui.model.filtering import both
from pgtrace.tui.model.selected import Selected
from tests.tui.driving import opened

ROOT = Path(__file__).parents[2]
FINDINGS = ROOT / "tests" / "data" / "findings"
CAPTURES = [
    FINDINGS / "pipeline_error.pgtrace",
    FINDINGS / "prepared_leak.pgtrace",
    ROOT / "captures" / "psycopg" / "executemany.pgtrace",
    ROOT / "captures" / "rails+ruby-pg" / "ten_queries.pgtrace",
]


@pytest.mark.parametrize("text", ["ms > 0.5", "type:Parse", "not error", "sql ~ item"])
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_statements_add_up_to_those_of_a_second_reading(path: Path, text: str) -> None:
    with contextlib.closing(Trace.open([path])) as trace:
        while trace.update():
            pass
        feed = Feed(trace)
        advice = Advice(trace, feed=feed)
        feed.advance()
        selection = parse(text).over(trace)
        selected = Selected(trace, advice, lambda index: trace.connections[index].driver)
        selected.take(selection.counted(trace.rows.columns(0, len(trace.rows))))
        with contextlib.closing(CountedTrace(parse(text).over(trace))) as counted:
            while counted.update():
                pass
            views = counted.statements()
        for view in views:
            group = view.group
            own = selected.statement(view.driver, group.number)
            assert own is not None
            for name in ("parses", "reused", "executions", "round_trips", "round_trips_alone", "rows", "errors"):
                assert getattr(own, name) == getattr(group, name), (group.sql, name)
            assert (own.values_text, own.values_binary) == (group.values_text, group.values_binary)


def test_both_of_two_filters() -> None:
    assert both("", "conn:1") == "conn:1"
    assert both("conn:1", "conn:1") == "conn:1"
    assert both("error or ms > 1", "conn:1") == "(error or ms > 1) conn:1"


async def test_a_filter_is_typed_where_one_is_and_esc_takes_it_back() -> None:
    async with opened([FINDINGS / "pipeline_error.pgtrace", ROOT / "captures" / "asyncpg" / "ten_queries.pgtrace"]) as driven:
        for pane in "23456":
            name = (await driven.press(pane)) and driven.areas.pane
            before = driven.areas.panes[name].count()
            await driven.type("/", *"driver:psycopg", "enter")
            driven.app.tick()
            text = await driven.text()
            assert driven.areas.pane == name
            assert "/ driver:psycopg" in text
            assert " filtered " in text
            assert "asyncpg" not in text.partition("fold")[2].partition("Findings")[2]
            assert driven.areas.panes[name].count() <= before
            await driven.type("escape")
            driven.app.tick()
            assert driven.areas.pane == name
            assert driven.app.view.listing.filtering.everything
            assert driven.areas.panes[name].count() == before


async def test_a_pane_narrows_what_the_filter_shows() -> None:
    async with opened([FINDINGS / "pipeline_error.pgtrace"]) as driven:
        await driven.type("/", *"type:Parse or error", "enter", "2")
        await driven.counted()
        await driven.type("enter")
        assert driven.app.view.listing.filtering.text.startswith("(type:Parse or error) driver:psycopg like:")


@pytest.mark.parametrize("text", ["error", "type:Bind", "depth > 1", "ms > 1"])
async def test_counters_are_never_more_than_what_is_selected(text: str) -> None:
    async with opened(CAPTURES) as driven:
        view = driven.app.view
        view.listing.choose(text)
        while view.listing.behind:
            view.reading.sync()
        while view.counted.sums is None:
            view.counted.advance(0.0, None)
        totals = view.counted.sums.totals
        assert totals.round_trips <= view.listing.matching
        for name in ("executions", "pipelined_executions", "errors", "rows", "frontend_bytes", "backend_bytes", "wait_ns"):
            assert getattr(totals, name) <= getattr(view.snapshot.totals, name)
        assert sum(one.round_trips for one in view.counted.sums.by_connection.values()) == totals.round_trips
        assert sum(one.counters.round_trips for one in view.drivers) == totals.round_trips
