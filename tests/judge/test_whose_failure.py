"""Failures: each is explained by the finding that says whose it is, or listed as unexplained; and a
pooler is named on positive evidence alone."""

from __future__ import annotations

import pytest

from pgtrace.judge.baseline import NOTHING, verdict
from pgtrace.judge.unexplained import NOTHING as NOTHING_LEFT
from pgtrace.protocol import backend
from tests.judging import Judge

DONE = "F Terminate\nc1 close F\nend"
PARSE = "F Parse s1 SELECT name FROM item WHERE id = $1 | Sync\nB ParseComplete | ReadyForQuery I"
RUN = "F Bind - s1 params=7 | Execute - | Sync\nB BindComplete | DataRow tea | CommandComplete SELECT 1 | ReadyForQuery I"
FAILS = "F Bind - s1 params=7 | Execute - | Sync\nB ErrorResponse 26000 l’instruction préparée « s1 » n’existe pas | ReadyForQuery I"
TAKEN = "F Parse s1 SELECT 1 | Sync\nB ErrorResponse 42P05 la instrucción preparada «s1» ya existe | ReadyForQuery I"


def simple(sql: str, tag: str, status: str = "I") -> str:
    return f"F Query {sql}\nB CommandComplete {tag} | ReadyForQuery {status}"


def extended(sql: str, tag: str) -> str:
    return f"F Parse - {sql} | Bind - - | Execute - | Sync\nB ParseComplete | BindComplete | CommandComplete {tag} | ReadyForQuery I"


def begun(pid: int = 4711) -> str:
    return f"F StartupMessage user=app database=shop\nB AuthenticationOk | BackendKeyData {pid} 7777 | ReadyForQuery I"


# 26000 and 42P05.


@pytest.mark.parametrize(
    ("drop", "how"),
    [
        (simple("DISCARD ALL", "DISCARD ALL"), "DISCARD ALL"),
        (simple("/* app:shop */ discard   ALL", "DISCARD ALL"), "DISCARD ALL"),
        (simple("-- reset\nDeallocate All;", "DEALLOCATE ALL").replace("-- reset\n", "/* reset */ "), "DEALLOCATE ALL"),
        (simple('deallocate prepare "s1"', "DEALLOCATE"), "DEALLOCATE"),
        (extended("DEALLOCATE ALL", "DEALLOCATE ALL"), "DEALLOCATE ALL"),
        (extended("/*x*/ deallocate s1", "DEALLOCATE"), "DEALLOCATE"),
        ("F Query select 1; deallocate all\n"
            "B CommandComplete SELECT 1 | CommandComplete DEALLOCATE ALL | ReadyForQuery I", "DEALLOCATE ALL"),
        ("F Close S s1 | Sync\nB CloseComplete | ReadyForQuery I", "Close"),
    ],
)  # fmt: skip
def test_the_session_gave_it_up(judged: Judge, drop: str, how: str) -> None:
    found = judged(PARSE, RUN, drop, FAILS, DONE)
    assert found.told == [("statement-dropped", 1)]
    assert f"dropped it by {how}" in found.words
    assert "pooler" not in found.words.lower().replace("pgbouncer", "pooler")
    assert [one.place for one in found["statement-dropped"].evidence] == [1, 2, 3, 4]
    assert not found.errors


@pytest.mark.parametrize(
    "text",
    [
        simple("SELECT 'DEALLOCATE ALL'", "SELECT 1"),
        simple("/* DISCARD ALL */ SELECT 1", "SELECT 1"),
        simple("DISCARD PLANS", "DISCARD PLANS"),
        simple("DEALLOCATE other", "DEALLOCATE"),
        "F Query DISCARD ALL\nB ErrorResponse 25001 cannot run inside a transaction block | ReadyForQuery I",
        "F Query DEALLOCATE s1\nB ErrorResponse 42501 no | ReadyForQuery I",
    ],
)
def test_what_only_looks_like_a_drop_is_none(judged: Judge, text: str) -> None:
    assert "pooler-26000" in judged(PARSE, RUN, text, FAILS, DONE).names


@pytest.mark.parametrize(
    "hides",
    [
        simple("DO $$ begin execute 'deallocate all'; end $$", "DO"),
        simple("CALL tidy_up()", "CALL"),
        simple("SELECT tidy_up()", "SELECT 1"),
    ],
)
def test_where_something_may_have_dropped_it_unseen_the_cause_is_not_known(judged: Judge, hides: str) -> None:
    found = judged(PARSE, RUN, hides, FAILS, DONE)
    assert found.told == [("statement-gone", 1)]
    assert "something that may have dropped it ran since" in found.words
    moved = judged(begun(1871788773), PARSE, RUN, hides, FAILS, DONE)
    assert moved.told == [("pooler-26000", 1)]
    assert "1871788773 is not a server's" in moved.words


def test_inside_one_transaction_no_pooler_switches(judged: Judge) -> None:
    lines = [
        simple("BEGIN", "BEGIN", "T"),
        PARSE.replace("ReadyForQuery I", "ReadyForQuery T"),
        FAILS.replace("ReadyForQuery I", "ReadyForQuery E"),
    ]
    assert judged(*lines, simple("ROLLBACK", "ROLLBACK"), DONE).told == [("statement-gone", 1)]


