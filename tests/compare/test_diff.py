"""What is a difference between two captures and what is none, over scripts; the same with real drivers is in live/test_diff_pairs.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgtrace.compare import behaviour
from pgtrace.compare.behaviour import Behaviour, BehaviourStep
from pgtrace.compare.diff import CONTEXT, Comparison, compare
from pgtrace.report import diff as report
from tests import playbook

START = """
F StartupMessage user=app database=shop
B AuthenticationSASL SCRAM-SHA-256
F SASLInitialResponse SCRAM-SHA-256 n,,
B AuthenticationSASLContinue r=1
F SASLResponse c=1
B AuthenticationSASLFinal v=1 | AuthenticationOk | ParameterStatus server_version 18.1 | \
ParameterStatus TimeZone UTC | BackendKeyData 1 7777 | ReadyForQuery I
"""
PREPARE = """
F Parse s1(23) SELECT name FROM item WHERE id = $1 | Describe S s1 | Sync
B ParseComplete | ParameterDescription 23 | RowDescription name:25 | ReadyForQuery I
"""
RUN = """
F Bind - s1 params=7 | Execute - | Sync
B BindComplete | DataRow tea | CommandComplete SELECT 1 | ReadyForQuery I
"""
QUERY = """
F Query SELECT 1
B RowDescription n:23 | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
"""
COPY = """
F Query COPY item FROM STDIN
B CopyInResponse
F CopyData tea | CopyData rice | CopyDone
B CommandComplete COPY 2 | ReadyForQuery I
"""
END = """
F Terminate
c1 close F
"""
WORK = START + PREPARE + 3 * RUN + COPY + QUERY + END

Compared = Callable[..., Comparison]


@pytest.fixture
def compared(tmp_path: Path) -> Iterator[Compared]:
    """Two scripts, compared."""
    with ExitStack() as stack:

        def compare_scripts(before: str, after: str, context: int | None = CONTEXT) -> Comparison:
            sides = []
            for name, script in (("a", before), ("b", after)):
                (tmp_path / name).unlink(missing_ok=True)
                side = Behaviour.open([playbook.write(tmp_path / name, script)])
                stack.callback(side.close)
                side.read_until(1 << 62)
                sides.append(side)
            return compare(*sides, context=context)

        yield compare_scripts


def sentences(found: Comparison) -> list[str]:
    """The sentences as they are told."""
    return [text.strip() for kind, text in list(report.lines(found, ("a", "b")))[1 : 1 + len(found.changes)]]


def steps(found: Comparison) -> list[str]:
    """The lines of the first connection that differs."""
    texts = [text for _, text in report.lines(found, ("a", "b"))]
    begin = next(place for place, text in enumerate(texts) if text.startswith("@@"))
    return [re.sub(" {2,}", "  ", text) for text in texts[begin:]]


def other(**changed: str) -> str:
    """The work with other words in places."""
    script = WORK
    for before, after in changed.items():
        before = before.replace("_", " ")
        assert before in script
        script = script.replace(before, after)
    return script


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(WORK, id="itself"),
        pytest.param(re.sub("^(?=[FB] )", "17 ", WORK, count=3, flags=re.MULTILINE), id="times"),
        pytest.param(WORK.replace("s1", "__stmt_4__"), id="names of statements"),
        pytest.param(WORK.replace("params=7", "params=8"), id="values"),
        pytest.param(WORK.replace("SELECT 1", "select  /* x */ 2", 1), id="literals and layout"),
        pytest.param(WORK.replace("s1(23)", "s1(20)").replace("ParameterDescription 23", "ParameterDescription 20"), id="OIDs"),
        pytest.param(WORK.replace("DataRow tea", "DataRow tea ×5"), id="how many rows"),
        pytest.param(WORK.replace("CopyData tea | CopyData rice", "CopyData x"), id="CopyData"),
        pytest.param(WORK.replace("AuthenticationOk | ", ""), id="AuthenticationOk"),
        pytest.param(WORK.replace("ParameterStatus TimeZone UTC | ", ""), id="settings of the server"),
        pytest.param(WORK.replace("BackendKeyData 1 7777", "BackendKeyData 99 1111"), id="process ids"),
        pytest.param(WORK.replace("user=app", "user=other"), id="users"),
        pytest.param(WORK.replace(" | ReadyForQuery I", "\nB ReadyForQuery I"), id="reads"),
        pytest.param(WORK.replace("c1 close F", "c1 close F\nend"), id="how the recording ends"),
    ],
)
def test_what_is_no_difference(compared: Compared, script: str) -> None:
    found = compared(WORK, script)
    assert found.same
    assert not found.changes
    assert [text for _, text in report.lines(found, ("a", "b"))] == [
        "the same wire behaviour: 7 round trips; 3 set-up round trips; 1 connection"
    ]


SELECT = "SELECT name FROM item WHERE id = $1"
DIFFERENCES = {
    "one more execution": (WORK.replace(3 * RUN, 4 * RUN), [f"+1 round trip: {SELECT} runs 4 times, was 3 times"]),
    "a new statement": (WORK.replace(COPY, COPY + 2 * QUERY.replace("1", "a")), ["+2 round trips: ×2 SELECT a is new"]),
    "a statement is gone": (WORK.replace(QUERY, ""), ["-1 round trip: SELECT $1 is gone"]),
    "parsed each time": (
        WORK.replace(3 * RUN, RUN + 2 * (PREPARE + RUN)),
        [f"+2 round trips: the Parse of {SELECT} is no longer reused (parsed 3 times, was once)"],
    ),
    "a pipeline fell apart": (
        None,
        [f"+2 round trips: a pipeline of 3 became 3 round trips: {SELECT}"],
    ),
    "binary results": (WORK.replace("params=7", "params=7 out=1"), [f"results of {SELECT} are binary, were text"]),
    "binary parameters": (WORK.replace("params=7", "params=7 in=1"), [f"parameters of {SELECT} are sent as binary, were text"]),
    "an error": (
        WORK.replace("DataRow tea | CommandComplete SELECT 1", "ErrorResponse 23505 twice", 1),
        [f"error 23505 is new: {SELECT}"],
    ),
    "another error": (None, ["error 23505 is gone: SELECT $1", "error 40001 is new: SELECT $1"]),
    "a transaction": (
        WORK.replace(
            QUERY,
            "F Query BEGIN\nB CommandComplete BEGIN | ReadyForQuery T"
            + QUERY.replace("ReadyForQuery I", "ReadyForQuery T")
            + "F Query COMMIT\nB CommandComplete COMMIT | ReadyForQuery I",
        ),
        ["+2 round trips: BEGIN and COMMIT are now around SELECT $1"],
    ),
    "the extended protocol": (
        WORK.replace(
            QUERY,
            "F Parse - SELECT $1 | Bind - - params=1 | Describe P - | Execute - | Sync\n"
            "B ParseComplete | BindComplete | RowDescription n:23 | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I",
        ),
        ["SELECT $1 is sent as Parse, Bind and Execute, was a simple Query"],
    ),
    "no name": (
        WORK.replace("Parse s1(23)", "Parse -").replace("S s1", "S -").replace("- s1", "- -"),
        [f"{SELECT} is parsed without a name once more"],
    ),
    "SSL is asked": (
        WORK.replace("F StartupMessage", "F SSLRequest\nB SSLRequestReply N\nF StartupMessage"),
        ["+1 set-up round trip: SSLRequest is new in the set-up"],
    ),
    "another password method": (
        WORK.replace(START, "F StartupMessage user=app\nB AuthenticationOk | BackendKeyData 1 7777 | ReadyForQuery I"),
        ["-2 set-up round trips: set-up is Start → KZ, was Start → R · p → R · p → SKZ"],
    ),
    "no Terminate": (WORK.replace("F Terminate", ""), ["Terminate is gone"]),
    "a notification": (WORK.replace("F Terminate", "B NotificationResponse a b\nF Terminate"), ["NotificationResponse is new"]),
    "no rows": (WORK.replace("DataRow 1 | ", ""), ["SELECT $1 takes Q → TCZ, was Q → TDCZ"]),
    "another order": (
        WORK.replace(COPY + QUERY, QUERY + COPY),
        ["the same round trips come in a different order, or on different connections"],
    ),
    "another connection": (
        WORK + QUERY.replace("F ", "c2 F ").replace("B ", "c2 B "),
        ["+1 set-up round trip: connection c2 (unknown, 1 round trip) is new", "+1 round trip: SELECT $1 runs twice, was once"],
    ),
}
PIPELINE = (
    "F Bind - s1 params=7 | Execute - | Bind - s1 params=7 | Execute - | Bind - s1 params=7 | Execute - | Sync\n"
    "B BindComplete | DataRow a | CommandComplete SELECT 1 | BindComplete | DataRow a | CommandComplete SELECT 1 | BindComplete | "
    "DataRow a "
    "| CommandComplete SELECT 1 | ReadyForQuery I"
)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_what_is_a_difference_and_what_is_said_of_it(compared: Compared, name: str) -> None:
    after, expected = DIFFERENCES[name]
    before = WORK
    if name == "a pipeline fell apart":
        before, after = WORK.replace(3 * RUN, PIPELINE), WORK
    if name == "another error":
        failing = WORK.replace("RowDescription n:23 | DataRow 1 | CommandComplete SELECT 1", "ErrorResponse {} no")
        before, after = (failing.replace("{}", state) for state in ("23505", "40001"))
    assert after != before
    found = compared(before, after)
    assert not found.same
    assert sentences(found) == expected
    assert sum(change.round_trips for change in found.changes) == found.second.number("round_trip") - found.first.number("round_trip")
    assert sum(change.setup_round_trips for change in found.changes) == found.second.number("setup") - found.first.number("setup")
    back = compared(after, before)
    assert not back.same
    assert [change.round_trips for change in back.changes] == [-change.round_trips for change in found.changes]


def test_a_round_trip_inserted_in_the_middle_is_one_line(compared: Compared) -> None:
    found = compared(START + 10 * (QUERY + RUN) + END, START + 5 * (QUERY + RUN) + COPY + 5 * (QUERY + RUN) + END)
    assert steps(found) == [
        "@@ -3 +3 @@",
        "  p → SKZ",
        "  ×5:",
        "  Q → TDCZ  SELECT $1  →t",
        "  BES → 2DCZ  (prepared earlier)  t→t",
        "+ Q → G  COPY item FROM STDIN",
        "+ dc → CZ  COPY item FROM STDIN",
        "  ×5:",
        "  Q → TDCZ  SELECT $1  →t",
        "  BES → 2DCZ  (prepared earlier)  t→t",
        "  Terminate",
    ]


def test_every_step_is_told_when_that_is_wished(compared: Compared) -> None:
    after = WORK.replace(QUERY, 2 * QUERY)
    assert len(steps(compared(WORK, after))) == 1 + CONTEXT + 1 + 1
    assert [line[:14].rstrip() for line in steps(compared(WORK, after, context=None))] == [
        "@@ -1 +1 @@",
        "  Start → R",
        "  p → R",
        "  p → SKZ",
        "  PDS → 1tTZ",
        "  ×3 BES → 2DC",
        "  Q → G  COPY",
        "  dc → CZ  COP",
        "  Q → TDCZ  SE",
        "+ Q → TDCZ  SE",
        "  Terminate",
    ]


def on(connection: int, script: str) -> str:
    return re.sub("^(?=[FB] )", f"c{connection} ", script, flags=re.MULTILINE).replace("c1 close", f"c{connection} close")


def test_connections_are_found_again_in_another_order(compared: Compared) -> None:
    works = [START + PREPARE + RUN + END, START + COPY + END, START + 3 * QUERY + END]
    before = "".join(on(number, work) for number, work in enumerate(works, 1))
    after = "".join(on(number, work) for number, work in enumerate(reversed(works), 1))
    assert compared(before, after).same
    changed = "".join(on(number, work) for number, work in enumerate([works[2], works[1] + "\n", works[0].replace(RUN, 2 * RUN)], 1))
    found = compared(before, changed)
    assert [(pair.first and pair.first.name, pair.second and pair.second.name) for pair in found.pairs] == [("c1", "c3")]
    assert sentences(found) == [f"+1 round trip: {SELECT} runs twice, was once"]


def test_connections_that_have_nothing_in_common_are_gone_and_new(compared: Compared) -> None:
    found = compared(START + COPY + END, QUERY)  # another start-up, too
    assert [(pair.first and pair.first.name, pair.second and pair.second.name) for pair in found.pairs] == [("c1", None), (None, "c1")]


def test_an_open_round_trip_is_part_of_it(compared: Compared) -> None:
    assert compared(START + "F Query SELECT 1", START + "F Query SELECT 2").same
    assert not compared(START + "F Query SELECT 1", START).same


def test_a_begin_that_is_sent_along_costs_nothing(compared: Compared) -> None:
    along = (
        "F Query BEGIN | Query SELECT 1\n"
        "B CommandComplete BEGIN | ReadyForQuery T | RowDescription n:23 | DataRow 1 | CommandComplete SELECT 1 "
        "| ReadyForQuery T\n"
        "F Query COMMIT\nB CommandComplete COMMIT | ReadyForQuery I"
    )
    assert sentences(compared(WORK, WORK.replace(QUERY, along)))[0] == "+1 round trip: BEGIN and COMMIT are now around SELECT $1"


def test_an_error_is_of_the_statement_that_failed(compared: Compared) -> None:
    both = (
        "F Parse - SELECT a | Bind - - | Execute - | Parse - SELECT b | Bind - - | Execute - | Sync\n"
        "B ParseComplete | BindComplete | {} | ParseComplete | BindComplete | CommandComplete SELECT 0 | ReadyForQuery I"
    )
    before = WORK.replace(QUERY, both.format("CommandComplete SELECT 0"))
    after = WORK.replace(
        QUERY,
        both.partition(" | ParseComplete | BindComplete | CommandComplete")[0].format("ErrorResponse 22012 zero") + " | ReadyForQuery I",
    )
    assert "error 22012 is new: SELECT a" in sentences(compared(before, after))


def test_a_notification_is_the_same_inside_a_round_trip_and_behind_it(compared: Compared) -> None:
    inside = WORK.replace("RowDescription n:23", "NotificationResponse a b | RowDescription n:23")
    behind = WORK.replace("F Terminate", "B NotificationResponse a b\nF Terminate")
    assert compared(inside, behind).same
    assert sentences(compared(WORK, inside)) == ["NotificationResponse is new"]
    assert sentences(compared(inside, inside.replace("NotificationResponse a b", "NotificationResponse a b ×3"))) == [
        "NotificationResponse comes 3 times, was once"
    ]


def test_a_stream_is_the_same_however_it_was_cut(compared: Compared) -> None:
    opaque = START.partition("F SASLInitial")[0] + "c2 opaque F 100\nc2 opaque B 50\nc2 opaque F 7\n"
    assert compared(opaque, opaque + "c2 opaque B 1\nc2 opaque F 1").same
    stream = START + "F Query START_REPLICATION SLOT s LOGICAL 0/0\nB CopyBothResponse\nB CopyData w\nF CopyData r\nB CopyData w"
    assert compared(stream, stream + "\nB CopyData k\nF CopyData r").same
    assert not compared(stream, START + "F Query START_REPLICATION SLOT s LOGICAL 0/0\nB CopyBothResponse\nB CopyData w").same


def test_of_very_many_different_steps_those_beyond_the_bound_are_one(compared: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour, "STEPS_KEPT", 4)
    later = WORK.replace(COPY, QUERY)
    assert compared(WORK, later).first.steps[BehaviourStep("round_trip", "…")] > 1
    assert not compared(WORK.replace(PREPARE, ""), later).same


def test_text_from_the_wire_is_shown_and_never_obeyed(compared: Compared) -> None:
    hostile = 'SELECT 1 AS "\x1b]0;title\x07\u202e"'
    found = compared(WORK, WORK.replace("Query SELECT 1", f"Query {hostile}"))
    text = "\n".join(text for _, text in report.lines(found, ("a\x1b[31m", "b")))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b]0;title\\x07\\u202e" in text
    assert hostile.replace("1", "$1") in [change["statement"] for change in report.as_dict(found, ("a", "b"))["changes"]]


LETTERS = st.lists(st.tuples(st.sampled_from("FB"), st.binary(min_size=1, max_size=30)), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(LETTERS, LETTERS)
def test_whatever_bytes_passed_can_be_compared(compared: Compared, before: list[tuple[str, bytes]], after: list[tuple[str, bytes]]) -> None:
    def script(reads: list[tuple[str, bytes]]) -> str:
        return WORK.partition("F Terminate")[0] + "".join(f"c1 raw {side} {data.hex()}\n" for side, data in reads)

    found = compared(script(before), script(after))
    assert found.same == (not found.changes)
    assert list(report.lines(found, ("a", "b")))
    assert compared(script(before), script(before)).same


def test_json_tells_the_same(compared: Compared) -> None:
    found = compared(WORK, WORK.replace(QUERY, 2 * QUERY))
    told = report.as_dict(found, ("a.pgtrace", "b.pgtrace"))
    assert told["same"] is False
    assert told["a"] == {"file": "a.pgtrace", "connections": 1, "round_trips": 7, "setup_round_trips": 3}
    assert told["changes"] == [
        {
            "kind": "executions",
            "words": "SELECT $1 runs twice, was once",
            "round_trips": 1,
            "setup_round_trips": 0,
            "statement": "SELECT $1",
        }
    ]
    (pair,) = told["connections"]
    (hunk,) = pair["hunks"]
    assert (pair["a"], pair["b"], hunk["a"], hunk["b"]) == ("c1", "c1", 9, 9)
    assert [(step["times"], [(line["only"], line["flight"]) for line in step["lines"]]) for step in hunk["steps"]] == [
        (1, [(None, "dc → CZ")]),
        (1, [(None, "Q → TDCZ")]),
        (1, [("b", "Q → TDCZ")]),
        (1, [(None, "Terminate")]),
    ]
