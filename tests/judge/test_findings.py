"""Each kind of finding: told where it applies, with its exact cost and rows; silent next to it. And
what every recorded scenario of every driver yields."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pgtrace.ask import filter
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Data, Record
from pgtrace.capture.writer import CaptureWriter
from pgtrace.identify import drivers, layers
from pgtrace.judge import advice, track
from pgtrace.judge.advice import Advice
from pgtrace.judge.finding import Finding
from pgtrace.judge.findings import KINDS
from pgtrace.judge.findings.kind import FAILED
from pgtrace.judge.unexplained import Unexplained
from pgtrace.legs import joins
from pgtrace.report import advice as report
from pgtrace.report import answer
from pgtrace.trace.trace import Trace
from tests import playbook
from tests.judging import Judge, judge_once

ROOT = Path(__file__).parents[2]
CAPTURES = ROOT / "captures"
EXPECTED = Path(__file__).parents[1] / "data" / "findings.txt"

Advised = Callable[..., list[Finding]]


@pytest.fixture
def advised(tmp_path: Path) -> Iterator[Advised]:
    """The findings of a script."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def advise(*lines: str, selected: str | None = None) -> list[Finding]:
            trace = Trace.open([playbook.write(tmp_path / f"{next(numbers)}.pgtrace", "\n".join(lines))])
            stack.callback(trace.close)
            trace.read_until(1 << 62)
            found = Advice(trace, filter.parse(selected).over(trace).selects if selected else None)
            assert found.update()
            return found.findings()

        yield advise


def told(findings: list[Finding]) -> list[tuple[str, int]]:
    return [(one.name, one.number) for one in findings]


def places(finding: Finding) -> list[int]:
    return [one.place for one in finding.evidence]


def query(sql: str, tag: str = "SELECT 1", status: str = "I") -> str:
    return f"F Query {sql}\nB CommandComplete {tag} | ReadyForQuery {status}"


def prepare(name: str, sql: str, flush: str = "Flush") -> str:
    ready = " | ReadyForQuery I" if flush == "Sync" else ""
    return f"F Parse {name} {sql} | Describe S {name} | {flush}\nB ParseComplete | ParameterDescription 23 | RowDescription name:25{ready}"


VALUES = itertools.count(1000)


def bind(name: str, status: str = "I", parse: str = "", value: int | None = None) -> str:
    """A statement run, with another value each time."""
    value = next(VALUES) if value is None else value
    parsed = ("F " + parse + " | ", "B ParseComplete | ") if parse else ("F ", "B ")
    run = f"Bind - {name} params={value} | Execute - | Sync"
    return f"{parsed[0]}{run}\n{parsed[1]}BindComplete | DataRow tea | CommandComplete SELECT 1 | ReadyForQuery {status}"


def binds(many: int) -> list[str]:
    return [bind("s1") for _ in range(many)]


ITEM = "SELECT name FROM item WHERE id = $1"
DONE = "F Terminate\nc1 close F\nend"


BATCH = (
    "F Bind - s1 params=7 | Execute - | Bind - s1 params=8 | Execute - | Sync\n"
    "B BindComplete | CommandComplete SELECT 1 | BindComplete | CommandComplete SELECT 1 | ReadyForQuery I"
)


# n+1.


def test_a_loop_costs_every_execution_but_the_first(advised: Advised) -> None:
    [one] = advised(prepare("s1", ITEM), *binds(12), DONE)
    assert (one.name, one.cost, one.note.subject) == ("n+1", 11, ITEM)
    assert places(one) == [2, 3, 4, 5]  # behind set-up and the Parse
    assert "12 times" in one.what


def test_a_loop_of_values_in_the_text_is_one_too(advised: Advised) -> None:
    assert told(advised(*(query(f"SELECT name FROM item WHERE id = {number}") for number in range(5)), DONE)) == [("n+1", 4)]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([prepare("s1", ITEM), *binds(4)], id="too few"),
        pytest.param([prepare("s1", ITEM), *(part for _ in range(6) for part in (bind("s1"), query("SELECT now()")))],
        id="something between"),
        pytest.param([query("SELECT 1 AS x FROM generate_series(x, x)")] * 1 + [query("SELECT now()")] * 9, id="no value in it"),
        pytest.param([query(f"FETCH {number} FROM cursor_1", "FETCH 1") for number in range(9)], id="a cursor"),
        pytest.param([query(f"SET work_mem = {number}", "SET") for number in range(9)], id="settings"),
        pytest.param(
            [prepare("s1", ITEM), *[BATCH] * 6],
            id="batches",
        ),
        pytest.param([prepare("s1", ITEM), *(f"{1000 * n} {bind('s1')}" for n in range(1, 9))], id="a poll"),
        pytest.param([prepare("s1", ITEM), *binds(3), "gap 50", "F Sync\nB ReadyForQuery I", *binds(3)], id="a gap between"),
    ],
)  # fmt: skip
def test_no_loop(advised: Advised, lines: list[str]) -> None:
    assert "n+1" not in {one.name for one in advised(*lines, DONE)}