def test_a_statement_that_was_never_prepared_here(judged: Judge) -> None:
    found = judged(FAILS, DONE)
    assert found.told == [("statement-gone", 1)]
    assert "this session never prepared it" in found.words
    cut = judged(PARSE, "gap 50", "F Sync\nB ReadyForQuery I", FAILS.replace("s1", "s2"), DONE)
    assert "its Parse is not in this capture" in cut.words


def test_a_query_takes_the_place_of_the_unnamed_statement(judged: Judge) -> None:
    parse, fails = PARSE.replace("s1", "-"), FAILS.replace("Bind - s1", "Bind - -").replace("s1", "")
    found = judged(parse, simple("SELECT 1", "SELECT 1"), fails, DONE)
    assert found.told == [("statement-dropped", 1)]
    assert "by a simple Query" in found.words
    assert judged(parse, fails, DONE).names == ["pooler-26000"]


EXECUTE = "F Query EXECUTE p (7)\nB ErrorResponse 26000 prepared statement does not exist | ReadyForQuery I"


def test_statements_of_sql(judged: Judge) -> None:
    prepare = simple("PREPARE p (int) AS SELECT $1", "PREPARE")
    dropped = judged(prepare, simple("DEALLOCATE PREPARE p", "DEALLOCATE"), EXECUTE, DONE)
    assert [name for name in dropped.names if name != "session-state"] == ["statement-dropped"]
    assert "pooler-26000" in judged(prepare, EXECUTE, DONE).names
    twice = "F Query PREPARE p AS SELECT 1\nB ErrorResponse 42P05 already exists | ReadyForQuery I"
    assert "pooler-42P05" not in judged(prepare, twice, DONE).names


@pytest.mark.parametrize(
    ("drop", "fails", "remedy"),
    [
        (simple("DISCARD ALL", "DISCARD ALL"), FAILS, "leave statements to the driver"),
        ("F Close S s1 | Sync\nB CloseComplete | ReadyForQuery I", FAILS, "statement that was closed"),
        (simple("DEALLOCATE ALL", "DEALLOCATE ALL"), EXECUTE.replace("p (7)", "s1"), "PREPARE it again"),
    ],
)
def test_the_remedy_is_for_what_dropped_it(judged: Judge, drop: str, fails: str, remedy: str) -> None:
    prepare = simple("PREPARE s1 (int) AS SELECT $1", "PREPARE") if "EXECUTE" in fails else PARSE
    (said,) = judged(prepare, drop, fails, DONE)["statement-dropped"].remedies
    assert remedy in said


def test_the_remedy_where_a_query_takes_its_place(judged: Judge) -> None:
    parse, fails = PARSE.replace("s1", "-"), FAILS.replace("Bind - s1", "Bind - -").replace("s1", "")
    (said,) = judged(parse, simple("SELECT 1", "SELECT 1"), fails, DONE)["statement-dropped"].remedies
    assert "before the next simple Query" in said


PREPARE_P = simple("PREPARE p AS SELECT 1", "PREPARE")


@pytest.mark.parametrize("pid", [4711, 1871788773])
@pytest.mark.parametrize(
    ("prepare", "fails", "what", "remedy"),
    [
        (PREPARE_P, EXECUTE, "made by SQL-level PREPARE", "without PREPARE"),
        (PREPARE_P, EXECUTE.replace("EXECUTE p (7)", "DEALLOCATE p"), "made by SQL-level PREPARE", "without PREPARE"),
        (PARSE, EXECUTE.replace("p (7)", "s1"), "EXECUTE of prepared statement", "run it with Bind"),
        (PARSE, EXECUTE.replace("EXECUTE p (7)", "DEALLOCATE s1"), "DEALLOCATE of prepared statement", "drop statements with Close"),
        (PARSE, FAILS, "nothing dropped it", "PgBouncer 1.21 or later"),
    ],
)  # fmt: skip
def test_what_a_pooler_took_by_how_it_is_named(judged: Judge, pid: int, prepare: str, fails: str, what: str, remedy: str) -> None:
    found = judged(begun(pid), prepare, fails, DONE)["pooler-26000"]
    assert what in found.what
    (said,) = found.remedies
    assert remedy in said


def test_a_name_that_is_taken_at_the_level_of_sql(judged: Judge) -> None:
    twice = "F Query PREPARE p AS SELECT 1\nB ErrorResponse 42P05 already exists | ReadyForQuery I"
    (said,) = judged(twice, DONE)["pooler-42P05"].remedies
    assert "without PREPARE" in said
    for hides in (simple("DO $$ begin execute 'prepare p as select 1'; end $$", "DO"), simple("SELECT set_up()", "SELECT 1")):
        unknown = judged(begun(), hides, twice, DONE)
        assert (unknown.names, unknown.errors) == ([], {"42P05": 1})
        assert judged(begun(1871788773), hides, twice, DONE).names == ["pooler-42P05"]


def test_a_name_that_is_taken(judged: Judge) -> None:
    assert judged(TAKEN, DONE).told == [("pooler-42P05", 1)]
    mine = judged(PARSE, TAKEN, DONE)
    assert (mine.told, mine.errors) == ([], {"42P05": 1})  # the session prepared it itself, and did not give it up
    again = judged(PARSE, simple("DEALLOCATE s1", "DEALLOCATE"), TAKEN, DONE)
    assert again.told == [("pooler-42P05", 1)]


