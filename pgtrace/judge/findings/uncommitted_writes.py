"""uncommitted-writes: a transaction's writes are lost because its connection ends without COMMIT,
or because COMMIT is sent after an error.

A driver without autocommit begins a transaction with the first statement, and closing the
connection does not commit it. Recognised by the transaction status and the command tags: an INSERT,
UPDATE, DELETE, MERGE or COPY of at least one row, or DDL, in a block that is still in status T when
the driver sends Terminate or ends its stream. Rollbacks by asyncpg's pool count, too: the driver's
own transactions use `BEGIN;` and `ROLLBACK;`, so a `ROLLBACK` that is followed only by a reset is
the pool's.

Also recognised: a COMMIT (or PREPARE TRANSACTION) that the server answers with ROLLBACK and without
an error, because an earlier statement failed. The application believes that it succeeded.

Not reported if something else ended the transaction: a plain ROLLBACK, which may be intended and
looks the same if a pool sends it; the server; an error, unless COMMIT follows. Nor are writes
before a ROLLBACK TO, and writes to temporary tables, which end with the session anyway.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import DEMO_OR_UNKNOWN, Remedy
from pgtrace.inspect import details
from pgtrace.inspect.walk import NotKept
from pgtrace.judge import texts
from pgtrace.judge.findings.driver_overhead import RESETS, is_reset
from pgtrace.judge.findings.kind import FAILED, ByWords, Kind, Note, Seen, Step, Watch, counted
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.trace.row import RowKind, Shape

CLOSED: Final = "the driver closed the connection"
LEFT: Final = "the driver left without Terminate"
RETURNED: Final = "the pool rolled it back before its reset"
ANSWERED: Final = "COMMIT was answered by ROLLBACK"
_COMMITS: Final = frozenset({"COMMIT", "END", "PREPARE"})
_COUNT_ROWS: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "COPY"})
_DEFINES: Final = (
    "CREATE ", "ALTER ", "DROP ", "TRUNCATE ", "GRANT", "REVOKE", "COMMENT", "REFRESH ", "SECURITY LABEL", "IMPORT FOREIGN SCHEMA",
)  # fmt: skip
_FROM_QUERY: Final = "CREATE TABLE AS"
_MAKES_TABLES: Final = frozenset({"CREATE TABLE", "CREATE TABLE AS", "SELECT", "SELECT INTO"})
_DRIVERS_BEGIN: Final = "BEGIN"
_POOLS_ROLLBACK: Final = "ROLLBACK"
_KEPT: Final = 64
"""The most writes of a block, and the most names of temporary tables, that are kept."""
_COMMAND_COMPLETE: Final = ord("C")
_TAG_BYTES: Final = 256


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._wrote: list[Step] = []
        """The first writes of the open block."""
        self._temporary: set[str] = set()
        """Names of temporary tables; empty for a name that is not known."""
        self._is_drivers = False
        """Whether the block was begun in asyncpg's way, with `BEGIN;`."""
        self._rolled_back: int | None = None
        """The row of a ROLLBACK that asyncpg's pool may have sent."""

    def row(self, step: Step) -> None:
        shape = step.shape
        if _may_make_tables(shape):
            self._temporary.update(texts.temporary_tables(step.label.sql)[: _KEPT - len(self._temporary)])
        if self._rolled_back is not None:
            if is_reset(step):
                self._lose(self._rolled_back, RETURNED)
            self._wrote, self._rolled_back = [], None
        if shape.block_began:
            self._is_drivers = step.label.sql.startswith(_DRIVERS_BEGIN) and step.label.sql.endswith(";")
        elif self._wrote and shape.block_end == "ROLLBACK":
            if shape.status_before == "E" and not _COMMITS.isdisjoint(texts.words(step.label.sql)[:1]):
                self._lose(step.place, ANSWERED)
            elif shape.status_before == "T" and self._is_drivers and step.label.sql == _POOLS_ROLLBACK:
                self._rolled_back = step.place
                return
        if shape.status == "I" or shape.block_end or "ROLLBACK" in shape.tags:
            self._wrote.clear()
        elif shape.status == "T" and len(self._wrote) < _KEPT and not shape.errors and self._writes(step):
            self._wrote.append(step)

    def rests(self, step: Step) -> bool:
        shape = step.shape
        if self._rolled_back is not None:
            return False
        may_change = shape.status_before != shape.status or shape.block_end or "ROLLBACK" in shape.tags or _may_make_tables(shape)
        return not may_change and (shape.status != "T" or not self._writes(step) or len(self._wrote) >= _KEPT)

    def again(self, steps: list[Step]) -> None:
        """Nothing to do: none of them writes, or enough writes are known."""

    def lost(self) -> None:
        self._wrote, self._rolled_back = [], None

    def ended(self, place: int, pause_ns: int | None, words: str) -> None:
        connection, before = self.seen.connection, self.seen.before
        if words or connection.fatal or before is None or before.shape.status != "T" or not before.is_whole:
            return
        shape = self.seen.trace.rows[place].shape
        if shape.kind is RowKind.RUN:
            self._lose(place, CLOSED)
        elif shape.kind is RowKind.CLOSED and not connection.asked_to_end and connection.ends and connection.ends[0].side == FRONTEND:
            self._lose(place, LEFT)

    def _lose(self, place: int, how: str) -> None:
        wrote = [step for step in self._wrote if step.counts and self._has_written(step)]
        self._wrote.clear()
        if not wrote:
            return
        note = self.seen.note(KIND, how)
        note.times += 1
        note.show(wrote[0].place, "written in the transaction")
        note.show(place, how)
        note.fact(how)
        for step in wrote:
            note.fact(*(list(filter(_is_write, step.shape.tags)) or [_FROM_QUERY]))
        self.seen.row_of(wrote[0].place, KIND)
        self.seen.row_of(place, KIND)

    def _writes(self, step: Step) -> bool:
        """Whether the step may have written something that outlives the session."""
        if not any(map(_is_write, step.shape.tags)):
            return _may_make_tables(step.shape) and _creates_from_query(step)
        return not _makes_temporary(step) and (not self._temporary or texts.writes_elsewhere(step.label.sql, self._temporary))

    def _has_written(self, step: Step) -> bool:
        """Whether its command tags, read from the capture again, show a write: at least one row, a
        COPY from the driver, or DDL.
        """
        if _may_make_tables(step.shape) or any(tag.startswith(_DEFINES) for tag in step.shape.tags):
            return True
        try:
            tags = [
                view.body
                for view in details.scan(self.seen.trace, step.place, _TAG_BYTES)
                if view.side == BACKEND and view.code == _COMMAND_COMPLETE
            ]
        except NotKept:
            return False
        for body in tags:
            tag, *numbers = body.rstrip(b"\0").decode("ascii", "replace").split()
            if tag in _COUNT_ROWS and numbers and numbers[-1] != "0" and (tag != "COPY" or b"c" in step.shape.sent):
                return True
        return False


