"""Costs by their cause: what is told of a loop, a cache, a driver's own round trips, a fetch size; and what next to it is silent."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from pgtrace import sqltext
from pgtrace.trace.trace import Trace
from tests.judging import Judge

DONE = "F Terminate\nc1 close F\nend"
VALUES = itertools.count(1)


def simple(sql: str, tag: str = "SELECT 1", status: str = "I") -> str:
    return f"F Query {sql}\nB CommandComplete {tag} | ReadyForQuery {status}"


def prepare(name: str, sql: str) -> str:
    return f"F Parse {name} {sql} | Describe S {name} | Flush\nB ParseComplete | ParameterDescription 23 | RowDescription name:25"


def run(name: str, value: int | None = None, *, parse: str = "", status: str = "I", tag: str = "SELECT 1") -> str:
    value = next(VALUES) if value is None else value
    sent, answered = (f"{parse} | ", "ParseComplete | ") if parse else ("", "")
    return (
        f"F {sent}Bind - {name} params={value} | Execute - | Sync\n"
        f"B {answered}BindComplete | DataRow tea | CommandComplete {tag} | ReadyForQuery {status}"
    )


def close(name: str) -> str:
    return f"F Close S {name} | Sync\nB CloseComplete | ReadyForQuery I"


def text(number: int) -> str:
    return f"SELECT c{number} FROM item WHERE id = $1"


# Statements that are prepared under new names.


@pytest.mark.parametrize("names", [6, 12])
@pytest.mark.parametrize("differ", [False, True])
@pytest.mark.parametrize("driver", ["asyncpg", ""])
def test_what_is_advised_where_statements_are_prepared_once(judged: Judge, names: int, driver: str, *, differ: bool) -> None:
    """Values in the text need another remedy than one text that is prepared again and again."""
    lines = [ASYNCPG] if driver else []
    for number in range(names):
        name = f"__asyncpg_stmt_{number + 1:x}__" if driver else f"s{number}"
        sql = f"SELECT name FROM item WHERE id = {number}" if differ else text(1)
        lines += [prepare(name, sql), run(name), simple("SELECT now()"), close(name), simple("SELECT now()")]
    found = judged(*lines, DONE)["prepared-once"]
    assert found.driver == (driver or "unknown")
    (remedy,) = found.remedies
    assert ("values as parameters" in remedy) is differ
    assert ("prepare" in remedy.replace("does not prepare", "")) is not differ


LISTED = {
    "IN": lambda length: f"SELECT name FROM item WHERE id IN ({', '.join(f'${n + 1}' for n in range(length))})",
    "rows": lambda length: f"INSERT INTO item VALUES {', '.join(f'(${n + 1})' for n in range(length))}",
    "with another": lambda length: f"SELECT name FROM item WHERE kind = $1 AND id IN ({', '.join(f'${n + 2}' for n in range(length))})",
}


@pytest.mark.parametrize("between", [True, False])
@pytest.mark.parametrize("lengths", [range(1, 14), range(2, 15), [*range(13, 0, -1)]])
@pytest.mark.parametrize("uses", [1, 2])
@pytest.mark.parametrize("listed", LISTED)
@pytest.mark.parametrize("driver", ["asyncpg", ""])
def test_lists_of_other_lengths_are_other_statements(
    judged: Judge, driver: str, listed: str, uses: int, lengths: list[int], *, between: bool
) -> None:
    """Their values are parameters already, and each asks for many things: no loop, and one parameter for the list."""
    lines = [ASYNCPG] if driver else []
    for number, length in enumerate(lengths):
        name, sql = f"s{number}", LISTED[listed](length)
        ran = f"F Bind - {name} params={','.join(map(str, range(length + (listed == 'with another'))))} | Execute - | Sync\n"
        ran += "B BindComplete | DataRow tea | DataRow tea | CommandComplete SELECT 2 | ReadyForQuery I"
        lines += [prepare(name, sql), *([ran, *([simple("SELECT now()")] * between)] * uses)]
    found = judged(*lines, DONE)
    assert found.names == (["prepared-once"] if uses == 1 else ["prepared-leak"])
    (remedy,) = found.findings[0].remedies
    assert "ANY($1) instead of IN" in remedy
    assert "parameters, not in the text" not in remedy


def test_lists_with_their_values_in_the_text_need_parameters_first(judged: Judge) -> None:
    lines = []
    for number in range(12):
        sql = f"SELECT name FROM item WHERE id IN (0, {', '.join(str(n) for n in range(number + 1))})"
        lines += [prepare(f"s{number}", sql), run(f"s{number}"), simple("SELECT now()")]
    assert "values as parameters, not in the text" in judged(*lines, DONE)["prepared-once"].remedies[0]


@pytest.mark.parametrize("uses", [0, 1, 2, 5])
def test_statements_prepared_in_advance_are_judged_by_what_comes_later(judged: Judge, uses: int) -> None:
    names = [f"s{number}" for number in range(8)]
    lines = [line for name in names for line in (prepare(name, text(1)), simple("SELECT now()"))]
    lines += [line for _ in range(uses) for name in names for line in (run(name), simple("SELECT now()"))]
    found = judged(*lines, *map(close, names), DONE)
    assert ("prepared-once" in found.names) is (uses < 2)


# Pings.


@pytest.mark.parametrize("sql", ["SELECT 1", "select 1", "Select 1;"])
@pytest.mark.parametrize("extended", [False, True])
def test_pings_of_a_pool(judged: Judge, sql: str, *, extended: bool) -> None:
    """However they travel; each is parsed anew, which is the same cause."""
    asked = f"Parse - {sql} | Bind - - | Execute - | Sync" if extended else f"Query {sql}"
    answered = (
        f"{'ParseComplete | BindComplete' if extended else 'RowDescription a:23'} | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I"
    )
    work = [run("-", parse=f"Parse - {text(number)}") for number in range(10)]
    found = judged(*(line for one in work for line in (f"F {asked}\nB {answered}", one)), DONE)
    assert found.told == [("driver-overhead", 10)]


def test_a_parameter_is_no_ping(judged: Judge) -> None:
    lines = [line for n in range(10) for line in (run("-", parse="Parse - SELECT $1"), run("-", parse=f"Parse - {text(n)}"))]
    assert "driver-overhead" not in judged(*lines, DONE).names


# n+1 of several statements.


@pytest.mark.parametrize("period", range(2, 9))
def test_statements_in_turn_are_one_loop(judged: Judge, period: int) -> None:
    lines = [run("-", parse=f"Parse - {text(number)}") for _ in range(6) for number in range(period)]
    found = judged(*lines, DONE)
    assert found.told[0] == ("n+1", 5 * period)
    assert f"{period} statements in turn" in found["n+1"].what


UNEVEN = {
    "several rows": [[0, *[1] * (1 + n % 3)] for n in range(9)],
    "none or one": [[0, *[1] * (n % 3 > 0)] for n in range(12)],
    "known already": [[0, 1, *[2] * (n % 4 == 0)] for n in range(20)],
    "begun in the middle": [[1], *[[0, *[1] * (n % 3)] for n in range(9)]],
    "eight, some of them": [[one for one in range(8) if (n * 7 + one) % 5 or not one] for n in range(9)],
    "one, with others": [[0] * 4 + [1] * (n % 2) for n in range(6)],
}
NO_LOOP = {
    "nine": [[one for one in range(9) if (n * 7 + one) % 5 or not one] for n in range(9)],
    "each round its own": [[0, 1 + n, 10 + n] for n in range(9)],
    "too few": [[0, 1], [0, 1, 1], [0, 1], [0]],
    "mostly others": [[0, 1 + n % 7, 1 + n % 7] for n in range(5)],
}


def uneven(rounds: list[list[int]], status: str = "T", value: int | None = None) -> list[str]:
    lines = [run("-", value, parse=f"Parse - {text(number)}", status=status) for each in rounds for number in each]
    return [simple("BEGIN", "BEGIN", "T"), *lines, simple("COMMIT", "COMMIT")] if status == "T" else lines


@pytest.mark.parametrize("shape", UNEVEN)
def test_in_a_block_the_rounds_of_a_loop_may_be_uneven(judged: Judge, shape: str) -> None:
    rounds = UNEVEN[shape]
    found = [one for one in judged(*uneven(rounds), DONE).findings if one.name == "n+1"]
    executions = Counter(number for each in rounds for number in each)
    often = sum(count - 1 for count in executions.values())
    assert len(found) == 1
    assert often * 4 // 5 <= found[0].cost <= often
    note = found[0].note
    assert note.times - note.cost == note.amount * (note.subject.count("·") + 1)


def answered(number: int, rows: int) -> str:
    """A query outside of blocks, and an answer of so many rows."""
    answer = f"{f'DataRow tea ×{rows} | ' if rows else ''}CommandComplete SELECT {rows}"
    return (
        f"F Parse - {text(number)} | Bind - - params={next(VALUES)} | Execute - | Sync\n"
        f"B ParseComplete | BindComplete | {answer} | ReadyForQuery I"
    )


ROWS = {
    "one to four": [1 + 7 * n % 4 for n in range(15)],
    "none to three": [n * n % 4 + n % 2 for n in range(15)],
    "one or more, some of them many": [2, 3, 1, 4, 2, 9, 3, 1, 12, 2, 3, 2, 4],
    "many at first": [8, 2, 3, 1, 4, 2, 3, 2, 2, 3],
}
"""The rows that each of several parents has."""


@pytest.mark.parametrize("others", [0, 5, 40])
@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("rows", ROWS)
def test_outside_of_blocks_rounds_as_long_as_an_answer_has_rows_are_a_loop(judged: Judge, rows: str, levels: int, others: int) -> None:
    """One query for each row of another's answer, which is different each time; whatever came before."""
    lines = [answered(20 + number, number % 3) for number in range(others)]
    lines.append(answered(9, len(ROWS[rows])))
    for place, many in enumerate(ROWS[rows]):
        if levels == 3 and place % 3 == 0:
            lines.append(answered(2, len(ROWS[rows][place : place + 3])))
        lines += [answered(0, many), *(answered(1, 1) for _ in range(many))]
    (found,) = [one for one in judged(*lines, simple("SELECT now()"), DONE).findings if one.name != "re-parse"]
    children = sum(ROWS[rows]) - 1
    loop = children + len(ROWS[rows]) - 1
    assert found.name == "n+1"
    assert children * 3 // 5 <= found.cost <= loop + levels
    assert {"c0", "c1"} <= set(found.what.replace(",", " ").split())


