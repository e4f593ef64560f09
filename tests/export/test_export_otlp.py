"""Spans and metrics of captures: one span for each round trip, with the attributes of the conventions, and the same ids each time."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pgtrace.export import otlp
from pgtrace.legs import joins as legs
from pgtrace.trace.trace import Trace
from tests import playbook
from tests.export.receiver import parsed
from tests.traces import fully_read

ROOT = Path(__file__).parents[2]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CAPTURES = sorted((ROOT / "captures").glob("*/[eft]*.pgtrace"))


def lines(path: Path, **options: Any) -> list[bytes]:
    trace = fully_read(path)
    text = "".join(str(piece.content) for piece in otlp.export(trace, **options))
    trace.close()
    return text.encode().splitlines()


def spans_of(path: Path, **options: Any) -> list[Any]:
    requests = [parsed("/v1/traces", line) for line in lines(path, **options)]
    return [span for request in requests for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]


def played(tmp_path: Path, script: str, **options: Any) -> list[Any]:
    """The spans of a script without its set-up."""
    path = tmp_path / "played.pgtrace"
    playbook.write(path, script)
    return [span for span in spans_of(path, **options) if "pgtrace.setup" not in said(span)]


def said(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_span_for_each_round_trip(path: Path) -> None:
    trace = fully_read(path)
    totals = trace.totals()
    trace.close()
    spans = spans_of(path)
    assert len(spans) == totals.round_trips + totals.setup_round_trips
    assert len({span.span_id for span in spans}) == len(spans)
    assert all(span.kind == 3 and span.end_time_unix_nano >= span.start_time_unix_nano for span in spans)


def test_twice_the_same() -> None:
    path = ROOT / "captures" / "asyncpg" / "executemany.pgtrace"
    assert lines(path) == lines(path)


def test_an_id_depends_on_nothing_that_comes_later(tmp_path: Path) -> None:
    """Ids follow from the connection and its streams, not from the place in the file."""
    whole = "F Query select 1\nB CommandComplete SELECT 1 | ReadyForQuery I\n" * 3
    first, *others = played(tmp_path, f"{whole}end")
    (tmp_path / "played.pgtrace").unlink()
    again = played(tmp_path, f"{whole}{whole}end")
    assert [span.span_id for span in again[:3]] == [first.span_id, *(span.span_id for span in others)]


def test_the_attributes_of_a_statement(tmp_path: Path) -> None:
    (span,) = played(
        tmp_path,
        "F Parse s1 SELECT name FROM item WHERE id = $1 | Bind - s1 params=7 | Execute - | Sync\n"
        "B ParseComplete | BindComplete | DataRow tea | CommandComplete SELECT 1 | ReadyForQuery I\nend",
    )
    assert (span.name, span.status.code, span.parent_span_id) == ("SELECT item", 0, b"")
    found = said(span)
    assert {name: found[name] for name in found if name.startswith(("db.", "error."))} == {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "db.query.text": "SELECT name FROM item WHERE id = $1",
        "db.query.summary": "SELECT item",
    }
    assert found["pgtrace.flight"] == "PBES → 12DCZ"


@pytest.mark.parametrize(
    ("options", "text"),
    [({}, "update item set name = ? where id = ?"), ({"literals": True}, "update item set name = 'x' where id = 7 -- 8")],
)
def test_values_stay_here_unless_asked(options: dict[str, bool], text: str, tmp_path: Path) -> None:
    (span,) = played(
        tmp_path, "F Query update item set name = 'x' where id = 7 -- 8\nB CommandComplete UPDATE 1 | ReadyForQuery I\nend", **options
    )
    assert said(span)["db.query.text"] == text


def test_several_statements_are_a_batch(tmp_path: Path) -> None:
    (span,) = played(
        tmp_path,
        "F Parse - select a from one | Bind - - | Execute - | Parse - select b from two | Bind - - | Execute - | Sync\n"
        "B ParseComplete | BindComplete | CommandComplete SELECT 0 | ParseComplete | BindComplete | CommandComplete SELECT 0 | "
        "ReadyForQuery I\nend",
    )
    found = said(span)
    assert (span.name, found["db.operation.batch.size"]) == ("SELECT one; SELECT two", 2)
    assert found["db.query.text"] == "select a from one; select b from two"


def test_an_error_is_one(tmp_path: Path) -> None:
    (span,) = played(tmp_path, "F Query select 1\nB ErrorResponse 23505 duplicate key | ReadyForQuery I\nend")
    assert (span.status.code, span.status.message) == (2, "duplicate key")
    assert (said(span)["db.response.status_code"], said(span)["error.type"]) == ("23505", "23505")


def test_each_error_is_an_exception_at_its_time(tmp_path: Path) -> None:
    script = """
    10 F Query select 'a'::int | Query select 1; select nothing
    12 B ErrorResponse 22P02 invalid input syntax | ReadyForQuery I
    15 B CommandComplete SELECT 1 | ErrorResponse 42703 no such column | ReadyForQuery I
    20 F Query select 1
    21 B CommandComplete SELECT 1 | ReadyForQuery I
    end
    """
    failed, good = played(tmp_path, script)
    events = [(event.name, event.time_unix_nano - failed.start_time_unix_nano, said(event)) for event in failed.events]
    assert events == [
        ("exception", 2_000_000, {"exception.type": "22P02", "exception.message": "invalid input syntax"}),
        ("exception", 5_000_000, {"exception.type": "42703", "exception.message": "no such column"}),
    ]
    assert not good.events


def test_an_error_whose_bytes_are_gone_is_an_exception_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp.details, "read", lambda *_: otlp.details.Details(note=otlp.details.NOT_KEPT))
    (span,) = played(tmp_path, "10 F Query select 1\n13 B ErrorResponse 23505 duplicate key | ReadyForQuery I\nend")
    (event,) = span.events
    assert event.time_unix_nano == span.end_time_unix_nano
    assert said(event) == {"exception.type": "23505", "exception.message": "duplicate key"}


def test_both_sides_of_a_pooler_are_linked() -> None:
    paths = [ROOT / "tests" / "data" / "poolers" / name for name in ("front.pgtrace", "back.pgtrace")]
    trace = Trace.open(paths)
    while trace.update():
        pass
    joins = legs.find(trace)
    assert joins is not None
    text = "".join(str(piece.content) for piece in otlp.export(trace)).encode()
    requests = [parsed("/v1/traces", line) for line in text.splitlines()]
    spans = {
        said(span)["pgtrace.row"]: span
        for request in requests
        for part in request.resource_spans
        for scope in part.scope_spans
        for span in scope.spans
    }
    kinds = Counter()
    for place in range(len(trace.rows)):
        if place + 1 not in spans:
            continue
        expected = joins.across(place) if joins.state(place) in (legs.State.JOINED, legs.State.ADDED) else ()
        links = spans[place + 1].links
        assert [(link.trace_id, link.span_id) for link in links] == [(spans[one + 1].trace_id, spans[one + 1].span_id) for one in expected]
        kinds.update(said(link)["pgtrace.join"] for link in links)
    trace.close()
    assert kinds == {"joined": 102, "added": 3}


def test_one_side_has_no_links() -> None:
    assert not any(span.links for span in spans_of(ROOT / "tests" / "data" / "poolers" / "front.pgtrace"))


def test_a_traceparent_is_the_parent(tmp_path: Path) -> None:
    (span,) = played(tmp_path, f"F Query select 1 /*traceparent='{PARENT}'*/\nB CommandComplete SELECT 1 | ReadyForQuery I\nend")
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.flags) == (PARENT[3:35], PARENT[36:52], 0x301)


def test_what_was_prepared_earlier_has_no_text(tmp_path: Path) -> None:
    (span,) = played(tmp_path, "F Bind - s9 params=7 | Execute - | Sync\nB BindComplete | CommandComplete SELECT 0 | ReadyForQuery I\nend")
    assert "db.query.text" not in said(span)
    assert span.name == "postgresql"


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    (span,) = played(tmp_path, "F Query select '\udcff' as \udcff\nB CommandComplete SELECT 1 | ReadyForQuery I\nend")
    assert said(span)["db.query.text"] == "select ? as \ufffd"


def test_the_choice_keeps_errors_and_slow_ones() -> None:
    path = ROOT / "captures" / "psycopg" / "failure.pgtrace"
    trace = fully_read(path)
    places = range(len(trace.rows))
    failed = [said(span)["pgtrace.row"] for span in request_of(trace, otlp.Choice(ratio=0.0), places)]
    slow = list(otlp.Spans(trace, otlp.Choice(ratio=0.0, slow_ns=1)).of(places))
    some = list(otlp.Spans(trace, otlp.Choice(ratio=0.5)).of(places))
    trace.close()
    assert failed == [row.number for row in rows_with_errors(path)]
    assert len(slow) == len(spans_of(path)) > len(some) >= len(failed)


def request_of(trace: Trace, choice: otlp.Choice, places: range) -> list[Any]:
    made = otlp.Spans(trace, choice)
    request = parsed("/v1/traces", made.request(list(made.of(places))))
    return [span for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]


def rows_with_errors(path: Path) -> list[Any]:
    trace = fully_read(path)
    found = [trace.rows[place] for place in range(len(trace.rows)) if trace.rows[place].shape.errors]
    trace.close()
    return found


def test_the_metrics_are_the_counters() -> None:
    path = ROOT / "captures" / "asyncpg" / "ten_queries.pgtrace"
    trace = fully_read(path)
    totals = trace.totals()
    trace.close()
    (line,) = lines(path, metrics=True)
    request = parsed("/v1/metrics", line)
    found = {metric.name: metric for part in request.resource_metrics for scope in part.scope_metrics for metric in scope.metrics}
    sums = {name: sum(point.as_int for point in metric.sum.data_points) for name, metric in found.items()}
    assert sums["pgwire.round_trips"] == totals.round_trips
    assert sums["pgwire.setup_round_trips"] == totals.setup_round_trips
    assert sums["pgwire.executions"] == totals.executions
    assert sums["pgwire.rows"] == totals.rows
    assert sums["pgwire.reused"] == totals.statements_reused
    assert found["pgwire.wait"].sum.data_points[0].as_double == pytest.approx(totals.wait_ns / 1e9)
    assert all(metric.sum.is_monotonic and metric.sum.aggregation_temporality == 2 for metric in found.values())
    points = sum(len(metric.sum.data_points) for metric in found.values())
    trace = fully_read(path)
    counted = otlp.Sums(trace)
    counted.add(range(len(trace.rows)))
    trace.close()
    assert counted.points == points
    assert not any(name.startswith("pgtrace_") for name in json.loads(line))


def test_both_sides_of_a_pooler_are_told_apart(tmp_path: Path) -> None:
    query = "Query select 1\nc{n} B CommandComplete SELECT 1 | ReadyForQuery I\n"
    path = tmp_path / "legs.pgtrace"
    playbook.write(path, "".join(f"c{n} F {query.format(n=n)}c{n} fact leg {leg}\n" for n, leg in ((1, "A"), (2, "B"))) + "end")
    assert [said(span)["pgtrace.leg"] for span in spans_of(path) if span.name == "SELECT"] == ["A", "B"]
    (line,) = lines(path, metrics=True)
    request = parsed("/v1/metrics", line)
    (trips,) = [
        metric
        for part in request.resource_metrics
        for scope in part.scope_metrics
        for metric in scope.metrics
        if metric.name == "pgwire.round_trips"
    ]
    assert {said(point)["pgtrace.leg"]: point.as_int for point in trips.sum.data_points} == {"A": 1, "B": 1}
