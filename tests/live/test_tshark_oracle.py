"""What tshark's dissector counts on the wire and what pgtrace counts from its capture agree, connection by connection, type by type, byte by byte.

tcpdump listens beside pgtrace on the driver's leg while the demo runs all its variants. Everything tshark tells otherwise than pgtrace is a line of
`MANUAL_NAME` or of `messages_of`; nothing else is forgiven: a type that is in neither fails the test.

tcpdump and tshark are system packages; where they are missing, or this user may not capture, there is no oracle and the test is skipped. tshark runs with
an empty profile of its own, so that nobody's preferences decide what a message is; a message in several segments is put together before it is dissected.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from traffic import free_port, until

pytestmark = pytest.mark.skipif(not (shutil.which("tshark") and shutil.which("tcpdump")), reason="tcpdump and tshark are not installed")

END_OF_WORK = b"everything before this datagram has been captured"
LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
FRONTEND, BACKEND = "1", "0"

MANUAL_NAME = {
    # Named otherwise: the dissector speaks of "completion" and "response" where the manual has one word.
    (FRONTEND, "SSL request"): "SSLRequest",
    (FRONTEND, "Startup message"): "StartupMessage",
    (FRONTEND, "Simple query"): "Query",
    (FRONTEND, "Termination"): "Terminate",
    (BACKEND, "Backend key data"): "BackendKeyData",
    (BACKEND, "Parameter status"): "ParameterStatus",
    (BACKEND, "Parse completion"): "ParseComplete",
    (BACKEND, "Bind completion"): "BindComplete",
    (BACKEND, "Parameter description"): "ParameterDescription",
    (BACKEND, "Row description"): "RowDescription",
    (BACKEND, "No data"): "NoData",
    (BACKEND, "Data row"): "DataRow",
    (BACKEND, "Portal suspended"): "PortalSuspended",
    (BACKEND, "Command completion"): "CommandComplete",
    (BACKEND, "Ready for query"): "ReadyForQuery",
    (BACKEND, "Error"): "ErrorResponse",
    (BACKEND, "Notification"): "NotificationResponse",
    # Named the same.
    **{(FRONTEND, name): name for name in ("Parse", "Bind", "Describe", "Execute", "Flush", "Sync")},
    # One type byte, 'p': the dissector goes by the authentication request before it, as pgtrace does.
    (FRONTEND, "SASLInitialResponse message"): "SASLInitialResponse",
    (FRONTEND, "SASLResponse message"): "SASLResponse",
    # One name for both directions, as in the manual; each line of CopyData is a message of its own.
    (FRONTEND, "Copy data"): "CopyData",
    (BACKEND, "Copy data"): "CopyData",
    (FRONTEND, "Copy completion"): "CopyDone",
    (BACKEND, "Copy completion"): "CopyDone",
    (BACKEND, "CopyIn response"): "CopyInResponse",
    (BACKEND, "CopyOut response"): "CopyOutResponse",
}
AUTHENTICATION_NAME = {
    "0": "AuthenticationOk",
    "10": "AuthenticationSASL",
    "11": "AuthenticationSASLContinue",
    "12": "AuthenticationSASLFinal",
}
"""All of them are "Authentication request" to the dissector, which tells the number within."""


@contextlib.contextmanager
def captured(port: int, path: Path) -> Iterator[None]:
    """All packets from and to a port of the loopback while the block runs; skips where this user may not capture."""
    command = ["tcpdump", "-i", LOOPBACK, "-n", "-U", "--immediate-mode", "-B", "16384", "-s", "0", "-w", "-", f"port {port}"]
    with path.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, text=True) as tcpdump:
        assert tcpdump.stderr is not None
        said = ""
        while "listening on" not in said:
            said = tcpdump.stderr.readline()
            if not said:
                pytest.skip("tcpdump may not capture on the loopback here")
        try:
            yield
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(END_OF_WORK, ("127.0.0.1", port))
            until(path.read_bytes, lambda seen: END_OF_WORK in seen)
        finally:
            tcpdump.send_signal(signal.SIGINT)
            said = tcpdump.stderr.read()
    assert "\n0 packets dropped by kernel" in said


def dissected(path: Path, port: int, profile: Path, wanted: str, *fields: str) -> list[list[str]]:
    """The fields of the frames tshark finds with that display filter; several values of a field have a `|` between them."""
    command = ["tshark", "-n", "-r", str(path), "-d", f"tcp.port=={port},pgsql", "-Y", wanted, "-T", "fields"]
    command += ["-o", "tcp.desegment_tcp_streams:TRUE", "-o", "tcp.reassemble_out_of_order:TRUE"]
    command += ["-E", "occurrence=a", "-E", "aggregator=|", "-E", "separator=/t", *(word for field in fields for word in ("-e", field))]
    environment = os.environ | {"WIRESHARK_CONFIG_DIR": str(profile), "LC_ALL": "C"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in found.stdout.splitlines()]


def messages_of(path: Path, port: int, profile: Path) -> dict[str, dict[str, Counter[str]]]:
    """Client port -> direction -> messages by the manual's names, and under "bytes" what they weigh."""
    counted: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: {FRONTEND: Counter(), BACKEND: Counter()})
    fields = ("tcp.srcport", "tcp.dstport", "pgsql.frontend", "pgsql.type", "pgsql.length", "pgsql.authtype")
    for source, destination, *values in dissected(path, port, profile, "pgsql.type", *fields):
        sides, types, lengths, numbers = (value.split("|") for value in values)
        authentications = iter(numbers)
        side = FRONTEND if destination == str(port) else BACKEND
        client = source if side == FRONTEND else destination
        assert set(sides) == {side}
        for kind, length in zip(types, lengths, strict=True):
            name = AUTHENTICATION_NAME[next(authentications)] if kind == "Authentication request" else MANUAL_NAME[side, kind]
            # The length does not count the type byte, which the packets before the first authentication do not have.
            counted[client][side].update({name: 1, "bytes": int(length) + (name not in ("SSLRequest", "StartupMessage"))})
    # The answer to SSLRequest has neither type nor length: the dissector takes the byte and shows no message.
    replies = dissected(path, port, profile, f"tcp.srcport == {port} && tcp.len == 1", "tcp.dstport", "tcp.payload")
    for client, payload in replies:
        assert payload == "4e", "N: no TLS on the driver's leg"
        counted[client][BACKEND].update({"SSLRequestReply": 1, "bytes": 1})
    return counted


