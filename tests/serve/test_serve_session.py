"""What a driver gets from a recording: session by session, without sockets.

A recording is a script of the playbook; `says` plays a driver and gives the letters of the answer.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pgtrace.errors import CaptureError
from pgtrace.protocol import codes, frontend
from pgtrace.protocol.codes import FRONTEND
from pgtrace.protocol.startup import CancelRequest
from tests.playbook import wire, write
from tests.serve.served import Served, recording_of

ASYNCPG = """
F StartupMessage user=app database=shop
B AuthenticationOk | ParameterStatus server_version 18.6 | BackendKeyData 4711 7777 | ReadyForQuery I
F Parse __asyncpg_stmt_1__(23) SELECT name FROM item WHERE id = $1 | Describe S __asyncpg_stmt_1__ | Flush
B ParseComplete | ParameterDescription 23 | RowDescription name:25
F Bind - __asyncpg_stmt_1__ params=7 | Execute - | Sync
B BindComplete | DataRow boot | CommandComplete SELECT 1 | ReadyForQuery I
F Query SELECT 1/0
B ErrorResponse 22012 division by zero | ReadyForQuery I
F Terminate
close F
"""


def test_a_driver_gets_what_was_recorded(tmp_path: Path) -> None:
    served = Served.script(tmp_path, ASYNCPG)
    driver = served.connect()
    assert driver.heard() == ""
    name = "__asyncpg_stmt_2f__"
    assert driver.says(f"Parse {name}(23) SELECT name FROM item WHERE id = $1", f"Describe S {name}") == ""
    assert driver.says("Flush") == "1tT"
    assert driver.says(f"Bind - {name} params=7", "Execute -", "Sync") == "2DCZ"
    assert driver.says("Query SELECT 1/0") == "EZ"
    driver.says("Terminate")
    assert driver.closed == "FIN"
    assert not served.mismatches
    assert (served.choice.left, served.recording.unrequested) == (0, 0)


def test_start_up_keeps_the_process_id_and_has_a_new_key(tmp_path: Path) -> None:
    served = Served.script(tmp_path, ASYNCPG)
    first, second = served.socket(), served.socket()
    assert [driver.says("StartupMessage user=app database=shop") for driver in (first, second)] == ["RSKZ", "RSKZ"]
    assert first.key[:4] == second.key[:4] == (4711).to_bytes(4, "big")
    assert len(first.key) == 8
    assert first.key != second.key


def test_encryption_is_refused_and_nonsense_closed(tmp_path: Path) -> None:
    served = Served.script(tmp_path, ASYNCPG)
    driver = served.socket()
    assert driver.says("SSLRequest") == "N"
    assert driver.says("GSSENCRequest") == "N"
    assert driver.says("StartupMessage user=app database=shop") == "RSKZ"
    for nonsense in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"\0\0\0\x08\0\0\0\0", b"\0\0\0\x03"):
        other = served.socket()
        other.sends(nonsense)
        assert other.closed == "FIN", nonsense


def test_another_request_is_an_error_and_said(tmp_path: Path) -> None:
    served = Served.script(tmp_path, ASYNCPG)
    driver = served.connect()
    assert driver.says("Query SELECT 2") == "E"
    assert driver.closed == "FIN"
    (mismatch,) = served.mismatches
    assert mismatch.lines() == [
        "connection 1 (recorded connection 1), request 1: expected Parse, got Query",
        "  expected  PDH  Parse __asyncpg_stmt_1__  SELECT name FROM item WHERE id = $1",
        "  got       Q  Query SELECT 2",
    ]


def test_a_parameter_counts_unless_told_otherwise(tmp_path: Path) -> None:
    parse = ("Parse s(23) SELECT name FROM item WHERE id = $1", "Describe S s", "Flush")
    other = ("Bind - s params=8", "Execute -", "Sync")
    served = Served.script(tmp_path, ASYNCPG)
    driver = served.connect()
    driver.says(*parse)
    assert driver.says(*other) == "E"
    assert served.mismatches[0].detail == "parameter $1: recorded 7, now 8; --any-values ignores it"
    (tmp_path / "recorded.pgtrace").unlink()
    lenient = Served.script(tmp_path, ASYNCPG, True)
    driver = lenient.connect()
    driver.says(*parse)
    assert driver.says(*other) == "2DCZ"
    assert driver.says("Query SELECT 2/0") == "EZ"


def test_formats_always_count(tmp_path: Path) -> None:
    served = Served.script(tmp_path, ASYNCPG, True)
    driver = served.connect()
    driver.says("Parse s(23) SELECT name FROM item WHERE id = $1", "Describe S s", "Flush")
    assert driver.says("Bind - s params=7 out=1", "Execute -", "Sync") == "E"
    assert served.mismatches[0].detail == "result formats: recorded [], now [1]"


def test_after_the_last_request_there_is_nothing(tmp_path: Path) -> None:
    served = Served.script(tmp_path, "F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\nF Terminate\nclose F")
    driver = served.connect()
    assert driver.says("Query SELECT 1") == "RSKZCZ"[4:]
    assert driver.says("Query SELECT 1") == "E"
    assert served.mismatches[0].expected == "no more requests"


PIPELINE = """
F Query SELECT 0
B CommandComplete SELECT 1 | ReadyForQuery I
F Parse s1 SELECT 1 | Bind - s1 | Execute - | Bind - s2 | Execute - | Bind - s1 | Execute - | Sync | Query SELECT 3
B ParseComplete | BindComplete | CommandComplete SELECT 1 | ErrorResponse 26000 prepared statement "s2" does not exist | ReadyForQuery I
B CommandComplete SELECT 1 | ReadyForQuery I
F Terminate
close F
"""


def test_an_error_discards_up_to_sync(tmp_path: Path) -> None:
    """How much of the pipeline this driver sends after the error does not matter."""
    for rest in (["Bind - s1", "Execute -"], [], ["Execute -", "Query SELECT 9", "Flush"]):
        (tmp_path / "recorded.pgtrace").unlink(missing_ok=True)
        served = Served.script(tmp_path, PIPELINE)
        driver = served.connect()
        driver.says("Query SELECT 0")
        assert driver.says("Parse s1 SELECT 1", "Bind - s1", "Execute -", "Bind - s2", "Execute -", *rest) == "12CE"
        assert driver.says("Sync") == "Z"
        assert driver.says("Query SELECT 3") == "CZ"
        assert not served.mismatches


def idle_flushes(chance: random.Random, sent: list[str]) -> list[str]:
    """Flushes where nothing is owed."""
    parts: list[str] = []
    for line in sent:
        parts.append(line)
        if line in ("Sync", "Flush") or line.startswith("Query"):
            parts += ["Flush"] * chance.choice((0, 0, 1, 2))
    return parts


def test_a_flush_before_which_nothing_is_owed_does_not_count(tmp_path: Path) -> None:
    """Neither where it was recorded nor where it was not; a driver leaves it out if the answer is there already."""
    chance = random.Random(7)
    done = "CommandComplete SELECT 1 | ReadyForQuery I"
    asks = [
        (
            ["Parse - SELECT 1", "Bind - -", "Execute -", "Sync"],
            "12CZ",
            "ParseComplete | BindComplete | CommandComplete SELECT 1 | ReadyForQuery I",
        ),
        (["Query SELECT 2"], "CZ", done),
        (["Parse - SELECT 3", "Flush"], "1", "ParseComplete"),
        (["Bind - -", "Execute -", "Sync"], "E", "ErrorResponse 22012 division by zero | ReadyForQuery I"),
    ]
    for number in range(40):
        turns = [asks[chance.randrange(2)] if chance.random() < 0.5 else None for _ in range(4)]
        sessions = [one for turn in turns for one in ([turn] if turn is not None else asks[2:])]
        script = ""
        for sent, _, answer in sessions:
            script += f"F {' | '.join(idle_flushes(chance, sent))}\nB {answer}\n"
        path = tmp_path / str(number)
        path.mkdir()
        for any_order in (False, True):
            (path / "recorded.pgtrace").unlink(missing_ok=True)
            served = Served.script(path, script + "F Terminate\nclose F", False, any_order)
            driver = served.connect()
            driver.says(*["Flush"] * chance.randrange(2))
            driver.heard()
            for sent, letters, _ in sessions:
                assert driver.says(*idle_flushes(chance, sent)).removesuffix("Z").endswith(letters.removesuffix("Z"))
            assert [mismatch.lines() for mismatch in served.mismatches] == []


def test_a_flush_that_asks_for_something_counts(tmp_path: Path) -> None:
    driver = (served := Served.script(tmp_path, PIPELINE.replace("Bind - s1 | Execute - | Bind - s2", "Bind - s1 | Flush"))).connect()
    driver.says("Query SELECT 0", "Parse s1 SELECT 1", "Bind - s1", "Execute -")
    assert served.mismatches[0].lines()[0].endswith("request 4: expected Flush, got Execute")


def test_a_copy_error_needs_its_data_however_it_is_cut(tmp_path: Path) -> None:
    """And a notice in the middle of the data does not end it."""
    script = """
    F Query COPY item FROM STDIN
    B CopyInResponse 0 0,0
    F CopyData one
    B NoticeResponse 01000 careful
    F CopyData two
    B ErrorResponse 22P02 invalid input | ReadyForQuery I
    F Query COPY item FROM STDIN
    B CopyInResponse 0 0,0
    F CopyData one
    B NoticeResponse 01000 careful
    F CopyData two | CopyDone
    B CommandComplete COPY 1 | ReadyForQuery I
    F Terminate
    close F
    """
    for cut in (["one", "two"], ["onetwothree"], ["o", "netw", "o and more"]):
        (tmp_path / "recorded.pgtrace").unlink(missing_ok=True)
        served = Served.script(tmp_path, script)
        driver = served.connect()
        driver.heard()
        assert driver.says("Query COPY item FROM STDIN").endswith("G")
        assert driver.says(*(f"CopyData {piece}" for piece in cut)) == "NEZ"
        assert driver.says("Query COPY item FROM STDIN") == "G"
        assert driver.says("CopyData onetwo", "CopyDone") == "NCZ"
        assert not served.mismatches


def test_an_error_says_this_drivers_name(tmp_path: Path) -> None:
    script = """
    F Parse _a1 SELECT 1 | Sync
    B ErrorResponse 42P05 prepared statement "_a1" already exists | ReadyForQuery I
    F Terminate
    close F
    """
    served = Served.script(tmp_path, script)
    driver = served.connect()
    driver.heard()
    driver.session.receive(wire(FRONTEND, "Parse _longer_9 SELECT 1") + wire(FRONTEND, "Sync"))
    (code, body, size), _ = driver.frames()
    assert code == ord("E")
    assert b'prepared statement "_longer_9" already exists' in body
    assert size == len(body) + 5


def test_names_in_sql_are_this_drivers(tmp_path: Path) -> None:
    script = """
    F Parse _a1 SELECT 1 | Sync
    B ParseComplete | ReadyForQuery I
    F Query DEALLOCATE "_a1"
    B CommandComplete DEALLOCATE | ReadyForQuery I
    F Query DECLARE "cur_77" CURSOR FOR SELECT 1
    B CommandComplete DECLARE CURSOR | ReadyForQuery T
    F Query FETCH 1 FROM "cur_77"
    B CommandComplete FETCH 1 | ReadyForQuery T
    F Terminate
    close F
    """
    served = Served.script(tmp_path, script)
    driver = served.connect()
    assert driver.says("Parse _b2 SELECT 1", "Sync").endswith("1Z")
    assert driver.says('Query DEALLOCATE "_b2"') == "CZ"
    assert driver.says('Query DECLARE "cur_8" CURSOR FOR SELECT 1') == "CZ"
    assert driver.says('Query FETCH 1 FROM "cur_9"') == "E"


COPY_IN = """
F Query COPY item FROM STDIN
B CopyInResponse 0 0,0
F CopyData 1\\tone\\n | CopyData 2\\ttwo\\n
F CopyDone
B CommandComplete COPY 2 | ReadyForQuery I
F Terminate
close F
"""


def test_copy_data_is_one_stream(tmp_path: Path) -> None:
    served = Served.script(tmp_path, COPY_IN)
    driver = served.connect()
    assert driver.says("Query COPY item FROM STDIN").endswith("G")
    data = b"1\\tone\\n2\\ttwo\\n"
    for at in range(0, len(data), 4):
        assert driver.sends(frontend.CopyData(data[at : at + 4]).wire()) == ""
    assert driver.says("CopyDone") == "CZ"
    ahead = served.connect()
    assert ahead.sends(wire(FRONTEND, "Query COPY item FROM STDIN") + frontend.CopyData(data).wire() + wire(FRONTEND, "CopyDone")).endswith(
        "GCZ"
    )
    other = served.connect()
    other.says("Query COPY item FROM STDIN")
    other.sends(frontend.CopyData(data[:-1]).wire())
    assert other.says("CopyDone") == "E"
    assert served.repeated == [1, 1]


def test_an_error_in_a_copy_comes_after_its_data(tmp_path: Path) -> None:
    script = """
    F Query COPY item FROM STDIN
    B CopyInResponse 0 0,0
    F CopyData wrong
    B ErrorResponse 22P02 invalid input | ReadyForQuery I
    F CopyData more | CopyDone
    F Query SELECT 1
    B CommandComplete SELECT 1 | ReadyForQuery I
    F Terminate
    close F
    """
    served = Served.script(tmp_path, script)
    driver = served.connect()
    assert driver.says("Query COPY item FROM STDIN").endswith("G")
    assert driver.says("CopyData wro") == ""
    assert driver.says("CopyData ng") == "EZ"
    assert driver.says("CopyData even more", "CopyData and more", "CopyFail oh") == ""
    assert driver.says("Query SELECT 1") == "CZ"
    assert not served.mismatches


CANCELLED = """
c1 F StartupMessage user=app database=shop
c1 B AuthenticationOk | BackendKeyData 4711 7777 | ReadyForQuery I
c1 F Query SELECT pg_sleep(30)
c2 F CancelRequest 4711 7777
c2 close F
c1 B ErrorResponse 57014 canceling statement due to user request | ReadyForQuery I
c1 F Query SELECT slow()
c1 B ErrorResponse 57014 canceling statement due to statement timeout | ReadyForQuery I
c1 F Terminate
c1 close F
"""


def test_a_cancelled_answer_waits_for_the_cancel(tmp_path: Path) -> None:
    served = Served.script(tmp_path, CANCELLED)
    driver = served.socket()
    assert driver.says("StartupMessage user=app database=shop") == "RKZ"
    assert driver.says("Query SELECT pg_sleep(30)") == ""
    stranger = served.socket()
    stranger.sends(CancelRequest(4711, b"none").wire())
    assert stranger.closed == "FIN"
    assert driver.heard() == ""
    friend = served.socket()
    friend.sends(CancelRequest(4711, driver.key[4:]).wire())
    assert driver.heard() == "EZ"
    assert driver.says("Query SELECT slow()") == "EZ"


def test_what_is_unprompted_has_its_place(tmp_path: Path) -> None:
    script = """
    F Query LISTEN a
    B CommandComplete LISTEN | ReadyForQuery I
    B NotificationResponse 9 a hello
    F Query SELECT 1
    B NoticeResponse 01000 careful | CommandComplete SELECT 1 | ReadyForQuery I
    B ErrorResponse FATAL 57P01 terminating connection
    close B
    """
    served = Served.script(tmp_path, script)
    driver = served.connect()
    assert driver.says("Query LISTEN a").endswith("CZA")
    assert driver.says("Query SELECT 1") == "NCZE"
    assert driver.closed == "FIN"
    assert served.recording.unrequested == 0


def test_a_connection_that_is_ended_while_idle_needs_no_request(tmp_path: Path) -> None:
    script = """
    F StartupMessage user=app database=shop
    B AuthenticationOk | ReadyForQuery I
    B ErrorResponse FATAL 57P01 terminating connection
    close B
    """
    driver = Served.script(tmp_path, script).socket()
    assert driver.says("StartupMessage user=app database=shop") == "RZE"
    assert driver.closed == "FIN"


def test_a_suspended_portal_continues(tmp_path: Path) -> None:
    script = """
    F Parse - SELECT n FROM t | Bind p - | Execute p 1 | Flush
    B ParseComplete | BindComplete | DataRow 1 | PortalSuspended
    F Execute p 1 | Sync
    B DataRow 2 | PortalSuspended | ReadyForQuery I
    F Terminate
    close F
    """
    served = Served.script(tmp_path, script)
    driver = served.connect()
    assert driver.says("Parse - SELECT n FROM t", "Bind p9 -", "Execute p9 1", "Flush").endswith("12Ds")
    assert driver.says("Execute p9 1", "Sync") == "DsZ"


def test_a_failed_start_up_is_repeated(tmp_path: Path) -> None:
    script = """
    F StartupMessage user=app database=nowhere
    B ErrorResponse FATAL 3D000 database does not exist
    close B
    """
    driver = Served.script(tmp_path, script).socket()
    assert driver.says("StartupMessage user=app database=nowhere") == "E"
    assert driver.closed == "FIN"


TWO = """
c1 F Query SELECT 1
c1 B CommandComplete SELECT 1 | ReadyForQuery I
c2 F Query SELECT 2
c2 B DataRow 2 | CommandComplete SELECT 1 | ReadyForQuery I
c1 F Terminate
c1 close F
c2 F Terminate
c2 close F
"""


def test_the_first_request_chooses(tmp_path: Path) -> None:
    served = Served.script(tmp_path, TWO)
    one, two = served.connect(), served.connect()
    assert one.says("Query SELECT 2").endswith("DCZ")
    assert two.says("Query SELECT 1").endswith("RSKZCZ"[-2:])
    assert not served.mismatches
    assert served.choice.left == 0


def test_when_all_are_taken_they_are_taken_again(tmp_path: Path) -> None:
    served = Served.script(tmp_path, TWO)
    drivers = [served.connect() for _ in range(6)]
    assert [driver.says("Query SELECT 1")[-2:] for driver in drivers] == ["CZ"] * 6
    assert served.repeated == [1] * 5
    assert served.choice.repeated == 5


def test_who_leaves_without_a_request_took_one(tmp_path: Path) -> None:
    served = Served.script(tmp_path, TWO)
    driver = served.connect()
    driver.session.disconnected()
    assert (served.choice.taken, served.choice.left) == (1, 1)


def test_waits_are_remembered(tmp_path: Path) -> None:
    script = """
    0  F Query SELECT 1
    40 B CommandComplete SELECT 1 | ReadyForQuery I
    70 B NotificationResponse 9 a hello
    80 F Terminate
    81 close F
    """
    served = Served.script(tmp_path, script)
    driver = served.connect()
    driver.says("Query SELECT 1")
    assert driver.pauses == [40_000_000, 30_000_000]


@pytest.mark.parametrize(
    ("line", "reason"),
    [("setting redact params", "--redact params"), ("elided", "--max-row-bytes")],
)
def test_a_capture_without_its_values_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    from pgtrace.capture.record import Elided, Open, Setting
    from pgtrace.capture.versions import VERSION, Header
    from pgtrace.capture.writer import CaptureWriter

    path = tmp_path / "redacted.pgtrace"
    writer = CaptureWriter(path, header=Header(VERSION, b"mark", 1, 1, "1", ""))
    about = Setting(2, "redact", "params") if line.startswith("setting") else Elided(2, 1, 1, 0, 1, 10, 1)
    writer.write([Open(1, 1, "", "", "", "", 1), about])
    writer.close()
    with pytest.raises(CaptureError, match=reason):
        recording_of(path)


def test_a_capture_of_nothing_that_can_be_served_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "opaque.pgtrace", "c1 raw F 160301\nc1 close F")
    with pytest.raises(CaptureError, match="nothing in it can be served"):
        recording_of(path)


def test_a_gap_ends_what_can_be_served(tmp_path: Path) -> None:
    served = Served.script(tmp_path, "F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\ngap 10\nF Query SELECT 2")
    driver = served.connect()
    assert driver.says("Query SELECT 1").endswith("CZ")
    assert driver.says("Query SELECT 2") == "E"


def test_bytes_that_are_no_message_are_one_mismatch(tmp_path: Path) -> None:
    """After start-up; before it, they are no driver's."""
    chance = random.Random(3)
    known = bytes(code for code in codes.FRONTEND_NAMES if code < 256)
    served = Served.script(tmp_path, PIPELINE)
    for number in range(300):
        code = chance.randrange(256)
        length = chance.choice((0, 3, 0x40000000, 0x7FFFFFFF, 0xFFFFFFFF))
        if code not in known and chance.random() < 0.5:
            length = chance.randrange(4, 0x3FFFFFFF)
        driver = served.connect()
        driver.heard()
        data = bytes([code]) + length.to_bytes(4, "big") + chance.randbytes(chance.randrange(50))
        for piece in (data[at : at + 3] for at in range(0, len(data), 3)) if number % 2 else [data]:
            driver.session.receive(piece)
        (found, body, _), *more = driver.frames()
        assert (found, more, driver.closed) == (ord("E"), [], "FIN")
        assert b"C08P01" in body
        driver.session.disconnected()
        assert len(served.mismatches) == 1
        assert "0x" in served.mismatches.pop().got


