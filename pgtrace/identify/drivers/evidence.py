"""The facts about a connection from which its driver is identified, and first conclusions from
them.

Evidence comes from the wire alone: the start-up packet, names of statements and portals, the first
SQL texts, and the shape of round trips. Each driver's module reads it and returns the evidence for
that driver, in sentences that a user can check. If there is none for any of them, the driver is
`unknown`.

Several modules use these conclusions:

- has_libpq_packet: libpq sends user, database, replication, options, application_name,
  client_encoding, datestyle, timezone and geqo, in this order. In SCRAM its user name is empty and
  its nonce has 24 characters; others send `n=*` or the name. The message is blanked in a capture,
  so its length tells them apart. libpq sends Bind or Sync after every Parse and Describe after
  every Bind: a driver that sends `PDS` or `BES` (pgx, pq) does not use it.
- is_libpq: libpq begins with SSLRequest or GSSENCRequest unless configured otherwise. Without one,
  a packet with client_encoding is another driver's (node pg, postgres.js), unless the SCRAM message
  has libpq's length. That of pq, which always sends datestyle as well, depends on the user's name.
- is_surely_libpq: go-pg and Bun's pgdriver send the same packet without SSLRequest. It is certainly
  libpq if the SCRAM message has its length, or if the driver asked for encryption, was refused and
  continued in plain text: those two leave then.
- has_bare_transactions: BEGIN, COMMIT and ROLLBACK are separate Queries, in capitals and without a
  semicolon, as both psycopgs send them.
- rewritten: one statement under several texts that differ only in values outside quotes, so
  something writes values into the SQL. PDO, which emulates prepared statements, writes all of them
  in quotes, and others do so too.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from pgtrace import sqltext
from pgtrace.describe import notation

UNKNOWN: Final = "unknown"
_LIBPQ_ORDER: Final = (
    "user", "database", "replication", "options", "application_name", "client_encoding", "datestyle", "timezone", "geqo",
)  # fmt: skip
_LIBPQ_SCRAM: Final = (0, 32, 53)
"""Lengths of `n,,n=,r=` or `y,,n=,r=` and 24 characters, and with channel binding; 0: none was
seen."""
_QUOTED: Final = re.compile(r"'(?:[^']|'')*+'")
LOOKED_AT: Final = 4_000
"""How many characters of an SQL text are searched."""
_WITH_VALUES: Final = (["SELECT"], ["INSERT"], ["UPDATE"], ["DELETE"], ["WITH"], ["VALUES"], ["CALL"])
_BARE: Final = re.compile(r"(?:BEGIN|COMMIT|ROLLBACK)\Z|BEGIN (?:ISOLATION LEVEL|READ|DEFERRABLE|NOT DEFERRABLE)[A-Z ]*\Z")


@dataclass(frozen=True, slots=True)
class Identification:
    """A driver's name and its evidence; `unknown` has none."""

    driver: str = UNKNOWN
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The facts from the first messages of a connection. Any of them may be missing, because a
    capture can begin anywhere.
    """

    startup_parameters: tuple[tuple[str, str], ...] = ()
    """The parameters of the StartupMessage, in its order."""
    first_codes: tuple[int, ...] = ()
    """The messages that the frontend sent during set-up, as in a flight: type bytes, and notation's
    SSL, GSS and START.
    """
    statement_names: tuple[str, ...] = ()
    portal_names: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    """The different SQL texts of Query and Parse."""
    sent: Counter[str] = field(default_factory=Counter)
    """The driver's halves of the flights after set-up -> how often each occurred."""
    parameter_types: tuple[tuple[int, ...], ...] = ()
    """The different lists of type OIDs in Parse."""
    application_name: str = ""
    scram_bytes: int = 0
    """Length of the first SCRAM message, gs2 header included, which is blanked in a capture; 0 if
    none was seen."""
    is_encrypted: bool = False
    """Whether the driver's leg is encrypted."""
    copy_failures: tuple[str, ...] = ()
    """The server's error messages when the driver aborted a COPY; they repeat the text of CopyFail.
    """

    @property
    def is_extended(self) -> bool:
        """Whether any extended query was sent."""
        return bool(
            self.statement_names or self.portal_names or self.parameter_types or any("B" in sent or "P" in sent for sent in self.sent)
        )

    @property
    def has_libpq_packet(self) -> bool:
        """Whether the start-up packet could be libpq's, and nothing later rules that out."""
        names = [name for name, _ in self.startup_parameters]
        if names[:2] != ["user", "database"] or any(name not in _LIBPQ_ORDER for name in names):
            return False
        foreign = any(pair in sent for sent in self.sent for pair in ("PD", "BE"))
        return sorted(names, key=_LIBPQ_ORDER.index) == names and self.scram_bytes in _LIBPQ_SCRAM and not foreign

    @property
    def asked_for_encryption(self) -> bool:
        """Whether the connection began with SSLRequest or GSSENCRequest."""
        return notation.SSL in self.first_codes or notation.GSS in self.first_codes

    @property
    def is_libpq(self) -> bool:
        """Whether the connection began in the way of libpq."""
        names = [name for name, _ in self.startup_parameters]
        has_scram = self.scram_bytes in _LIBPQ_SCRAM[1:] and "datestyle" not in names
        return self.has_libpq_packet and (self.asked_for_encryption or "client_encoding" not in names or has_scram)

    @property
    def is_surely_libpq(self) -> bool:
        """Whether no other client is known to begin a connection like this."""
        return self.is_libpq and (self.scram_bytes in _LIBPQ_SCRAM[1:] or (self.asked_for_encryption and not self.is_encrypted))

    @property
    def has_bare_transactions(self) -> bool:
        """Whether transactions begin and end by commands in capitals without a semicolon."""
        return any(_BARE.match(query) for query in self.queries)

    @property
    def begins_with_transaction(self) -> bool:
        """Whether such a command is the first query: psycopg2 opens a transaction before anything
        else."""
        return bool(self.queries) and _BARE.match(self.queries[0]) is not None

    def rewritten(self, *, quoted: bool = False) -> tuple[str, int]:
        """The statement with the most different values in its text, and the number of its texts;
        values in quotes count only if `quoted`.
        """
        texts: dict[str, set[str]] = {}
        for query in self.queries:
            head = query[:LOOKED_AT]
            if "/*" not in head and sqltext.words(head, 1)[:1] in _WITH_VALUES:
                texts.setdefault(sqltext.fingerprint(head), set()).add(head if quoted else _QUOTED.sub("''", head))
        group = max(texts.values(), key=len, default=set())
        return (sqltext.normalise(min(group)), len(group)) if group else ("", 0)


def first(pattern: re.Pattern[str], texts: tuple[str, ...]) -> re.Match[str] | None:
    """The first match in the first LOOKED_AT characters of the texts."""
    return next((match for text in texts if (match := pattern.search(text[:LOOKED_AT]))), None)