def suspended(sql: str, value: int, status: str = "I") -> str:
    """As a driver sends it that asks for one row: the portal is left suspended, and no tag comes."""
    return (
        f"F Parse - {sql} | Bind - - params={value} | Execute - 1 | Sync\n"
        f"B ParseComplete | BindComplete | DataRow 1 | PortalSuspended | ReadyForQuery {status}"
    )


@pytest.mark.parametrize(
    ("sql", "does"),
    [
        ("INSERT INTO t (a) VALUES ($1) RETURNING id", "writes"),
        ("WITH x AS (DELETE FROM t WHERE id = $1 RETURNING a) SELECT a FROM x", "writes"),
        ("SELECT a FROM t WHERE id = $1", "reads"),
        ("SELECT f($1)", "calls"),
        ("SELECT pg_notify('a', $1)", "calls"),
        ("SELECT * FROM f($1)", "calls"),
        ("SELECT f(a) FROM t WHERE id = $1", "reads"),
    ],
)
def test_the_remedy_of_a_loop_is_for_what_it_does(advised: Advised, sql: str, does: str) -> None:
    found = {one.name: one for one in advised(*(suspended(sql, number) for number in range(6)), DONE)}
    assert {"reads", "writes", "calls"} & found["n+1"].note.facts.keys() == {does}
    assert any("unnest" in remedy for remedy in found["n+1"].remedies) == (does == "calls")


def test_what_was_written_in_between_changes_the_answer(advised: Advised) -> None:
    ask, write = suspended(ITEM, 1), suspended("UPDATE item SET n = n + 1 WHERE id = $1 RETURNING n", 1)
    assert "repeat" in {one.name for one in advised(*[ask] * 6, DONE)}
    assert "repeat" not in {one.name for one in advised(*[ask, write] * 6, DONE)}
    assert "repeat" not in {one.name for one in advised(*[suspended("DELETE FROM job WHERE a = $1 RETURNING id", 1)] * 6, DONE)}


def test_a_cursor_that_is_bound_before_its_first_portion(advised: Advised) -> None:
    lines = [query("BEGIN", "BEGIN", "T"), prepare("s1", "SELECT a FROM item")]
    lines += ["F Bind p s1 | Sync\nB BindComplete | ReadyForQuery T"]
    lines += ["F Execute p 1 | Sync\nB DataRow 1 | PortalSuspended | ReadyForQuery T"] * 12
    lines += ["F Execute p 1 | Sync\nB CommandComplete SELECT 0 | ReadyForQuery T", query("COMMIT", "COMMIT")]
    assert told(advised(*lines, DONE)) == [("fetch-size", 12)]


def test_in_a_block_a_slow_loop_is_one(advised: Advised) -> None:
    lines = [
        prepare("s1", ITEM),
        query("BEGIN", "BEGIN", "T"),
        *(f"{1000 + 200 * n} {bind('s1', 'T')}" for n in range(6)),
        query("COMMIT", "COMMIT"),
    ]
    assert told(advised(*lines, DONE)) == [("n+1", 5)]


def test_a_pool_of_connections_has_one_finding(advised: Advised) -> None:
    lines = [f"c{number} {line}" for number in (1, 2) for part in (prepare("s1", ITEM), *binds(5)) for line in part.splitlines()]
    [one] = advised(*lines, "end")
    assert (one.cost, one.note.connections, one.note.amount) == (8, [0, 1], 2)


def test_a_filter_counts_what_it_selects(advised: Advised) -> None:
    lines = [f"c{number} {line}" for number in (1, 2) for part in (prepare("s1", ITEM), *binds(5)) for line in part.splitlines()]
    assert told(advised(*lines, "end", selected="conn:2")) == [("n+1", 4)]
    assert told(advised(*lines, "end", selected="error")) == []


# Preparing.


def test_parse_and_describe_each_time(advised: Advised) -> None:
    found = advised(*[prepare("-", ITEM, "Flush"), bind("-"), query("SELECT now()")] * 4, DONE)
    [one] = found
    assert (one.name, one.cost, one.note.subject) == ("extra-describe", 3, "PDH · BES")
    assert one.evidence[0].words.startswith("runs nothing")


def test_the_first_parse_of_each_text_is_how_a_cache_is_filled(advised: Advised) -> None:
    lines = [part for n in range(6) for part in (prepare(f"s{n}", f"SELECT c{n} FROM item WHERE id = $1"), bind(f"s{n}"), bind(f"s{n}"))]
    assert advised(*lines, DONE) == []


