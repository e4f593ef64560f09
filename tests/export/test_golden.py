"""Goldens: the same work has the same text, whoever was first and whatever a driver drew."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgtrace.capture.segments import SegmentWriter
from pgtrace.errors import UsageError
from pgtrace.export import golden, rules
from pgtrace.trace.trace import Trace
from tests import playbook
from tests.playbook import write
from tests.traces import fully_read


def text(tmp_path: Path, script: str, **options: object) -> str:
    path = tmp_path / "x.pgtrace"
    path.unlink(missing_ok=True)
    trace = Trace.open([write(path, script)])
    while trace.update():
        pass
    try:
        return golden.text(trace, **options)  # type: ignore[arg-type]
    finally:
        trace.close()


def messages(found: str) -> list[str]:
    """Direction and name of each line, headings without what is behind a colon."""
    return [line.partition(":")[0] if line[0] == "#" else " ".join(line.split("\t")[::2][:2]) for line in found.splitlines()]


START = "F StartupMessage user=app database=shop client_encoding='utf-8'\nB AuthenticationOk | ReadyForQuery I\n"


def numbered(script: str, connection: int, at: float) -> str:
    """The script for that connection, its lines a millisecond from each other."""
    lines = script.strip().splitlines()
    return "\n".join(f"{at + number} c{connection} {line}" for number, line in enumerate(lines)) + "\n"


def test_of_each_round_trip_what_was_sent_stands_first(tmp_path: Path) -> None:
    ahead = (
        "F Parse - SELECT 1 | Bind - - | Execute - | Flush\nF Sync\n"
        "B ParseComplete | BindComplete | CommandComplete SELECT 0 | ReadyForQuery I\n"
    )
    between = (
        "F Parse - SELECT 1 | Bind - - | Execute -\nF Flush\nB ParseComplete\nF Sync\n"
        "B BindComplete | CommandComplete SELECT 0 | ReadyForQuery I\n"
    )
    waits = (
        "F Parse - SELECT 1 | Bind - - | Execute - | Flush\nB ParseComplete | BindComplete | CommandComplete SELECT 0\nF Sync\n"
        "B ReadyForQuery I\n"
    )
    first = text(tmp_path, START + ahead)
    assert messages(first)[4:] == [
        "F Parse", "F Bind", "F Execute", "F Flush", "F Sync", "B ParseComplete", "B BindComplete", "B CommandComplete", "B ReadyForQuery",
    ]  # fmt: skip
    assert text(tmp_path, START + between) == first
    assert messages(text(tmp_path, START + waits))[-3:] == ["B CommandComplete", "F Sync", "B ReadyForQuery"]


def test_what_comes_unasked_stands_where_it_fell(tmp_path: Path) -> None:
    found = text(
        tmp_path,
        START + "B NotificationResponse orders 1\nF Query SELECT 1\nB NoticeResponse x | CommandComplete SELECT 0 | ReadyForQuery I\n",
    )
    assert messages(found)[3:] == [
        "B ReadyForQuery", "B NotificationResponse", "F Query", "B NoticeResponse", "B CommandComplete", "B ReadyForQuery",
    ]  # fmt: skip


QUERY = "F Query SELECT {0}\nB CommandComplete SELECT {0} | ReadyForQuery I\nF Terminate\nclose F\n"


def test_connections_begun_at_once_stand_by_their_text(tmp_path: Path) -> None:
    one, two = (
        "".join([numbered(START + QUERY.format(number), connection, 0.25 * connection) for connection, number in pair])
        for pair in (((1, 1), (2, 2)), ((1, 2), (2, 1)))
    )
    assert text(tmp_path, interleaved(one)) == text(tmp_path, interleaved(two))


def test_connections_begun_one_after_the_other_stay_so(tmp_path: Path) -> None:
    script = numbered(START + QUERY.format(2), 1, 0) + numbered(START + QUERY.format(1), 2, 10)
    assert re.findall("SELECT .", text(tmp_path, script)) == ["SELECT 2", "SELECT 2", "SELECT 1", "SELECT 1"]


def interleaved(script: str) -> str:
    return "\n".join(sorted(script.splitlines(), key=lambda line: float(line.split()[0])))


ASYNCPG = """
F Parse __asyncpg_stmt_{0:x}__ SELECT $1 | Describe S __asyncpg_stmt_{0:x}__ | Flush
B ParseComplete | ParameterDescription 23 | NoData
F Bind - __asyncpg_stmt_{0:x}__ | Execute - | Sync
B BindComplete | CommandComplete SELECT 0 | ReadyForQuery I
F Query SAVEPOINT __asyncpg_savepoint_{1:x}__
B CommandComplete SAVEPOINT | ReadyForQuery I
F Bind - mine | Execute - | Sync
B ErrorResponse 26000 prepared statement "__asyncpg_stmt_{0:x}__" does not exist | ReadyForQuery I
"""


def test_names_that_a_driver_drew_are_numbered(tmp_path: Path) -> None:
    found = text(tmp_path, START + ASYNCPG.format(9, 10))
    assert found == text(tmp_path, START + ASYNCPG.format(0xF00D, 0xBEEF))
    assert set(re.findall(r"__asyncpg_\w+?__", found)) == {"__asyncpg_stmt_1__", "__asyncpg_savepoint_1__"}
    assert '"mine"' in found  # what a program chose stays
    assert "F\t" + str(4 + len("__asyncpg_stmt_1__") + 1 + len("SELECT $1") + 1 + 2) + "\tParse" in found
    assert "__asyncpg_stmt_f00d__" in text(tmp_path, START + ASYNCPG.format(0xF00D, 0xBEEF), plain=True)


def test_a_program_s_own_names_stay_where_the_driver_draws_none(tmp_path: Path) -> None:
    script = (
        "F StartupMessage user=app\nB AuthenticationOk | ReadyForQuery I\nF Parse s7 SELECT 1 | Sync\nB ParseComplete | ReadyForQuery I\n"
    )
    assert '"s7"' in text(tmp_path, script)


POOL_1 = [(1, "SELECT 1"), (2, "SELECT 2"), (1, "SELECT 3"), (2, "SELECT 1")]
POOL_2 = [(2, "SELECT 3"), (2, "SELECT 1"), (2, "SELECT 1"), (1, "SELECT 2")]


def pool(work: list[tuple[int, str]]) -> str:
    script = numbered(START, 1, 0) + numbered(START, 2, 0.5)
    for place, (connection, sql) in enumerate(work):
        unit = f"""
