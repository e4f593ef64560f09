"""Which texts are the same statement with other values.

These become $1, $2, ... in order of appearance: literals, parameters, and NULL, TRUE or FALSE where
a value can be. The minus before a number belongs to it. Comments, layout and the closing semicolon
are removed. Then equal neighbours in an IN list or an ARRAY, and equal rows of VALUES, become one.
Drivers generate the names of savepoints and cursors, and those after DEALLOCATE, so these are
values too. The result is the normalised text.

The fingerprint also ignores the case of unquoted identifiers, needless quotes, TRANSACTION and WORK
after BEGIN and the like, and the type that a value is cast to (`$1::INTEGER`): the habits in which
drivers differ when they send the same statement. It is a hash of the tokens, so layout never
matters, and a normalised text has the fingerprint of its original.

The groups are those of libpg_query for what drivers and ORMs send, without its parser. Aliases and
the order of columns make a difference here, and so do `=` and IN.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

from pgtrace.sqltext.lists import fold_lists
from pgtrace.sqltext.memory import remembered
from pgtrace.sqltext.scanner import IN_NAME, lower, tokens, unquoted


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


VALUE: Final = ""
"""Replaces any value while tokens are compared: no token is empty."""
_BEFORE_VALUES: Final = _set(
    "select distinct all where and or on when then else case having returning between like ilike to from limit offset by values return"
)
"""Words after which NULL, TRUE and FALSE are values (`IS NULL` and `SET NULL` are not) and a minus
is a sign."""
_RESERVED: Final = _set(
    """all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
    column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
    current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze
    from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit
    localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references
    returning right select session_user similar some symmetric system_user table tablesample then to trailing true union
    unique user using variadic verbose when where window with"""
)
"""Words that mean something else without quotes."""
_PLAIN_NAME: Final = re.compile(r"[a-z_][a-z0-9_$]*+\Z")
_NAMING: Final = {
    "savepoint": _set("savepoint"),
    "release": _set("release savepoint"),
    "rollback": _set("to savepoint"),
    "deallocate": _set("deallocate prepare"),
    "declare": _set("declare"),
    "close": _set("close"),
    "fetch": _set("from in"),
    "move": _set("from in"),
}
"""The first word of a statement, and the words that precede a generated name."""
_NOT_NAMES: Final = _set("all savepoint prepare from in to")
_TRANSACTION: Final = _set("begin commit rollback abort end")
_TYPE_GOES_ON: Final = {
    "double": _set("precision"),
    "character": _set("varying"),
    "char": _set("varying"),
    "bit": _set("varying"),
    "timestamp": _set("with without"),
    "with": _set("time"),
    "without": _set("time"),
    "time": _set("with without zone"),
}
"""Words of a type's name, with the words that may follow them."""


def normalise(sql: str) -> str:
    """The text with values as $1, $2, ..., equal list items as one, and without layout: the text
    that is shown for a group of statements."""
    return _group(sql)[0]


def fingerprint(sql: str) -> str:
    """16 hex digits, equal for texts that are the same statement with other values."""
    return _group(sql)[1]


_SIMPLE_VALUE: Final = re.compile(
    rf"""['"0-9](?:(?<=')[^']*'|(?<=")[^"]*(?:"|\Z)|(?<=[0-9])(?<!{IN_NAME}[0-9])(?<!\.[0-9])[0-9]*(?:\.[0-9]+)?(?!{IN_NAME}|\.))"""
)
"""A string, a quoted name or a number. The pattern begins with the set of their first characters,
and look-behinds tell these apart: so the search jumps to one of them, in half the time."""


@remembered
def _group(sql: str) -> tuple[str, str]:
    """See group_of(). Drivers that put values into the SQL send a new text each time, so plain
    values are blanked before the look-up."""
    return group_of(blank_plain_values(sql))


def blank_plain_values(sql: str) -> str:
    """The text with plain strings as '' and plain numbers as 0, for looking up what does not depend
    on values. It has the same tokens otherwise. Intricate texts stay as they are.
    """
    return sql if _is_intricate(sql) else _SIMPLE_VALUE.sub(_blank, sql)


def _is_intricate(sql: str) -> bool:
    """Whether only the scanner can find its values."""
    return "$" in sql or "\\" in sql or "--" in sql or "/*" in sql


def _blank(match: re.Match[str]) -> str:
    value = match.group()
    return "''" if value[0] == "'" else value if value[0] == '"' else "0"