WITHOUT_FIELDS = "4500000018" + b"SERROR\0C08P01\0Mno!\0\0".hex()
SIGNS = {
    "pid": [begun(4_194_305)],
    "no fields": [begun(9), f"F Query SELECT 1\nraw B {WITHOUT_FIELDS}\nB ReadyForQuery I"],
    "notification": [begun(9), "B NotificationResponse 7 news hello"],
}


@pytest.mark.parametrize("sign", SIGNS)
def test_signs_of_a_pooler(judged: Judge, sign: str) -> None:
    found = judged(*SIGNS[sign], PARSE, RUN, simple("DO $$ $$", "DO"), FAILS, DONE)
    assert found.told == [("pooler-26000", 1)]


def test_a_notification_after_listen_is_no_sign(judged: Judge) -> None:
    listens = [simple("/* news */ listen news", "LISTEN"), "B NotificationResponse 7 news hello"]
    assert judged(begun(9), *listens, PARSE, RUN, simple("DO $$ $$", "DO"), FAILS, DONE).told == [("statement-gone", 1)]


def test_two_sessions_at_once_with_one_process_id(judged: Judge) -> None:
    def of(connection: str, *lines: str) -> list[str]:
        return [f"{connection} {line}" for part in lines for line in part.splitlines()]

    found = judged(*of("c1", begun(5)), *of("c2", begun(5), PARSE, RUN, simple("DO $$ $$", "DO"), FAILS), "end")
    assert found.told == [("pooler-26000", 1)]
    apart = judged(*of("c1", begun(5)), "c1 close F", *of("c2", begun(5), PARSE, RUN, simple("DO $$ $$", "DO"), FAILS), "end")
    assert apart.told == [("statement-gone", 1)]


# Every failure is somebody's.


def test_what_no_finding_explains_is_listed(judged: Judge) -> None:
    found = judged(
        "F Query SELECT pg_sleep(9)\nB ErrorResponse 57014 canceling statement | ReadyForQuery I",
        "F Query SELECT * FROM nowhere\nB ErrorResponse 42P01 does not exist | ReadyForQuery I",
        "F Query SELECT pg_sleep(9)\nB ErrorResponse 57014 canceling statement | ReadyForQuery I",
        DONE,
    )
    assert (found.told, found.errors, found.ends) == ([], {"57014": 2, "42P01": 1}, {})


def test_an_end_without_terminate_is_listed(judged: Judge) -> None:
    found = judged(simple("SELECT 1", "SELECT 1"), "900 c1 ends F FIN", "901 c1 close F", "end")
    assert (found.told, found.ends) == ([], {"closed by the driver (FIN) without Terminate": 1})
    assert judged(simple("SELECT 1", "SELECT 1"), DONE).ends == {}


def test_each_error_of_a_pipeline_counts_once(judged: Judge) -> None:
    found = judged(
        "F Bind - s9 | Execute - | Sync | Query SELECT 1/0",
        "B ErrorResponse 26000 gone | ReadyForQuery I | ErrorResponse 22012 division by zero | ReadyForQuery I",
        DONE,
    )
    assert (found.told, found.errors) == ([("statement-gone", 1)], {"22012": 1})


@pytest.mark.parametrize("state", ["23505", "23P01", "23502", "23503", "23514", "22003", "22P02", "42501"])
@pytest.mark.parametrize(
    "driver", ["", "F StartupMessage client_encoding='utf-8' user=app database=shop\nB AuthenticationOk | ReadyForQuery I"]
)
def test_on_conflict_is_advised_for_duplicates_alone(judged: Judge, state: str, driver: str) -> None:
    """It knows unique and exclusion constraints; anything else fails with it as well."""
    insert = "Parse - INSERT INTO item VALUES ($1) | " + " | ".join(f"Bind - - params={number} | Execute -" for number in range(3))
    pipeline = f"F {insert} | Sync\nB ParseComplete | BindComplete | CommandComplete INSERT 0 1 | BindComplete | ErrorResponse {state} no"
    found = judged(driver, f"{pipeline} | ReadyForQuery I", DONE)["pipeline-error"]
    assert ("ON CONFLICT" in "".join(found.remedies)) is state.startswith(("23505", "23P01"))
    assert len(found.remedies) == 1
    failed = f"F Query INSERT INTO item VALUES (1)\nB ErrorResponse {state} no | ReadyForQuery E"
    aborted = "F Query SELECT 1\nB ErrorResponse 25P02 aborted | ReadyForQuery E"
    block = judged(simple("BEGIN", "BEGIN", "T"), failed, aborted, simple("ROLLBACK", "ROLLBACK"), DONE)["aborted-transaction"]
    assert ("ON CONFLICT" in "".join(block.remedies)) is state.startswith(("23505", "23P01"))
    assert "roll back at the first error" in block.remedies[0]


ASKED = {
    "all rows": "F Parse - SELECT name FROM item WHERE id = $1 | Bind - - params={} | Describe P - | Execute - | Flush\n"
    "B ParseComplete | BindComplete | RowDescription name:25 | DataRow tea | CommandComplete SELECT 1",
    "closed": "F Parse - SELECT name FROM item WHERE id = $1 | Bind - - params={} | Describe P - | Execute - 1 | Close P - | Flush\n"
    "B ParseComplete | BindComplete | RowDescription name:25 | DataRow tea | PortalSuspended | CloseComplete",
}


