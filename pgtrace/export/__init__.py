"""A trace in the formats of other programs, one module each.

    name, what it is, whether it is bytes, which options it takes      the list FORMATS
    export(trace, **options) -> pieces of the file, in order           the module `export/<name>.py`

To add a format, add a line to the list and a module with that one function; it is imported when it
is needed. The trace must have been read to its end. Options that the user did not give are not
passed: the signature has their defaults. Pieces are text or bytes, as the list says; text is
written as UTF-8. In formats for people, text from the wire passes sanitise.py. `places` are the
rows that a filter selects; `counted` is a trace without rows that counts them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple


class Piece(NamedTuple):
    """A piece of the file, the share of the work that is done after it (0 to 1), and the next step
    in a word or two. An empty piece only reports progress.
    """

    content: str | bytes
    done: float
    stage: str = "exporting"


class Format(NamedTuple):
    """An export format: a line of the list."""

    name: str
    what: str
    """Its purpose, for --help."""
    binary: bool
    options: tuple[str, ...] = ()
    """The parameters of its export(), without the trace."""

    def load(self) -> Callable[..., Iterator[Piece]]:
        """Import the module. Returns its export()."""
        exporter: Callable[..., Iterator[Piece]] = importlib.import_module(f"{__name__}.{self.name}").export
        return exporter


FORMATS: Final = {
    one.name: one
    for one in (
        Format("chrome", "trace events, for Perfetto and chrome://tracing", binary=False, options=("places",)),
        Format("html", "one page to send: findings, statements, every round trip", binary=False, options=("places", "counted")),
        Format("jsonl", "a message per line with its fields, to read, edit and import again", binary=False),
        Format("markdown", "counts, findings and costliest statements, for a pull request", binary=False, options=("places", "counted")),
        Format(
            "otlp",
            "OpenTelemetry spans, or counters with --metrics: a request per line",
            binary=False,
            options=("places", "metrics", "literals"),
        ),
        Format("pcapng", "packets, for Wireshark and tshark", binary=True, options=("places", "keep_port")),
        Format(
            "pqtrace",
            "libpq's trace, the same text for the same work: a golden",
            binary=False,
            options=("places", "mark", "order", "rules", "plain", "everything"),
        ),
    )
}
"""Name -> format, in the order of --help."""
