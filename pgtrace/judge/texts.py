"""Facts that only the text of a statement shows: options of BEGIN, locks, temporary tables, cursors
that outlive their transaction, called functions.

All tokens are read, so leading comments, other spellings and further statements in the same Query
make no difference. The contents of strings, comments and quoted names are skipped. Only the first
LOOKED_AT characters of a text are read.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from functools import lru_cache
from itertools import pairwise, takewhile
from typing import Final

from pgtrace import sqltext
from pgtrace.sqltext.memory import remembered

LOOKED_AT: Final = 8_192
"""How many characters of a text are read."""
_TOKENS: Final = 1_000
_LATEST: Final = 16
"""The number of texts without values that are kept: several questions are asked about a text in a
row.
"""
_LOCKS: Final = (
    ("FOR", "UPDATE"), ("FOR", "NO", "KEY", "UPDATE"), ("FOR", "SHARE"), ("FOR", "KEY", "SHARE"), ("LOCK",),
)  # fmt: skip
_KEEPS: Final = frozenset({"SET_CONFIG"})
_ADVISORY: Final = ("PG_ADVISORY_LOCK", "PG_TRY_ADVISORY_LOCK", "PG_ADVISORY_XACT_LOCK", "PG_TRY_ADVISORY_XACT_LOCK")


def _named(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BUILT_IN: Final = _named(
    """
    ABS AGE ARRAY_AGG ARRAY_APPEND ARRAY_CAT ARRAY_LENGTH ARRAY_POSITION ARRAY_REMOVE
    ARRAY_TO_STRING ASCII AVG BIT_AND BIT_OR BIT_LENGTH BOOL_AND BOOL_OR BTRIM CARDINALITY CEIL
    CEILING CHAR_LENGTH CHARACTER_LENGTH CHR CLOCK_TIMESTAMP COALESCE COL_DESCRIPTION CONCAT
    CONCAT_WS CONVERT_FROM CONVERT_TO CORR COUNT CUME_DIST CURRENT_DATABASE CURRENT_SCHEMA
    CURRENT_SCHEMAS CURRENT_SETTING CURRVAL DATE_BIN DATE_PART DATE_TRUNC DECODE DENSE_RANK DIV
    ENCODE EVERY EXP EXTRACT FIRST_VALUE FLOOR FORMAT FORMAT_TYPE GCD GENERATE_SERIES
    GENERATE_SUBSCRIPTS GREATEST GROUPING HAS_TABLE_PRIVILEGE INET_SERVER_ADDR INITCAP ISFINITE
    JSON_AGG JSON_ARRAY_LENGTH JSON_BUILD_ARRAY JSON_BUILD_OBJECT JSON_EACH JSON_OBJECT_AGG
    JSON_TO_RECORDSET JSONB_AGG JSONB_ARRAY_ELEMENTS JSONB_ARRAY_ELEMENTS_TEXT JSONB_ARRAY_LENGTH
    JSONB_BUILD_ARRAY JSONB_BUILD_OBJECT JSONB_EACH JSONB_OBJECT_AGG JSONB_PATH_EXISTS
    JSONB_PATH_QUERY JSONB_SET JSONB_TYPEOF LAG LAST_VALUE LASTVAL LCM LEAD LEAST LEFT LENGTH LN LOG
    LOWER LPAD LTRIM MAKE_DATE MAKE_INTERVAL MAKE_TIMESTAMP MAX MD5 MIN MOD NEXTVAL NOW NTH_VALUE
    NTILE NULLIF NUMNODE OBJ_DESCRIPTION OCTET_LENGTH OVERLAY PERCENT_RANK PERCENTILE_CONT
    PERCENTILE_DISC PLAINTO_TSQUERY PHRASETO_TSQUERY POSITION POWER QUOTE_IDENT QUOTE_LITERAL
    RADIANS RANDOM RANK REGEXP_MATCH REGEXP_MATCHES REGEXP_REPLACE REGEXP_SPLIT_TO_ARRAY REPEAT
    REPLACE REVERSE RIGHT ROUND ROW_NUMBER ROW_TO_JSON RPAD RTRIM SCALE SET_CONFIG SHA256 SIGN
    SPLIT_PART SQRT STARTS_WITH STDDEV STRING_AGG STRING_TO_ARRAY STRPOS SUBSTR SUBSTRING SUM
    TO_CHAR TO_DATE TO_JSON TO_JSONB TO_NUMBER TO_REGCLASS TO_REGTYPE TO_TIMESTAMP TO_TSQUERY
    TO_TSVECTOR TRANSLATE TRIM TRUNC TS_RANK TXID_CURRENT UNNEST UPPER VARIANCE VERSION
    WEBSEARCH_TO_TSQUERY WIDTH_BUCKET XMLAGG
    """
)
"""The server's functions that change nothing in a session; names that begin with pg_ also count."""
_BEFORE_PARENTHESIS: Final = _named(
    """
    ALL AND ANY ARRAY AS BETWEEN BIT BY CASE CAST CHAR CHARACTER CUBE DECIMAL DISTINCT ELSE EXCEPT
    EXISTS FILTER FLOAT FROM GROUP HAVING ILIKE IN INTERSECT INTERVAL IS JOIN LATERAL LIKE LIMIT
    MATERIALIZED NOT NUMERIC OFFSET ON OR OVER PRECISION ROLLUP ROW SELECT SETS SOME THEN TIME
    TIMESTAMP UNION USING VALUES VARCHAR VARYING WHEN WHERE WITH WITHIN
    """
)
"""Keywords and types that may precede a parenthesis."""
_QUERIES: Final = frozenset({"SELECT", "WITH", "VALUES"})
_CHANGES: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
_BEFORE_NAME: Final = _named("CREATE OR REPLACE LOCAL GLOBAL TEMP TEMPORARY RECURSIVE VIEW TABLE SEQUENCE IF NOT EXISTS INTO")
_BEFORE_TARGET: Final = _named("INTO UPDATE FROM COPY TABLE")
_ISOLATES: Final = frozenset({"BEGIN", "START", "TRANSACTION", "WORK", "READ", "WRITE", "COMMITTED", "ISOLATION", "LEVEL"})