def test_statements_that_are_prepared_and_run_once(advised: Advised) -> None:
    lines = [part for n in range(6) for part in (prepare(f"s{n}", ITEM), bind(f"s{n}"), query(f"DEALLOCATE s{n}", "DEALLOCATE"))]
    one, loop = advised(*lines, DONE)
    assert (one.name, one.cost) == ("prepared-once", 10)  # five further Parses and five of the DEALLOCATEs
    assert "6 times" in one.what
    assert (loop.name, loop.cost) == ("n+1", 5)  # what it runs with another value each time


def test_two_texts_in_turn_are_two_findings(advised: Advised) -> None:
    other = "SELECT price FROM item WHERE id = $1"
    lines = [
        part
        for n in range(12)
        for part in (prepare(f"s{n}", (ITEM, other)[n % 2]), bind(f"s{n}"), "F Close S s0 | Sync\nB CloseComplete | ReadyForQuery I")
    ]
    assert [(one.name, one.cost, one.note.subject) for one in advised(*lines, DONE)] == [
        ("n+1", 10, f"{ITEM} · {other}"),
        ("prepared-once", 10, ITEM),
        ("prepared-once", 10, other),
    ]


def test_a_statement_that_is_used_again_is_not_prepared_once(advised: Advised) -> None:
    lines = []
    for n in range(8):
        lines += [prepare(f"s{n}", ITEM), bind(f"s{n}"), query("SELECT now()"), bind(f"s{n}"), query(f"DEALLOCATE s{n}", "DEALLOCATE")]
    assert advised(*lines, DONE) == []


def test_statements_pile_up(advised: Advised) -> None:
    lines = [
        part
        for n in range(12)
        for part in (prepare(f"s{n}", f"SELECT name FROM item WHERE id = {n}"), bind(f"s{n}"), bind(f"s{n}"), query("SELECT now()"))
    ]
    [one] = advised(*lines, DONE)
    assert (one.name, one.number, one.note.times) == ("prepared-leak", 12, 12)
    assert one.cost == 0


def test_statements_that_are_given_up_do_not_pile_up(advised: Advised) -> None:
    lines = []
    for n in range(12):
        lines += [prepare(f"s{n}", f"SELECT name FROM item WHERE id = {n}"), *[bind(f"s{n}")] * 2, query(f"DEALLOCATE s{n}", "DEALLOCATE")]
    assert "prepared-leak" not in {one.name for one in advised(*lines, DONE)}


def test_the_same_text_parsed_for_each_execution(advised: Advised) -> None:
    lines = [part for _ in range(9) for part in (bind("-", parse=f"Parse - {ITEM}"), query("SELECT now()"))]
    assert told(advised(*lines, DONE)) == [("re-parse", 9)]


def test_five_parses_before_the_driver_prepares_are_its_habit(advised: Advised) -> None:
    lines = [part for _ in range(5) for part in (bind("-", parse=f"Parse - {ITEM}"), query("SELECT now()"))]
    lines += [prepare("_pg3_0", ITEM, "Sync"), *(part for _ in range(9) for part in (bind("_pg3_0"), query("SELECT now()")))]
    assert advised(*lines, DONE) == []


# Failures.


def test_a_pooler_lost_the_statement(advised: Advised) -> None:
    failed = 'F Bind - s1 params=7 | Execute - | Sync\nB ErrorResponse 26000 prepared statement "s1" does not exist | ReadyForQuery I'
    [one] = advised(prepare("s1", ITEM), bind("s1"), failed, DONE)
    assert (one.name, one.number, one.failed) == ("pooler-26000", 1, True)
    assert "a pooler moved the session" in one.what
    assert places(one) == [1, 2, 3]
    assert "max_prepared_statements" in one.remedies[0]


def test_the_session_gave_the_statement_up_itself(advised: Advised) -> None:
    failed = 'F Bind - s1 params=7 | Execute - | Sync\nB ErrorResponse 26000 prepared statement "s1" does not exist | ReadyForQuery I'
    [one] = advised(prepare("s1", ITEM), bind("s1"), query("DISCARD ALL", "DISCARD ALL"), failed, DONE)
    assert one.name == "statement-dropped"
    assert "this session dropped it by DISCARD ALL" in one.what
    assert "pooler" not in one.what + one.kind.why + "".join(one.remedies)
    assert places(one) == [1, 2, 3, 4]


def test_a_pooler_has_the_name_already(advised: Advised) -> None:
    failed = f'F Parse s1 {ITEM} | Describe S s1 | Sync\nB ErrorResponse 42P05 prepared statement "s1" already exists | ReadyForQuery I'
    [one] = advised(failed, DONE)
    assert one.name == "pooler-42P05"
    assert "not from this session" in one.what
    assert advised(prepare("s1", ITEM), failed, DONE) == []  # the session prepared it itself: no pooler