F Query BEGIN
B CommandComplete BEGIN | ReadyForQuery T
F Query {sql}
B CommandComplete SELECT 1 | ReadyForQuery T
F Query COMMIT
B CommandComplete COMMIT | ReadyForQuery I
"""
        script += numbered(unit, connection, 10 + 10 * place)
    return interleaved(script + numbered("F Terminate\nclose F", 1, 100) + numbered("F Terminate\nclose F", 2, 110))


def test_by_content_it_does_not_matter_which_connection_served_what(tmp_path: Path) -> None:
    found = text(tmp_path, pool(POOL_1), order="content")
    assert found == text(tmp_path, pool(POOL_2), order="content")
    assert found != text(tmp_path, pool(POOL_2))
    assert [line for line in messages(found) if line[0] == "#"] == [
        "# pgtrace golden 1",
        "# connection 1",
        "# connection 2",
        "# connections",
    ]
    assert re.findall(r'Query\t "(.+)"', found) == [word for sql in (1, 1, 2, 3) for word in ("BEGIN", f"SELECT {sql}", "COMMIT")]
    assert messages(found).count("F Terminate") == 2


def test_by_content_a_drawn_name_follows_its_statement(tmp_path: Path) -> None:
    def script(first: str, second: str) -> str:
        return START + "".join(
            f"F Parse __asyncpg_stmt_{number}__ {sql} | Describe S __asyncpg_stmt_{number}__ | Flush\n"
            f"B ParseComplete | ParameterDescription | NoData\n"
            f"F Bind - __asyncpg_stmt_{number}__ | Execute - | Sync\nB BindComplete | CommandComplete SELECT 0 | ReadyForQuery I\n"
            for number, sql in ((5, first), (6, second))
        )

    found = text(tmp_path, script("SELECT 2", "SELECT 1"), order="content")
    assert found == text(tmp_path, script("SELECT 1", "SELECT 2"), order="content")
    assert 'Parse\t "__asyncpg_stmt_1__" "SELECT 1"' in found


MARKS = f"""
{START}
mark begin a
F Query SELECT 'a'
B CommandComplete SELECT 1 | ReadyForQuery I
mark end a
F Query BEGIN
B CommandComplete BEGIN | ReadyForQuery T
mark begin b
F Query SELECT 'b'
B CommandComplete SELECT 1 | ReadyForQuery T
mark end b
"""


def test_a_mark_has_what_began_while_it_was_open(tmp_path: Path) -> None:
    assert re.findall("SELECT '.'", text(tmp_path, MARKS, mark="a")) == ["SELECT 'a'"]
    found = text(tmp_path, MARKS, mark="b")
    assert re.findall("SELECT '.'", found) == ["SELECT 'b'"]
    assert found.splitlines()[1].endswith(", begun before, in a transaction")
    with pytest.raises(UsageError, match="no mark 'c'; the marks are: 'a', 'b'"):
        text(tmp_path, MARKS, mark="c")


def test_rules_replace_texts_and_values_and_lengths_follow(tmp_path: Path) -> None:
    script = START + "F Query SELECT now() -- req-1234\nB DataRow 12:30:59 NULL '' | CommandComplete SELECT 1 | ReadyForQuery I\n"
    found = text(tmp_path, script, rules=rules.parse([r"s/\d\d:\d\d:\d\d/TIME/", r"s|req-\d+|REQUEST|"]))
    assert 'F\t28\tQuery\t "SELECT now() -- REQUEST"\n' in found
    assert "B\t22\tDataRow\t 3 4 'TIME' -1 0 ''\n" in found


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("x", "is not a rule: expected s/REGEX/TEXT/"),
        ("s/a/b", "is not a rule"),
        ("s/a/b/g", "is not a rule"),
        ("s//b/", "is not a rule"),
        ("s/(a/b/", "no `\\)` for this `\\(`, at character 1"),
        ("s/a/\0/", "no text on the wire holds a zero byte"),
        ("s/a*/b/", "match at least one character"),
        (r"s/(a)\1/b/", "back references are not supported"),
    ],
)
def test_what_is_no_rule(rule: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        rules.Rule(rule)


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("s/b+/x/", "abbbcb", "axcx"),
        (r"s/\b\d+\b/N/", "12 a12 12", "N a12 N"),
        ("s/^a/x/", "aa", "xa"),
        ("s/(foo|foobar)/x/", "foobarfoo", "xx"),
        ("s,a/b,c,", "a/b", "c"),
        (r"s/a\/b/c\/d/", "a/b", "c/d"),
        ("s/[0-9]{2}//", "1234x5", "x5"),
    ],
)
def test_rules(rule: str, before: str, after: str) -> None:
    assert rules.Rule(rule).apply(before) == after


def test_a_rule_that_takes_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match="takes too long on a text of 4001 characters"):
        rules.Rule("s/a.*b.*c.*d|x/y/").apply("a" * 4_000 + "x")


def test_rules_of_the_nearest_settings(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.pgtrace.golden]\nrules = ['s/a/b/']\n")
    (tmp_path / "tests").mkdir()
    assert [rule.text for rule in rules.configured(tmp_path / "tests")] == ["s/a/b/"]
    (tmp_path / "tests" / "pyproject.toml").write_text("[tool.pgtrace.golden]\nrules = 's/a/b/'\n")
    with pytest.raises(UsageError, match="must be a list of strings"):
        rules.configured(tmp_path / "tests")


def test_what_is_no_longer_kept_is_said(tmp_path: Path) -> None:
    script = START + "".join(f"F Query SELECT {number}\nB CommandComplete SELECT 1 | ReadyForQuery I\n" for number in range(400))
    records = [one._replace(time_ns=one.time_ns + 1) for one in playbook.records(script)]
    writer = SegmentWriter(tmp_path / "kept", 1 << 20, segment_bytes=20_000)
    for start in range(0, len(records), 50):
        writer.write(records[start : start + 50])
    writer.close()
    trace = fully_read(tmp_path / "kept")
    first = min((tmp_path / "kept").iterdir())
    first.unlink()
    found = golden.text(trace)
    trace.close()
    assert found.count("# bytes no longer kept\n") > 50
    assert "SELECT 399" in found
