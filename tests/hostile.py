"""A recording in which every text that can come over a wire, or from the machine beside it, means harm."""

from __future__ import annotations

from typing import Final

from tests.wire_recording import (
    EXECUTE,
    FLUSH,
    PARSED,
    SYNC,
    TEXT,
    Recording,
    bind,
    columns,
    describe,
    done,
    error,
    int16,
    int32,
    message,
    parse,
    query,
    ready,
    row,
    string,
)

HARM: Final = (
    "\x1b]52;c;aGVsbG8=\x07"  # clipboard
    "\x1b]8;;http://evil/\x1b\\link\x1b]8;;\x1b\\"  # hyperlink
    "\x1b[97;7q\x1b[2J\x1b[?1049l\x1bP+q\x1b\\"  # cursor, cleared, screen given back, string
    "\x9b96m\x9d0;t\x9c\x90\x85"  # C1
    "\x08\x0b\x0c\r\n\t\x7f"  # overwriting, line breaks
    "\u202e\u2066\u200f\u061c"  # bidi
    "\u200b\u200d\ufeff\u2028\u2029\u00ad"  # nothing visible, separators
    "[/][/bold][bold red][@click=app.quit()]x[/]"  # markup
    "e\u0301\u0301\u0301漢字🇩🇪👩‍👩‍👧"  # combining, wide, joined
)
RAW: Final = b"\0\xff\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf" + HARM.encode()
"""As a value: NUL, no UTF-8, a lone surrogate, beyond Unicode, overlong."""
LONG: Final = 10_000_000


def named(text: str) -> str:
    return f"{text}{HARM}"


def hostile(recording: Recording, long: int = LONG) -> None:
    """Hostile text wherever text can be, one of them of that length and more."""
    recording.mark(named("mark"))
    one = recording.connect("asyncpg", user=named("user"), database=named("db"), **{named("parameter"): named("value")})
    two = recording.connect(application_name=named("application"))
    for key in ("tls.frontend", "tls.backend", "tls.backend.cipher", "tls.backend.sni", "channel_binding", "server", "peer"):
        recording.fact(two, key, named(key))
    recording.fact(one, "fault", named("fault"))
    recording.answer(one, message("S", string(named("status")) + string(HARM)))
    recording.answer(one, message("S", string("server_version") + string(named("18"))))
    recording.answer(one, message("S", string("application_name") + string(named("later"))))

    name, sql = named("statement"), f"SELECT '{HARM}' AS \"{HARM}\" WHERE id = $1"
    described = PARSED + message("t", b"\0\0") + columns((named("column"), TEXT), binary=False)
    recording.trip(one, parse(name, sql) + describe("S", name) + FLUSH, described)
    for value in (RAW, b"", None, RAW * 3, HARM.encode(), RAW, RAW):
        answer = b"2\0\0\0\4" + row(RAW, value) + done(named("SELECT")) + ready()
        recording.trip(one, bind(name, value, binary=False) + EXECUTE + SYNC, answer)
    portal = string(named("portal"))
    bound = message("B", portal + string(name) + int16(0, 0, 0))
    recording.trip(one, query(f"BEGIN /* {HARM} */"), done("BEGIN") + ready("T"))
    recording.trip(one, bound + message("E", portal + int32(1)) + SYNC, b"2\0\0\0\4" + row(RAW) + message("s") + ready("T"))
    failed = {letter: named(letter) for letter in "SVCMDHPpqWstcdnFLRZ"}
    body = b"".join(letter.encode() + string(text) for letter, text in failed.items()) + b"\0"
    recording.trip(
        one, parse("", sql) + bind("") + EXECUTE + parse("", sql) + bind("") + EXECUTE + SYNC, PARSED + message("E", body) + ready("E")
    )
    recording.trip(one, query(f"ROLLBACK {HARM}"), done(named("ROLLBACK")) + ready())

    for number in range(7):
        recording.trip(two, query(f"SELECT {HARM!r} FROM t WHERE id = {number} AND '{HARM}' = ''"), done(named("SELECT")) + ready())
    recording.trip(two, query(f"COPY {HARM}"), error(HARM[:5], named("division")) + ready())
    recording.trip(two, query(f"COPY {HARM} FROM STDIN"), message("G", b"\0" + int16(1, 0)))
    recording.trip(two, message("d", RAW) + message("c"), done(named("COPY")) + ready())
    recording.trip(two, query("SELECT '" + "x" * long + HARM + "'"), done("SELECT 1") + ready())
    recording.answer(one, message("A", int32(4711) + string(named("channel")) + string(HARM)))
    recording.answer(one, message("N", b"C" + string("01000") + b"M" + string(named("notice")) + b"\0"))
    recording.answer(two, message("v", int32(0, 1) + string(named("option"))))
    recording.mark(named("mark"), begin=False)

    three = recording.connect("psycopg")
    recording.trip(three, query("BEGIN"), done("BEGIN") + ready("T"))
    recording.gap(three, 4096)
    recording.answer(three, b"\x1b\0\0\0\x08" + RAW)  # no message of the protocol
    recording.send(three, RAW)
    recording.close(three, terminate=False)