@pytest.mark.parametrize("how", ["one more", "one less", "any number", "apart"])
def test_outside_of_blocks_other_rounds_may_be_units_of_work(judged: Judge, how: str) -> None:
    """Requests come one after the other, too; nothing says that a query is there for each row of another."""
    lines: list[str] = []
    now = 10
    for place, many in enumerate(ROWS["one to four"]):
        children = {"one more": min(4, many + 1), "one less": many - 1, "any number": 1 + place * 5 % 4, "apart": many}[how]
        for number, count in ((0, many), *((1, 1) for _ in range(children))):
            now += 100 if how == "apart" and not number else 1
            lines.append(f"{now} {answered(number, count)}".replace("\n", f"\n{now} "))
    assert "n+1" not in judged(*lines, f"{now + 1} F Terminate", f"{now + 2} c1 close F", "end").names


@pytest.mark.parametrize("shape", NO_LOOP)
def test_a_block_that_is_no_loop(judged: Judge, shape: str) -> None:
    assert "n+1" not in judged(*uneven(NO_LOOP[shape]), DONE).names


@pytest.mark.parametrize("shape", ["several rows", "known already"])
def test_uneven_rounds_outside_a_block_may_be_anybodys(judged: Judge, shape: str) -> None:
    assert "n+1" not in judged(*uneven(UNEVEN[shape], "I"), DONE).names


@pytest.mark.parametrize("shape", UNEVEN)
def test_uneven_rounds_with_the_same_values_are_no_loop(judged: Judge, shape: str) -> None:
    assert "n+1" not in judged(*uneven(UNEVEN[shape], value=7), DONE).names


def test_nine_statements_in_turn_are_no_loop(judged: Judge) -> None:
    lines = [run("-", parse=f"Parse - {text(number)}") for _ in range(6) for number in range(9)]
    assert "n+1" not in judged(*lines, DONE).names


def test_a_loop_of_transactions_is_a_loop_of_units_of_work(judged: Judge) -> None:
    unit = ["BEGIN", "UPDATE a SET x = {}", "UPDATE b SET x = {}", "COMMIT"]
    lines = [
        simple(sql.format(number), {"BEGIN": "BEGIN", "COMMIT": "COMMIT"}.get(sql, "UPDATE 1"), "I" if sql == "COMMIT" else "T")
        for number in range(8)
        for sql in unit
    ]
    assert "n+1" not in judged(*lines, DONE).names


def test_a_loop_in_a_block_that_is_left(judged: Judge) -> None:
    lines = [
        simple("BEGIN", "BEGIN", "T"),
        *(run("-", parse=f"Parse - {text(n % 2)}", status="T") for n in range(12)),
        simple("COMMIT", "COMMIT"),
    ]
    found = judged(*lines, DONE)
    assert ("n+1", 10) in found.told


RESET = (
    "F Query SELECT pg_advisory_unlock_all();CLOSE ALL;UNLISTEN *;RESET ALL;\nB CommandComplete SELECT 1"
    " | CommandComplete CLOSE CURSOR ALL | CommandComplete UNLISTEN | CommandComplete RESET | ReadyForQuery I"
)
EMPTY = "F Query\nB EmptyQueryResponse | ReadyForQuery I"


@pytest.mark.parametrize("between", [RESET, EMPTY, "F Sync\nB ReadyForQuery I"], ids=["reset", "empty", "sync"])
@pytest.mark.parametrize("period", [1, 2])
def test_a_loop_through_a_pool(judged: Judge, between: str, period: int) -> None:
    lines = [part for n in range(8 * period) for part in (run("-", parse=f"Parse - {text(n % period)}"), between)]
    found = judged(*lines, DONE)
    assert ("n+1", 7 * period) in found.told
    assert "a loop, or units of work that follow each other directly" in found["n+1"].what
    assert "units of work" not in judged(*lines[::2], DONE)["n+1"].what


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("many", [1, 2, 3, 5])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_loop_on_several_connections(judged: Judge, many: int, *, pooled: bool, at_once: bool) -> None:
    """At the same time it may be a fan-out, or separate work: that is not known."""
    steps = [(turn, connection) for turn in range(8) for connection in range(1, many + 1)]
    if not at_once:
        steps.sort(key=lambda step: step[1])
    lines = []
    for now, (_, connection) in enumerate(steps):
        what = run("-", parse=f"Parse - {text(1)}") + ("\n" + RESET) * pooled
        lines += [f"{100 + now} c{connection} {line}" for line in what.splitlines()]
    found = judged(*lines, *(f"999 c{connection} {how}" for connection in range(1, many + 1) for how in ("F Terminate", "close F")), "end")
    told = found["n+1"]
    assert told.cost == 7 * many
    is_at_once = at_once and many > 1
    assert ("at the same time" in told.what) is is_at_once
    assert ("waiting for the answer" in told.what) is not is_at_once
    assert ("of a pool" in told.what) is (is_at_once and pooled)
    assert (f"on {many} connections" in told.what) is is_at_once


