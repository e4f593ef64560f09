"""tls-refused: a driver wants TLS, does not get it and disconnects.

Recognised by connections that ended before a StartupMessage: after an SSLRequest that was answered
`N`, after a direct TLS handshake that got no byte back, or after a failed handshake with pgtrace.
Not reported if the same program connected without TLS right afterwards, because it does not require
TLS (trace/reconnects.py).
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Seen, Watch
from pgtrace.trace import reconnects, refused_tls


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._is_reported = False

    def settle(self) -> None:
        how = self.seen.connection.tls_refused
        if self._is_reported or not how or reconnects.came_back(self.seen.trace, self.seen.connection, plain=True):
            return
        self._is_reported = True
        note = self.seen.note(KIND)
        note.times += 1
        note.fact(how)
        failed = self.seen.connection.facts.get(refused_tls.FAILED, "")
        note.show(self.seen.first, f"the handshake failed: {failed}" if failed else "no StartupMessage came")
        self.seen.row_of(self.seen.first, KIND)


def _what(note: Note) -> str:
    return (
        f"{'a connection' if note.times == 1 else f'{note.times} connections'}: "
        f"{'; '.join(said for how, said in refused_tls.SAID.items() if note.facts[how])}"
    )


KIND: Final = Kind(
    name="tls-refused",
    unit=FAILED,
    why="Without --tls, pgtrace offers the driver no TLS, and passes a direct TLS handshake on to the server. With --tls auto, its "
    "certificate comes from a CA of its own. A driver that insists on TLS, or does not trust the CA, gives up.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    remedies=(
        Remedy(
            f"{refused_tls.REMEDY}; for TLS to the server, set sslmode in --upstream. "
            "Without pgtrace in between: set ssl = on on the server",
            "tls-auto",
            unless=(refused_tls.HANDSHAKE,),
        ),
        Remedy(refused_tls.TRUST, "tls-trusted", needs=(refused_tls.HANDSHAKE,)),
    ),
)
