"""What is related to what, over captures of real drivers and a recorded shop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgtrace.inspect import details, related
from pgtrace.inspect.message import MessageView
from pgtrace.inspect.related import Related
from pgtrace.trace.feed import Feed
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace
from pgtrace.trace.transactions import Transactions

ROOT = Path(__file__).parents[2]


@pytest.fixture
def read() -> Iterator[Callable[[str], Trace]]:
    opened: list[Trace] = []

    def make(path: str) -> Trace:
        trace = Trace.open([ROOT / path])
        opened.append(trace)
        while trace.update():
            pass
        return trace

    yield make
    for trace in opened:
        trace.close()


def row_of(trace: Trace, place: int) -> Related | None:
    transactions = Transactions(trace.connections)
    feed = Feed(trace)
    feed.subscribe(transactions)
    feed.advance()
    return related.of_row(trace, place, transactions)


def find(trace: Trace, text: str) -> int:
    return next(
        place for place, row in enumerate(trace.rows) if text in row.shape.flight or text in row.label.sql or text in row.label.error
    )


def message_at(trace: Trace, found: Related | None) -> MessageView:
    assert found is not None
    return next(one for one in details.read(trace, found.place).messages if (one.side, one.offset) == found.message)


def test_an_error_is_about_the_bind_that_failed_and_that_about_its_parse(read: Callable[[str], Trace]) -> None:
    trace = read("tests/data/findings/pipeline_error.pgtrace")
    place = find(trace, "23505")
    bind = message_at(trace, row_of(trace, place))
    assert (bind.name, bind.execution, bind.skipped) == ("Bind", 3, False)
    messages = details.read(trace, place).messages
    parse = message_at(trace, related.of_message(trace, place, next(one for one in messages if one.offset == bind.offset), messages))
    assert (parse.name, parse.execution) == ("Parse", 3)


def test_a_reply_is_about_what_it_answers(read: Callable[[str], Trace]) -> None:
    trace = read("tests/data/findings/pipeline_error.pgtrace")
    place = find(trace, "23505")
    messages = details.read(trace, place).messages
    told = {}
    for one in messages:
        asked = related.of_message(trace, place, one, messages) if one.side else None
        if asked is not None:
            told.setdefault(one.name, message_at(trace, asked).name)
    assert told == {
        "ParseComplete": "Parse", "BindComplete": "Bind", "NoData": "Describe", "CommandComplete": "Execute", "ErrorResponse": "Bind",
        "ReadyForQuery": "Sync",
    }  # fmt: skip


def test_a_bind_is_about_the_parse_in_an_earlier_round_trip(read: Callable[[str], Trace]) -> None:
    trace = read("tests/data/findings/pooler_26000.pgtrace")
    failed = find(trace, "26000")
    bind = message_at(trace, row_of(trace, failed))
    assert bind.name == "Bind"
    messages = details.read(trace, failed).messages
    found = related.of_message(trace, failed, next(one for one in messages if one.name == "Bind"), messages)
    assert found is not None
    assert found.place == find(trace, "PDH → 1tT")
    assert message_at(trace, found).name == "Parse"
    # The row in between that runs it well leads there too.
    assert row_of(trace, find(trace, "BES → 2DCZ")) == found


def test_the_unnamed_statement_is_that_of_the_latest_parse(read: Callable[[str], Trace]) -> None:
    trace = read("captures/pg8000/ten_queries.pgtrace")
    runs = [place for place, row in enumerate(trace.rows) if row.shape.flight.startswith("BHEHS")]
    assert len(runs) > 5
    for place in runs[1:]:
        found = row_of(trace, place)
        assert found is not None
        before = [one for one in range(place) if trace.rows[one].shape.sent.startswith(b"P")]
        assert found.place == before[-1]


def test_a_cancel_and_its_victim(read: Callable[[str], Trace]) -> None:
    trace = read("captures/asyncpg/cancel.pgtrace")
    cancel = next(place for place, row in enumerate(trace.rows) if row.shape.kind is RowKind.CANCEL)
    victim = row_of(trace, cancel)
    assert victim is not None
    assert trace.rows[victim.place].label.error.startswith("57014")
    assert row_of(trace, victim.place) == Related(cancel, "the cancel")


def test_the_ends_of_a_transaction(read: Callable[[str], Trace]) -> None:
    trace = read("captures/psycopg2/pool.pgtrace")
    ends = [place for place, row in enumerate(trace.rows) if row.shape.block_end]
    assert len(ends) == 3
    for end in ends:
        found = row_of(trace, end)
        assert found is not None
        assert trace.rows[found.place].shape.block_began
        assert row_of(trace, found.place) == Related(end, "where its transaction ends")


def test_what_stands_alone_is_related_to_nothing(read: Callable[[str], Trace]) -> None:
    trace = read("captures/psycopg/connect.pgtrace")
    assert [row_of(trace, place) for place in range(len(trace.rows))] == [None] * len(trace.rows)
