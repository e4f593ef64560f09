"""What tshark makes of packets: messages by connection, type and direction, in the manual's names.

Everything tshark tells otherwise than pgtrace stands in MANUAL_NAME, AUTHENTICATION_NAME, UNTYPED
or NOT_KNOWN; nothing else is forgiven: a type that is in none of them is a KeyError. tshark runs
with an empty profile of its own, so that nobody's preferences decide what a message is; a message
in several segments is put together before it is dissected.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FRONTEND, BACKEND = "1", "0"
KNOWN_PORT = 5432
"""The one at which it expects PostgreSQL."""
SIDES = ((FRONTEND, "frontend"), (BACKEND, "backend"))

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

MANUAL_NAME = {
    # Named otherwise: the dissector speaks of "completion" and "response" where the manual has one word.
    (FRONTEND, "SSL request"): "SSLRequest",
    (FRONTEND, "GSS encrypt request"): "GSSENCRequest",
    (FRONTEND, "Startup message"): "StartupMessage",
    (FRONTEND, "Cancel request"): "CancelRequest",
    (FRONTEND, "Simple query"): "Query",
    (FRONTEND, "Function call"): "FunctionCall",
    (FRONTEND, "Termination"): "Terminate",
    (BACKEND, "Backend key data"): "BackendKeyData",
    (BACKEND, "Parameter status"): "ParameterStatus",
    (BACKEND, "Negotiate protocol version"): "NegotiateProtocolVersion",
    (BACKEND, "Parse completion"): "ParseComplete",
    (BACKEND, "Bind completion"): "BindComplete",
    (BACKEND, "Close completion"): "CloseComplete",
    (BACKEND, "Parameter description"): "ParameterDescription",
    (BACKEND, "Row description"): "RowDescription",
    (BACKEND, "No data"): "NoData",
    (BACKEND, "Data row"): "DataRow",
    (BACKEND, "Portal suspended"): "PortalSuspended",
    (BACKEND, "Empty query"): "EmptyQueryResponse",
    (BACKEND, "Command completion"): "CommandComplete",
    (BACKEND, "Function call response"): "FunctionCallResponse",
    (BACKEND, "Ready for query"): "ReadyForQuery",
    (BACKEND, "Error"): "ErrorResponse",
    (BACKEND, "Notice"): "NoticeResponse",
    (BACKEND, "Notification"): "NotificationResponse",
    # Named the same.
    **{(FRONTEND, name): name for name in ("Parse", "Bind", "Describe", "Execute", "Close", "Flush", "Sync")},
    # One type byte, 'p': the dissector goes by the authentication request before it, as pgtrace does.
    (FRONTEND, "Password message"): "PasswordMessage",
    (FRONTEND, "SASLInitialResponse message"): "SASLInitialResponse",
    (FRONTEND, "SASLResponse message"): "SASLResponse",
    # One name for both directions, as in the manual; each line of CopyData is a message of its own.
    (FRONTEND, "Copy data"): "CopyData",
    (BACKEND, "Copy data"): "CopyData",
    (FRONTEND, "Copy completion"): "CopyDone",
    (BACKEND, "Copy completion"): "CopyDone",
    (FRONTEND, "Copy failure"): "CopyFail",
    (BACKEND, "CopyIn response"): "CopyInResponse",
    (BACKEND, "CopyOut response"): "CopyOutResponse",
    # Not known to it: see NOT_KNOWN.
    (FRONTEND, "Unknown"): "Unknown",
    (BACKEND, "Unknown"): "Unknown",
}
AUTHENTICATION_NAME = {
    "0": "AuthenticationOk",
    "3": "AuthenticationCleartextPassword",
    "5": "AuthenticationMD5Password",
    "10": "AuthenticationSASL",
    "11": "AuthenticationSASLContinue",
    "12": "AuthenticationSASLFinal",
}
"""All of them are "Authentication request" to the dissector, which tells the number within."""
UNTYPED = {"SSLRequest", "GSSENCRequest", "StartupMessage", "CancelRequest"}
"""The length it tells does not count the type byte, which these do not have."""
NOT_KNOWN = {
    FRONTEND: {
        "StartupMessage": "of protocol 3.2, which came with PostgreSQL 18: 4.0 knows the code of 3.0 alone",
        "CancelRequest": "of protocol 3.2: its key is longer than 4 bytes",
    },
    BACKEND: {"CopyBothResponse": "replication is none of its business"},
}
"""What it may call Unknown, and why. Newer versions may know better."""


@dataclass
class Stream:
    """One connection, as tshark sees it."""

    interface: str
    client: str
    """Its port."""
    messages: dict[str, Counter[str]] = field(default_factory=lambda: {FRONTEND: Counter(), BACKEND: Counter()})
    bytes: Counter[str] = field(default_factory=Counter)

    def compare(self, about: dict[str, Any], name: str) -> int:
        """Compare it with a connection of `stats --json`; how many messages both have."""
        for side, key in SIDES:
            expected = Counter({message: count for message, count in about[f"{key}_messages"].items() if count})
            unknown = self.messages[side]["Unknown"]
            for message in NOT_KNOWN[side] if unknown else ():
                missing = expected[message] - self.messages[side][message]
                expected[message] -= missing
                expected["Unknown"] += missing
            assert +expected == +self.messages[side], f"{name}, {key}"
            assert about[f"{key}_bytes"] == self.bytes[side], f"{name}, {key}"
        return sum(sum(counted.values()) for counted in self.messages.values())


def fields(path: Path, profile: Path, port: int, *, wanted: str, names: Sequence[str], options: Sequence[str] = ()) -> list[list[str]]:
    """The fields of the frames tshark finds with that display filter; several values of a field have a `|` between them."""
    command = ["tshark", "-n", "-r", str(path), "-Y", wanted, "-T", "fields"]
    command += ["-d", f"tcp.port=={port},pgsql"] if port != KNOWN_PORT else []
    command += ["-o", "tcp.desegment_tcp_streams:TRUE", "-o", "tcp.reassemble_out_of_order:TRUE", *options]
    command += ["-E", "occurrence=a", "-E", "aggregator=|", "-E", "separator=/t", *(word for name in names for word in ("-e", name))]
    environment = os.environ | {"WIRESHARK_CONFIG_DIR": str(profile), "LC_ALL": "C"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in found.stdout.splitlines()]


def dissected(path: Path, profile: Path, port: int = KNOWN_PORT) -> list[Stream]:
    """The connections in those packets to and from a server's port, in the order in which they began; nothing in them is malformed."""
    assert fields(path, profile, port, wanted="_ws.malformed", names=("frame.number",)) == []
    streams: dict[int, Stream] = {}
    names = ("tcp.stream", "frame.interface_name", "tcp.srcport", "tcp.dstport", "tcp.payload")
    names += ("pgsql.frontend", "pgsql.type", "pgsql.length", "pgsql.authtype")
    for number, interface, source, destination, payload, *values in fields(path, profile, port, wanted="tcp.len > 0", names=names):
        side = FRONTEND if destination == str(port) else BACKEND
        stream = streams.setdefault(int(number), Stream(interface, source if side == FRONTEND else destination))
        sides, types, lengths, numbers = (value.split("|") if value else [] for value in values)
        # The answer to SSLRequest or GSSENCRequest has neither type nor length: the dissector takes the byte and shows no message.
        if not types and side == BACKEND and payload == "4e":
            asked = stream.messages[FRONTEND]
            name = "SSLRequestReply" if asked["SSLRequest"] > stream.messages[BACKEND]["SSLRequestReply"] else "GSSENCRequestReply"
            stream.messages[side][name] += 1
            stream.bytes[side] += 1
        assert set(sides) <= {side}
        authentications = iter(numbers)
        for kind, length in zip(types, lengths, strict=True):
            name = AUTHENTICATION_NAME[next(authentications)] if kind == "Authentication request" else MANUAL_NAME[side, kind]
            typed = name not in UNTYPED and (side, name) != (FRONTEND, "Unknown")
            stream.messages[side][name] += 1
            stream.bytes[side] += int(length) + typed
    return [streams[number] for number in sorted(streams)]
