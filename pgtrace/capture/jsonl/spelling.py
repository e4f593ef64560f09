"""Values of messages and records in JSON, without loss: reading returns exactly what was written.

Integers, true, false, null and text are themselves, a list is a list, and a column of a
RowDescription is an object with its fields. JSON lacks two kinds of values:

- Bytes are `{"text": "..."}` if they are readable UTF-8, otherwise `{"hex": "..."}`.
- Text that is not UTF-8 (names and SQL are in the client's encoding) is `{"text_hex": "..."}`.
"""

from __future__ import annotations

from typing import Any, Final

from pgtrace.protocol.backend import Column

_CONTROLS: Final = {character: None for character in (*range(0x20), 0x7F) if character not in b"\t\n\r"}


def spell(value: Any) -> Any:
    """The value as JSON."""
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, str):
        return value if _is_text(value) else {"text_hex": value.encode("utf-8", "surrogateescape").hex()}
    if isinstance(value, Column):
        return {name: spell(one) for name, one in zip(Column._fields, value, strict=True)}
    if isinstance(value, tuple):
        return [spell(one) for one in value]
    return value


def read(value: Any) -> Any:
    """The value that spell() wrote. Raises ValueError for anything else."""
    if isinstance(value, list):
        return tuple(read(one) for one in value)
    if not isinstance(value, dict):
        return value
    if value.keys() == {"text"}:
        return _text(value["text"]).encode()
    if value.keys() == {"hex"}:
        return bytes.fromhex(_text(value["hex"]))
    if value.keys() == {"text_hex"}:
        return bytes.fromhex(_text(value["text_hex"])).decode("utf-8", "surrogateescape")
    if value.keys() == set(Column._fields):
        return Column(**{name: read(one) for name, one in value.items()})
    raise ValueError(f"not a value: an object with {', '.join(sorted(map(str, value))) or 'nothing'}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"not text: {value!r:.40}")
    return value


def _bytes(value: bytes) -> dict[str, str]:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {"hex": value.hex()}
    return {"text": text} if text.translate(_CONTROLS) == text else {"hex": value.hex()}


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