def pgtrace(*arguments: str) -> str:
    """What a command prints, run as from a shell without a terminal."""
    command = [sys.executable, "-m", "pgtrace", *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    ).stdout


def test_tshark_and_pgtrace_agree(tmp_path):
    packets, capture, port = tmp_path / "demo.pcap", tmp_path / "demo.pgtrace", free_port()
    with captured(port, packets):
        pgtrace("demo", f"127.0.0.1:{port}", "-w", str(capture))
    assert dissected(packets, port, tmp_path, "_ws.malformed", "frame.number") == []
    expected = messages_of(packets, port, tmp_path)
    stats = json.loads(pgtrace("stats", "--json", str(capture)))
    connections = {about["client"].rpartition(":")[2]: about for about in stats["connections"]}
    assert connections.keys() == expected.keys()
    assert len(connections) == 6
    for client, about in connections.items():
        for side, key in ((FRONTEND, "frontend"), (BACKEND, "backend")):
            seen = expected[client][side]
            assert about[f"{key}_bytes"] == seen.pop("bytes"), about["driver"]
            assert {name: count for name, count in about[f"{key}_messages"].items() if count} == seen, about["driver"]
    total = sum(sum(stats["totals"][f"{side}_messages"].values()) for side in ("frontend", "backend"))
    print(f"tshark and pgtrace agree on {total} messages of {len(connections)} connections")
