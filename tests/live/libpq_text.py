"""What libpq writes into its own trace, taken apart, and what pgtrace's exporter writes of the same session."""

from __future__ import annotations

import re

from pgtrace.export import golden
from pgtrace.trace.trace import Trace

SECRETS = {
    "SASLInitialResponse",
    "SASLResponse",
    "AuthenticationSASLContinue",
    "AuthenticationSASLFinal",
    "BackendKeyData",
    "PasswordMessage",
}
"""Messages whose payload no capture has; of these, name and length are compared in plain mode."""
_RECORD = re.compile(rb"^(?=[FB]\t(?:\d+|NN)\t)", re.MULTILINE)


def traced(trace: bytes) -> list[str]:
    """Every message of libpq's trace. A text in it may have line ends, so messages are found by how they begin."""
    return [record.decode("utf-8", "surrogateescape").removesuffix("\n") for record in _RECORD.split(trace)[1:]]


def exported(trace: Trace, *, plain: bool) -> list[str]:
    """Every message as pgtrace writes it."""
    return [line for line in golden.lines(trace, plain=plain) if not line.startswith("#")]


def without_secrets(messages: list[str]) -> list[str]:
    """The same, of messages with a secret only the beginning."""
    return [re.match(r"[^\t]*\t[^\t]*\t[^\t]*", one)[0] if one.split("\t")[2] in SECRETS else one for one in messages]  # type: ignore[index]