def test_a_pipeline_that_fails(advised: Advised) -> None:
    run = "Parse - INSERT INTO item VALUES ($1) | Bind - - params=7 | Execute -"
    [one] = advised(
        "F " + " | ".join([run] * 5) + " | Sync",
        "B ParseComplete | BindComplete | CommandComplete INSERT 0 1 | ParseComplete | BindComplete | CommandComplete INSERT 0 1"
        " | ParseComplete | BindComplete | ErrorResponse 23505 duplicate key | ReadyForQuery I",
        DONE,
    )  # fmt: skip
    assert (one.name, one.kind.unit) == ("pipeline-error", FAILED)
    assert one.what == "23505 duplicate key: execution 3 of 5; 2 after such errors skipped up to the Sync"


def test_statements_into_an_aborted_transaction(advised: Advised) -> None:
    aborted = "F Query SELECT now()\nB ErrorResponse 25P02 current transaction is aborted | ReadyForQuery E"
    failed = "F Query INSERT INTO item VALUES (1)\nB ErrorResponse 23505 duplicate key | ReadyForQuery E"
    [one] = advised(query("BEGIN", "BEGIN", "T"), failed, aborted, aborted, query("ROLLBACK", "ROLLBACK"), DONE)
    assert (one.name, one.number, one.cost) == ("aborted-transaction", 2, 2)
    assert places(one) == [2, 3, 4]
    assert advised(query("BEGIN", "BEGIN", "T"), failed, query("ROLLBACK", "ROLLBACK"), DONE) == []


def test_an_unnamed_statement_that_is_bound_a_transaction_later(advised: Advised) -> None:
    pairs = [part for n in range(3) for part in (prepare("-", f"SELECT c{n} FROM item WHERE id = $1", "Sync"), bind("-"))]
    assert told(advised(*pairs, DONE)) == [("split-unnamed", 3)]


@pytest.mark.parametrize("flush", ["Flush", "Sync"])
def test_in_a_block_or_behind_a_flush_the_server_is_kept(advised: Advised, flush: str) -> None:
    pairs = [
        part
        for n in range(5)
        for part in (
            prepare("-", f"SELECT c{n} FROM item WHERE id = $1", flush).replace("ReadyForQuery I", "ReadyForQuery T"),
            bind("-", "T"),
        )
    ]
    assert advised(query("BEGIN", "BEGIN", "T"), *pairs, query("COMMIT", "COMMIT"), DONE) == []


# Around statements.