@pytest.mark.parametrize("status", ["I", "T"])
@pytest.mark.parametrize("ends", ["it", "a check"])
@pytest.mark.parametrize("asked", ASKED)
def test_the_sync_of_a_query_that_a_flush_answered_is_no_check(judged: Judge, asked: str, ends: str, status: str) -> None:
    """A query's own Sync may come later, as in pg-cursor; a pool's check begins when nothing is open."""
    sync = f"F Sync\nB ReadyForQuery {status}"
    check = "F Sync\nB ReadyForQuery I" if status == "T" else ""
    query = f"{ASKED[asked]}\n{sync}"
    queries = [query.format(number) + (f"\n{sync}" if ends == "a check" else "") for number in range(6)]
    begin, commit = (simple("BEGIN", "BEGIN", "T"), simple("COMMIT", "COMMIT")) if status == "T" else ("", "")
    found = judged(check, begin, *queries, commit, DONE)
    assert ("returned-in-transaction" in found.names) is (ends == "a check" and status == "T")
    assert ("driver-overhead" in found.names) is (ends == "a check" and status == "I")
    assert "pool" not in found.words or ends == "a check"


def test_cached_plan_by_its_routine_and_no_other_0a000(judged: Judge) -> None:
    fails = "F Bind - s1 params=7 | Execute - | Sync\nB ErrorResponse 0A000 {} | ReadyForQuery I"
    assert judged(PARSE, fails.format("cached plan must not change result type"), DONE).told == [("cached-plan", 1)]
    other = judged(PARSE, fails.format("cursors are not supported here"), DONE)
    assert (other.told, other.errors) == ([], {"0A000": 1})


@pytest.mark.parametrize("state", ["57P01", "57P05", "25P03"])
def test_the_server_ends_a_session(judged: Judge, state: str) -> None:
    found = judged(
        simple("SELECT 1", "SELECT 1"), f"4000 B ErrorResponse FATAL {state} bye", "4001 c1 ends B FIN", "4002 c1 close B", "end"
    )
    assert found.told == [("server-ended", 1)]
    assert "4.0 s idle before" in found["server-ended"].what
    assert not found.errors
    assert not found.ends


def test_a_restart_that_ends_many_is_one_finding(judged: Judge) -> None:
    lines = [f"c{number} {line}" for number in range(1, 9) for line in simple("SELECT 1", "SELECT 1").splitlines()]
    lines += [f"{4000 + number} c{number} B ErrorResponse FATAL 57P01 shut down" for number in range(1, 9)]
    lines += [f"5000 c{number} close B" for number in range(1, 9)]
    assert judged(*lines, "end").told == [("server-ended", 8)]


def test_the_servers_end_without_a_word(judged: Judge) -> None:
    found = judged(simple("BEGIN", "BEGIN", "T"), simple("SELECT 1", "SELECT 1", "T"), "900 c1 ends B RST", "901 c1 close B", "end")
    assert found.told == [("server-ended", 1)]
    assert "a transaction was open" in found.words
    assert not found.ends


def test_a_server_that_answers_terminate_by_its_end_has_ended_nothing(judged: Judge) -> None:
    found = judged(simple("SELECT 1", "SELECT 1"), "F Terminate", "c1 ends B FIN", "c1 close B", "end")
    assert (found.told, found.ends) == ([], {})


@pytest.mark.parametrize("end", ["1000 c1 ends F RST", "1000 c1 ends F FIN"])
def test_a_driver_that_leaves_while_the_server_works(judged: Judge, end: str) -> None:
    found = judged("0 F Query SELECT pg_sleep(4)", end, "4000 B CommandComplete SELECT 1 | ReadyForQuery I", "4001 c1 close F", "end")
    assert found.told == [("driver-left", 1)] if "RST" in end else "driver-left" in found.names or not found.findings
    assert not found.ends or "FIN" in end


@pytest.mark.parametrize("many", [1, 3])
def test_a_driver_that_leaves_before_its_login_abandons_no_statement(judged: Judge, many: int) -> None:
    lines = []
    for number in range(2, 2 + many):
        lines += [
            f"{number} c{number} F StartupMessage user=app",
            f"{300 + number} c{number} ends F FIN",
            f"{310 + number} c{number} close F",
        ]
    sleeps = [
        "400 F Query SELECT pg_sleep(4)",
        "600 c1 ends F RST",
        "2000 B CommandComplete SELECT 1 | ReadyForQuery I",
        "2001 c1 close F",
        "end",
    ]
    found = judged(*sorted(lines, key=lambda line: int(line.split()[0])), *sleeps)
    before, after = sorted((one for one in found.findings if one.name == "driver-left"), key=lambda one: "Query" in one.what)
    assert (before.number, after.number) == (many, 1)
    assert [remedy.partition(",")[0] for remedy in before.remedies] == ["use a longer connect timeout"]
    assert "CancelRequest" in " ".join(after.remedies)
    assert not found.ends


