"""How libpq 18 prints each message: which fields, in which form.

A line is direction, length, name and fields: `F<tab>21<tab>Parse<tab> "" "SELECT $1" 1 NNNN`. A
name without a layout has no fields and no tab after it.

| letter | field | printed |
|---|---|---|
| `s` | String | between double quotes, as it is: neither quotes nor line ends in it are escaped |
| `i` `h` | Int32, Int16 | a number, Int16 without a sign |
| `o` | Int32 that differs from run to run: OIDs, process ids | a number; in regress mode NNNN |
| `b` `c` | Byte1, Int8 | the character, `\\x00` if it is not printable |
| `v` | a value that can be NULL | -1, or its length and its bytes between single quotes, unprintable ones as `\\x00` |
| `n` | a secret of that form | as `v`; in regress mode 'BBBB' for the bytes |
| `d` | all remaining bytes | between single quotes; in regress mode 'BBBB' |
| `e` | fields of an error | letter and String each, then `\\x00`; in regress mode "SSSS" for file, line and routine |
| `m` | SASL mechanisms | a String each, and an empty one |
| `[ ]` | a list | its Int16 count, then the elements |
| `{ }` | a list | its Int32 count, then the elements |

Source: what libpq 18 prints, compared line by line in tests/live/test_pqtrace_oracle.py.
"""

from __future__ import annotations

import re
from typing import Final

LAYOUTS: Final[dict[str, str]] = {
    "Query": "s",
    "Parse": "ss[o]",
    "Bind": "ss[h][v][h]",
    "Describe": "bs",
    "Execute": "si",
    "Close": "bs",
    "CopyData": "d",
    "CopyFail": "s",
    "FunctionCall": "o[h][v]h",
    "PasswordMessage": "s",
    "GSSResponse": "d",
    "SASLInitialResponse": "sn",
    "SASLResponse": "d",
    "AuthenticationGSSContinue": "d",
    "AuthenticationSASL": "m",
    "AuthenticationSASLContinue": "d",
    "AuthenticationSASLFinal": "d",
    "NegotiateProtocolVersion": "i{s}",
    "ParameterStatus": "ss",
    "BackendKeyData": "od",
    "ReadyForQuery": "b",
    "RowDescription": "[sohohih]",
    "ParameterDescription": "[o]",
    "DataRow": "[v]",
    "CommandComplete": "s",
    "ErrorResponse": "e",
    "NoticeResponse": "e",
    "NotificationResponse": "oss",
    "CopyInResponse": "c[h]",
    "CopyOutResponse": "c[h]",
    "CopyBothResponse": "c[h]",
    "FunctionCallResponse": "v",
    "Version2Error": "s",
}
"""The fields of each message, by its name."""

CONSUMED: Final[dict[str, int]] = {"AuthenticationMD5Password": 8}
"""The length up to which libpq prints a message that is longer; the line after it reports the
mismatch."""
CONSUMED_UNKNOWN: Final = 4
MISMATCH: Final = "mismatched message length: consumed {consumed}, expected {expected}"

VOLATILE_ERROR_FIELDS: Final = frozenset("FLR")
"""File, line and routine of the server's source."""
WITHOUT_LENGTH: Final = frozenset({"ErrorResponse", "NoticeResponse"})
"""Regress mode prints their length as NN, since the fields above also differ in length."""

REPLIES: Final = {"SSLRequestReply": "SSLResponse", "GSSENCRequestReply": "GSSENCResponse"}
"""libpq's names for the one-byte replies."""
UNKNOWN: Final = "Unknown message: "

PARTS: Final = re.compile(r"\[\w+\]|\{\w+\}|\w")


def parts(name: str) -> list[str]:
    """The layout of each field of a message."""
    return PARTS.findall(LAYOUTS[name])