RESET = (
    "F Query SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;\n"
    "B CommandComplete SELECT 1 | CommandComplete CLOSE CURSOR ALL | CommandComplete UNLISTEN | CommandComplete RESET | ReadyForQuery I"
)
CHECKS = [
    pytest.param(RESET, id="reset"),
    pytest.param("F Query \nB EmptyQueryResponse | ReadyForQuery I", id="empty"),
    pytest.param("F Sync\nB ReadyForQuery I", id="Sync"),
    pytest.param("F Query SELECT 1\nB RowDescription x:23 | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I", id="SELECT 1"),
    pytest.param(suspended("SELECT 1", 1), id="SELECT 1 of one row"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_a_pool_that_asks_each_time(advised: Advised, check: str) -> None:
    assert told(advised(*[query("SELECT now()"), check] * 4, DONE)) == [("driver-overhead", 4)]


@pytest.mark.parametrize("check", CHECKS)
def test_a_connection_that_only_checks_has_no_overhead(advised: Advised, check: str) -> None:
    assert "driver-overhead" not in {one.name for one in advised(*[check] * 9, query("SELECT now()"), DONE)}


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_now_and_then_costs_little(advised: Advised, check: str) -> None:
    assert advised(*[*[query("SELECT now()")] * 10, check] * 4, DONE) == []


def test_a_ping_in_a_transaction_of_its_own(advised: Advised) -> None:
    ping = [query("BEGIN;", "BEGIN", "T"), "F Parse - ; | Describe S - | Flush\nB ParseComplete | ParameterDescription | NoData"]
    ping += ["F Bind - - | Execute - | Sync\nB BindComplete | EmptyQueryResponse | ReadyForQuery T", query("ROLLBACK;", "ROLLBACK")]
    work = [query("BEGIN", "BEGIN", "T"), query("SELECT now()", status="T"), query("SELECT 2 AS x", status="T"), query("COMMIT", "COMMIT")]
    [one] = advised(*[*ping, *work] * 3, DONE)
    assert (one.name, one.cost) == ("driver-overhead", 12)
    assert "an empty statement in a transaction of its own" in one.what
    assert advised(*ping, *work * 9, *ping, *work * 9, DONE) == []


@pytest.mark.parametrize("fails", [(), (0,), (7,), (0, 3, 7)])
def test_a_savepoint_is_needed_by_a_statement_that_fails(advised: Advised, fails: tuple[int, ...]) -> None:
    lines = [query("BEGIN", "BEGIN", "T")]
    for number in range(8):
        lines.append(query(f"SAVEPOINT s{number}", "SAVEPOINT", "T"))
        if number in fails:
            lines.append(
                f"F Query INSERT INTO t VALUES ({number})\nB ErrorResponse S=ERROR V=ERROR C=23505 M=x F=a L=1 R=b | ReadyForQuery E"
            )
            lines.append(query(f"ROLLBACK TO SAVEPOINT s{number}", "ROLLBACK", "T"))
        else:
            lines += [query(f"INSERT INTO t VALUES ({number})", "INSERT 0 1", "T"), query(f"RELEASE SAVEPOINT s{number}", "RELEASE", "T")]
    found = told(advised(*lines, query("ROLLBACK", "ROLLBACK"), DONE))
    assert found == ([] if fails else [("driver-overhead", 16)])


def test_a_transaction_around_one_statement(advised: Advised) -> None:
    begin, commit = query("BEGIN", "BEGIN", "T"), query("COMMIT", "COMMIT")
    [one] = advised(*[begin, query("SELECT now()", status="T"), commit] * 3, DONE)
    assert (one.name, one.cost) == ("begin-commit", 6)
    assert advised(*[begin, *[query("SELECT now()", status="T")] * 2, commit] * 5, DONE) == []
    assert advised(*[begin, query("SELECT now()", status="T"), commit] * 2, DONE) == []


def test_a_transaction_that_is_prepared_is_needed(advised: Advised) -> None:
    block = [
        query("BEGIN", "BEGIN", "T"),
        query("UPDATE t SET a = 1", "UPDATE 1", "T"),
        query("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION"),
    ]
    assert advised(*[*block, query("COMMIT PREPARED 'x'", "COMMIT PREPARED")] * 4, DONE) == []


def test_an_idle_transaction(advised: Advised) -> None:
    [one] = advised(
        query("BEGIN", "BEGIN", "T"),
        "5000 " + query("SELECT now()", status="T"),
        query("SELECT 2 AS x", status="T"),
        query("COMMIT", "COMMIT"),
        DONE,
    )
    assert (one.name, one.number, one.cost) == ("idle-in-transaction", 5, 0)
    assert advised(query("SELECT now()"), "5000 " + query("SELECT now()"), DONE) == []


@pytest.mark.parametrize(
    ("end", "seconds", "words"),
    [
        ("5000 F Terminate\n5001 c1 close F", 5, "the session ends"),
        ("5000 c1 ends F FIN\n5001 c1 close F", 5, "the session ends"),
        ("5000 c1 ends B FIN\n9000 c1 close B", 5, "the session ends"),
        ("400 B ErrorResponse FATAL 57P01 shutdown\n401 c1 ends B FIN\n5001 c1 close B", None, ""),
        ("400 c1 ends B FIN\n5000 F Query SELECT 1\n5001 c1 close B", None, ""),
        ("5001 c1 close F", None, ""),
    ],
    ids=["Terminate", "FIN", "server's FIN", "shut down", "soon", "end time unknown"],
)  # fmt: skip
def test_an_idle_transaction_ends_where_the_session_does(advised: Advised, end: str, seconds: float | None, words: str) -> None:
    found = advised(query("BEGIN", "BEGIN", "T"), query("SELECT now()", status="T"), end, "end")
    found = [one for one in found if one.name == "idle-in-transaction"]
    assert [(one.name, round(one.note.amount / 1e9, 1)) for one in found] == ([] if seconds is None else [("idle-in-transaction", seconds)])
    for one in found:
        assert [evidence.words for evidence in one.evidence] == [f"then {seconds:.1f} s without a message, status T", words]


def test_connecting_for_each_query(advised: Advised) -> None:
    def connections(many: int, queries: int) -> list[str]:
        lines = [[*query("SELECT now()").splitlines()] * queries + ["F Terminate", "close F"] for _ in range(many)]
        return [f"c{number} {line}" for number, part in enumerate(lines, 1) for line in part]

    [one] = advised(*connections(6, 1), "end")
    assert (one.name, one.cost, one.note.amount) == ("connect", 6, 6)
    assert one.what == "6 connections for 6 statements: connecting took 6 round trips"
    assert advised(*connections(6, 4), "end") == []
    assert advised(*connections(4, 1), "end") == []


def test_set_up_is_counted_apart_in_the_answer(judged: Judge) -> None:
    single = [f"c{number} {line}" for number in range(1, 7) for line in (*query("SELECT now()").splitlines(), "F Terminate", "close F")]
    loop = [f"c7 {line}" for part in (prepare("s1", ITEM), *binds(12)) for line in part.splitlines()]
    for lines, avoidable in (
        (single, "6 of 6 set-up round trips"),
        (loop, "11 of 13 round trips"),
        (single + loop, "11 of 19 round trips and 6 of 7 set-up round trips"),
    ):
        found = judged(*lines, "end")
        heading = next(line for line in answer.lines(found.trace, found.findings, Unexplained()) if line)
        assert heading.endswith(f"; up to {avoidable} can be avoided")


@pytest.mark.parametrize(
    "answer", ["DataRow tea | PortalSuspended | ReadyForQuery I", "ErrorResponse 22012 division by zero | ReadyForQuery I"]
)
def test_work_without_a_tag_is_work(advised: Advised, answer: str) -> None:
    """asyncpg's fetchval() asks for one row, and leaves its portal suspended."""
    asks = [
        "F Parse - SELECT name FROM item WHERE id = $1 | Bind - - params=1 | Execute - 1 | Sync",
        f"B ParseComplete | BindComplete | {answer}",
    ]
    lines = [f"c{number} {line}" for number in range(1, 7) for line in (*asks, "F Terminate", "close F")]
    (one,) = [one for one in advised(*lines, "end") if one.name == "connect"]
    assert one.what == "6 connections for 6 statements: connecting took 6 round trips"


# All of them.


def test_failures_come_first_then_cost(advised: Advised) -> None:
    failed = 'F Bind - s1 params=7 | Execute - | Sync\nB ErrorResponse 26000 prepared statement "s1" does not exist | ReadyForQuery I'
    lines = [prepare("s1", ITEM), *[query("SELECT now()"), CHECKS[2].values[0]] * 4, *binds(9), failed, DONE]
    assert told(advised(*lines)) == [("pooler-26000", 1), ("n+1", 8), ("driver-overhead", 4)]


def test_a_growing_capture_has_the_same_findings(tmp_path: Path) -> None:
    """Read piece by piece as it grows, each row waiting for its end, it finds what one reading of the whole finds."""
    source = CAPTURES / "pg8000" / "ten_queries.pgtrace"
    whole = Trace.open([source])
    whole.read_until(1 << 62)
    expected = Advice(whole)
    expected.update()
    data = source.read_bytes()
    path = tmp_path / "growing.pgtrace"
    path.write_bytes(data[:1000])
    growing = Trace.open([path])
    found = Advice(growing)
    turns = 0
    for size in range(1000, len(data) + 500, 500):
        path.write_bytes(data[:size])
        turns += growing.update()
        found.update(budget_s=0.0)
        found.findings()  # asking in between changes nothing
    while not found.update():
        pass
    assert turns > 5
    assert [(one.name, one.note) for one in found.findings()] == [(one.name, one.note) for one in expected.findings()]
    whole.close()
    growing.close()


def test_rows_of_a_finding_are_marked(tmp_path: Path) -> None:
    trace = Trace.open([playbook.write(tmp_path / "a.pgtrace", "\n".join([prepare("s1", ITEM), *binds(6), query("SELECT now()"), DONE]))])
    trace.read_until(1 << 62)
    found = Advice(trace)
    found.update()
    kinds = [found.kind_at(place) for place in range(len(trace.rows))]
    assert [kind.name if kind else "" for kind in kinds] == ["", "", *["n+1"] * 6, "", ""]
    trace.close()


def test_a_row_belongs_to_each_of_its_kinds(tmp_path: Path) -> None:
    """So each of its findings has its line of code, not only the one that is listed first."""
    parse = f"Parse - {ITEM}"
    trace = Trace.open([playbook.write(tmp_path / "a.pgtrace", "\n".join([*(bind("-", parse=parse) for _ in range(9)), DONE]))])
    trace.read_until(1 << 62)
    found = Advice(trace)
    found.update()
    assert [one.name for one in found.findings()] == ["n+1", "re-parse"]
    kinds = [tuple(kind.name for kind in found.kinds_at(place)) for place in range(len(trace.rows)) if found.kind_at(place)]
    assert kinds == [("n+1", "re-parse")] * 9
    trace.close()


def test_what_is_kept_is_bounded(advised: Advised, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track, "OPEN_SUBJECTS_KEPT", 3)
    lines = [query(f"SELECT c{text} FROM item WHERE id = {n}") for text in range(9) for n in range(5)]
    found = advised(*lines, DONE)
    assert sum(one.cost for one in found) == 36
    assert len(found) == 4
    assert found[0].note.subject == track.OTHERS


def test_whatever_the_bytes_nothing_is_raised(tmp_path: Path) -> None:
    """Real captures with bytes changed at random: there may be nonsense in them, but findings are found, and told."""
    chance = random.Random(7)
    for number, source in enumerate(
        ["pg8000/ten_queries", "pdo_pgsql/failure", "sqlx/pool", "pgjdbc/pipeline", "asyncpg/pool", "rails+ruby-pg/one_query"] * 8
    ):
        reader = CaptureReader(CAPTURES / f"{source}.pgtrace")
        path = tmp_path / f"{number}.pgtrace"
        with CaptureWriter(path, header=reader.header) as writer:
            while blocks := reader.read(1 << 20):
                for block in blocks:
                    writer.write([changed(one, chance) for one in block.records])
        reader.close()
        trace = Trace.open([path])
        trace.read_until(1 << 62)
        found = Advice(trace)
        found.update()
        list(report.lines(trace, found.findings(), found.unexplained()))
        trace.close()


def changed(one: Record, chance: random.Random) -> Record:
    if not isinstance(one, Data) or chance.random() > 0.1:
        return one
    data = bytearray(one.data)
    for _ in range(chance.randint(1, 3)):
        data[chance.randrange(len(data))] = chance.choice(b"PBDESCQZTI\x00\x01\x04\xff")
    return one._replace(data=bytes(data))


def test_a_long_statement_is_told_apart_and_cut_short(advised: Advised) -> None:
    long = "SELECT " + ", ".join(f"column_{n}" for n in range(1000)) + " FROM item WHERE id = "
    found = advised(*(query(f"{long}{n}") for n in range(6)), *(query(f"{long}{n} + 1") for n in range(6)), DONE)
    assert told(found) == [("n+1", 5), ("n+1", 5)]
    assert all(len(one.what) < 300 for one in found)


def test_every_kind_says_what_to_do() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        assert kind.remedies, kind.name
        assert kind.why.endswith("."), kind.name


def test_remedies_of_drivers_and_layers_are_about_kinds() -> None:
    kinds = {kind.name for kind in KINDS}
    for client in (*drivers.DRIVERS, *layers.LAYERS):
        assert client.remedies.keys() <= kinds, client.name


def test_each_kind_has_its_section() -> None:
    """And the section's example shows it: tests/test_docs_console.py runs them."""
    page = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0]: part for part in page.split("\n## ")[1:]}
    assert list(sections) == [kind.name for kind in KINDS]
    for name, section in sections.items():
        assert f"  {name}  " in section, name