def test_a_driver_that_leaves_before_any_answer(judged: Judge) -> None:
    found = judged("0 F Query SELECT pg_sleep(4)", "1000 c1 ends F FIN", "1001 c1 close F", "end")
    assert found.told == [("driver-left", 1)]
    assert not found.ends


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("FATAL 28P01 password authentication failed", "the password is wrong"),
        ("FATAL 53300 sorry, too many clients already", "too many connections"),
        ("FATAL 3D000 database does not exist", "no such database"),
        ("FATAL 08P01 unsupported startup parameter: search_path", "the start-up parameter search_path is not accepted"),
        (
            "FATAL 08P01 unsupported startup parameter in options: statement_timeout",
            "the start-up parameter statement_timeout is not accepted",
        ),
    ],
)
def test_a_start_up_that_is_refused(judged: Judge, error: str, words: str) -> None:
    found = judged("0 F StartupMessage user=app", f"1 B ErrorResponse {error}", "2 c1 close B", "end")
    assert found.told == [("refused", 1)]
    assert words in found.words
    assert not found.errors
    assert not found.ends
    assert ("ignore_startup_parameters" in found.words) is ("parameter" in words)


@pytest.mark.parametrize("sqlstate", ["57P01", "57P02", "57P04", "57P05", "25P03", "25P04"])
@pytest.mark.parametrize("status", ["I", "T", "E"])
@pytest.mark.parametrize("idle_ms", [400, 4000])
@pytest.mark.parametrize("used", [0, 1, 3])
@pytest.mark.parametrize("noticed", ["F FIN", "B FIN"])
@pytest.mark.sampled(4)
def test_an_end_by_the_server_is_one_finding(judged: Judge, sqlstate: str, status: str, idle_ms: int, used: int, noticed: str) -> None:
    """What it ended, and that it was used afterwards, is told with it. A program that waits in a block, and whose session ends for
    another reason, has another finding."""
    at = idle_ms
    lines = [simple("SELECT now()", "SELECT 1", status), f"{at} B ErrorResponse FATAL {sqlstate} the end"]
    lines += [f"{at + 2000 + 10 * number} {simple('SELECT 2', 'SELECT 1').splitlines()[0]}" for number in range(used)]
    found = judged(*lines, f"{at + 2500} c1 ends {noticed}", f"{at + 2501} c1 close B", "end")
    times_out = sqlstate in ("25P03", "25P04")
    waits = status != "I" and idle_ms == 4000 and not times_out
    assert found.names == ["server-ended", *(["idle-in-transaction"] if waits else [])]
    ended = found["server-ended"]
    assert ("used afterwards" in ended.what) is bool(used)
    assert any("check an idle connection" in remedy for remedy in ended.remedies) is bool(used)
    assert set(ended.note.parts) == ({"used-after-fatal"} if used else set()) | (
        {"idle-in-transaction"} if times_out and status != "I" else set()
    )
    assert not found.errors
    assert not found.ends


def test_what_has_joined_a_finding_fails_a_job_like_it(judged: Judge) -> None:
    lines = [simple("SELECT now()", "SELECT 1", "T"), "400 B ErrorResponse FATAL 25P03 too long", "401 c1 close B", "end"]
    found = judged(*lines)
    for kind, fails in (("idle-in-transaction", True), ("server-ended", True), ("used-after-fatal", False)):
        assert bool(verdict(found.findings, NOTHING_LEFT, frozenset({kind}), NOTHING)) is fails


def test_failures_behind_a_round_trip_that_stays_open(judged: Judge) -> None:
    """A message of a later version, so that nobody knows what it waits for."""
    fatal = "B ErrorResponse FATAL 58030 no disk"
    found = judged(simple("SELECT 1", "SELECT 1"), "10 raw F 2100000004", f"11 {fatal}", "12 c1 ends B FIN", "50 F Query SELECT 2", "end")
    assert found.errors == {"58030": 1}
    assert list(found.ends.values()) == [1]


def test_used_after_the_server_has_ended_it(judged: Judge) -> None:
    """As long as that takes; what was on its way does not count."""
    fatal = "1000 B ErrorResponse FATAL 58030 no disk"
    found = judged(simple("SELECT 1", "SELECT 1"), fatal, "3000 F Query SELECT 2", "3001 c1 close B", "end")
    assert found.told == [("used-after-fatal", 1)]
    assert "2.0 s later" in found["used-after-fatal"].what
    crossing = judged(simple("SELECT 1", "SELECT 1"), fatal, "1001 F Query SELECT 2", "1002 c1 close B", "end")
    assert crossing.told == []


@pytest.mark.parametrize("sent", ["Sync", "Query ", "Query ;", "Query SELECT 1"])
def test_a_check_of_a_connection_that_has_ended_is_no_use(judged: Judge, sent: str) -> None:
    found = judged(simple("SELECT 1", "SELECT 1"), "1000 B ErrorResponse FATAL 57P05 idle", f"3000 F {sent}", "3001 c1 close B", "end")
    assert found.told == [("server-ended", 1)]
    assert not found["server-ended"].note.parts


@pytest.mark.parametrize("late", ["2500 F Terminate", "2500 F Query SELECT 2 | Terminate"])
def test_terminate_after_the_silent_end_by_the_server_changes_nothing(judged: Judge, late: str) -> None:
    """pg8000 sends it when it closes what the server has closed."""
    found = judged(simple("SELECT 1", "SELECT 1"), "2000 c1 ends B FIN", late, "2501 c1 close B", "end")
    assert found.told == [("server-ended", 1)]
    assert "without a message" in found["server-ended"].what


def test_a_role_that_may_not_log_in_is_no_matter_of_pg_hba(judged: Judge) -> None:
    body = backend.ErrorResponse((("S", "FATAL"), ("V", "FATAL"), ("C", "28000"), ("M", "no"), ("R", "InitializeSessionUserId"))).build()
    refused = f"F StartupMessage user=app\n1 raw B 45{len(body) + 4:08x}{body.hex()}"
    found = judged(refused, "2 c1 close B", "end")["refused"]
    assert "the role may not log in" in found.what
    assert [one.partition(" (")[0] for one in found.remedies] == ["ALTER ROLE ... LOGIN, or use another role"]