@pytest.mark.parametrize("apart", [True, False])
def test_connections_that_take_turns_have_no_loop_at_the_same_time(judged: Judge, *, apart: bool) -> None:
    lines = []
    for number, connection in enumerate([1, 2, 1, 2]):
        for turn in range(6):
            now = 100 + 200 * number + turn - (0 if apart else 198 * (number % 2))
            lines += [f"{now} c{connection} {line}" for line in run("-", parse=f"Parse - {text(1)}").splitlines()]
    lines.sort(key=lambda line: int(line.split()[0]))
    found = judged(*lines, *(f"999 c{connection} {how}" for connection in (1, 2) for how in ("F Terminate", "close F")), "end")
    assert ("at the same time" in found["n+1"].what) is not apart


def test_what_comes_later_from_a_pool_is_no_loop(judged: Judge) -> None:
    """A pause before the next use: another request, perhaps. In a loop that is known, a machine may be busy."""
    lines = [part for n in range(8) for part in (run("-", parse=f"Parse - {text(1)}"), RESET)]
    script = "\n".join(lines).splitlines()
    apart = [f"{10 + number // 4 * 20 + number % 4} {line}" for number, line in enumerate(script)]
    assert "n+1" not in judged(*apart, "200 F Terminate", "c1 close F", "end").names
    busy = [f"{10 + number + 20 * (number >= 24)} {line}" for number, line in enumerate(script)]
    assert ("n+1", 7) in judged(*busy, "200 F Terminate", "c1 close F", "end").told


def test_the_same_question_through_a_pool(judged: Judge) -> None:
    ask = run("-", 7, parse=f"Parse - {text(1)}")
    assert ("repeat", 7) in judged(*[ask, RESET] * 8, DONE).told
    sets = simple("SET search_path TO other", "SET")
    assert "repeat" not in judged(*[ask, sets, ask, RESET] * 4, DONE).names


def at_pauses(pauses: list[int], between: str = "") -> list[str]:
    """The same query after each of these pauses, in ms."""
    lines, now = [], 10
    for pause in pauses:
        now += pause
        for line in (between + "\n" * bool(between) + run("-", 7, parse=f"Parse - {text(1)}")).splitlines():
            lines.append(f"{now} {line}")
            now += 1
    return [*lines, f"{now + 10} F Terminate", "c1 close F", "end"]


@pytest.mark.parametrize(
    ("pauses", "number"),
    [
        ([30] * 12, 0),
        ([20, 22, 21, 24, 20, 25, 21, 23], 0),
        ([1] * 8, 7),
        ([3, 40, 12, 25, 9, 44, 12, 30], 7),
        ([30] * 6 + [1] * 6, 9),
    ],
    ids=["poll", "a busy machine", "at once", "irregular", "then at once"],
)
def test_a_poll_asks_for_something_that_others_do(judged: Judge, pauses: list[int], number: int) -> None:
    told = judged(*at_pauses(pauses)).told
    assert [one for one in told if one[0] != "re-parse"] == ([("repeat", number)] if number else [])


@pytest.mark.parametrize("polls", [4, 5, 9])
@pytest.mark.parametrize("asked", [1, 4, 5, 7])
def test_what_is_asked_after_polls_is_counted_by_itself(judged: Judge, polls: int, asked: int) -> None:
    ask = run("-", 7, parse=f"Parse - {text(1)}")
    lines, now = [], 10
    for _ in range(polls):
        now += 30
        lines += [f"{now} {line}" for line in ask.splitlines()]
    block = [simple("BEGIN", "BEGIN", "T"), *[ask.replace("ReadyForQuery I", "ReadyForQuery T")] * asked, simple("COMMIT", "COMMIT")]
    lines += [f"{now + 30} {line}" for what in block for line in what.splitlines()]
    told = dict(judged(*lines, DONE).told)
    assert told.get("repeat") == (asked - 1 if asked >= 5 else None)


def test_a_question_among_others_is_no_poll(judged: Judge) -> None:
    other = run("-", parse=f"Parse - {text(2)}").replace("params=", "params=9")
    assert ("repeat", 9) in judged(*at_pauses([30] * 10, other)).told


@pytest.mark.parametrize("period", [2, 3])
def test_one_of_a_loop_that_has_the_same_values_is_a_repeat(judged: Judge, period: int) -> None:
    """The others are a loop over theirs."""
    lines = [run("-", None if one else 7, parse=f"Parse - {text(one)}") for _ in range(9) for one in range(period)]
    found = judged(*lines, DONE)
    assert [one for one in sorted(found.told) if one[0] != "re-parse"] == [("n+1", 8 * (period - 1)), ("repeat", 8)]
    assert text(0) not in found["n+1"].what


@pytest.mark.parametrize(
    ("sql", "tag", "told"),
    [
        ("UPDATE a SET b = $1", "UPDATE 1", 0),
        ("INSERT INTO a VALUES ($1)", "INSERT 0 1", 7),
        ("INSERT INTO a VALUES ($1) ON CONFLICT (b) DO NOTHING", "INSERT 0 0", 0),
    ],
)
def test_the_same_change_again_is_no_loop_over_values(judged: Judge, sql: str, tag: str, told: int) -> None:
    """But the same row may be added again."""
    lines = [run("-", 7, parse=f"Parse - {sql}", tag=tag) for _ in range(8)]
    assert [number for name, number in judged(*lines, DONE).told if name == "n+1"] == [told] * bool(told)


def test_what_fails_each_time_is_no_statement_to_keep(judged: Judge) -> None:
    fails = "F Parse - INSERT INTO a VALUES ($1) | Bind - - params=1 | Execute - | Sync\n"
    fails += "B ParseComplete | BindComplete | ErrorResponse 23505 duplicate key | ReadyForQuery E"
    unit = [simple("BEGIN", "BEGIN", "T"), fails, simple("ROLLBACK", "ROLLBACK")]
    assert judged(*unit * 12, DONE).names == []
    works = [simple("BEGIN", "BEGIN", "T"), run("-", parse="Parse - INSERT INTO a VALUES ($1)", status="T"), simple("ROLLBACK", "ROLLBACK")]
    assert "re-parse" in judged(*works * 12, DONE).names


def test_a_reset_after_each_transaction_is_after_a_unit_of_work(judged: Judge) -> None:
    unit = [simple("BEGIN", "BEGIN", "T"), *[simple(f"UPDATE item SET c{n} = 1", "UPDATE 1", "T") for n in range(2)]]
    assert "driver-overhead" not in judged(*[*unit, simple("COMMIT", "COMMIT"), RESET] * 6, DONE).names


@pytest.mark.parametrize("answer", ["t", "f"])
@pytest.mark.parametrize("function", ["pg_try_advisory_lock", "pg_advisory_lock"])
def test_a_lock_that_was_tried_and_not_got_is_not_held(judged: Judge, function: str, answer: str) -> None:
    ask = f"F Query SELECT {function}(42)\nB RowDescription a:16 | DataRow {answer} | CommandComplete SELECT 1 | ReadyForQuery I"
    refused = function.startswith("pg_try") and answer == "f"
    assert judged(*[ask] * 6, DONE).told == ([] if refused else [("session-state", 5)])


PINGS = {
    "SELECT 1": "F Query SELECT 1\nB RowDescription x:23 | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I",
    "Sync": "F Sync\nB ReadyForQuery I",
    "empty": "F Query \nB EmptyQueryResponse | ReadyForQuery I",
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("ping", PINGS)
@pytest.mark.parametrize("works", [1, 2])
@pytest.mark.parametrize("in_a_row", [1, 2, 3, 4, 9])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (400, 1), (1, 1_400), (400, 1_400)])
def test_a_heartbeat_is_no_check_before_work(judged: Judge, ping: str, works: int, in_a_row: int, before: int, after: int) -> None:
    """A check of a pool is beside the use that it is for, once when a connection is taken and once when it is given back."""
    lines, now = [], 10
    for _ in range(6):
        for pause, what in [(after, simple("SELECT now()"))] * works + [(before, PINGS[ping])] * in_a_row:
            now += pause
            lines += [f"{now} {line}" for line in what.splitlines()]
    told = dict(judged(*lines, f"{now + after} F Terminate", "c1 close F", "end").told)
    is_check = in_a_row <= 2 and (before, after) != (400, 1_400)
    assert told.get("driver-overhead") == (6 * in_a_row if is_check else None)


