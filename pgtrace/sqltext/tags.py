"""Tags: pairs of a key and a value in a comment of a statement, as sqlcommenter, Rails and others
write them.

    SELECT 1 /*controller='orders',route='%2Fcheckout',traceparent='00-...-01'*/
    /*application:Shop,action:index*/ SELECT 1

The first and the last block comment of each statement are read. The whole comment must be pairs,
separated by commas; otherwise it has no tags. A hint (`/*+`) has none either. A quoted value is
decoded as sqlcommenter encodes it: `\\'`, then `%%`, which some libraries leave doubled, then
percent-encoding, once. An invalid escape stays unchanged. A value without quotes extends to the
next comma or the end, and does not begin with white space, so that `/* todo: this */` is not a tag.

Tags are hostile text like any other: a comment longer than LONGEST is not read at all, and at most
MOST pairs are read from all comments of a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from pgtrace.sqltext.memory import remembered
from pgtrace.sqltext.scanner import tokens

MOST: Final = 64
LONGEST: Final = 4_096
TRACEPARENT: Final = "traceparent"
_KEY: Final = r"[A-Za-z0-9_.%-]{1,100}"
_QUOTED: Final = r"'(?:\\'|[^'])*'"
_PAIR: Final = re.compile(rf"\s*({_KEY})(?:\s*=\s*({_QUOTED})\s*|[=:]([^\s,'=][^,]*|))(?:(,)|\Z)")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_TRACE_ID: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?\Z", re.DOTALL)

Pairs = tuple[tuple[str, str], ...]


def tags(sql: str) -> Pairs:
    """The tags of a text, each pair once, in order."""
    return _tags(sql) if "/*" in sql else ()


def values(sql: str, key: str) -> tuple[str, ...]:
    """The values of one key."""
    return tuple(value for name, value in tags(sql) if name == key)


def trace_ids(sql: str) -> tuple[str, ...]:
    """The trace ids of its traceparents (W3C Trace Context)."""
    found = (_TRACE_ID.match(value) for value in values(sql, TRACEPARENT))
    return tuple(match[1] for match in found if match is not None)


class Parent(NamedTuple):
    """The span in which a statement was sent."""

    trace_id: str
    span_id: str
    sampled: bool


def parents(sql: str) -> tuple[Parent, ...]:
    """The spans of its traceparents. Ids of only zeros are invalid and are left out."""
    found = (_TRACE_ID.match(value) for value in values(sql, TRACEPARENT))
    return tuple(
        Parent(match[1], match[2], bool(int(match[3], 16) & 1))
        for match in found
        if match is not None and match[1].strip("0") and match[2].strip("0")
    )


@remembered
def _tags(sql: str) -> Pairs:
    found: dict[tuple[str, str], None] = {}
    for comment in _comments(sql):
        found.update(dict.fromkeys(_pairs(comment)))
    return tuple(found)[:MOST]


def _comments(sql: str) -> Iterator[str]:
    """The inside of the first and the last block comment of each statement."""
    first = last = ""
    for kind, start, end in tokens(sql):
        if kind == "comment" and sql.startswith("/*", start):
            last = sql[start + 2 : end - 2] if sql.endswith("*/", start + 4, end) else ""
            first = first or last
        elif kind == "punctuation" and sql[start] == ";":
            yield from dict.fromkeys((first, last))
            first = last = ""
    yield from dict.fromkeys((first, last))


def _pairs(comment: str) -> list[tuple[str, str]]:
    """The pairs of a comment; empty if it is not made up of pairs only."""
    if not comment or len(comment) > LONGEST or comment[0] == "+":
        return []
    found = []
    place, more = 0, True
    while more:
        match = _PAIR.match(comment, place)
        if match is None:
            return []
        key, quoted, bare, comma = match.groups()
        value = (bare or "").rstrip() if quoted is None else _decoded(quoted[1:-1].replace("\\'", "'").replace("%%", "%"))
        found.append((_decoded(key), value))
        place, more = match.end(), comma is not None
    return found


def _decoded(text: str) -> str:
    """Decode percent-encoding once."""
    if not _ESCAPE.search(text):
        return text
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