def test_how_long_after_is_the_longest_of_all_connections(judged: Judge) -> None:
    lines = []
    for number in (1, 2, 3):
        lines += [
            *(f"c{number} {line}" for line in simple("SELECT 1", "SELECT 1").splitlines()),
            f"c{number} B ErrorResponse FATAL 58030 no disk",
        ]
    lines += [f"{1000 + later} c{number} F Query SELECT 2" for number, later in ((1, 300), (3, 500), (2, 800))]
    found = judged(*lines, *(f"9000 c{number} close B" for number in (1, 2, 3)), "end")
    assert "3 times, up to 1.8 s later" in found["used-after-fatal"].what


def test_no_reply_to_what_runs_nothing(judged: Judge) -> None:
    asked = "0 F Parse s1 SELECT 1 | Describe S s1 | Flush"
    answer = "B ParseComplete | ParameterDescription | RowDescription a:23"
    found = judged(begun(), "10 " + asked[2:], f"2010 {answer}", DONE)
    assert found.told == [("no-answer", 1)]
    assert "waiting" in found.words
    assert judged(begun(), "10 " + asked[2:], f"500 {answer}", DONE).told == []
    never = judged(begun(), "10 " + asked[2:], "4000 c1 ends F FIN", "4001 c1 close F", "end")
    assert "no-answer" in never.names
    assert not never.ends


def test_a_slow_statement_is_no_missing_answer(judged: Judge) -> None:
    assert judged("0 F Query SELECT pg_sleep(4)", "4000 B CommandComplete SELECT 1 | ReadyForQuery I", DONE).told == []
    slow = ["0 F Bind - s1 | Execute - | Flush", "1 B BindComplete | CommandComplete INSERT 0 1", "2 F Sync", "4000 B ReadyForQuery I"]
    assert "no-answer" not in judged(*slow, DONE).names  # the commit takes its time


def test_open_at_the_end_of_the_capture(judged: Judge) -> None:
    late = "5000 c2 B CommandComplete SELECT 1 | ReadyForQuery I"
    found = judged(begun(), "10 F Parse s1 SELECT 1 | Describe S s1 | Flush", "c2 F Query SELECT 1", late, "5001 end")
    assert found.told == [("no-answer", 1)]
    assert "never" in found["no-answer"].note.facts


def test_a_connection_that_is_used_on_in_a_transaction(judged: Judge) -> None:
    begin = (
        "F Query BEGIN\nB NoticeResponse WARNING 25001 there is already a transaction in progress | CommandComplete BEGIN | ReadyForQuery T"
    )
    work = simple("INSERT INTO item VALUES (1)", "INSERT 0 1", "T")
    found = judged(simple("BEGIN", "BEGIN", "T"), work, begin, work, simple("COMMIT", "COMMIT"), DONE)
    assert found.told == [("returned-in-transaction", 1)]
    nested = judged(simple("BEGIN", "BEGIN", "T"), begin, work, simple("COMMIT", "COMMIT"), DONE)
    assert nested.told == []
    reset = "F Query DISCARD ALL\nB ErrorResponse 25001 cannot run inside a transaction block | ReadyForQuery E"
    discarded = judged(simple("BEGIN", "BEGIN", "T"), work, reset, simple("ROLLBACK", "ROLLBACK"), DONE)
    assert discarded.told == [("returned-in-transaction", 1)]
    assert "DISCARD ALL inside a transaction" in discarded.words
    assert discarded.errors == {}


def test_an_unanswered_keepalive(judged: Judge) -> None:
    stream = [
        "0 F StartupMessage user=app replication=database", "1 B AuthenticationOk | ReadyForQuery I",
        "2 F Query START_REPLICATION SLOT s LOGICAL 0/0", "3 B CopyBothResponse",
        "4 raw B 6400000016" + "6b" + "00" * 16 + "01",
    ]  # fmt: skip
    found = judged(*stream, "3000 c1 ends B FIN", "3001 c1 close B", "end")
    assert found.told == [("keepalive-unanswered", 1)]
    assert "3.0 s" in found.words
    late = judged(*stream, "3000 c1 ends B FIN", "3500 F Terminate", "3501 c1 close B", "end")  # psycopg2, when it closes
    assert late.told == [("keepalive-unanswered", 1)]
    answered = judged(*stream, "5 raw F 6400000026" + "72" + "00" * 33, "3000 c1 ends B FIN", "3001 c1 close B", "end")
    assert answered.told == [("server-ended", 1)]


@pytest.mark.parametrize(("server", "told"), [("10.0.0.2:5432", "pooler-26000"), ("10.0.0.1:5432", "statement-gone")])
def test_the_poolers_own_connections_are_a_sign_for_drivers_in_front_of_it(judged: Judge, server: str, told: str) -> None:
    """A driver that goes to the same server directly has no pooler in between."""

    def of(connection: str, *lines: str) -> list[str]:
        return [f"{connection} {line}" for part in lines for line in part.splitlines()]

    start = "F StartupMessage database=shop user=app\nB AuthenticationOk | BackendKeyData 8 7 | ReadyForQuery I"
    pooler = of("c2", start, f"fact server {server}", PARSE.replace("s1", "PGBOUNCER_1"))
    found = judged(*pooler, *of("c1", begun(), PARSE, RUN, simple("DO $$ $$", "DO"), FAILS), "end")
    assert found.told == [(told, 1)]