def test_begin_and_commit_are_no_work_of_their_own(judged: Judge) -> None:
    """A check before each transaction of three statements is one of four round trips that do something."""
    ping = "F Query SELECT 1\nB RowDescription a:23 | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I"
    unit = [ping, simple("BEGIN", "BEGIN", "T"), *[simple(f"UPDATE item SET c{n} = 1", "UPDATE 1", "T") for n in range(3)]]
    found = judged(*[*unit, simple("COMMIT", "COMMIT")] * 5, DONE)
    assert ("driver-overhead", 5) in found.told
    more = [*unit, *[simple(f"UPDATE other SET c{n} = 1", "UPDATE 1", "T") for n in range(3)], simple("COMMIT", "COMMIT")]
    assert "driver-overhead" not in judged(*more * 5, DONE).names


@pytest.mark.parametrize("engines", [1, 6])
def test_what_a_layer_asks_first_is_no_work(judged: Judge, engines: int) -> None:
    """An engine for each query: its first connection asks what it is, and that costs more than connecting."""
    asks = [
        "select pg_catalog.version()",
        "select current_schema()",
        "show transaction isolation level",
        "show standard_conforming_strings",
    ]
    lines = []
    for number in range(1, 7):
        one = ["F StartupMessage user=app database=shop", f"B AuthenticationOk | BackendKeyData {number} 7 | ReadyForQuery I"]
        for sql in (*(asks if number <= engines else ()), text(1).replace("$1", str(number))):
            one += simple(sql).splitlines()
        lines += [f"c{number} {line}" for line in (*one, "F Terminate", "close F")]
    found = judged(*lines, "end")
    connect = found.findings[0]
    assert (connect.name, connect.cost) == ("connect", 6 if engines == 6 else 5)
    assert f"{connect.cost} connections for {connect.cost} statements" in connect.what
    assert ("the first queries of 6 engines 24 more" in connect.what) is (engines == 6)
    assert connect.layer == ("sqlalchemy" if engines == 6 else "")


@pytest.mark.parametrize("after", [1, 2])
def test_a_loop_whose_rounds_change_is_one_finding(judged: Judge, after: int) -> None:
    """Another relation, or none, for the rows of its second half."""
    rounds = [(0, 1)] * 10 + ([(0, 2)] * 10 if after == 2 else [(0,)] * 10)
    lines = [run("-", parse=f"Parse - {text(number)}") for one in rounds for number in one]
    found = judged(*lines, DONE)
    assert found.told[0] == ("n+1", sum(map(len, rounds)) - after - 1)
    assert found.names.count("n+1") == 1
    assert all(text(number) in found["n+1"].what for number in range(after + 1))


def test_loops_over_other_statements_are_others(judged: Judge) -> None:
    lines = [run("-", parse=f"Parse - {text(number)}") for number in (0, 1) for _ in range(10)]
    assert [number for name, number in judged(*lines, DONE).told if name == "n+1"] == [9, 9]


def test_where_a_round_begins_makes_no_other_loop(judged: Judge) -> None:
    first = [run("-", parse=f"Parse - {text(n % 2)}") for n in range(12)]
    second = [run("-", parse=f"Parse - {text((n + 1) % 2)}") for n in range(12)]
    found = judged(*first, simple("BEGIN", "BEGIN", "T"), simple("COMMIT", "COMMIT"), *second, DONE)
    assert [number for name, number in found.told if name == "n+1"] == [20]
    assert "in 2 loops" in found["n+1"].what


# repeat.


def test_the_same_question_is_no_loop_over_values(judged: Judge) -> None:
    found = judged(*(run("-", 7, parse=f"Parse - {text(1)}") for _ in range(6)), DONE)
    assert found.told == [("repeat", 5)]


@pytest.mark.parametrize(
    "between",
    [
        simple("UPDATE item SET name = 'x'", "UPDATE 1"),
        simple("/* a */ insert into item values (1)", "INSERT 0 1"),
        simple("CALL tidy_up()", "CALL"),
        "F Query SELECT 1/0\nB ErrorResponse 22012 division by zero | ReadyForQuery I",
    ],
)
def test_a_write_in_between_makes_it_a_new_question(judged: Judge, between: str) -> None:
    lines = [part for _ in range(8) for part in (run("-", 7, parse=f"Parse - {text(1)}"), between)]
    assert "repeat" not in judged(*lines, DONE).names


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name FROM item WHERE id = $1 FOR UPDATE",
        "SELECT nextval('s') FROM item WHERE id = $1",
        "SELECT random() FROM item WHERE id = $1",
        "SELECT now()",
    ],
)
def test_what_answers_differently_each_time_is_asked_again(judged: Judge, sql: str) -> None:
    assert "repeat" not in judged(*(run("-", 7, parse=f"Parse - {sql}") for _ in range(8)), DONE).names


def sent_as(form: str, value: int) -> list[str]:
    """One query with that value, in one of the ways in which a driver sends it."""
    if form == "unprepared":
        return [run("-", value, parse=f"Parse - {text(1)}")]
    if form == "prepares":
        return [f"F Parse s1 {text(1)} | Sync\nB ParseComplete | ReadyForQuery I", run("s1", value)]
    if form == "prepares at once":
        return [run("s1", value, parse=f"Parse s1 {text(1)}")]
    if form == "prepares again":
        return [close("s1"), f"F Parse s2 {text(1)} | Sync\nB ParseComplete | ReadyForQuery I", run("s2", value)]
    return [run(form, value)]


SWITCHES = {
    "psycopg": ["unprepared"] * 5 + ["prepares"] + ["s1"] * 4,
    "psycopg, few": ["unprepared"] * 3 + ["prepares"] + ["s1"] * 2,
    "pgjdbc": ["unprepared"] * 4 + ["prepares at once"] + ["s1"] * 5,
    "renamed": ["prepares", "s1", "s1", "prepares again", "s2", "s2"],
    "prepares at the end": ["unprepared"] * 7 + ["prepares"],
}


@pytest.mark.parametrize("forms", SWITCHES.values(), ids=list(SWITCHES))
def test_the_same_question_in_another_form(judged: Judge, forms: list[str]) -> None:
    """A driver that begins to prepare a statement halfway asks the same as before."""
    found = judged(*(line for form in forms for line in sent_as(form, 7)), DONE)
    assert found.told == [("repeat", len(forms) - 1)]
    assert found["repeat"].note.times == len(forms)


@pytest.mark.parametrize("forms", SWITCHES.values(), ids=list(SWITCHES))
def test_another_question_in_another_form(judged: Judge, forms: list[str]) -> None:
    """With other values it is a loop."""
    found = judged(*(line for number, form in enumerate(forms) for line in sent_as(form, number)), DONE)
    assert found.names == ["n+1"]


@pytest.mark.parametrize("forms", SWITCHES.values(), ids=list(SWITCHES))
@pytest.mark.parametrize("values", [2, 3])
def test_questions_in_turn_in_another_form(judged: Judge, forms: list[str], values: int) -> None:
    """Each of them is asked again in each round, and something else in between."""
    lines = []
    for form in forms:
        ways = [form, *["s2" if form == "prepares again" else "s1" if form.startswith("prepares") else form] * (values - 1)]
        lines += [line for number, way in enumerate(ways) for line in (*sent_as(way, number), simple("SELECT now()"))]
    found = judged(*lines, DONE)
    assert found["repeat"].cost == values * (len(forms) - 1)
    assert found["repeat"].note.times == values * len(forms)


