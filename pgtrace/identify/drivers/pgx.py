"""pgx for Go (also pgxpool, and database/sql on top of it): statements named by a hash of their
SQL, and its own SQL in lower case.

Certain:

- statement names: `stmtcache_` and 48 hex digits, the SHA-256 of the SQL, so that the same SQL has
  the same name on every connection; `stmt_` and 48 hex digits if Prepare got no other name. Before
  5.5 `stmtcache_<n>`, in pgx 4 `lrupsc_<n>_<n>`;
- Ping, pgxpool's too, is the Query `-- ping` (`;` in 5.0 and 4.18, as with others);
- CopyFrom is `copy "item" ( "id", "name" ) from stdin binary;`; LoadTypes has its own text;
- QueryExecModeSimpleProtocol writes each value into the SQL with a blank on either side: `where id
  = '1' `.

Together: `PDS` followed by `BDES` or `PBDES` (no row description is known yet, or
QueryExecModeCacheDescribe), and `begin`, `commit` in lower case.

The StartupMessage is no evidence: its parameters come from a Go map, in any order. sslmode=prefer,
the default, asks for encryption; if the server refuses, pgx closes that connection and connects
again in plain text. A query is `PDS · BES`, later `BES`; without rows `BDES`. A Batch is one round
trip for its new statements and one for all (`BE×3 S`). QueryExecModeDescribeExec is `PDS · BES`
each time, QueryExecModeExec `PBDES` without types. Others send the latter, too, as they send
Queries, so such sessions stay unknown. Savepoints are `sp_<n>`.

Seen with pgx 5.13, each mode; pgx 5.0 and 4.18 in part.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import LOOKED_AT, Evidence, first
from pgtrace.identify.remedies import Remedies, Remedy

NAME: Final = "pgx"
_NAMES: Final = re.compile(r"\A(?:(stmtcache|stmt)_[0-9a-f]{48}|stmtcache_\d+|lrupsc_\d+_\d+)\Z")
_COPY: Final = re.compile(r'\Acopy ".*" \( ".*" \) from stdin binary;\Z')
_LOAD_TYPES: Final = re.compile(r"find the OIDs in pg_class which match one of the provided type names")
_BEGIN: Final = re.compile(r"\A(?:begin(?: isolation level [a-z ]+| read only| read write)?|commit|rollback)\Z")
_SAVEPOINT: Final = re.compile(r"\Asavepoint sp_\d+\Z")
_LITERAL: Final = re.compile(r"'(?:[^']|'')*'")
_TEXTS: Final = 3


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for pgx."""
    found: list[str] = []
    name = first(_NAMES, seen.statement_names)
    if name is not None:
        found.append(f"statement names {name.group(1)}_<hash of the SQL>" if name.group(1) else "statement names of its cache, numbered")
    if "-- ping" in seen.queries:
        found.append("Ping is the query -- ping")
    if first(_COPY, seen.queries) is not None:
        found.append('copy "..." ( "..." ) from stdin binary; of CopyFrom')
    if first(_LOAD_TYPES, seen.queries) is not None:
        found.append("LoadTypes' query for types")
    lower = first(_BEGIN, seen.queries) is not None
    if lower and _describes_first(seen):
        found.append("Parse Describe Sync, then Bind Describe Execute Sync; begin and commit in lower case")
    texts = sum(map(_between_blanks, seen.queries))
    if texts >= _TEXTS and not seen.is_extended and seen.rewritten(quoted=True)[1] >= _TEXTS:
        found.append(f"values written into the SQL between blanks, in {texts} texts")
    if found and first(_SAVEPOINT, seen.queries) is not None:
        found.append("savepoints sp_<n> in lower case")
    return tuple(found)


def _describes_first(seen: Evidence) -> bool:
    sent = seen.sent
    return bool(sent["PDS"]) and any(one in {"BDES", "PBDES"} or one.startswith("PBDE×") for one in sent)


def _between_blanks(query: str) -> bool:
    """Whether each literal is between two blanks, at least one of them added by pgx."""
    head = query[:LOOKED_AT]
    places = [match.span() for match in _LITERAL.finditer(head)]
    if not all(head[start - 1 : start] == " " == head[end : end + 1] for start, end in places):
        return False
    return any(head[max(0, start - 2) : start] == "  " for start, _ in places)


_NEWER_POOLER: Final = "PgBouncer 1.21 or later with max_prepared_statements > 0"
REMEDIES: Final[Remedies] = {
    "pooler-26000": (
        Remedy("default_query_exec_mode=cache_describe, exec or simple_protocol in the connection string", "pgx-modes"),
        Remedy(_NEWER_POOLER, "pgx-newer"),
    ),
    "pooler-42P05": (
        Remedy("default_query_exec_mode=cache_describe, exec or simple_protocol in the connection string", "pgx-modes-42P05"),
        Remedy(_NEWER_POOLER, "pgx-newer-42P05"),
    ),
    "pipeline-error": (Remedy("INSERT ... ON CONFLICT in the Batch", "pgx-on-conflict", needs=("a duplicate",)),),
    "aborted-transaction": (Remedy("tx.Rollback() at the first error; a nested tx.Begin() is a savepoint", "pgx-rollback"),),
    "n+1": (
        Remedy("WHERE column = ANY($1) with a slice to read", "pgx-any", needs=("reads",)),
        Remedy("pgx.Batch with SendBatch(), or CopyFrom(), to write", "pgx-batch", needs=("writes",)),
    ),
    "extra-describe": (
        Remedy(
            "default_query_exec_mode=cache_statement, the default: one round trip once it is cached",
            "pgx-cache-statement",
            unless=("pooler",),
        ),
        Remedy(
            "default_query_exec_mode=cache_describe, behind a pooler: one round trip once it is cached",
            "pgx-cache-describe",
            needs=("pooler",),
        ),
    ),
    "prepared-once": (Remedy("pgx.Conn.Prepare() once under a name, then run it often", "pgx-prepare-once", needs=("one text",)),),
    "driver-overhead": (
        Remedy(
            "one Acquire() for a unit of work, without Ping(): pgxpool itself checks connections that were idle for a second",
            "pgx-acquire",
            unless=("a savepoint around one statement",),
        ),
    ),
    "begin-commit": (Remedy("pool.Exec() or pool.Query() instead of Begin() for a single statement", "pgx-no-begin"),),
    "cache-thrash": (Remedy("statement_cache_capacity=512, the default, or more, in the connection string", "pgx-larger-cache"),),
    "connect": (
        Remedy("pgxpool.New() once instead of pgx.Connect()", "pgx-pool"),
        Remedy("sslmode=disable saves one connection each time if the server has no TLS"),
    ),
    "prepared-leak": (
        Remedy("pass values as parameters $1, not in the text", "pgx-parameters-leak", needs=("values in the text",)),
        Remedy("Conn.Deallocate() for statements made by Prepare()", "pgx-deallocate", needs=("one text",)),
    ),
    "split-unnamed": (Remedy("default_query_exec_mode=exec, not describe_exec", "pgx-together"),),
    "re-parse": (Remedy("default_query_exec_mode=cache_statement, the default, keeps statements", "pgx-cache-keeps", unless=("pooler",)),),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES)
