"""What all connections of a trace write to: the rows, shared values, and the budgets of their logs.

A connection knows its ledger and nothing above it. The ledger knows no connection: it has the index
of the timeline, the effects of its rows, the open marks, and the remaining budgets.

Two logs of a connection have no bound of their own: the meanings of names (name_log.py) and of
CopyData (copy_log.py). All these logs share one budget, counted in entries and in units of a short
statement. The facts of open connections share another one, in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pgtrace.identify.drivers import Identification
from pgtrace.identify.layers import Layer
from pgtrace.session.cache import Reads
from pgtrace.shelf import Shelf, Shelved
from pgtrace.trace.call_sites import CallSites
from pgtrace.trace.introspections import Introspections
from pgtrace.trace.marks import Marks, MarksOfFiles
from pgtrace.trace.row import Label, RowEntry, RowKind, Shape
from pgtrace.trace.rows import RowIndex
from pgtrace.trace.statements import GroupBudget

LOGGED_KEPT: Final = 200_000
"""The most changes of names and CopyData that are kept for the details of rows."""
LOG_WEIGHT_KEPT: Final = 100_000
"""The most memory for the logs, in units of a short statement. Logs on the shelf do not count."""
KEYS_KEPT: Final = 20_000
"""The most cancel keys in memory."""
FACTS_KEPT: Final = 64
"""The most facts about one connection."""
FACTS_BYTES_KEPT: Final = 16 * 1024 * 1024
"""The most bytes for the facts of all open connections."""
LONGEST_FACT: Final = 4096
_FACT_BYTES: Final = 200
PROCESSES_KEPT: Final = 10_000
"""The most processes whose layer is kept."""
SHARED_KEPT: Final = 10_000
"""The most values that connections share."""


class Ledger:
    """What the connections of one trace share."""

    def __init__(
        self,
        marks: MarksOfFiles,
        name_of: Callable[[int, int, str], str],
        *,
        timeline: bool = True,
        statements: bool = True,
        rows: RowIndex | None = None,
        is_second: bool = False,
    ) -> None:
        """`name_of` names a connection by its file, its number there and its leg. Without
        `timeline` there are no rows, without `statements` no tables of statements.

        A second reading passes its own `rows`, which only number them, and keeps no logs.
        """
        self.marks = marks
        self.name_of = name_of
        self.timeline = timeline
        self.statements = statements
        self.rows = rows if rows is not None else RowIndex()
        self.in_no_mark: frozenset[int] = frozenset()
        """The indexes of connections that were put apart before anything was read."""
        self.apart: set[int] = set()
        """The indexes of connections that count only for themselves."""
        self.draws = timeline and not is_second
        """Whether rows can be inspected, so that their meanings must be logged."""
        self.start_ns = 0
        """The wall-clock time of the first record."""
        self.end_ns = 0
        """The wall-clock time of the latest record read."""
        self.reads = Reads()
        self.shelf = Shelf()
        self.statements_room = GroupBudget()
        self.keys: Shelved[bytes, tuple[int, int, int, str]] = Shelved(self.shelf, KEYS_KEPT)
        """BackendKeyData as recorded -> the index, file, number and leg of its connection."""
        self.identifies: dict[int, Callable[[], tuple[Identification, Layer]]] = {}
        """Index -> the identity of the driver's end, for the latest connections that may be
        cancelled."""
        self.layers: dict[tuple[int, int, str], tuple[str, Layer]] = {}
        """(file, process id, driver) -> the connection in which this process's layer was
        identified, and the layer."""
        self.drivers: dict[tuple[int, int, tuple[str, ...]], tuple[str, Identification] | None] = {}
        """(file, process id, start-up parameters) -> the connection in which the driver below this
        process's layer was identified for such a start-up, and the driver; None if there are
        several drivers."""
        self.slots: dict[tuple[str, str], str] = {}
        """(upstream, replication slot) -> its output plugin, if its creation was seen."""
        self.introspections = Introspections()
        self.call_sites = CallSites()
        """The lines of code of rows, if the program noted them."""
        self.facts_bytes = 0
        """The bytes of the facts of open connections."""
        self.log_weight = 0
        """The weight of the logs in memory, in units of a short statement."""
        self._logged = 0
        self._shared: dict[Any, Any] = {}

    def marks_of(self, file: int, connection: int) -> Marks:
        """The marks to which everything on this connection belongs."""
        return self.marks.files[file] if connection not in self.in_no_mark else self.marks.none

    @property
    def duration_ns(self) -> int:
        """The time from the first record to the latest one read."""
        return self.end_ns - self.start_ns

    def may_log(self, already: bool, weight: int = 1) -> bool:
        """Whether a log may have another entry. The first entry of a name needs only memory. If the
        log has entries `already`, the total number of entries counts too."""
        self._logged += 1
        if not self.draws or (already and self._logged > LOGGED_KEPT) or self.log_weight + weight > LOG_WEIGHT_KEPT:
            return False
        self.log_weight += weight
        return True

    def may_keep_fact(self, facts: Mapping[str, str], key: str, value: str) -> bool:
        """Whether an open connection with these facts may have another one."""
        if key in facts:
            return True
        size = _fact_bytes(key, value[:LONGEST_FACT])
        if len(facts) >= FACTS_KEPT or self.facts_bytes + size > FACTS_BYTES_KEPT or len(key) > LONGEST_FACT:
            return False
        self.facts_bytes += size
        return True

    def forget_facts(self, facts: Mapping[str, str]) -> None:
        """The connection with these facts has closed."""
        self.facts_bytes -= sum(_fact_bytes(key, value) for key, value in facts.items())

    def share(self, value: Any, instead: Any = None) -> Any:
        """The first of all equal values, so that it is kept once. `instead` is kept for a value
        that cannot be a key. Do not change the result."""
        kept = value if instead is None else instead
        return self._shared.setdefault(value, kept) if len(self._shared) < SHARED_KEPT else self._shared.get(value, kept)

    def event(
        self,
        kind: RowKind,
        text: str,
        time_ns: int,
        position: int,
        connection: int = 0,
        *,
        status: str = "",
        offsets: tuple[int, int] = (0, 0),
    ) -> int:
        """Add a row that is not about a message and counts nothing. Returns its place, or 0 without
        a timeline."""
        if not self.timeline:
            return 0
        shape = Shape(kind, "", uncertain=kind is RowKind.GAP, status_before=status, status=status)
        entry = RowEntry(
            position=position,
            opened_ns=time_ns,
            offsets=offsets,
            connection=connection,
            label=self.rows.label(Label(text)),
            shape=self.rows.shape(shape),
            duration_ms=0.0,
            effect=self.reads.effects.nothing.number,
        )
        return self.rows.append(entry)

    def close(self) -> None:
        """Delete the temporary files."""
        self.rows.close()
        self.call_sites.close()
        self.shelf.close()


def _fact_bytes(key: str, value: str) -> int:
    return len(key) + len(value) + _FACT_BYTES
