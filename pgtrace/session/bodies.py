"""Decoded parts of message bodies, cached: drivers send the same few bodies over and over.

The session asks for the parts it needs (names, formats, SQL, tags) and gets them as plain values.
Each body is decoded once by its declared layout and cached under its own bytes, within a bound; one
cache can serve all sessions of a capture. For a Bind, the cache keeps the head (names and parameter
formats; the same for every execution of a statement). The values after it are skipped, never
copied.

A malformed body gives neutral values: no name, no SQL, text formats. The session continues; views
show the message as malformed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, TypeVar

from pgtrace import sqltext
from pgtrace.protocol import heads

REMEMBERED_BYTES: Final = 16 * 1024 * 1024
"""The bytes of cached bodies at which the cache is emptied."""
_LARGEST: Final = 64 * 1024
_OVERHEAD: Final = 300
"""The approximate bytes that a cached body takes in addition to its own."""

_RESULT_COUNT_BYTES: Final = 2
_INT16: Final = struct.Struct(">H").unpack_from
_INT32: Final = struct.Struct(">i").unpack_from

V = TypeVar("V")
Bound = tuple[str, str, int, int, tuple[int, ...]]
"""The parts of a Bind: portal, statement, numbers of text and binary parameters, result formats."""


class Bodies:
    """A cache of decoded parts of bodies."""

    def __init__(self) -> None:
        self._bytes = 0
        self._queries: dict[bytes, list[str]] = {}
        self._parses: dict[bytes, tuple[str, str, tuple[int, ...]]] = {}
        self._heads: dict[bytes, tuple[str, str, tuple[int, ...]]] = {}
        self._result_formats: dict[bytes, tuple[int, ...]] = {}
        self._names: dict[bytes, tuple[str, str]] = {}
        self._portals: dict[bytes, str] = {}
        self._tags: dict[bytes, str] = {}
        self._columns: dict[bytes, tuple[int, int]] = {}
        self._types: dict[bytes, tuple[int, ...]] = {}
        self._parameters: dict[bytes, tuple[str, str]] = {}
        self._all: tuple[dict[bytes, object], ...] = (
            self._queries, self._parses, self._heads, self._result_formats, self._names, self._portals, self._tags, self._columns,
            self._types,
            self._parameters,
        )  # type: ignore[assignment]  # fmt: skip

    def query(self, body: bytes) -> list[str]:
        """The statements of a Query. A single statement is not cached: decoding it is as quick as
        looking it up, and its text is usually new."""
        return [_query_text(body)] if is_one_statement(body) else self._recall(self._queries, body, _statements)

    def parse(self, body: bytes) -> tuple[str, str, tuple[int, ...]]:
        """The name, SQL and parameter types of a Parse."""
        return self._recall(self._parses, body, _parse)

    def bind(self, body: bytes) -> Bound:
        """The portal, the statement, the parameters by format and the result formats of a Bind."""
        try:
            end = body.index(0, body.index(0) + 1) + 3
            end += 2 * _INT16(body, end - 2)[0]
            head = body[:end]
            portal, statement, formats = self._recall(self._heads, head, _bind_head)
            (count,) = _INT16(body, end)
            position = end + 2
            for _ in range(count):
                (length,) = _INT32(body, position)
                position += 4 + length if length > 0 else 4
            results = self._recall(self._result_formats, body[position:], _formats)
        except (ValueError, struct.error):
            return self._cut_bind(body)
        if not formats:
            return portal, statement, count, 0, results
        if len(formats) == 1:
            return (portal, statement, 0, count, results) if formats[0] else (portal, statement, count, 0, results)
        binary = sum(map(bool, formats))
        return portal, statement, max(0, count - binary), binary, results

    def like(self, body: bytes) -> Callable[[bytes], bool]:
        """A test whether another Bind differs from this one only in its values."""
        try:
            end = body.index(0, body.index(0) + 1) + 3
            end += 2 * _INT16(body, end - 2)[0] + 2
            values = range(_INT16(body, end - 2)[0])
            head = body[:end]
            results = body[_behind(body, end, values) :]
        except (ValueError, struct.error):
            return _never

        def is_like(other: bytes) -> bool:
            try:
                return other[:end] == head and other[_behind(other, end, values) :] == results
            except struct.error:
                return False

        return is_like if len(results) >= _RESULT_COUNT_BYTES else _never

    def kind_and_name(self, body: bytes) -> tuple[str, str]:
        """`S` or `P`, and the name, of a Describe or Close."""
        return self._recall(self._names, body, _kind_and_name)

    def portal(self, body: bytes) -> str:
        """The portal name of an Execute."""
        return self._recall(self._portals, body, _portal)

    def tag(self, body: bytes) -> str:
        """The command tag of a CommandComplete."""
        return self._recall(self._tags, body, _tag)

    def column_formats(self, body: bytes) -> tuple[int, int]:
        """The numbers of text and binary columns of a RowDescription."""
        return self._recall(self._columns, body, _column_formats)

    def parameter_types(self, body: bytes) -> tuple[int, ...]:
        """The type OIDs of a ParameterDescription."""
        return self._recall(self._types, body, _parameter_types)

    def parameter_status(self, body: bytes) -> tuple[str, str]:
        """The name and value of a ParameterStatus."""
        return self._recall(self._parameters, body, _parameter_status)

    def negotiated(self, body: bytes) -> tuple[int, tuple[str, ...]]:
        """The version and unknown options of a NegotiateProtocolVersion."""
        from pgtrace.protocol import backend
        from pgtrace.protocol.message import MalformedMessage

        try:
            message = backend.NegotiateProtocolVersion.parse(body)
        except MalformedMessage:
            return int.from_bytes(body[:4], "big"), ()
        return message.protocol, message.unrecognized_options

    def function_formats(self, body: bytes) -> tuple[int, int]:
        """The numbers of text and binary arguments of a FunctionCall."""
        from pgtrace.protocol import frontend
        from pgtrace.protocol.message import MalformedMessage

        try:
            call = frontend.FunctionCall.parse(body)
        except MalformedMessage:
            return 0, 0
        return _by_format(len(call.arguments), call.argument_formats)

    def _recall(self, known: dict[bytes, V], body: bytes, read: Callable[[bytes], V]) -> V:
        value = known.get(body)
        if value is None:
            value = read(body)
            size = len(body)
            if size <= _LARGEST:
                self._bytes += size + _OVERHEAD
                if self._bytes > REMEMBERED_BYTES:
                    self._forget()
                known[body] = value
        return value

    def _forget(self) -> None:
        for known in self._all:
            known.clear()
        self._bytes = 0

    @staticmethod
    def _cut_bind(body: bytes) -> Bound:
        """The parts of a Bind that is malformed or was cut: its head and count are enough for
        everything except the result formats."""
        from pgtrace.protocol import frontend
        from pgtrace.protocol.message import MalformedMessage

        try:
            head = frontend.BindHead.parse(body)
            (count,) = _INT16(head.rest)
        except (MalformedMessage, struct.error):
            return "", "", 0, 0, ()
        text, binary = _by_format(count, head.parameter_formats)
        return head.portal, head.statement, text, binary, ()


def _behind(body: bytes, position: int, values: range) -> int:
    """The position after the values of a Bind that begin at `position`."""
    for _ in values:
        length = _INT32(body, position)[0]
        position += 4 + length if length > 0 else 4
    return position


def _never(_: bytes) -> bool:
    return False


def _by_format(count: int, formats: tuple[int, ...]) -> tuple[int, int]:
    """The numbers of text and binary values among `count` values. No format means text, and one
    format applies to all."""
    if len(formats) <= 1:
        return (0, count) if formats and formats[0] else (count, 0)
    binary = sum(map(bool, formats))
    return max(0, count - binary), binary


def is_one_statement(sql: bytes) -> bool:
    """Whether the text of a Query, with or without its zero byte, is certainly one statement: it
    has no semicolon except at its end."""
    return b";" not in sql or b";" not in sql.rstrip(b"\0").rstrip(b"; \t\r\n")


def _query_text(body: bytes) -> str:
    found = heads.strings(body, 1)
    return found[0] if found is not None else heads.text(body.rstrip(b"\0"))


def _statements(body: bytes) -> list[str]:
    text = _query_text(body)
    return sqltext.split(text) or [text]


def _parse(body: bytes) -> tuple[str, str, tuple[int, ...]]:
    found = heads.parse(body)
    if found is not None:
        return found
    name, _, sql = body.partition(b"\0")
    return heads.text(name), heads.text(sql.partition(b"\0")[0]), ()


def _bind_head(head: bytes) -> tuple[str, str, tuple[int, ...]]:
    found = heads.bind(head)
    if found is None:
        raise ValueError("the Bind ends before its values")
    return found


def _formats(tail: bytes) -> tuple[int, ...]:
    (count,) = _INT16(tail)
    formats: tuple[int, ...] = struct.unpack(f">{count}h", tail[2:])
    return formats


def _kind_and_name(body: bytes) -> tuple[str, str]:
    return heads.named(body) or ("", "")


def _portal(body: bytes) -> str:
    return heads.execute(body) or ""


def _tag(body: bytes) -> str:
    return (heads.strings(body, 1) or ("",))[0]


def _column_formats(body: bytes) -> tuple[int, int]:
    formats = heads.column_formats(body) or []
    binary = sum(map(bool, formats))
    return len(formats) - binary, binary


def _parameter_types(body: bytes) -> tuple[int, ...]:
    return heads.type_oids(body) or ()


def _parameter_status(body: bytes) -> tuple[str, str]:
    name, value = heads.strings(body, 2) or ("", "")
    return name, value
