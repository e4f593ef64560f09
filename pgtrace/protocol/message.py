"""What a message class is: a frozen dataclass with the construct of its body.

    @message(b"P", FRONTEND)
    class Parse(Message):
        statement: str
        query: str
        parameter_types: tuple[int, ...]
        BODY = Body("statement" / ZString, "query" / ZString, "parameter_types" / Counted(UInt16, UInt32))
        EXAMPLE = b"s1\\0SELECT $1\\0\\0\\1\\0\\0\\0\\x17"

The decorator checks at import that the fields are BODY's names in BODY's order, so type checkers and the wire cannot disagree. EXAMPLE is a body; the
tests parse it, build it back, cut it and mutate it.

Decoding has two speeds. The compiled BODY comes first; when it refuses, the same bytes are read again interpreted, only to learn which field was
wrong, and MalformedMessage says so. Compiling happens at the first use of a class, or for all of them in registry.warm().

This module knows no message. Start-up and authentication stand on it without the rest of the protocol, because the recorder needs no more.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from typing import ClassVar, Self, TypeVar, dataclass_transform

from construct import ConstructError

from pgtrace.protocol import codes
from pgtrace.protocol.bodies import Body
from pgtrace.protocol.primitives import path_of, reason_of

M = TypeVar("M", bound="Message")


class MalformedMessage(ValueError):
    """A body that is not what its type byte says. `path` is the field (empty: the body as a whole)."""

    def __init__(self, name: str, path: str, reason: str) -> None:
        super().__init__(f"{name}{f'.{path}' if path else ''}: {reason}")
        self.name = name
        self.path = path
        self.reason = reason


class Message:
    """One message of the protocol. Subclasses are made by the `message` decorator."""

    __slots__ = ()

    side: ClassVar[int]
    code: ClassVar[int]
    authentication: ClassVar[int | None] = None
    """The subtype of an Authentication message; of a frontend `p` the first request it answers."""
    NAME: ClassVar[str]
    BODY: ClassVar[Body]
    EXAMPLE: ClassVar[bytes]

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """The message of this body. Raises MalformedMessage."""
        try:
            return cls(*cls.BODY.read(body))
        except (struct.error, ConstructError, ValueError, IndexError):
            pass
        try:
            return cls(*cls.BODY.read_interpreted(body))
        except ConstructError as error:
            raise MalformedMessage(cls.NAME, path_of(error), reason_of(error)) from None

    def build(self) -> bytes:
        """The body, without type byte and length."""
        return self.BODY.write(tuple([getattr(self, name) for name in self.BODY.names]))

    def wire(self) -> bytes:
        """The whole message as it travels."""
        body = self.build()
        if self.code in (codes.SSL_REPLY, codes.GSSENC_REPLY):
            return body
        if self.code == codes.VERSION_2_ERROR:
            return b"E" + body
        kind = bytes([self.code]) if self.code < 256 else b""
        return kind + struct.pack(">I", len(body) + 4) + body


@dataclass_transform(frozen_default=True)
def message(code: bytes | int, side: int, *, authentication: int | None = None, name: str = "") -> Callable[[type[M]], type[M]]:
    """Make a message class of that type byte, or of that code above 255 where there is none. Raises TypeError where fields and BODY differ.

    `name` is for what has no name of its own among the protocol's messages because it travels inside one (replication/).
    """

    def decorate(plain: type[M]) -> type[M]:
        made = dataclasses.dataclass(frozen=True, slots=True)(plain)
        field_names = tuple(field.name for field in dataclasses.fields(made))  # type: ignore[arg-type]
        if field_names != made.BODY.names:
            raise TypeError(f"{made.__name__}: fields {field_names}, but BODY has {made.BODY.names}")
        made.side = side
        made.code = code if isinstance(code, int) else code[0]
        made.authentication = authentication
        made.NAME = name or codes.message_name(side, made.code, -1 if authentication is None else authentication)
        return made

    return decorate