def test_the_end_in_the_middle_of_a_message_is_a_mismatch(tmp_path: Path) -> None:
    served = Served.script(tmp_path, PIPELINE)
    data = wire(FRONTEND, "Query SELECT 0")
    for size in range(len(data) + 1):
        driver = served.connect()
        driver.sends(data[:size])
        driver.session.disconnected()
        whole = size in (0, len(data))
        got = f"{size} bytes of Query (0x51), and then the end"
        assert [mismatch.got for mismatch in served.mismatches] == ([] if whole else [got])
        served.mismatches.clear()


@pytest.mark.parametrize("any_order", [False, True])
def test_a_body_that_does_not_match_its_type_is_said(tmp_path: Path, any_order: bool) -> None:
    served = Served.script(tmp_path, PIPELINE, False, any_order)
    driver = served.connect()
    driver.heard()
    driver.session.receive(b"B\0\0\0\x07abc" + b"S\0\0\0\4")
    assert b"C08P01" in driver.frames()[0][1]
    (mismatch,) = served.mismatches
    assert mismatch.detail.startswith("it is malformed")


PARSED = """
F Parse a(23) SELECT 'é', $1 | Describe S a | Flush
B ParseComplete | ParameterDescription 23 | RowDescription x:23
F Terminate
close F
"""