def refusal(connection: int, state: str, text: str) -> list[str]:
    return [f"c{connection} F StartupMessage user=app", f"c{connection} B ErrorResponse FATAL {state} {text}", f"c{connection} close B"]


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_driver_that_is_let_in_right_after(judged: Judge, *, encrypted: bool) -> None:
    """With TLS, too: another driver's way of coming back is one without it."""
    tls = ["20 c3 F SSLRequest", "20 c3 raw B 53", "20 c3 fact tls.frontend TLSv1.3"] if encrypted else []
    login = ["21 c3 F StartupMessage user=app", "22 c3 B AuthenticationOk | ReadyForQuery I", "23 c3 F Terminate", "24 c3 close F"]
    found = judged(*refusal(2, "28P01", "password authentication failed"), *tls, *login, "end")
    assert "1 connection came right after" in found["refused"].what


def test_start_ups_refused_with_different_texts_are_said_to_be(judged: Judge) -> None:
    texts = [f'invalid value for parameter "{name}"' for name in ("work_mem", "client_encoding", "work_mem")]
    alike = judged(*(line for number in (1, 2, 3) for line in refusal(number, "22023", texts[0])), "end")
    assert f"3 start-ups refused: 22023 {texts[0]}: a setting" in alike["refused"].what
    found = judged(*(line for number, text in enumerate(texts, 1) for line in refusal(number, "22023", text)), "end")
    assert found.told == [("refused", 3)]
    assert f"3 start-ups refused: 22023 {texts[0]}, and others: a setting" in found["refused"].what
    assert "PGOPTIONS" in found.words


def test_the_unnamed_statement_that_another_session_took_needs_a_transaction(judged: Judge) -> None:
    """pg8000 parses and binds in round trips of their own."""
    parse = "F Parse - SELECT 1 | Flush | Sync\nB ParseComplete | ReadyForQuery I"
    bind = "F Bind - - | Flush | Execute - | Flush | Sync"
    lost = "B ErrorResponse 26000 unnamed prepared statement does not exist | ReadyForQuery I"
    fine = "B BindComplete | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I"
    describe = "F Describe S - | Flush | Sync\nB ParameterDescription | RowDescription a:23 | ReadyForQuery I"
    found = judged(parse, describe, f"{bind}\n{fine}", parse, describe, f"{bind}\n{lost}", DONE)["pooler-26000"]
    assert (found.driver, found.note.facts["unnamed"]) == ("pg8000", 1)
    assert "a transaction around the query" in found.remedies[0]


BEGIN = simple("BEGIN", "BEGIN", "T")
INSERT = simple("INSERT INTO item VALUES (1)", "INSERT 0 1", "T")


@pytest.mark.parametrize(
    ("work", "tags"),
    [
        ([BEGIN, INSERT], "INSERT"),
        ([BEGIN, *[INSERT] * 100], "INSERT"),
        ([BEGIN, simple("UPDATE item SET name = 1", "UPDATE 0", "T"), simple("DELETE FROM item", "DELETE 2", "T")], "DELETE"),
        ([BEGIN, simple("CREATE TABLE item (id int)", "CREATE TABLE", "T"), simple("SELECT 1", "SELECT 1", "T")], "CREATE TABLE"),
        ([BEGIN, simple("CREATE TABLE other AS SELECT 1", "SELECT 1", "T")], "CREATE TABLE AS"),
        ([BEGIN, simple("SELECT 1 AS a INTO other", "SELECT 1", "T")], "CREATE TABLE AS"),
        (
            [
                BEGIN,
                "F Query COPY item FROM STDIN\nB CopyInResponse",
                "F CopyData 31 | CopyDone\nB CommandComplete COPY 1 | ReadyForQuery T",
            ],
            "COPY",
        ),
        ([simple("CREATE TEMP TABLE mine (a int)", "CREATE TABLE"), BEGIN, INSERT], "INSERT"),
        ([BEGIN, simple("ROLLBACK TO a", "ROLLBACK", "T"), INSERT], "INSERT"),
    ],
)
def test_writes_that_end_with_their_connection(judged: Judge, work: list[str], tags: str) -> None:
    found = judged(begun(), *work, DONE)
    assert found["uncommitted-writes"].number == 1
    assert (
        found["uncommitted-writes"].what
        == f"1 transaction that had written ({tags}) ended without COMMIT: the driver closed the connection"
    )
    left = judged(begun(), *work, "c1 ends F FIN", "c1 close F", "end")
    assert "the driver left without Terminate" in left.words
    assert list(left.ends.values()) == [1]


