"""used-after-fatal: the driver still sends statements after the server has sent FATAL and ended the
session.

Recognised by round trips that opened more than CROSSES_NS after the FATAL error was passed on;
earlier messages may have crossed it on the way. A pool notices the end of an idle connection only
when it uses it again; the finding says how much later that was. A round trip that only checks
whether the connection is alive does not count, because a pool should do that.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge import fatals, texts
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Step, Watch, nothing, seconds, times

CROSSES_NS: Final = 5_000_000
CHECK_OR_RETRY: Final = "check an idle connection before you use it, or retry the statement on a new connection if that is safe"
CHECKED: Final = "checked-before-use"


class _Watch(Watch):
    def used_after(self, fatal: Step, step: Step) -> None:
        after_ns = step.opened_ns - fatal.opened_ns - fatal.duration_ns
        if after_ns < CROSSES_NS or not step.counts or self._only_asks(step):
            return
        note = self.seen.note(KIND, fatals.cause(fatal.label) or fatal.sqlstate)
        note.times += 1
        note.most = max(note.most, after_ns)
        if note.times == 1:
            note.show(fatal.place, "the server ends the session")
        note.show(step.place, f"sent {seconds(after_ns)} later: no answer")
        self.seen.row_of(step.place, KIND)

    def _only_asks(self, step: Step) -> bool:
        """Whether the step only checks whether the connection is alive, as a pool does."""
        sql = step.label.sql
        if not sql.strip(" ;"):
            return step.shape.sent == b"S" or bool(step.sends("Q") or step.sends("P"))
        # if values are blanked, any number may look like 1
        return texts.is_select_1(sql) and not self.seen.trace.values_blanked


def used_words(note: Note) -> str:
    """`once, up to 0.8 s later`."""
    return f"{times(note.times)}, up to {seconds(note.most)} later"


def _what(note: Note) -> str:
    return f"used after the server had ended the session with {note.subject}, {used_words(note)}"


KIND: Final = Kind(
    name="used-after-fatal",
    unit=FAILED,
    why="After a FATAL error the session is over. A pool that does not check its connections hands it out anyway, and the next "
    "statement fails.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=nothing,
    remedies=(Remedy(CHECK_OR_RETRY, tried=CHECKED, clients=("psycopg2", "pg8000")),),
)