@ByWords
def _creates_from_query(sql: str) -> bool:
    return texts.creates_from_query(sql)


@ByWords
def _makes_temporary(sql: str) -> bool:
    return texts.makes_temporary(sql) or bool(texts.temporary_tables(sql))


def _is_write(tag: str) -> bool:
    return tag in _COUNT_ROWS or tag.startswith(_DEFINES)


def _may_make_tables(shape: Shape) -> bool:
    """Whether the round trip may create a table: CREATE TABLE ... AS has a query's tag, but no
    rows.
    """
    return not _MAKES_TABLES.isdisjoint(shape.tags) and b"T" not in shape.received and b"D" not in shape.received


def _cares(shape: Shape) -> bool:
    is_in_block = "T" in (shape.status_before, shape.status) or shape.block_end == "ROLLBACK"
    return is_in_block or _may_make_tables(shape) or not RESETS.isdisjoint(shape.tags)


def _what(note: Note) -> str:
    tags = ", ".join(sorted(filter(_is_write, note.facts)))
    if note.subject == ANSWERED:
        were = "was" if note.times == 1 else "were"
        return f"{counted(note.times, 'transaction')} that had written ({tags}) {were} not committed: after an error {note.subject}"
    return f"{counted(note.times, 'transaction')} that had written ({tags}) ended without COMMIT: {note.subject}"


KIND: Final = Kind(
    name="uncommitted-writes",
    unit=FAILED,
    why="The server rolls back a transaction that is open when its connection ends, or in which a statement failed: all that it wrote "
    "is lost. Without autocommit, drivers begin a transaction with the first statement.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=_cares,
    remedies=(
        Remedy(
            "commit before you close the connection or give it back, use a context manager that commits, or use autocommit; "
            "to discard the changes, roll back",
            unless=(ANSWERED,),
            tried="committed",
            clients=DEMO_OR_UNKNOWN,
        ),
        Remedy(
            "roll back at the first error, and repeat the whole transaction: a COMMIT after an error does not fail, it rolls back",
            needs=(ANSWERED,),
            tried="repeated-after-error",
            clients=DEMO_OR_UNKNOWN,
        ),
    ),
)
