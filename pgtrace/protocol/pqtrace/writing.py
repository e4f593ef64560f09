"""Print one message as libpq's trace does, in either of its modes.

Plain mode prints every number and byte. Regress mode (PQTRACE_REGRESS_MODE) blanks what differs
from run to run. Neither prints timestamps, as with PQTRACE_SUPPRESS_TIMESTAMPS. layouts.py has all
the layouts. A message that cannot be decoded is printed as its name alone, and a message of an
unknown type as `Unknown message: 7a`, in libpq's words.
"""

from __future__ import annotations

from collections.abc import Iterator

from pgtrace.protocol.message import Message
from pgtrace.protocol.pqtrace import layouts
from pgtrace.protocol.startup import CancelRequest, GSSENCRequest, SSLRequest, StartupMessage, Version2Error, Version2StartupMessage

_ESCAPES = {byte: f"\\x{byte:02x}" for byte in range(256) if not 32 <= byte < 127}


def line(message: Message, length: int, *, regress: bool) -> str:
    """The line or lines of a message, without a line end. `length` is its length word."""
    name = message.NAME
    if isinstance(message, SSLRequest | GSSENCRequest | CancelRequest | StartupMessage | Version2StartupMessage):
        return f"F\t{length}\t{name}\t{_untyped(message, regress)}"
    if isinstance(message, Version2Error):
        name = "Version2Error"
    side = "FB"[message.side]
    if name in layouts.REPLIES:
        return f"{side}\t1\t{layouts.REPLIES[name]}\t {message.reply}"  # type: ignore[attr-defined]
    if name.startswith("Authentication") and name in _NOT_SPOKEN:
        name = f"Unknown authentication message {message.authentication}"
    shown = "NN" if regress and name in layouts.WITHOUT_LENGTH else str(length)
    text = f"{side}\t{shown}\t{name}"
    if name in layouts.LAYOUTS:
        text += "\t" + "".join([f" {field}" for field in _fields(message, regress)])
    return text + _mismatch(layouts.CONSUMED.get(name, length), length)


def undecoded(side: int, code: int, name: str, length: int) -> str:
    """The line of a message that cannot be decoded."""
    if name == "Unknown":
        return f"{'FB'[side]}\t{length}\t{layouts.UNKNOWN}{code & 0xFF:02x}" + _mismatch(layouts.CONSUMED_UNKNOWN, length)
    return f"{'FB'[side]}\t{length}\t{name}"


def _mismatch(consumed: int, length: int) -> str:
    return "" if consumed == length else "\n" + layouts.MISMATCH.format(consumed=consumed, expected=length)


def _untyped(message: Message, regress: bool) -> str:
    if isinstance(message, CancelRequest):
        key = _signed(message.secret_key[:4])
        return " 1234 5678 NNNN NNNN" if regress else f" 1234 5678 {_signed(message.process_id.to_bytes(4, 'big'))} {key}"
    if isinstance(message, StartupMessage | Version2StartupMessage):
        named = "".join([f' "{name}" "{value}"' for name, value in message.parameters])
        return f" {message.protocol >> 16} {message.protocol & 0xFFFF}{named}"
    return " 1234 5679" if isinstance(message, SSLRequest) else " 1234 5680"


def _fields(message: Message, regress: bool) -> Iterator[str]:
    values = [getattr(message, name) for name in message.BODY.names]
    for part, value in zip(layouts.parts("Version2Error" if isinstance(message, Version2Error) else message.NAME), values, strict=True):
        if part[0] in "[{":
            yield str(len(value))
            for item in value:
                yield from [_field(part[1], item, regress)] if len(part) == 3 else map(_field, part[1:-1], item, [regress] * len(item))
        else:
            yield _field(part, value, regress)


def _field(kind: str, value: object, regress: bool) -> str:
    if kind == "s":
        return f'"{value}"'
    if kind == "v":
        return "-1" if value is None else f"{len(value)} '{_bytes(value)}'"  # type: ignore[arg-type]
    if kind == "h":
        return str(value & 0xFFFF)  # type: ignore[operator]
    if kind == "o":
        if regress:
            return "NNNN"
        number: int = _signed(value[:4]) if isinstance(value, bytes) else value  # type: ignore[assignment]
        return str(number - (1 << 32) if number >= 1 << 31 else number)
    if kind in "bc":
        letter = chr(value) if isinstance(value, int) else str(value)
        return letter if " " <= letter <= "~" else "".join([f"\\x{byte:02x}" for byte in letter.encode("latin-1", "replace")])
    if kind == "d":
        return "'BBBB'" if regress else f"'{_bytes(value)}'"  # type: ignore[arg-type]
    if kind == "n":
        return "-1" if value is None else f"{len(value)} 'BBBB'" if regress else f"{len(value)} '{_bytes(value)}'"  # type: ignore[arg-type]
    if kind == "e":
        return _error(value, regress)  # type: ignore[arg-type]
    if kind == "m":
        return " ".join([*(f'"{mechanism}"' for mechanism in value), '""'])  # type: ignore[attr-defined]
    return str(value)


def _error(fields: tuple[tuple[str, str], ...], regress: bool) -> str:
    parts = [f'{letter} "{"SSSS" if regress and letter in layouts.VOLATILE_ERROR_FIELDS else text}"' for letter, text in fields]
    return " ".join([*parts, "\\x00"])


def _bytes(data: bytes) -> str:
    return data.decode("latin-1").translate(_ESCAPES)


def _signed(data: bytes) -> int:
    return int.from_bytes(data.ljust(4, b"\0"), "big", signed=True)


_NOT_SPOKEN = frozenset({"AuthenticationKerberosV5", "AuthenticationSCMCredential"})
