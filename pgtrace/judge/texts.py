"""What only the text of a statement shows: options of BEGIN, locks, temporary tables, cursors that
outlive their transaction, called functions.

All tokens are read, so comments before it, other spellings and further statements in the same Query
make no difference. The content of strings, comments and quoted names is skipped. Of a long text
only the beginning is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from pgtrace import sqltext
from pgtrace.sqltext.memory import remembered

LOOKED_AT: Final = 8_192
"""The most characters of a text that are read."""
_TOKENS: Final = 1_000
_LOCKS: Final = (
    ("FOR", "UPDATE"), ("FOR", "NO", "KEY", "UPDATE"), ("FOR", "SHARE"), ("FOR", "KEY", "SHARE"), ("LOCK",),
)  # fmt: skip
_KEEPS: Final = frozenset({"SET_CONFIG"})
_ADVISORY: Final = ("PG_ADVISORY_LOCK", "PG_TRY_ADVISORY_LOCK", "PG_ADVISORY_XACT_LOCK", "PG_TRY_ADVISORY_XACT_LOCK")
_BUILT_IN: Final = frozenset(
    ("NOW", "VERSION", "COALESCE", "COUNT", "CURRENT_SCHEMA", "CURRENT_DATABASE", "CURRENT_SETTING", "SET_CONFIG", "NEXTVAL", "CURRVAL", "LASTVAL",
     "CLOCK_TIMESTAMP", "TXID_CURRENT", "RANDOM", "GENERATE_SERIES", "EXISTS", "ROW", "ARRAY", "CAST", "VALUES", "LENGTH", "LOWER", "UPPER", "MAX",
     "MIN", "SUM", "AVG", "ANY", "ALL", "IN", "SELECT", "CASE", "WHEN", "THEN", "ELSE", "AND", "OR", "NOT", "FORMAT_TYPE", "TO_REGTYPE", "UNNEST"),
)  # fmt: skip
_ISOLATES: Final = frozenset({"BEGIN", "START", "TRANSACTION", "WORK", "READ", "WRITE", "COMMITTED", "ISOLATION", "LEVEL"})


@remembered
def words(sql: str) -> tuple[str, ...]:
    """The words of all its tokens in upper case, and its `(` and `;`: `CREATE TEMP TABLE a (b INT)`
    has `(` after `A`."""
    found: list[str] = []
    text = sql[:LOOKED_AT]
    for kind, start, end in sqltext.scan(text):
        if kind == "word":
            found.append(text[start:end].upper())
        elif kind == "punctuation" and text[start] in "(;":
            found.append(text[start])
        elif kind not in ("space", "comment"):
            found.append("?")
        if len(found) >= _TOKENS:
            break
    return tuple(found)


def statements(sql: str) -> Iterator[tuple[str, ...]]:
    """The words of each of its statements."""
    found = words(sql)
    start = 0
    for place, word in enumerate(found):
        if word == ";":
            if place > start:
                yield found[start:place]
            start = place + 1
    if start < len(found):
        yield found[start:]


def has(sql: str, *sequence: str) -> bool:
    """Whether it has these words in sequence."""
    found = words(sql)
    first = sequence[0]
    return any(word == first and found[place : place + len(sequence)] == sequence for place, word in enumerate(found))


def locks(sql: str) -> bool:
    """Whether it explicitly takes a lock that lasts to the end of the transaction."""
    return any(has(sql, *lock) for lock in _LOCKS) or bool(advisory_locks(sql))


def advisory_locks(sql: str) -> tuple[str, ...]:
    """The functions of advisory locks that it calls."""
    return tuple(name for name in called(sql) if name.removesuffix("_SHARED") in _ADVISORY)


def called(sql: str) -> tuple[str, ...]:
    """The functions that it calls: words before `(`."""
    found = words(sql)
    return tuple(word for word, behind in pairwise(found) if behind == "(" and word not in ("(", ";", "?"))


def calls_unknown(sql: str) -> bool:
    """Whether it is a SELECT of user-defined functions only, which may change anything in the
    session."""
    return any(
        one[0] == "SELECT" and "FROM" not in one and any(name not in _BUILT_IN and not name.startswith("PG_") for name in _called(one))
        for one in statements(sql)
    )


def _called(found: tuple[str, ...]) -> list[str]:
    return [word for word, behind in pairwise(found) if behind == "(" and word not in ("(", "?")]


def begins_with_options(sql: str) -> bool:
    """Whether it begins a transaction that differs from that of a single statement: another
    isolation level than READ COMMITTED, READ ONLY, DEFERRABLE."""
    return any(not _ISOLATES.issuperset(one) for one in statements(sql) if one[0] in ("BEGIN", "START"))


def sets_for_session(sql: str, known: frozenset[str]) -> bool:
    """Whether it changes a setting beyond its transaction, except those in `known`: SET without
    LOCAL, set_config(..., false)."""
    for one in statements(sql):
        named = one[2:3] if one[1:2] == ("SESSION",) else one[1:2]
        if one[0] == "SET" and named not in (("LOCAL",), ("TRANSACTION",), ("CONSTRAINTS",)) and known.isdisjoint(named):
            return True
        if not _KEEPS.isdisjoint(_called(one)) and "FALSE" in one:
            return True
    return False


def makes_temporary(sql: str) -> bool:
    """Whether it creates a table that lives as long as the session, i.e. without ON COMMIT DROP."""
    return any(
        one[0] in ("CREATE", "SELECT", "WITH") and bool({"TEMP", "TEMPORARY"} & {*one[:6], *_behind_into(one)}) and not _drops(one)
        for one in statements(sql)
    )


def _behind_into(one: tuple[str, ...]) -> tuple[str, ...]:
    return one[one.index("INTO") : one.index("INTO") + 3] if one[0] != "CREATE" and "INTO" in one else ()


def _drops(one: tuple[str, ...]) -> bool:
    return any(one[place : place + 3] == ("ON", "COMMIT", "DROP") for place in range(len(one)))


def declares_with_hold(sql: str) -> bool:
    """Whether it declares a cursor that outlives its transaction."""
    return any(
        one[0] == "DECLARE" and any(one[place : place + 2] == ("WITH", "HOLD") for place in range(len(one))) for one in statements(sql)
    )


def names(sql: str, command: str) -> tuple[str, ...]:
    """The names in its statements with that command: DEALLOCATE [PREPARE] s1, EXECUTE s1 (...)."""
    found = []
    for one in sqltext.split(sql[:LOOKED_AT]):
        parts = sqltext.identifiers(one, 3)
        if parts and parts[0].upper() == command:
            parts = parts[2:] if parts[1:2] == ["prepare"] and len(parts) > 2 else parts[1:2]
            found += parts
    return tuple(found)
