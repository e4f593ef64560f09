"""What all connections of a trace write into: the rows, what is kept once for many, and the budgets of their logs.

A connection knows its ledger and nothing above it. The ledger knows no connection: it has the index of the
timeline, the effects of its rows, the marks that are open, and how much may still be remembered.

Two logs of a connection have no bound of their own: what names meant (name_log.py) and what CopyData held
(copy_log.py). All of them share one budget, counted in entries and in units of a short statement. Facts of open
connections share another one, in bytes.
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
from pgtrace.trace.marks import MarksOfFiles
from pgtrace.trace.rows import Entry, Kind, Label, RowIndex, Shape
from pgtrace.trace.statements import Room

LOGGED_KEPT: Final = 200_000
"""Changes of what a name meant, or CopyData held, that are remembered for the details of rows."""
LOG_WEIGHT_KEPT: Final = 100_000
"""How much of the logs is in memory at once, in units of a short statement; logs on the shelf are not."""
KEYS_KEPT: Final = 20_000
"""Cancel keys in memory."""
FACTS_KEPT: Final = 64
"""Facts about one connection."""
FACTS_BYTES_KEPT: Final = 16 * 1024 * 1024
"""What the facts of all open connections may take."""
LONGEST_FACT: Final = 4096
_FACT_BYTES: Final = 200
PROCESSES_KEPT: Final = 10_000
"""Processes whose layer is remembered."""
SHARED_KEPT: Final = 10_000
"""Values that are kept once for all connections that have them."""


class Ledger:
    """What the connections of one trace share."""

    def __init__(
        self,
        marks: MarksOfFiles,
        name_of: Callable[[int, int], str],
        *,
        timeline: bool = True,
        rows: RowIndex | None = None,
        is_second: bool = False,
    ) -> None:
        """`name_of` names a connection by its file and its number there. Without `timeline` there are no rows.

        A second reading passes `rows` of its own, which only number them, and keeps no logs.
        """
        self.marks = marks
        self.name_of = name_of
        self.timeline = timeline
        self.rows = rows if rows is not None else RowIndex()
        self.draws = timeline and not is_second
        """Whether rows are there to be looked at, and what they meant is logged."""
        self.start_ns = 0
        """Wall-clock time of the first record."""
        self.end_ns = 0
        """Of the latest one that was read."""
        self.reads = Reads()
        self.shelf = Shelf()
        self.statements_room = Room()
        self.keys: Shelved[bytes, tuple[int, int, int]] = Shelved(self.shelf, KEYS_KEPT)
        """BackendKeyData as recorded -> index, file and number of its connection."""
        self.identifies: dict[int, Callable[[], tuple[Identification, Layer]]] = {}
        """By index, of open connections that may be cancelled: who is at the driver's end."""
        self.layers: dict[tuple[int, int, str], tuple[str, Layer]] = {}
        """(file, process id, driver) -> the connection that shows which layer this process has, and the layer."""
        self.slots: dict[tuple[str, str], str] = {}
        """(upstream, replication slot) -> its output plugin, where its creation was seen."""
        self.introspections = Introspections()
        self.call_sites = CallSites()
        """Lines of code of rows, where the program noted them."""
        self.facts_bytes = 0
        """What the facts of open connections take."""
        self.log_weight = 0
        """What the logs in memory take, in units of a short statement."""
        self._logged = 0
        self._shared: dict[Any, Any] = {}

    @property
    def duration_ns(self) -> int:
        """How far the reading has come, from the first record on."""
        return self.end_ns - self.start_ns

    def may_log(self, already: bool, weight: int = 1) -> bool:
        """Whether a log may have one more entry. The first entry of a name may be kept as long as there is room in
        memory for it; where it has `already` some, only as long as there are not too many in all."""
        self._logged += 1
        if not self.draws or (already and self._logged > LOGGED_KEPT) or self.log_weight + weight > LOG_WEIGHT_KEPT:
            return False
        self.log_weight += weight
        return True

    def may_keep_fact(self, facts: Mapping[str, str], key: str, value: str) -> bool:
        """Whether an open connection that has these facts may have one more."""
        if key in facts:
            return True
        size = _fact_bytes(key, value[:LONGEST_FACT])
        if len(facts) >= FACTS_KEPT or self.facts_bytes + size > FACTS_BYTES_KEPT or len(key) > LONGEST_FACT:
            return False
        self.facts_bytes += size
        return True

    def let_go_of_facts(self, facts: Mapping[str, str]) -> None:
        """The connection that has these facts has closed."""
        self.facts_bytes -= sum(_fact_bytes(key, value) for key, value in facts.items())

    def share(self, value: Any, instead: Any = None) -> Any:
        """The first of all equal values, so that it is kept once. `instead` is kept for a value that cannot be a key.
        Nobody may change what this returns."""
        kept = value if instead is None else instead
        return self._shared.setdefault(value, kept) if len(self._shared) < SHARED_KEPT else self._shared.get(value, kept)

    def event(
        self,
        kind: Kind,
        text: str,
        time_ns: int,
        position: int,
        connection: int = 0,
        *,
        status: str = "",
        offsets: tuple[int, int] = (0, 0),
    ) -> int:
        """Add a row about something that is no message and counts nothing; its place, 0 where there is no timeline."""
        if not self.timeline:
            return 0
        shape = Shape(kind, "", uncertain=kind is Kind.GAP, status_before=status, status=status)
        entry = Entry(
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
        """Give the temporary files back."""
        self.rows.close()
        self.call_sites.close()
        self.shelf.close()


def _fact_bytes(key: str, value: str) -> int:
    return len(key) + len(value) + _FACT_BYTES