@pytest.mark.parametrize(
    ("parse", "detail"),
    [
        ("Parse a(23) SELECT 'é', $2", "SQL from character 14: recorded SELECT 'é', $1, now SELECT 'é', $2"),
        ("Parse a(20) SELECT 'é', $1", "parameter types: recorded [int4], now [int8]"),
        ("Parse a SELECT 'é', $1", "parameter types: recorded [int4], now []"),
        ("Parse -(23) SELECT 'é', $1", "statement's name: recorded a, now unnamed"),
    ],
)
def test_a_parse_that_differs_says_what_in_words(tmp_path: Path, parse: str, detail: str) -> None:
    served = Served.script(tmp_path, PARSED)
    served.connect().says(parse, "Describe S a", "Flush")
    assert served.mismatches[0].detail == detail


@pytest.mark.parametrize(
    ("types", "described", "told"),
    [("(23)", "", ("41", "43")), ("", "23", ("41", "43")), ("", "", ("\\x00000029", "\\x0000002b"))],
)
def test_a_binary_parameter_is_decoded_if_its_type_is_known(tmp_path: Path, types: str, described: str, told: tuple[str, str]) -> None:
    asks = f"Parse a{types} SELECT $1", *(["Describe S a"] if described else []), "Flush"
    bind = frontend.Bind("", "a", (1,), (b"\0\0\0\x29",), ()).wire()
    script = f"""
    F {" | ".join(asks)}
    B ParseComplete{f" | ParameterDescription {described} | NoData" if described else ""}
    raw F {bind.hex()}
    F Execute - | Sync
    B BindComplete | CommandComplete SELECT 1 | ReadyForQuery I
    F Terminate
    close F
    """
    served = Served.script(tmp_path, script)
    driver = served.connect()
    driver.says(*asks)
    driver.sends(frontend.Bind("", "a", (1,), (b"\0\0\0\x2b",), ()).wire())
    assert served.mismatches[0].detail == f"parameter $1: recorded {told[0]}, now {told[1]}; --any-values ignores it"


def test_what_nobody_asked_for_is_counted_once_however_many_connect(tmp_path: Path) -> None:
    chance = random.Random(5)
    requests = [f"SELECT {number}" for number in range(6)]
    script = "".join(f"F Query {one}\nB CommandComplete SELECT 1 | ReadyForQuery I\n" for one in requests) + "F Terminate\nclose F"
    served = Served.script(tmp_path, script)
    assert served.recording.unrequested == 6
    most = 0
    for _ in range(30):
        asked = chance.randrange(6)
        most = max(most, asked)
        driver = served.connect()
        driver.says(*(f"Query {one}" for one in requests[:asked]))
        driver.session.disconnected()
        assert served.recording.unrequested == 6 - most