REFUSED = ("0 c1 F SSLRequest", "1 c1 raw B 4e")


@pytest.mark.parametrize("how", [("2 c1 close F",), ("2 c1 ends F FIN",), ("2 c1 ends F FIN", "3 c1 ends B FIN", "3 c1 close F")])
def test_tls_refused_by_request(advised: Advised, how: tuple[str, ...]) -> None:
    (finding,) = advised(*REFUSED, *how)
    assert (finding.name, finding.number, finding.failed, places(finding)) == ("tls-refused", 1, True, [0])
    assert "--tls auto" in finding.remedies[0]
    assert "sslmode=disable" in finding.remedies[0]


def test_tls_refused_both_requests(advised: Advised) -> None:
    assert told(advised("0 c1 F GSSENCRequest", "1 c1 raw B 4e", "2 c1 F SSLRequest", "3 c1 raw B 4e", "4 c1 close F")) == [
        ("tls-refused", 1)
    ]


@pytest.mark.parametrize("fact", [("1 c1 fact opening TLS",), ()])
def test_tls_refused_at_once(advised: Advised, fact: tuple[str, ...]) -> None:
    (finding,) = advised("0 c1 opaque F 1548", *fact, "2 c1 opaque F 7", "3 c1 close B")
    assert (finding.name, finding.number) == ("tls-refused", 1)
    assert ("not PostgreSQL" in finding.what) is not bool(fact)