@pytest.mark.parametrize("values", [3, 5, 7])
@pytest.mark.parametrize("rounds", [2, 8])
def test_a_loop_whose_values_come_again_is_one_finding(judged: Judge, values: int, rounds: int) -> None:
    """Items with few owners, and the owner of each is asked for: one cause, whose remedy asks for all at once."""
    loop = [run("-", number % values, parse=f"Parse - {text(1)}") for number in range(values * rounds)]
    assert [name for name in judged(*loop, DONE).names if name != "re-parse"] == (["n+1"] if values * rounds >= 5 else [])


def test_a_question_that_is_asked_again_more_often_than_a_loop_explains(judged: Judge) -> None:
    loop = [run("-", number, parse=f"Parse - {text(1)}") for number in range(6)]
    again = [run("-", 7, parse=f"Parse - {text(1)}") for _ in range(20)]
    found = judged(*loop, simple("SELECT now()"), simple("SELECT now()"), *again, DONE)
    assert [name for name in found.names if name != "re-parse"] == ["repeat", "n+1"]


def test_a_poll_is_no_repeat(judged: Judge) -> None:
    assert judged(*(f"{1000 * n} {run('-', 7, parse=f'Parse - {text(1)}')}" for n in range(1, 8)), DONE).names == []


# Caches.


def thrash(texts: int, holds: int, rounds: int) -> list[str]:
    """A cache that gives up the oldest when it has one too many."""
    live: list[tuple[int, str]] = []
    lines = []
    names = itertools.count(1)
    for _ in range(rounds):
        for number in range(texts):
            known = next((name for one, name in live if one == number), None)
            if known is None:
                known = f"s{next(names)}"
                live.append((number, known))
                lines.append(prepare(known, text(number)))
                if len(live) > holds:
                    lines.append(close(live.pop(0)[1]))
            lines.append(run(known))
    return lines


@pytest.mark.parametrize(("texts", "holds"), [(4, 3), (12, 5), (30, 20)])
def test_more_texts_than_the_cache_holds(judged: Judge, texts: int, holds: int) -> None:
    found = judged(*thrash(texts, holds, 4), DONE)
    assert found.names == ["cache-thrash"] or set(found.names) <= {"cache-thrash", "n+1"}
    assert f"holds {holds}, and {texts} texts are in use" in found.words


def test_a_cache_that_is_large_enough(judged: Judge) -> None:
    assert "cache-thrash" not in judged(*thrash(5, 5, 6), DONE).names


def test_given_up_after_each_use_is_no_cache(judged: Judge) -> None:
    lines = [part for n in range(12) for part in (prepare(f"s{n}", text(n % 3)), run(f"s{n}"), close(f"s{n}"))]
    assert "cache-thrash" not in judged(*lines, DONE).names


def test_a_comment_that_differs(judged: Judge) -> None:
    lines = []
    for number in range(9):
        lines += [
            prepare(f"s{number}", f"SELECT name FROM item WHERE id = $1 /* request {number} */"),
            run(f"s{number}"),
            simple("SELECT now()"),
        ]
    assert judged(*lines, DONE).told == [("comment-cache", 8)]


def test_a_comment_that_is_always_the_same(judged: Judge) -> None:
    lines = [prepare("s1", f"/* route:/orders */ {text(1)}"), *(part for _ in range(9) for part in (run("s1"), simple("SELECT now()")))]
    assert judged(*lines, DONE).names == []


def test_literals_that_differ_are_no_comment(judged: Judge) -> None:
    lines = []
    for number in range(9):
        lines += [
            prepare(f"s{number}", f"SELECT name FROM item WHERE id = {number} /* orders */"),
            run(f"s{number}"),
            simple("SELECT now()"),
        ]
    assert "comment-cache" not in judged(*lines, DONE).names


def test_types_that_alternate(judged: Judge) -> None:
    lines = [
        part
        for n in range(10)
        for part in (run("-", parse=f"Parse -({(23, 20)[n % 2]}) SELECT name FROM item WHERE id = $1"), simple("SELECT now()"))
    ]
    found = judged(*lines, DONE)
    assert "the types of its parameters alternate: (int4) and (int8)" in found["re-parse"].what
    assert "the same setter" in found.words


# The driver's own.


ASYNCPG = "F StartupMessage client_encoding='utf-8' user=app database=shop\nB AuthenticationOk | BackendKeyData 9 7 | ReadyForQuery I"
TYPES = "WITH RECURSIVE typeinfo_tree( oid, ns, name ) AS ( SELECT 1 ) SELECT * FROM typeinfo_tree"


def connections(many: int, *lines: str) -> list[str]:
    return [
        f"c{number} {line}" for number in range(1, many + 1) for part in (*lines, "F Terminate", "close F") for line in part.splitlines()
    ]


def test_look_ups_of_types_on_each_connection(judged: Judge) -> None:
    found = judged(*connections(4, ASYNCPG, prepare("s1", TYPES), run("s1"), *(simple(f"SELECT {n} AS n") for n in "abcd")), "end")
    assert found.told == [("introspection", 8)]
    once = judged(*connections(1, ASYNCPG, prepare("s1", TYPES), run("s1"), *(simple(f"SELECT {n} AS n") for n in "abcd")), "end")
    assert once.told == []


TYPE_INFO = "SELECT typname, typarray AS array_oid, oid::regtype::text AS regtype FROM pg_type t WHERE t.oid = to_regtype($1)"
PSYCOPG = "F StartupMessage user=app database=shop\nB AuthenticationOk | BackendKeyData 9 7 | ReadyForQuery I"


def type_info(value: int, status: str = "I") -> str:
    return (
        f"F Parse - {TYPE_INFO} | Bind - - params={value} | Describe P - | Execute - | Sync\n"
        f"B ParseComplete | BindComplete | RowDescription name:25 | DataRow tea | CommandComplete SELECT 1 | ReadyForQuery {status}"
    )


LOOK_UPS = {
    "asyncpg": (ASYNCPG, lambda value: [run("s1", value)], prepare("s1", TYPES)),
    "asyncpg, prepared each time": (
        ASYNCPG,
        lambda value: [prepare(f"s{(name := next(VALUES))}", TYPES), run(f"s{name}", value), close(f"s{name}")],
        "",
    ),
    "psycopg": (PSYCOPG, lambda value: [type_info(value)], ""),
    "psycopg, in a block": (
        PSYCOPG,
        lambda value: [simple("BEGIN", "BEGIN", "T"), type_info(value, "T"), simple("COMMIT", "COMMIT")],
        "",
    ),
}
"""How a connection begins, looks up a type, and what comes before the first time."""
LOOKED_UP = {"asyncpg": 1, "asyncpg, prepared each time": 2, "psycopg": 1, "psycopg, in a block": 3}
"""Round trips of it, each time but the first."""


@pytest.mark.parametrize("times", [4, 6, 7])
@pytest.mark.parametrize("others", [1, 5, 40])
@pytest.mark.parametrize("how", LOOK_UPS)
def test_a_connection_that_looks_up_the_same_type_again(judged: Judge, how: str, others: int, times: int) -> None:
    """Once for a connection is enough; BEGIN and COMMIT around it are the driver's as well."""
    begins, look_up, first = LOOK_UPS[how]
    work = [simple(f"SELECT {number} AS n{number}") for number in range(others)]
    found = judged(begins, first, *(line for _ in range(times) for line in (*look_up(7), *work)), DONE)
    again = (times - 1) * LOOKED_UP[how]
    all_of_them = times * (len(look_up(7)) + others) + bool(first)
    assert found.told == ([("introspection", again)] if again >= 5 and again * 10 >= all_of_them else [])


