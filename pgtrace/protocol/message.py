"""What a message class is: a frozen dataclass with the construct of its body.

    @message(b"P", FRONTEND)
    class Parse(Message):
        statement: str
        query: str
        parameter_types: tuple[int, ...]
        BODY = Body("statement" / ZString, "query" / ZString, "parameter_types" / Counted(UInt16, UInt32))
        EXAMPLE = b"s1\\0SELECT $1\\0\\0\\1\\0\\0\\0\\x17"

The decorator checks at import that the class's fields are BODY's names in BODY's order, so type
checkers and the wire cannot disagree. EXAMPLE is a body; the tests parse it, build it back, cut it
and mutate it.

Decoding has two speeds. The compiled BODY is tried first. If it refuses the bytes, they are read
again interpreted, only to find which field was wrong, and MalformedMessage names it. A class is
compiled when it is first used, or with all others in registry.warm().

This module knows no particular message: the recorder uses start-up and authentication without the
rest of the protocol.
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
    """A body that does not match its type byte. `path` is the field, or empty for the body as a
    whole."""

    def __init__(self, name: str, path: str, reason: str) -> None:
        super().__init__(f"{name}{f'.{path}' if path else ''}: {reason}")
        self.name = name
        self.path = path
        self.reason = reason


class Message:
    """One message of the protocol. The `message` decorator makes its subclasses."""

    __slots__ = ()

    side: ClassVar[int]
    code: ClassVar[int]
    authentication: ClassVar[int | None] = None
    """The subtype of an Authentication message; for a frontend `p` the first request that it
    answers."""
    NAME: ClassVar[str]
    BODY: ClassVar[Body]
    EXAMPLE: ClassVar[bytes]

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Decode a body. Raises MalformedMessage."""
        try:
            return cls(*cls.BODY.read(body))
        except (struct.error, ConstructError, ValueError, IndexError):
            pass
        try:
            return cls(*cls.BODY.read_interpreted(body))
        except ConstructError as error:
            raise MalformedMessage(cls.NAME, path_of(error), reason_of(error)) from None

    def build(self) -> bytes:
        """Encode the body, without type byte and length."""
        return self.BODY.write(tuple([getattr(self, name) for name in self.BODY.names]))

    def wire(self) -> bytes:
        """Encode the whole message, as it is on the wire."""
        body = self.build()
        if self.code in (codes.SSL_REPLY, codes.GSSENC_REPLY):
            return body
        if self.code == codes.VERSION_2_ERROR:
            return b"E" + body
        kind = bytes([self.code]) if self.code < 256 else b""
        return kind + struct.pack(">I", len(body) + 4) + body


@dataclass_transform(frozen_default=True)
def message(code: bytes | int, side: int, *, authentication: int | None = None, name: str = "") -> Callable[[type[M]], type[M]]:
    """Make a message class for this type byte, or for a code above 255 if the message has no type
    byte. Raises TypeError if fields and BODY differ, or if codes.py has no name for the code.

    `name` is for messages that travel inside a protocol message (replication/) and so have no name
    in codes.py.
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
        if made.NAME == "Unknown":
            raise TypeError(f"{made.__name__}: codes.py has no name for its code")
        return made

    return decorate