@pytest.mark.parametrize(
    "script",
    [
        (*REFUSED, "2 c1 F StartupMessage user=app", "3 c1 B AuthenticationOk | ReadyForQuery I", "4 c1 F Terminate", "5 c1 close F"),
        ("0 c1 F SSLRequest", "1 c1 close F"),  # it did not wait for the answer
        ("0 c1 F GSSENCRequest", "1 c1 raw B 4e", "2 c1 close F"),
        (*REFUSED, "60000 c1 close pgtrace"),  # it stayed, and said nothing
        ("0 c1 F SSLRequest", "1 c1 raw B 53", "1 c1 fact tls.frontend TLSv1.3", "2 c1 close F"),
        ("0 c1 opaque F 1548", "1 c1 opaque B 4000", "2 c1 close F"),  # TLS passed on
        ("0 c1 opaque F 30", "0 c1 fact opening unknown", "1 c1 close B"),  # another protocol
        ("0 c1 opaque F 1548", "0 c1 fact opening TLS", "1 c1 fact upstream.error refused", "1 c1 close pgtrace"),
        (*REFUSED, "2 c1 close F", "3 c2 F StartupMessage user=app", "4 c2 B AuthenticationOk | ReadyForQuery I", "5 c2 close F"),
    ],
    ids=["goes on", "no answer", "GSS", "waits", "gets it", "passed on", "another protocol", "no upstream", "comes back"],
)
def test_no_tls_refused(advised: Advised, script: tuple[str, ...]) -> None:
    assert "tls-refused" not in dict(told(advised(*script)))


