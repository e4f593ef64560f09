"""From (side, code) to the message class, and from bytes to messages.

MESSAGES lists every message class. To add a message, name its code in codes.py, write a class in
its module and add it to that module's list. Two codes are families: an `R` is identified by the
Int32 at the start of its body, a `p` by the request that it answers, which the caller must pass
(`authentication`). If that request was not seen, a `p` is read as PasswordMessage, which is what
the manual lists for the letter. A StartupMessage contains its version; protocol 2.0 has a different
layout.

decode() raises MalformedMessage and nothing else; spans() never raises. Neither changes the bytes.
"""

from __future__ import annotations

from typing import Final

from pgtrace.protocol import authentication as auth
from pgtrace.protocol import backend, codes, frontend, startup
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import MalformedMessage, Message
from pgtrace.protocol.primitives import Field

__all__ = ["MESSAGES", "Field", "MalformedMessage", "Message", "decode", "message_class", "spans", "warm"]

MESSAGES: Final[tuple[type[Message], ...]] = (*startup.MESSAGES, *auth.MESSAGES, *frontend.MESSAGES, *backend.MESSAGES)

_BY_CODE: Final = {(kind.side, kind.code): kind for kind in MESSAGES if kind.authentication is None}
_REQUESTS: Final = {kind.authentication: kind for kind in MESSAGES if kind.side == BACKEND and kind.authentication is not None}
_RESPONSES_BY_NAME: Final = {kind.NAME: kind for kind in MESSAGES if kind.side == FRONTEND and kind.authentication is not None}
_RESPONSES: Final = {subtype: _RESPONSES_BY_NAME[name] for subtype, name in codes.RESPONSE_NAMES.items()}


def message_class(side: int, code: int, authentication: int = -1) -> type[Message] | None:
    """The class of a frame, or None if the protocol has none.

    `authentication` is the subtype of the frame itself for `R`, and of the latest `R` before it for
    `p`.
    """
    if side == BACKEND and code == 0x52:
        return _REQUESTS.get(authentication)
    if side == FRONTEND and code == 0x70:
        return _RESPONSES.get(authentication, auth.PasswordMessage)
    return _BY_CODE.get((side, code))


def _class_of(side: int, code: int, body: bytes, authentication: int) -> type[Message] | None:
    if side == BACKEND and code == 0x52:
        authentication = codes.authentication_subtype(body)
    if code == codes.STARTUP_MESSAGE and side == FRONTEND:
        return startup.startup_class(body)
    return message_class(side, code, authentication)


def decode(side: int, code: int, body: bytes, authentication: int = -1) -> Message:
    """Decode a frame. Raises MalformedMessage, also for a code that is not in the protocol."""
    kind = _class_of(side, code, body, authentication)
    if kind is None:
        raise MalformedMessage("Unknown", "", f"no message of the {('frontend', 'backend')[side]} has the code {code:#04x}")
    return kind.parse(body)


def spans(side: int, code: int, body: bytes, authentication: int = -1) -> list[Field]:
    """The fields of a frame in the manual's order, each with its bytes.

    An unknown message is one field `data`. If a body is malformed, the fields before the fault are
    followed by a field `malformed`: its value is the reason, its bytes are the rest of the body.
    """
    kind = _class_of(side, code, body, authentication)
    return kind.BODY.fields(body) if kind else [Field("data", body, "Byten", 0, len(body), 0)]


def warm() -> None:
    """Compile every message class now, so that no later decode has to."""
    for kind in MESSAGES:
        kind.BODY.warm()
    frontend.BindHead.BODY.warm()
    startup.Version2StartupMessage.BODY.warm()