@pytest.mark.parametrize(
    "work",
    [
        [BEGIN, INSERT, simple("COMMIT", "COMMIT")],
        [BEGIN, INSERT, simple("ROLLBACK", "ROLLBACK")],
        [BEGIN, INSERT, simple("ROLLBACK AND CHAIN", "ROLLBACK", "T")],
        [BEGIN, INSERT, simple("PREPARE TRANSACTION 'a'", "PREPARE TRANSACTION")],
        [BEGIN, INSERT, "F Query SELECT 1/0\nB ErrorResponse 22012 division by zero | ReadyForQuery E"],
        [BEGIN, simple("SAVEPOINT a", "SAVEPOINT", "T"), INSERT, simple("ROLLBACK TO a", "ROLLBACK", "T")],
        [BEGIN, simple("UPDATE item SET name = 1 WHERE false", "UPDATE 0", "T")],
        [BEGIN, simple("COPY item TO STDOUT", "COPY 1000", "T")],
        [BEGIN, simple("SELECT 1", "SELECT 1", "T")],
        [BEGIN, simple("CREATE TEMP TABLE item AS SELECT 1", "SELECT 1", "T"), INSERT],
        [simple("SELECT 1 INTO TEMPORARY item", "SELECT 1"), BEGIN, INSERT],
        [simple('CREATE TEMP TABLE "item" (id int)', "CREATE TABLE"), BEGIN, INSERT],
        [BEGIN, simple("CREATE TEMP TABLE item (id int)", "CREATE TABLE", "T")],
        [INSERT.replace("ReadyForQuery T", "ReadyForQuery I")],
    ],
)
def test_what_is_lost_on_purpose_or_not_at_all(judged: Judge, work: list[str]) -> None:
    assert "uncommitted-writes" not in judged(begun(), *work, DONE).names


ABORTS = "F Query SELECT 1/0\nB ErrorResponse 22012 division by zero | ReadyForQuery E"
SENT_ANYWAY = "F Query SELECT 1\nB ErrorResponse 25P02 ignored | ReadyForQuery E"


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "end", ["COMMIT", "commit work", "/* done */ END", "COMMIT AND CHAIN", "PREPARE TRANSACTION 'a'", "ROLLBACK", "ABORT"]
)
@pytest.mark.parametrize("fails", [[ABORTS], [ABORTS, SENT_ANYWAY, SENT_ANYWAY], []])
@pytest.mark.parametrize("wrote", [[INSERT], [], [simple("UPDATE item SET name = 1", "UPDATE 0", "T")], [INSERT, INSERT]])
def test_a_commit_that_is_answered_by_rollback(judged: Judge, wrote: list[str], fails: list[str], end: str) -> None:
    """It does not fail, so nobody notices. A ROLLBACK is what should follow an error."""
    status = "T" if "CHAIN" in end else "I"
    succeeds = {"ROLLBACK": "ROLLBACK", "ABORT": "ROLLBACK", "PREPARE TRANSACTION 'a'": "PREPARE TRANSACTION"}
    tag = "ROLLBACK" if fails else succeeds.get(end, "COMMIT")
    lines = [BEGIN, *wrote, *fails, simple(end, tag, status)] * 2
    found = judged(begun(), *lines, DONE)
    is_lost = INSERT in wrote and bool(fails) and end not in ("ROLLBACK", "ABORT")
    assert ("uncommitted-writes" in found.names) is is_lost
    if is_lost:
        told = found["uncommitted-writes"]
        assert told.what == "2 transactions that had written (INSERT) were not committed: after an error COMMIT was answered by ROLLBACK"
        (remedy,) = told.remedies
        assert remedy.startswith("roll back at the first error")
        assert "not tried" not in remedy


def test_what_a_savepoint_saved_is_committed(judged: Judge) -> None:
    saved = [simple("SAVEPOINT a", "SAVEPOINT", "T"), ABORTS, simple("ROLLBACK TO a", "ROLLBACK", "T")]
    assert "uncommitted-writes" not in judged(begun(), BEGIN, INSERT, *saved, simple("COMMIT", "COMMIT"), DONE).names


def test_what_is_open_at_the_end_of_the_capture_may_be_committed(judged: Judge) -> None:
    assert "uncommitted-writes" not in judged(begun(), BEGIN, INSERT, "end").names


def test_who_ends_it_otherwise(judged: Judge) -> None:
    """The server; or a COMMIT that goes with Terminate, and may still be carried out."""
    by_server = judged(begun(), BEGIN, INSERT, "c1 ends B FIN", "c1 close B", "end")
    assert by_server.names == ["server-ended"]
    late = judged(begun(), BEGIN, INSERT, "F Parse - COMMIT | Bind - - | Execute - | Terminate", "c1 close F", "end")
    assert "uncommitted-writes" not in late.names


@pytest.mark.parametrize(("rollback", "told"), [("ROLLBACK", 1), ("ROLLBACK;", 0)])
def test_what_the_pool_of_asyncpg_rolls_back(judged: Judge, rollback: str, told: int) -> None:
    reset = "F Query SELECT pg_advisory_unlock_all();CLOSE ALL;UNLISTEN *;RESET ALL;\nB CommandComplete SELECT 1"
    reset += " | CommandComplete CLOSE CURSOR ALL | CommandComplete UNLISTEN | CommandComplete RESET | ReadyForQuery I"
    begin = simple("BEGIN;", "BEGIN", "T")
    found = judged(begun(), begin, INSERT, simple(rollback, "ROLLBACK"), reset, begin, INSERT, simple("COMMIT;", "COMMIT"), DONE)
    assert found.told == [("uncommitted-writes", 1)] * told
    assert judged(begun(), begin, INSERT, simple(rollback, "ROLLBACK"), simple("SELECT 1", "SELECT 1"), reset, DONE).told == []
    assert judged(begun(), BEGIN, INSERT, simple(rollback, "ROLLBACK"), reset, DONE).told == []  # that is how the application begins