@pytest.mark.parametrize("back", ["no", "with TLS", "without TLS"])
def test_a_handshake_that_fails(advised: Advised, back: str) -> None:
    """Whoever comes back without TLS did not insist."""
    script = ["0 c1 F SSLRequest", "1 c1 raw B 53", "2 c1 fact tls.frontend.error unknown ca", "2 c1 ends F FIN", "3 c1 close F"]
    if back != "no":
        encrypted = ["4 c2 F SSLRequest", "5 c2 raw B 53", "5 c2 fact tls.frontend TLSv1.3"] if back == "with TLS" else []
        login = ["6 c2 F StartupMessage user=app", "7 c2 B AuthenticationOk | ReadyForQuery I", "8 c2 F Terminate", "9 c2 close F"]
        script += [*encrypted, *login]
    found = advised(*script)
    assert told(found) == ([] if back == "without TLS" else [("tls-refused", 1)])
    if found:
        (finding,) = found
        assert finding.evidence[0].words == "the handshake failed: unknown ca"
        (remedy,) = finding.remedies
        assert remedy.startswith("sslrootcert")


@pytest.mark.parametrize("known", [1, 2])
def test_tls_refused_and_a_process_that_was_gone_before_it_was_found(advised: Advised, known: int) -> None:
    """pgx without sslmode comes back at once on another connection."""
    back = ("3 c2 F StartupMessage user=app", f"4 c{known} fact peer.process pool[7]", "5 c2 B AuthenticationOk | ReadyForQuery I")
    assert told(advised(*REFUSED, "2 c1 close F", *back, "6 c2 F Terminate", "7 c2 close F")) == []


def test_tls_refused_and_another_program_later(advised: Advised) -> None:
    late = ("9000 c2 F StartupMessage user=app", "9001 c2 B AuthenticationOk | ReadyForQuery I", "9002 c2 close F")
    assert told(advised(*REFUSED, "2 c1 close F", *late)) == [("tls-refused", 1)]
    other = (
        "3 c1 fact peer.process 1",
        "3 c2 F StartupMessage user=app",
        "4 c2 B AuthenticationOk | ReadyForQuery I",
        "5 c2 fact peer.process 2",
    )
    assert told(advised(*REFUSED, other[0], *other[1:], "6 c1 close F")) == [("tls-refused", 1)]


@functools.cache
def expectations() -> dict[str, str]:
    return {line[:36].strip(): line[36:].strip() for line in EXPECTED.read_text().splitlines() if not line.startswith("#")}


@pytest.mark.parametrize("capture", sorted(CAPTURES.glob("*/*.pgtrace")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recorded_scenario(capture: Path) -> None:
    """tests/data/findings.txt was checked by hand, and says of each kind why it is right; every capture that is not in it is silent."""
    found, left = judge_once(capture)
    told = ", ".join(f"{one.name} {one.number}" for one in found)
    unexplained = ", ".join(f"{what} x{times}" for what, times in {**left.errors, **left.ends}.items())
    assert " | ".join(part for part in (told, unexplained) if part) == expectations().get(f"{capture.parent.name}/{capture.stem}", "")


def test_expectations_are_about_captures_that_exist() -> None:
    assert expectations().keys() <= {f"{path.parent.name}/{path.stem}" for path in CAPTURES.glob("*/*.pgtrace")}


def test_of_too_many_open_connections_the_first_are_let_go(advised: Advised, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their notes are kept; one that goes on is watched again."""
    monkeypatch.setattr(advice, "TRACKS_KEPT", 3)
    lines = [f"c{number} {line}" for number in range(1, 9) for part in (prepare("s1", ITEM), *binds(6)) for line in part.splitlines()]
    again = [f"c1 {line}" for part in binds(6) for line in part.splitlines()]
    [one] = advised(*lines, *again, "end")
    assert (one.name, one.cost, len(one.note.connections)) == ("n+1", 45, 8)


# Both sides of a pooler.

BOTH_SIDES = Path(__file__).parents[1] / "data" / "findings" / "both_sides.pgtrace"


def test_both_sides_of_a_pooler() -> None:
    """The server's side is no case of its own, except for what the pooler added."""
    trace = Trace.open([BOTH_SIDES])
    trace.read_until(1 << 62)
    alone, joined = Advice(trace), Advice(trace, joins=joins.find(trace))
    for one in (alone, joined):
        one.update()
    found = {one.name: one for one in joined.findings()}
    assert found.keys() == {"begin-commit", "pooler-added", "extra-describe", "pooler-wait"}
    assert (found["pooler-added"].cost, found["pooler-added"].driver) == (15, "asyncpg")
    assert {trace.connections[trace.rows[place].connection].leg for place in places(found["pooler-added"])} == {"B"}
    assert found["pooler-wait"].note.times == 12
    assert all(trace.connections[trace.rows[place].connection].leg == "A" for place in places(found["begin-commit"]))
    assert found["begin-commit"].note.times == 15
    assert {one.name for one in alone.findings()} & {"pooler-added", "pooler-wait"} == set()
    assert sum(one.note.times for one in alone.findings() if one.name == "begin-commit") == 30
    trace.close()
