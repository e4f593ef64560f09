"""Versions of the protocol at a real server: refused, greased, negotiated."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgtrace.address import parse_listen, parse_upstream
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.inspect import details
from pgtrace.protocol import backend, frontend, startup
from pgtrace.protocol.codes import BACKEND
from pgtrace.recorder import Recorder
from pgtrace.report import stats
from pgtrace.trace.trace import Trace

GREASE = "_pq_.test_protocol_negotiation"
TraceOf = Callable[[Recorder], Trace]


@pytest.fixture
def trusting(tls_server: EmbeddedServer, tmp_path: Path) -> Iterator[Recorder]:
    """A recorder before a server that lets `trust_role` in."""
    upstream = parse_upstream(f"{tls_server.host}:{tls_server.port}", {})
    with Recorder(parse_listen("127.0.0.1:0"), upstream, write=tmp_path / "trusting.pgtrace") as recorder:
        yield recorder


def answer(recorder: Recorder, first: bytes, *then: bytes, until: bytes) -> bytes:
    """What comes back for some bytes, up to the end of the stream or to what is waited for; then for more."""
    with socket.create_connection((recorder.host, recorder.port), timeout=20) as sock:
        received = b""
        for data in (first, *then):
            sock.sendall(data)
            begin = len(received)
            while not received[begin:].endswith(until) and (more := sock.recv(65536)):
                received += more
        return received


def connections(trace: Trace) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(json.dumps(stats.as_dict(trace)))["connections"]
    return found


def test_a_greased_start_up_is_negotiated_down(trusting: Recorder, trace_of: TraceOf) -> None:
    greased = startup.StartupMessage(3 << 16 | 9999, (("user", "trust_role"), ("database", "postgres"), (GREASE, ""))).wire()
    ready = backend.ReadyForQuery("I").wire()
    received = answer(trusting, greased, frontend.Query("select 1").wire(), frontend.Terminate().wire(), until=ready)
    assert received.startswith(backend.NegotiateProtocolVersion(3 << 16 | 2, (GREASE,)).wire())
    trace = trace_of(trusting)
    (connection,) = connections(trace)
    assert (connection["protocol"], connection["protocol_requested"]) == ("3.2", "3.9999")
    assert connection["unrecognized_options"] == [GREASE]
    assert connection["startup_parameters"] == {"user": "trust_role", "database": "postgres", GREASE: ""}
    assert (connection["kind"], connection["setup_round_trips"], connection["round_trips"]) == ("session", 1, 1)
    first = details.read(trace, 0).messages
    assert first[0].argument == f"3.9999 user=trust_role database=postgres {GREASE}="
    assert (first[1].name, first[1].argument) == ("NegotiateProtocolVersion", f"3.2, without {GREASE}")
    key = next(message for message in first if message.name == "BackendKeyData")
    assert len(key.body) == 4 + 32


def test_libpq_s_newest_version(trusting: Recorder, trace_of: TraceOf) -> None:
    with psycopg.connect(f"host={trusting.host} port={trusting.port} user=trust_role dbname=postgres max_protocol_version=3.2") as direct:
        direct.execute("select 1")
    (connection,) = connections(trace_of(trusting))
    assert (connection["protocol"], connection["protocol_requested"], connection["unrecognized_options"]) == ("3.2", "3.2", [])


def test_protocol_2_is_refused_in_its_own_words(proxy: Recorder, trace_of: TraceOf) -> None:
    old = startup.Version2StartupMessage(0x20000, "postgres", "app", "-c geqo=off", "", "").wire()
    received = answer(proxy, old, until=b"never")
    assert received.startswith(b"EFATAL:  unsupported frontend protocol 2.0")
    trace = trace_of(proxy)
    (connection,) = connections(trace)
    assert (connection["protocol"], connection["user"], connection["database"]) == ("2.0", "app", "postgres")
    assert connection["startup_parameters"] == {"user": "app", "database": "postgres", "options": "-c geqo=off"}
    assert (connection["kind"], connection["setup_round_trips"], connection["errors"]) == ("session", 1, 1)
    assert connection["backend_messages"] == {"ErrorResponse": 1}
    sent, refused = details.read(trace, 0).messages
    assert (sent.name, sent.argument) == ("StartupMessage", "2.0 user=app database=postgres options=-c geqo=off")
    assert [field.name for field in sent.fields()] == ["length", "protocol", "database", "user", "options", "unused", "tty"]
    assert (refused.side, refused.name, refused.size) == (BACKEND, "ErrorResponse", len(received))
    assert refused.argument.startswith("FATAL:  unsupported frontend protocol 2.0: server supports 3.0 to 3.2")
    assert trace.rows[0].label.error.startswith("FATAL:  unsupported frontend protocol 2.0")


def test_a_major_version_nobody_has_is_refused_with_a_message(proxy: Recorder, trace_of: TraceOf) -> None:
    received = answer(proxy, struct.pack(">II", 9, 4 << 16) + b"\0", until=b"never")
    assert received[:1] == b"E"
    trace = trace_of(proxy)
    (connection,) = connections(trace)
    assert (connection["protocol"], connection["errors"], connection["setup_round_trips"]) == ("4.0", 1, 1)
    assert trace.rows[0].label.error.startswith("0A000 unsupported frontend protocol 4.0")