@lru_cache(maxsize=_LATEST)
def without_values(sql: str) -> str:
    """The part of a text that is read, with its values blanked if that is simple. Texts that differ
    in nothing else give the same answers here, except for is_select_1() and names().
    """
    return sqltext.blank_plain_values(sql[:LOOKED_AT])


def words(sql: str) -> tuple[str, ...]:
    """The words of a text in upper case, with its `(` and `;`: `CREATE TEMP TABLE a (b INT)` has
    `(` after `A`.
    """
    return _words(without_values(sql))


@remembered
def _words(text: str) -> tuple[str, ...]:
    found: list[str] = []
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


def is_select_1(sql: str) -> bool:
    """Whether the text is `SELECT 1`, with that number and no other value."""
    text = sql[:LOOKED_AT]
    found = [text[start:end].upper() for kind, start, end in sqltext.scan(text) if kind not in ("space", "comment")]
    return found in (["SELECT", "1"], ["SELECT", "1", ";"])


def statements(sql: str) -> Iterator[tuple[str, ...]]:
    """The words of each statement of a text."""
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
    """Whether the text has these words in sequence."""
    found = words(sql)
    first = sequence[0]
    return any(word == first and found[place : place + len(sequence)] == sequence for place, word in enumerate(found))


def locks(sql: str) -> bool:
    """Whether the text explicitly takes a lock that lasts to the end of the transaction."""
    return any(has(sql, *lock) for lock in _LOCKS) or bool(advisory_locks(sql))


def advisory_locks(sql: str) -> tuple[str, ...]:
    """The advisory lock functions that the text calls."""
    return tuple(name for name in called(sql) if name.removesuffix("_SHARED") in _ADVISORY)


def called(sql: str) -> tuple[str, ...]:
    """The functions that the text calls: words before `(`."""
    found = words(sql)
    return tuple(word for word, behind in pairwise(found) if behind == "(" and word not in ("(", ";", "?"))


def calls_unknown(sql: str) -> bool:
    """Whether the text is a query that calls a user-defined function, which may change anything."""
    known = _BUILT_IN | _BEFORE_PARENTHESIS
    return any(
        one[0] in _QUERIES and any(name not in known and not name.startswith("PG_") for name in _called(one)) for one in statements(sql)
    )


def changes(sql: str) -> bool:
    """Whether the text writes: INSERT, UPDATE, DELETE or MERGE, on its own or in a WITH."""
    return any(
        one[0] in _CHANGES
        or (one[0] == "WITH" and any(word in _CHANGES and before not in {"FOR", "KEY"} for before, word in pairwise(one)))
        for one in statements(sql)
    )


def _called(found: tuple[str, ...]) -> list[str]:
    return [word for word, behind in pairwise(found) if behind == "(" and word not in ("(", "?")]