@pytest.mark.parametrize("how", LOOK_UPS)
def test_a_connection_that_looks_up_many_types_once_each(judged: Judge, how: str) -> None:
    begins, look_up, first = LOOK_UPS[how]
    lines = [line for number in range(12) for line in (*look_up(number), simple(f"SELECT {number} AS n{number}"))]
    assert {"introspection", "repeat", "n+1", "begin-commit", "prepared-once"}.isdisjoint(judged(begins, first, *lines, DONE).names)


def test_savepoints_around_single_statements(judged: Judge) -> None:
    lines = [simple("BEGIN", "BEGIN", "T")]
    for number in range(4):
        lines += [simple(f"SAVEPOINT s{number}", "SAVEPOINT", "T"), simple(f"UPDATE t{number} SET x = 1", "UPDATE 1", "T")]
        lines += [simple(f"RELEASE SAVEPOINT s{number}", "RELEASE", "T")]
    found = judged(*lines, simple("COMMIT", "COMMIT"), DONE)
    assert found.told == [("driver-overhead", 8)]
    assert "a savepoint around one statement" in found.words


def opened(rows: int) -> str:
    """A portal and its first portion."""
    sent = f"F Parse - {text(1)} | Bind C_1 - params=7 | Execute C_1 {rows} | Sync"
    return f"{sent}\nB ParseComplete | BindComplete | DataRow tea ×{rows} | PortalSuspended | ReadyForQuery T"


@pytest.mark.parametrize("rows", [1, 2, 10])
def test_portions_that_are_too_small(judged: Judge, rows: int) -> None:
    portion = f"F Execute C_1 {rows} | Sync\nB DataRow tea ×{rows} | PortalSuspended | ReadyForQuery T"
    first = opened(rows)
    last = "F Execute C_1 9 | Sync\nB CommandComplete SELECT 1 | ReadyForQuery T"
    found = judged(simple("BEGIN", "BEGIN", "T"), first, *[portion] * 18, last, simple("COMMIT", "COMMIT"), DONE)
    assert found.names == ["fetch-size"]
    assert f"{19 * rows} rows" in found["fetch-size"].what


def test_portions_that_are_large_enough(judged: Judge) -> None:
    portion = "F Execute C_1 100 | Sync\nB DataRow tea ×100 | PortalSuspended | ReadyForQuery T"
    first = opened(100)
    assert judged(simple("BEGIN", "BEGIN", "T"), first, *[portion] * 18, simple("COMMIT", "COMMIT"), DONE).names == []


