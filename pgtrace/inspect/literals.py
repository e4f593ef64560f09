"""A statement with its recorded parameters as one text to run: the text that `y` copies.

    written(executed, types)      SELECT ... WHERE id = '707'::int8

Each `$1` becomes a literal of its value followed by its type, but only if the scanner sees a
parameter there, not in strings or comments. A literal is always quoted: a bare -1 after a minus
would be a comment. Text with a backslash, a line break, or anything a terminal would obey is an E''
string with escapes, which means the same under both settings of standard_conforming_strings.

A value that cannot be written stays `$1`, with a comment above: a value whose type is not known or
whose bytes do not fit it, or text that is not UTF-8. A backslash outside quotes is not SQL but a
command to psql: such a statement is commented out as a whole.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from pgtrace import sanitise, sqltext
from pgtrace.inspect.executed import Executed
from pgtrace.protocol import values
from pgtrace.protocol.values import TypeKind, Types

_QUOTED_NAMES: Final = {"bit": '"bit"'}
"""Without quotes it would be bit(1)."""
_ESCAPES: Final = {"\\": "\\\\", "'": "''", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_HEX_SHOWN: Final = 64


def written(one: Executed, types: Types = values.NONE) -> str:
    """The statement with its parameters, and comments about what could not be written."""
    sql = one.sql or ""
    notes: list[str] = []
    if one.parameters is None:
        notes.append(one.missing)
    literals = [_parameter(one, place, types, notes) for place in range(len(one.parameters or ()))]
    tokens = sqltext.scan(sql)
    solid = [token for token in tokens if token.kind not in ("space", "comment")]
    following = {token: sql[after.start : after.end].lower() for token, after in pairwise(solid)}
    parts: list[str] = []
    for token in tokens:
        text = sql[token.start : token.end]
        number = int(text[1:]) - 1 if token.kind == "parameter" and len(text) < 7 else -1
        literal = literals[number] if 0 <= number < len(literals) else None
        if literal is not None:
            if following.get(token, "") in ("[", ".", "row", "rows"):
                literal = f"({literal})"
            before, after = sql[token.start - 1 : token.start], sql[token.end : token.end + 1]
            text = f"{' ' if before == '&' else ''}{literal}{' ' if after.isalnum() or after == '_' else ''}"
        parts.append(text)
    joined = "".join(parts)
    ended = "" if solid and sql[solid[-1].end - 1] == ";" else "\n;" if tokens and tokens[-1].kind == "comment" else ";"
    if any(sanitise.text(part, "\n") != part for part in joined.replace("\r\n", "\n").split("\t")):
        notes.append("characters that could control a terminal are written as escapes")
    if any(sql[token.start] == "\\" for token in tokens if token.kind == "other"):
        notes.append("a backslash outside quotes is a command to psql: commented out")
        joined = "\n".join(f"-- {line}" for line in joined.splitlines())
    return "".join(f"-- {note}\n" for note in notes) + joined.rstrip() + ended


def literal(oid: int, form: int, data: bytes | None, types: Types = values.NONE) -> str | None:
    """One value as a literal with its type, or None if it cannot be written."""
    cast = type_name(oid, types)
    if data is None:
        return f"NULL::{cast}" if cast else "NULL"
    text = values.whole_text(oid, form, data, types)
    if text is None or any("\ud800" <= character <= "\udfff" for character in text):
        return None
    return f"{_quoted(text)}::{cast}" if cast else _quoted(text)


def type_name(oid: int, types: Types = values.NONE) -> str:
    """The name of a type in SQL; empty if it is not known, or if a literal needs no type."""
    found = values.find(oid, types)
    if found is None or found.kind is TypeKind.PSEUDO or not found.name:
        return ""
    if found.kind is TypeKind.ARRAY:
        element = type_name(found.element, types)
        return f"{element}[]" if element else ""
    if found.oid in values.BUILTIN:
        return _QUOTED_NAMES.get(found.name, found.name)
    return '"' + found.name.replace('"', '""') + '"'


def _parameter(one: Executed, place: int, types: Types, notes: list[str]) -> str | None:
    """A parameter as a literal; None, and a note, if that is not possible."""
    data, form = (one.parameters or ())[place], one.formats[place] if place < len(one.formats) else 0
    found = literal(one.type_of(place), form, data, types)
    if found is None and data is not None:
        shown = data[:_HEX_SHOWN].hex() + ("…" if len(data) > _HEX_SHOWN else "")
        kind = sanitise.text(values.type_name(one.type_of(place), types), " ")
        notes.append(f"${place + 1} could not be decoded: {len(data)} bytes of {kind}, {'binary' if form else 'text'}: \\x{shown}")
    return found


def _quoted(text: str) -> str:
    if "\\" not in text and sanitise.text(text) == text:
        return "'" + text.replace("'", "''") + "'"
    return "E'" + "".join([_escaped(character) for character in text]) + "'"


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if sanitise.text(character) == character:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
