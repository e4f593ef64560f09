"""The main argument of a message in a few words, as a list of messages shows it beside each name.

`Parse _pg3_0 SELECT ...`, `Describe portal ""`, `RowDescription id int8, sku text`, `ErrorResponse
23505 duplicate key ...`, `ReadyForQuery T in transaction`. The words are those of the manual; an
unnamed statement or portal is `""`. Values of Bind and DataRow are not here, because they need
types from other messages. Secrets are not here either, whether a capture has them or not.

The text is as it came from the wire, with line breaks and control characters: sanitise it before
showing it. Nothing here raises. For a body that does not match its type byte, the text is the
reason. A text that is too long to be kept is cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pgtrace.protocol import authentication as auth
from pgtrace.protocol import backend, codes, fields, frontend, registry, startup, values
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import MalformedMessage, Message

LONGEST: Final = 4_000
"""The longest argument in characters; no line shows more."""
_STATUS: Final = {"I": "idle", "T": "in transaction", "E": "failed transaction"}
_ERRORS: Final = frozenset(b"EN")
_TEXTS_BEFORE_SQL: Final = {ord("Q"): 0, ord("P"): 1}
"""Frontend type byte -> how many zero-terminated strings precede the SQL."""


def argument(side: int, code: int, body: bytes, authentication: int = -1, types: values.Types = values.NONE) -> str:
    """The argument of a message, or an empty text if its name says it all. `authentication` is as
    in registry.decode(); `types` are those of its database."""
    if code in (codes.OPAQUE, codes.UNDECODED, codes.RESUMED):
        return ""
    if side == BACKEND and code in _ERRORS:
        return _error(body)
    if side == FRONTEND and code in _TEXTS_BEFORE_SQL:
        return _sql(body, _TEXTS_BEFORE_SQL[code])
    if registry.message_class(side, code, codes.authentication_subtype(body) if side == BACKEND else authentication) is None:
        return f"type byte 0x{code:02x}"
    try:
        return _of_message(registry.decode(side, code, body, authentication), types)[:LONGEST]
    except MalformedMessage as malformed:
        return f"malformed {malformed.path}: {malformed.reason}" if malformed.path else f"malformed: {malformed.reason}"


def _of_message(message: Message, types: values.Types) -> str:
    match message:
        case startup.StartupMessage() | startup.Version2StartupMessage():
            return " ".join([_version(message.protocol), *(f"{name}={value}" for name, value in message.parameters)])
        case startup.CancelRequest():
            return f"pid {message.process_id}"
        case startup.SSLRequestReply() | startup.GSSENCRequestReply():
            return f"{message.reply}  {'refused' if message.reply == 'N' else 'accepted'}"
        case startup.Version2Error():
            return message.text.rstrip("\n")
        case auth.AuthenticationSASL():
            return ", ".join(message.mechanisms)
        case auth.SASLInitialResponse():
            return message.mechanism
        case frontend.Bind():
            return _name(message.statement) + (f" portal {message.portal}" if message.portal else "")
        case frontend.Describe() | frontend.Close():
            return f"{'statement' if message.kind == 'S' else 'portal'} {_name(message.name)}"
        case frontend.Execute():
            return f"portal {_name(message.portal)}" + (f" at most {message.max_rows} rows" if message.max_rows else "")
        case frontend.FunctionCall():
            return f"function {message.function_oid}, {counted(len(message.arguments), 'argument')}"
        case frontend.CopyFail():
            return message.message
        case frontend.CopyData() | backend.CopyData():
            return text(message.data)
        case backend.NegotiateProtocolVersion():
            unknown = ", ".join(message.unrecognized_options)
            version = _version(message.protocol) if message.protocol >> 16 else f"minor version {message.protocol}"
            return version + (f", without {unknown}" if unknown else "")
        case backend.BackendKeyData():
            return f"pid {message.process_id}"
        case backend.ParameterStatus():
            return f"{message.name} = {message.value}"
        case backend.ReadyForQuery():
            status = message.transaction_status
            return f"{status}  {_STATUS[status]}" if status in _STATUS else status
        case backend.RowDescription():
            return listed(f"{column.name} {values.type_name(column.type_oid, types)}" for column in message.columns)
        case backend.ParameterDescription():
            return listed(values.type_name(oid, types) for oid in message.parameter_types)
        case backend.DataRow():
            return counted(len(message.columns), "value")
        case backend.CommandComplete():
            return message.command_tag
        case backend.NotificationResponse():
            payload = f" {message.payload}" if message.payload else ""
            return f"{message.channel}{payload} from pid {message.process_id}"
        case backend.CopyInResponse() | backend.CopyOutResponse() | backend.CopyBothResponse():
            return f"{'binary' if message.format else 'text'}, {counted(len(message.column_formats), 'column')}"
        case backend.FunctionCallResponse():
            return "NULL" if message.result is None else counted(len(message.result), "byte")
    return ""


def _error(body: bytes) -> str:
    error = fields.error_fields(body)
    return f"{error.get('C', '')} {error.get('M', '')}".strip()[:LONGEST]


def _sql(body: bytes, texts_before: int) -> str:
    """The names and the SQL of Query or Parse; the SQL may be cut."""
    *names, sql = body.split(b"\0", texts_before + 1)[: texts_before + 1]
    shown = [_name(text(name)) for name in names] + [text(sql.split(b"\0", 1)[0])]
    return "  ".join(shown)[:LONGEST]


def _name(name: str) -> str:
    return name or '""'


def text(data: bytes) -> str:
    """Bytes as text if they are text, otherwise as the server writes bytea."""
    data = data[: LONGEST * 4]
    text = data.decode("utf-8", "surrogateescape")
    return text[:LONGEST] if "\0" not in text else f"\\x{data[: LONGEST // 2 - 1].hex()}"


def _version(protocol: int) -> str:
    return f"{protocol >> 16}.{protocol & 0xFFFF}"


def counted(count: int, word: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def listed(parts: Iterable[str]) -> str:
    """The parts separated by commas, as many as can be shown."""
    listed: list[str] = []
    length = 0
    for part in parts:
        listed.append(part)
        length += len(part) + 2
        if length > LONGEST:
            break
    return ", ".join(listed)