@pytest.mark.parametrize("cursors", [1, 2, 5])
@pytest.mark.parametrize("rows", [12, 130, 250])
@pytest.mark.parametrize("declared", [False, True])
def test_each_cursor_needs_its_own_portions(judged: Judge, cursors: int, rows: int, *, declared: bool) -> None:
    """Cursors of one name, one after the other: by a Bind, or by DECLARE and FETCH."""
    lines = [simple("BEGIN", "BEGIN", "T")]
    portions = rows
    for _ in range(cursors):
        if declared:
            fetch = "F Query FETCH FORWARD 1 FROM c\nB RowDescription a:23 | DataRow 1 | CommandComplete FETCH 1 | ReadyForQuery T"
            lines += [
                simple("DECLARE c CURSOR FOR SELECT a FROM t", "DECLARE CURSOR", "T"),
                *[fetch] * portions,
                simple("CLOSE c", "CLOSE CURSOR", "T"),
            ]
        else:
            begin = (
                "F Parse - SELECT a FROM t | Bind c - | Execute c 1 | Sync\n"
                "B ParseComplete | BindComplete | DataRow 1 | PortalSuspended | ReadyForQuery T"
            )
            more = "F Execute c 1 | Sync\nB DataRow 1 | PortalSuspended | ReadyForQuery T"
            lines += [begin, *[more] * (portions - 2), "F Execute c 1 | Sync\nB DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery T"]
    found = judged(*lines, simple("COMMIT", "COMMIT"), DONE)["fetch-size"]
    assert found.cost == cursors * (portions - -(-rows // 100))
    assert f"{cursors * rows} rows in {cursors * portions} portions, 1 per round trip" in found.what


@pytest.mark.parametrize("rows", [1, 3])
def test_portions_that_begin_with_their_block(judged: Judge, rows: int) -> None:
    """pgjdbc: BEGIN travels with the first statement."""
    asked = "Query BEGIN | Parse - SELECT a FROM t | Bind C_1 - | Execute C_1 1 | Sync"
    answered = (
        "CommandComplete BEGIN | ReadyForQuery T | ParseComplete | BindComplete | "
        + "DataRow 1 | " * rows
        + "PortalSuspended | ReadyForQuery T"
    )
    more = "F Execute C_1 1 | Sync\nB " + "DataRow 1 | " * rows + "PortalSuspended | ReadyForQuery T"
    last = "F Execute C_1 1 | Sync\nB CommandComplete SELECT 0 | ReadyForQuery T"
    found = judged(f"F {asked}\nB {answered}", *[more] * 18, last, simple("COMMIT", "COMMIT"), DONE)
    assert found.names == ["fetch-size"]
    assert f"SELECT a FROM t: {19 * rows} rows in 20 portions" in found["fetch-size"].what


def test_fetch_of_a_cursor_row_by_row(judged: Judge) -> None:
    fetch = "F Query FETCH FORWARD 1 FROM c\nB RowDescription a:23 | DataRow 1 | CommandComplete FETCH 1 | ReadyForQuery T"
    lines = [
        simple("BEGIN", "BEGIN", "T"),
        simple("DECLARE c CURSOR FOR SELECT 1", "DECLARE CURSOR", "T"),
        *[fetch] * 20,
        simple("COMMIT", "COMMIT"),
    ]
    assert judged(*lines, DONE).names == ["fetch-size"]


# Transactions.


ONE = "SELECT name FROM item WHERE id = {}"


@pytest.mark.parametrize(
    ("begin", "statement", "end", "told"),
    [
        ("BEGIN", ONE, "COMMIT", True),
        ("/* app */ begin work", ONE, "COMMIT", True),
        ("start transaction isolation level read committed read write", ONE, "COMMIT", True),
        ("BEGIN", ONE, "ROLLBACK", False),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", ONE, "COMMIT", False),
        ("/* x */ start transaction  isolation level Repeatable Read", ONE, "COMMIT", False),
        ("BEGIN READ ONLY", ONE, "COMMIT", False),
        ("BEGIN TRANSACTION DEFERRABLE", ONE, "COMMIT", False),
        ("BEGIN", ONE + " FOR UPDATE", "COMMIT", False),
        ("BEGIN", ONE + " for no key update skip locked", "COMMIT", False),
        ("BEGIN", "SELECT pg_advisory_xact_lock({})", "COMMIT", False),
        ("BEGIN", "LOCK TABLE item IN SHARE MODE /* {} */", "COMMIT", False),
        ("BEGIN", "DECLARE c{} CURSOR FOR SELECT 1", "COMMIT", False),
        ("BEGIN", "SET LOCAL work_mem = {}", "COMMIT", False),
        ("BEGIN", "SELECT 'FOR UPDATE', name FROM item WHERE id = {}", "COMMIT", True),
    ],
)
def test_a_transaction_around_one_statement(judged: Judge, begin: str, statement: str, end: str, told: bool) -> None:
    tag = {"LOCK": "LOCK TABLE", "DECL": "DECLARE CURSOR", "SET ": "SET"}.get(statement[:4], "SELECT 1")
    lines = [
        part
        for n in range(4)
        for part in (simple(begin, "BEGIN", "T"), simple(statement.format(n), tag, "T"), simple(end, end), simple("SELECT now()"))
    ]
    assert ("begin-commit" in judged(*lines, DONE).names) is told


def test_idle_until_the_capture_ends(judged: Judge) -> None:
    found = judged(
        simple("BEGIN", "BEGIN", "T"), simple("SELECT 1 AS x", status="T"), "c2 F Query SELECT 1", "6000 c2 B ReadyForQuery I", "6001 end"
    )
    assert found.told == [("idle-in-transaction", 6)]


def test_connections_that_do_nothing(judged: Judge) -> None:
    start = "F StartupMessage user=app\nB AuthenticationOk | BackendKeyData 9 7 | ReadyForQuery I"
    around = [simple("SET x = 1", "SET"), simple("BEGIN", "BEGIN", "T"), simple("COMMIT", "COMMIT")]
    assert "20 connections for nothing" in judged(*connections(20, start, *around), "end").words
    work = [simple(f"SELECT {n} AS n") for n in "abcd"]
    assert judged(*connections(20, start, *work), "end").names == []


# What a session keeps.


KEEPS = [
    ("SET statement_timeout = 5", "SET"),
    ("/* pool */ set SESSION search_path to a", "SET"),
    ("SELECT set_config('a.b', 'c', false)", "SELECT 1"),
    ("LISTEN news", "LISTEN"),
    ("SELECT pg_advisory_lock(7)", "SELECT 1"),
    ("CREATE TEMP TABLE t (a int)", "CREATE TABLE"),
    ("create temporary table t as select 1", "SELECT 1"),
    ("SELECT 1 AS a INTO TEMP t", "SELECT 1"),
    ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "DECLARE CURSOR"),
    ("PREPARE p AS SELECT 1", "PREPARE"),
]
KEEPS_NOTHING = [
    ("SET LOCAL statement_timeout = 5", "SET"),
    ("SET TRANSACTION READ ONLY", "SET"),
    ("SET client_encoding TO 'UTF8'", "SET"),
    ("SET TIME ZONE 'UTC'", "SET"),
    ("SELECT set_config('a.b', 'c', true)", "SELECT 1"),
    ("SELECT 'LISTEN', 'set_config'", "SELECT 1"),
    ("SELECT pg_advisory_xact_lock(7)", "SELECT 1"),
    ("CREATE TEMP TABLE t (a int) ON COMMIT DROP", "CREATE TABLE"),
    ("CREATE TABLE temp_orders (a int)", "CREATE TABLE"),
    ("DECLARE c CURSOR FOR SELECT 1", "DECLARE CURSOR"),
    ("UPDATE item SET name = 'SET x'", "UPDATE 1"),
]


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize(
    ("sql", "is_of_transactions"),
    [
        ("SET default_transaction_read_only TO 'on'", True),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", True),
        ("set session default_transaction_isolation = 'serializable'", True),
        ("SET statement_timeout = 5000", False),
        ("SET SESSION search_path TO public", False),
    ],
)
def test_what_is_advised_for_a_setting_of_later_transactions(judged: Judge, sql: str, *, is_of_transactions: bool, pooled: bool) -> None:
    """SET LOCAL comes too late for it: the transaction that it is in has begun."""
    lines = [line for n in range(4) for line in (simple(sql, "SET"), simple(f"SELECT {n} AS n{n}"))]
    (remedy,) = judged(*([POOLED] if pooled else []), *lines, DONE)["session-state"].remedies
    assert ("BEGIN READ ONLY" in remedy) is is_of_transactions
    assert ("SET LOCAL" in remedy) is not is_of_transactions


def behind_pooler(sql: str, tag: str) -> list[str]:
    start = "F StartupMessage user=app\nB AuthenticationOk | BackendKeyData 1871788773 7 | ReadyForQuery I"
    return [start, simple(sql, tag), simple("SELECT now()"), DONE]


@pytest.mark.parametrize(("sql", "tag"), KEEPS)
def test_what_a_session_keeps_is_at_risk_behind_a_pooler(judged: Judge, sql: str, tag: str) -> None:
    assert judged(*behind_pooler(sql, tag)).told == [("session-state", 1)]


@pytest.mark.parametrize(("sql", "tag"), KEEPS_NOTHING)
def test_what_a_session_does_not_keep(judged: Judge, sql: str, tag: str) -> None:
    assert judged(*behind_pooler(sql, tag)).told == []


def test_what_is_rolled_back_is_not_kept(judged: Judge) -> None:
    start = "F StartupMessage user=app\nB AuthenticationOk | BackendKeyData 1871788773 7 | ReadyForQuery I"
    block = [simple("BEGIN", "BEGIN", "T"), simple("SET x.y = 1", "SET", "T")]
    assert judged(start, *block, simple("ROLLBACK", "ROLLBACK"), simple("SELECT now()"), DONE).told == []
    assert judged(start, *block, simple("COMMIT", "COMMIT"), simple("SELECT now()"), DONE).told == [("session-state", 1)]


POOLED = "F StartupMessage user=app\nB AuthenticationOk | BackendKeyData 1871788773 7 | ReadyForQuery I"
GIVES_UP = {
    "SET": ("RESET ALL", "RESET statement_timeout", "SET statement_timeout TO DEFAULT", "RESET SESSION AUTHORIZATION; RESET ALL"),
    "LISTEN": ("UNLISTEN *", "UNLISTEN news"),
    "DECLARE CURSOR": ("CLOSE c", "/* done */ close ALL", 'CLOSE "c"'),
    "PREPARE": ("DEALLOCATE p", "DEALLOCATE PREPARE p", "DEALLOCATE ALL"),
    "CREATE TABLE": ("DROP TABLE t", "drop table if exists t", "DISCARD TEMP"),
    "SELECT 1": ("SELECT pg_advisory_unlock(7)", "select pg_advisory_unlock_all()"),
}
GIVES_UP_ANOTHER = {
    "SET": ("RESET lock_timeout", "SET lock_timeout TO DEFAULT", "CLOSE ALL"),
    "LISTEN": ("UNLISTEN sports",),
    "DECLARE CURSOR": ("CLOSE d", "DEALLOCATE ALL"),
    "PREPARE": ("DEALLOCATE q", "ROLLBACK TO a"),
    "CREATE TABLE": ("DROP TABLE u",),
    "SELECT 1": ("ROLLBACK TO a", "SELECT pg_advisory_xact_lock(7)"),
}


def tags_of(sql: str) -> str:
    tags = {"CLOSE": "CLOSE CURSOR", "SELECT": "SELECT 1", "SAVEPOINT": "SAVEPOINT", "DROP": "DROP TABLE", "DISCARD": "DISCARD TEMP"}
    found = []
    for one in sqltext.split(sql):
        words = sqltext.words(one, 2)
        found.append(" ".join(words[:2]) if words[1:2] == ["ALL"] and words[0] != "RESET" else tags.get(words[0], words[0]))
    return " | CommandComplete ".join("CLOSE CURSOR ALL" if one == "CLOSE ALL" else one for one in found)


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("savepoint", [False, True])
@pytest.mark.parametrize(("sql", "tag"), KEEPS)
def test_what_a_transaction_keeps(judged: Judge, sql: str, tag: str, *, savepoint: bool, end: str) -> None:
    """Advisory locks and SQL-level PREPARE outlast a ROLLBACK, whole or to a savepoint."""
    outlasts = "advisory" in sql or tag == "PREPARE"
    block = [simple("BEGIN", "BEGIN", "T"), *([simple("SAVEPOINT a", "SAVEPOINT", "T")] if savepoint else []), simple(sql, tag, "T")]
    back = [simple("ROLLBACK TO SAVEPOINT a", "ROLLBACK", "T")] if savepoint else []
    found = judged(POOLED, *block, *back, simple(end, end), simple("SELECT now()"), DONE)
    assert found.told == ([("session-state", 1)] if outlasts or (end == "COMMIT" and not savepoint) else [])


def test_a_savepoint_behind_it_takes_nothing_back(judged: Judge) -> None:
    block = [simple("BEGIN", "BEGIN", "T"), simple("SET x.y = 1", "SET", "T"), simple("SAVEPOINT a", "SAVEPOINT", "T")]
    behind = [
        simple("SET x.z = 1", "SET", "T"),
        simple("ROLLBACK TO a", "ROLLBACK", "T"),
        simple("COMMIT", "COMMIT"),
        simple("SELECT now()"),
    ]
    assert judged(POOLED, *block, *behind, DONE).told == [("session-state", 1)]


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize(
    ("made", "sql", "kept"),
    [
        *((made, sql, False) for made, texts in GIVES_UP.items() for sql in texts),
        *((made, sql, True) for made, texts in GIVES_UP_ANOTHER.items() for sql in texts),
    ],
)
def test_what_its_transaction_gives_up_is_not_kept(judged: Judge, made: str, sql: str, *, kept: bool, at_once: bool) -> None:
    keeps = [
        (one, tag)
        for one, tag in KEEPS
        if tag == made and "search_path" not in one and "set_config" not in one and "SELECT 1 AS" not in one
    ]
    for text, tag in keeps:
        if "pg_advisory" not in text and made == "SELECT 1":
            continue
        if at_once:
            tags = f"{tag} | CommandComplete {tags_of(sql)}"
            answered = f"CommandComplete BEGIN | CommandComplete {tags} | CommandComplete COMMIT | ReadyForQuery I"
            rows = [f"F Query BEGIN; {text}; {sql}; COMMIT\nB {answered}"]
        else:
            gives = f"F Query {sql}\nB CommandComplete {tags_of(sql)} | ReadyForQuery T"
            rows = [
                simple("BEGIN", "BEGIN", "T"),
                simple("SAVEPOINT a", "SAVEPOINT", "T"),
                simple(text, tag, "T"),
                gives,
                simple("COMMIT", "COMMIT"),
            ]
        assert ("session-state" in judged(POOLED, *rows, simple("SELECT now()"), DONE).names) is kept, text


def test_a_reset_before_anything_else_leaves_nothing(judged: Judge) -> None:
    """But behind a pooler it may reset another server connection."""
    once = [simple("SET x.y = 1", "SET"), simple("DISCARD ALL", "DISCARD ALL"), simple("SELECT name FROM a")]
    assert "session-state" not in judged(*once * 4, DONE).names
    assert ("session-state", 4) in judged(POOLED, *once * 4, DONE).told


def test_who_only_listens_is_at_risk_behind_a_pooler_too(judged: Judge) -> None:
    assert judged(POOLED, simple("LISTEN news", "LISTEN"), DONE).told == [("session-state", 1)]
    assert judged(POOLED, simple("LISTEN news", "LISTEN")).told == []  # it goes on
    assert judged(POOLED, simple("LISTEN news", "LISTEN"), simple("UNLISTEN *", "UNLISTEN"), DONE).told == [("session-state", 1)]
    assert judged(POOLED, simple("SET x.y = 1", "SET"), DONE).told == []
    assert judged(simple("LISTEN news", "LISTEN"), DONE).told == []


REMEDIES_OF_STATE = {
    "SET": "SET LOCAL",
    "LISTEN": "a connection for LISTEN",
    "DECLARE CURSOR": "WITH HOLD",
    "PREPARE": "max_prepared_statements",
    "CREATE TABLE": "ON COMMIT DROP",
}


@pytest.mark.parametrize(("sql", "tag"), [one for one in KEEPS if one[1] in REMEDIES_OF_STATE])
def test_the_remedy_is_about_what_is_kept(judged: Judge, sql: str, tag: str) -> None:
    (remedy,) = judged(*behind_pooler(sql, tag))["session-state"].remedies
    assert {made for made, words in REMEDIES_OF_STATE.items() if words in remedy} == {tag}


def test_without_a_sign_of_a_pooler_a_habit_is_told(judged: Judge) -> None:
    once = [simple("SET x.y = 1", "SET"), simple("SELECT now()")]
    assert judged(*once, DONE).told == []
    assert judged(*once * 3, DONE).told == [("session-state", 3)]


@pytest.mark.parametrize("pid", [9, 1871788773])
def test_what_is_advised_behind_a_pooler_contradicts_no_other_finding(judged: Judge, pid: int) -> None:
    """To keep statements is what fails there."""
    lines = [ASYNCPG.replace("BackendKeyData 9", f"BackendKeyData {pid}")]
    for _ in range(10):
        lines += [prepare("-", text(1)), run("-", parse=f"Parse - {text(1)}"), simple("SELECT now()")]
    found = judged(*lines, DONE)
    assert {"extra-describe", "re-parse"} & set(found.names)
    assert ("statement_cache_size=100" in found.words) is (pid == 9)
    assert ("max_prepared_statements" in found.words) is (pid != 9)


def test_where_values_are_blanked_equal_ones_say_nothing(judged: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trace, "values_blanked", property(lambda _: True))
    found = judged(*(run("-", 0, parse=f"Parse - {text(1)}") for _ in range(6)), DONE)
    assert found.told == [("n+1", 5)]


@pytest.mark.parametrize(
    ("between", "told"),
    [
        ("SELECT 1 AS one", True),
        ("SET search_path TO other", False),
        ("SELECT set_config('app.tenant', '1', false)", False),
        ("SELECT pg_advisory_lock(1)", False),
        ("SELECT next_job()", False),
        ("WITH d AS (DELETE FROM job RETURNING id) SELECT * FROM d", False),
    ],
)
def test_the_same_question_after_what_may_have_changed_the_answer(judged: Judge, between: str, told: bool) -> None:
    tag = "SET" if between.startswith("SET") else "SELECT 1"
    lines = [part for _ in range(6) for part in (simple("SELECT name FROM item WHERE id = 1", "SELECT 1"), simple(between, tag))]
    assert ("repeat" in judged(*lines, DONE).names) is told


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM next_job(1)",
        "SELECT id FROM job WHERE due < now()",
        "SELECT id FROM job WHERE due < CURRENT_TIMESTAMP",
        "SELECT pid FROM pg_stat_activity",
        "WITH d AS (UPDATE job SET done = true RETURNING id) SELECT id FROM d",
    ],
)
def test_a_question_with_another_answer_each_time(judged: Judge, sql: str) -> None:
    assert judged(*[simple(sql, "SELECT 1")] * 8, DONE).told == []


def test_a_comment_that_differs_is_no_value_in_the_text(judged: Judge) -> None:
    """The loop is one cause, the comment another."""

    def run(number: int) -> str:
        return (
            f"F Parse s{number} /* {number} */ SELECT name FROM item WHERE id = $1 | Describe S s{number} | Sync\n"
            "B ParseComplete | ParameterDescription | RowDescription | ReadyForQuery I\n"
            f"F Bind - s{number} params={number} | Execute - | Sync\n"
            f"B BindComplete | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I"
        )

    found = judged(*map(run, range(12)), DONE)
    assert found.told == [("n+1", 11), ("comment-cache", 11)]
    assert "values in the text" not in found.words


def test_many_statements_that_differ_are_one_finding(judged: Judge) -> None:
    def prepared(number: int) -> str:
        sent = f"F Parse s{number} SELECT a AS c{number} FROM t{number} | Describe S s{number} | Sync"
        return f"{sent}\nB ParseComplete | ParameterDescription | NoData | ReadyForQuery I"

    found = judged(*map(prepared, range(601)), DONE)
    assert found.told == [("prepared-leak", 601)]
    assert "601 prepared statements alive" in found.words
    assert judged(*map(prepared, range(600)), DONE).told == []
