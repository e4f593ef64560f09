"""refused: the server or a pooler answered a start-up with an error: a wrong password, no such
database, too many clients, an unknown parameter.

Recognised by an ErrorResponse before the first ReadyForQuery. If the driver tries again at once and
gets in, it has wasted one connection, and the finding says so. PgBouncer refuses unknown parameters
of the StartupMessage with an untranslated text that names the parameter.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.remedies import DEMO_OR_UNKNOWN, Remedy
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Seen, Step, Watch, counted, nothing
from pgtrace.trace import reconnects
from pgtrace.trace.row import RowKind

_PARAMETER: Final = re.compile(r"unsupported startup parameter(?: in options)?: ([A-Za-z_.]{1,64})")
_VERSION: Final = re.compile(r"bad packet header|unsupported frontend protocol|unsupported protocol")
_WORDS: Final = {
    "28P01": "the password is wrong",
    "28000": "pg_hba.conf refuses it",
    "3D000": "there is no such database",
    "53300": "there are too many connections",
    "57P03": "the server is not ready, or cannot be reached",
    "57P01": "the server is shutting down",
    "42704": "a setting does not exist",
    "22023": "a setting has an invalid value",
    "42501": "the role lacks a privilege",
}
_SETTINGS: Final = {"42704": "name", "22023": "value"}
PARAMETER, VERSION = "parameter", "protocol version"
ROLE: Final = "the role may not log in"
_ROUTINE: Final = "InitializeSessionUserId"
"""The server's routine that checks the role; errors about pg_hba.conf come from others."""


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._refused: Step | None = None
        self._is_reported = False

    def other(self, step: Step) -> None:
        if step.shape.errors and step.shape.kind is RowKind.SETUP and self._refused is None:
            self._refused = step

    def settle(self) -> None:
        step = self._refused
        if self._is_reported or step is None or not step.counts:
            return
        self._is_reported = True
        state, text = step.sqlstate, step.label.message
        parameter, version = _PARAMETER.search(text), _VERSION.search(text)
        failure = step.failure("28000")
        role = failure is not None and failure.routine == _ROUTINE
        about = f"{PARAMETER} {parameter[1]}" if parameter else VERSION if version else ROLE if role else ""
        subject = f"{state} {about}".rstrip()
        note = self.seen.note(KIND, subject)
        note.times += 1
        note.words = note.words or text[:200]
        note.fact(state, *([PARAMETER] if parameter else []), *([VERSION] if version else []), *([ROLE] if role else []))
        if text.startswith("pgtrace:"):
            note.fact("pgtrace")
        if self._came_back():
            note.amount += 1
        note.show(step.place, "refused")
        step.explain(note)
        self.seen.row_of(step.place, KIND)
        self.seen.explain_end(note)

    def _came_back(self) -> bool:
        return reconnects.came_back(self.seen.trace, self.seen.connection)


def _what(note: Note) -> str:
    state, _, about = note.subject.partition(" ")
    why = (
        f"the start-up parameter {about.partition(' ')[2]} is not accepted"
        if about.startswith(PARAMETER)
        else "it does not support the protocol version that the driver asked for"
        if about == VERSION
        else about
        if about == ROLE
        else _WORDS.get(state, "")
    )
    back = f"; {counted(note.amount, 'connection')} came right after" if note.amount else ""
    others = ", and others" if note.differs else ""
    return f"{counted(note.times, 'start-up')} refused: {state} {note.words}{others}{f': {why}' if why else ''}{back}"


KIND: Final = Kind(
    name="refused",
    unit=FAILED,
    why="The server refuses the connection: nothing runs on it, and its round trips are wasted.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=nothing,
    cares_other=lambda step: bool(step.shape.errors),
    remedies=(
        Remedy(
            "use SET LOCAL in a transaction, or ALTER ROLE ... SET; ignore_startup_parameters in pgbouncer.ini, with that name, lets the "
            "driver in, but the parameter has no effect",
            needs=(PARAMETER,),
            tried="parameter-ignored",
            clients=DEMO_OR_UNKNOWN,
        ),
        Remedy(
            "let the driver ask for protocol 3.0 (libpq: max_protocol_version=3.0)",
            needs=(VERSION,),
            tried="older-protocol",
            clients=("psycopg", "sqlalchemy", "unknown"),
        ),
        Remedy(
            "make sure that pgtrace's upstream is reachable: --upstream",
            needs=("pgtrace",),
            tried="upstream-reached",
            clients=DEMO_OR_UNKNOWN,
        ),
        Remedy(
            "check the role's name and password, and where the driver takes them from: PGPASSWORD, ~/.pgpass, the URL; a role that does "
            "not exist, or whose password has expired (VALID UNTIL), is refused in the same way",
            needs=("28P01",),
            tried="right-password",
            clients=DEMO_OR_UNKNOWN,
        ),
        Remedy(
            "add a line to pg_hba.conf for the role, the database and pgtrace's address: the server sees pgtrace, not the driver",
            needs=("28000",),
            unless=(ROLE,),
            tried="line-of-pg_hba",
            clients=DEMO_OR_UNKNOWN,
        ),
        Remedy("ALTER ROLE ... LOGIN, or use another role", needs=(ROLE,), tried="role-may-log-in", clients=DEMO_OR_UNKNOWN),
        Remedy(
            "GRANT CONNECT ON DATABASE ... TO the role, or use another role",
            needs=("42501",),
            tried="role-may-connect",
            clients=DEMO_OR_UNKNOWN,
        ),
        Remedy(
            "check the database name in the URL or PGDATABASE; if you give none, it is the user's name",
            needs=("3D000",),
            tried="right-database",
            clients=DEMO_OR_UNKNOWN,
        ),
        *(
            Remedy(
                "correct the setting where the driver takes it from: its options or server_settings, PGOPTIONS, the URL",
                needs=(state,),
                tried=f"right-{what}-of-setting",
                clients=DEMO_OR_UNKNOWN,
            )
            for state, what in _SETTINGS.items()
        ),
        Remedy(
            "open fewer connections (a smaller pool, or a pooler); or raise max_connections, or the role's or database's CONNECTION LIMIT",
            needs=("53300",),
            tried="fewer-connections",
            clients=DEMO_OR_UNKNOWN,
        ),
        Remedy(
            "see the server's error message, which says what is wrong with the start-up",
            unless=(PARAMETER, VERSION, "pgtrace", "28P01", "28000", "3D000", "42501", "53300", *_SETTINGS),
            tried="message-read",
            clients=DEMO_OR_UNKNOWN,
        ),
    ),
)