def begins_with_options(sql: str) -> bool:
    """Whether the text begins a transaction that differs from that of a single statement: an
    isolation level other than READ COMMITTED, READ ONLY, or DEFERRABLE.
    """
    return any(not _ISOLATES.issuperset(one) for one in statements(sql) if one[0] in ("BEGIN", "START"))


def sets_for_session(sql: str, known: frozenset[str]) -> bool:
    """Whether the text changes a setting beyond its transaction, except those in `known`: SET
    without LOCAL to a value other than DEFAULT, or set_config(..., false).
    """
    for one in statements(sql):
        named = one[2:3] if one[1:2] == ("SESSION",) else one[1:2]
        if (
            one[0] == "SET"
            and one[-1] != "DEFAULT"
            and named not in (("LOCAL",), ("TRANSACTION",), ("CONSTRAINTS",))
            and known.isdisjoint(named)
        ):
            return True
        if not _KEEPS.isdisjoint(_called(one)) and "FALSE" in one:
            return True
    return False


def makes_temporary(sql: str) -> bool:
    """Whether the text creates a table that lives as long as the session, i.e. without ON COMMIT
    DROP.
    """
    return any(_is_temporary(one) and not _drops(one) for one in statements(sql))


def _is_temporary(one: tuple[str, ...]) -> bool:
    """Whether the statement creates something temporary; TEMP may also be the name of a column."""
    if one[0] == "CREATE":
        found = tuple(takewhile(lambda word: word in _BEFORE_NAME and word not in ("TABLE", "VIEW", "SEQUENCE"), one))
    else:
        found = _behind_into(one) if one[0] in ("SELECT", "WITH") else ()
    return not {"TEMP", "TEMPORARY"}.isdisjoint(found)


def temporary_tables(sql: str) -> list[str]:
    """The names of the temporary tables and views that the text creates, also with ON COMMIT DROP;
    an empty name for each quoted one.
    """
    return [next((word.removeprefix("?") for word in _behind_kind(one)), "") for one in statements(sql) if _is_temporary(one)]


def creates_from_query(sql: str) -> bool:
    """Whether the text creates something permanent with CREATE ... AS or SELECT INTO, which have a
    query's tag.
    """
    return not temporary_tables(sql) and any(
        one[:2] in (("CREATE", "TABLE"), ("CREATE", "UNLOGGED"), ("CREATE", "MATERIALIZED"))
        or (one[0] in ("SELECT", "WITH") and "INTO" in one and "INSERT" not in one and "MERGE" not in one)
        for one in statements(sql)
    )


def _behind_kind(one: tuple[str, ...]) -> tuple[str, ...]:
    """The statement's words, starting at the name of the object that it creates."""
    start = 0 if one[0] == "CREATE" else one.index("INTO")
    while start < len(one) - 1 and one[start] in _BEFORE_NAME:
        start += 1
    return one[start:]


def writes_elsewhere(sql: str, names: Container[str]) -> bool:
    """Whether the text writes to a table not in `names`; an empty name matches any table."""
    if "" in names or has(sql, "PG_TEMP"):
        return False
    found = words(sql)
    targets = [behind for before, behind in pairwise(word for word in found if word != "ONLY") if before in _BEFORE_TARGET]
    return "?" not in targets[:1] and not any(word in names for word in found)


def _behind_into(one: tuple[str, ...]) -> tuple[str, ...]:
    return one[one.index("INTO") : one.index("INTO") + 3] if one[0] != "CREATE" and "INTO" in one else ()


def _drops(one: tuple[str, ...]) -> bool:
    return any(one[place : place + 3] == ("ON", "COMMIT", "DROP") for place in range(len(one)))


def declares_with_hold(sql: str) -> bool:
    """Whether the text declares a cursor that outlives its transaction."""
    return any(
        one[0] == "DECLARE" and any(one[place : place + 2] == ("WITH", "HOLD") for place in range(len(one))) for one in statements(sql)
    )


def names(sql: str, command: str) -> tuple[str, ...]:
    """The statement names that the text gives to that command: DEALLOCATE [PREPARE] s1, EXECUTE s1
    (...).
    """
    found = []
    for one in sqltext.split(sql[:LOOKED_AT]):
        parts = sqltext.identifiers(one, 3)
        if parts and parts[0].upper() == command:
            parts = parts[2:] if parts[1:2] == ["prepare"] and len(parts) > 2 else parts[1:2]
            found += parts
    return tuple(found)