@remembered
def group_of(sql: str) -> tuple[str, str]:
    """(normalised text, fingerprint)."""
    kept: list[str] = []
    shown: list[str] = []
    spaced: list[bool] = []
    for one, other, space in _folded(_solid(sql)):
        kept.append(one)
        shown.append(other)
        spaced.append(space)
    fold_lists(kept, shown, spaced)
    pieces: list[str] = []
    values = 0
    tail = ""  # the last character before, if it could make one word with a $
    for one, other, space in zip(kept, shown, spaced, strict=True):
        apart, number = space, ""
        if one == VALUE:
            values += 1
            number = f"${values}"
            apart = space or tail.isalnum() or tail in ("_", "$") or tail > "\x7f"
        if apart and pieces:
            pieces.append(" ")
        pieces.append(number + other)
        tail = other[-1:]
    digest = blake2b("\n".join(kept).encode("utf-8", "surrogatepass"), digest_size=8)
    return "".join(pieces), digest.hexdigest()


class _Solid(NamedTuple):
    """A token that is neither space nor comment."""

    kind: str
    text: str
    space: bool  # whether space or a comment came before it


_END: Final = _Solid("punctuation", ";", False)


def _solid(sql: str) -> list[_Solid]:
    solid: list[_Solid] = []
    space = False
    for kind, start, end in tokens(sql):
        if kind in ("space", "comment"):
            space = True
        else:
            solid.append(_Solid(kind, sql[start:end], space))
            space = False
    while solid and solid[-1].text == ";":
        solid.pop()
    return solid


def _folded(solid: list[_Solid]) -> Iterator[tuple[str, str, bool]]:
    """(compared as, shown as, space before) of the tokens, with values folded. A value is shown as
    its number followed by the text given here, its cast."""
    before, before_kind = ";", "punctuation"
    naming: frozenset[str] = frozenset()
    turn, count = 0, len(solid)
    while turn < count:
        kind, text, space = solid[turn]
        following = solid[turn + 1] if turn + 1 < count else _END
        turn += 1
        compared = text
        if kind in ("string", "number", "parameter"):
            compared = VALUE
            if before in naming:
                naming = frozenset()
        elif kind in ("word", "quoted"):
            compared = _name(kind, text)
            if before == ";":
                naming = _NAMING.get(compared, frozenset())
                if compared in _TRANSACTION and following.text.lower() in ("transaction", "work"):
                    text += " " + following.text
                    turn += 1
            elif before in naming and (kind == "quoted" or compared not in _NOT_NAMES):
                compared, naming = VALUE, frozenset()
            elif kind == "word" and compared in ("null", "true", "false") and _is_value(before, before_kind, following.kind):
                compared = VALUE
        elif text == "-" and following.kind == "number" and _is_sign(before, before_kind):
            compared, kind = VALUE, "number"
            turn += 1
        before, before_kind = compared, kind
        if compared == VALUE:
            after = _after_casts(solid, turn)
            text = "".join(" " * space_before + cast for _, cast, space_before in solid[turn:after])
            turn = after
        yield compared, text, space


def _name(kind: str, text: str) -> str:
    if kind == "word":
        return lower(text)
    name = unquoted(text)
    return name if text[:1] == '"' and _PLAIN_NAME.match(name) and name not in _RESERVED else text


def _is_value(before: str, before_kind: str, following_kind: str) -> bool:
    """Whether NULL, TRUE or FALSE is a value here."""
    if following_kind in ("string", "number", "parameter"):  # COPY's option: NULL ''
        return False
    if before_kind == "word":
        return before in _BEFORE_VALUES
    return (before_kind == "operator" and before not in ("::", "..")) or before in ("(", ",", "[")


def _is_sign(before: str, before_kind: str) -> bool:
    """Whether a minus here is a sign, because no operand precedes it."""
    if before_kind == "word":
        return before in _BEFORE_VALUES
    return before_kind == "operator" or before in ("(", ",", "[", ";")


def _after_casts(solid: list[_Solid], turn: int) -> int:
    """The position after the `::type` that may follow a value: `::numeric(10, 2)[]`, `::timestamp
    with time zone`, `::text::jsonb`."""
    count = len(solid)
    while turn + 1 < count and solid[turn].text == "::" and solid[turn + 1].kind in ("word", "quoted"):
        last = solid[turn + 1].text.lower()
        turn += 2
        while turn < count:
            kind, text, _ = solid[turn]
            if text == "." and turn + 1 < count and solid[turn + 1].kind in ("word", "quoted"):
                turn += 2
            elif kind == "word" and text.lower() in _TYPE_GOES_ON.get(last, ()):
                last = text.lower()
                turn += 1
            else:
                after = _after_brackets(solid, turn)
                if after == turn:
                    break
                turn = after
    return turn


def _after_brackets(solid: list[_Solid], turn: int) -> int:
    """The position after a `(10, 2)` or `[]` that begins here; the same position if there is
    none."""
    closing = {"(": ")", "[": "]"}.get(solid[turn].text)
    for after in range(turn + 1, min(len(solid), turn + 5) if closing else 0):
        if solid[after].text == closing:
            return after + 1
        if solid[after].kind != "number" and solid[after].text != ",":
            break
    return turn
