"""OAUTHBEARER through the recorder: the token reaches the server and no capture, however the driver's bytes are cut."""

from __future__ import annotations

import json
import socket
import struct

import pytest

from pgtrace.inspect import details
from pgtrace.protocol.authentication import AuthenticationSASL, AuthenticationSASLContinue, SASLInitialResponse, SASLResponse
from pgtrace.protocol.backend import ErrorResponse
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.proxy.drivers import connect
from tests.proxy.recorded import recording, stream, wait_for_end
from tests.proxy.upstreams import Scripted
from tests.proxy.wire import READY, STARTUP, read_all, read_exactly
from tests.traces import fully_read

TOKEN = b"eyJhbGciOiJSUzI1NiJ9.c2VjcmV0.dG9rZW4"
INITIAL = SASLInitialResponse("OAUTHBEARER", b"n,,\x01auth=Bearer " + TOKEN + b"\x01\x01").wire()
OFFER = AuthenticationSASL(("OAUTHBEARER",)).wire()
REFUSAL = AuthenticationSASLContinue(json.dumps({"status": "invalid_token", "scope": "openid"}).encode()).wire()
KVSEP = SASLResponse(b"\x01").wire()
FAILED = ErrorResponse((("S", "FATAL"), ("V", "FATAL"), ("C", "28000"), ("M", "OAuth bearer authentication failed"))).wire()


class Server:
    """Offers OAUTHBEARER, and takes the token or refuses it as RFC 7628 has it."""

    def __init__(self, *, takes: bool) -> None:
        self.takes = takes
        self.heard = b""

    def __call__(self, connection: socket.socket) -> None:
        (size,) = struct.unpack(">I", read_exactly(connection, 4))
        read_exactly(connection, size - 4)
        connection.sendall(OFFER)
        self.heard = read_exactly(connection, len(INITIAL))
        if self.takes:
            connection.sendall(READY)
        else:
            connection.sendall(REFUSAL)
            self.heard += read_exactly(connection, len(KVSEP))
            connection.sendall(FAILED)


@pytest.mark.parametrize("piece", [1, 2, 30, len(INITIAL)])
@pytest.mark.parametrize("takes", [True, False])
def test_a_token_reaches_the_server_and_no_capture(takes: bool, piece: int) -> None:
    serve = Server(takes=takes)
    with Scripted(serve) as server, recording(server.upstream) as recorder:
        with connect(recorder) as driver:
            driver.sendall(STARTUP)
            assert read_exactly(driver, len(OFFER)) == OFFER
            for start in range(0, len(INITIAL), piece):
                driver.sendall(INITIAL[start : start + piece])
            if not takes:
                assert read_exactly(driver, len(REFUSAL)) == REFUSAL
                driver.sendall(KVSEP)
            assert read_all(driver) == (READY if takes else FAILED)
        records = wait_for_end(recorder)
        capture = b"".join(path.read_bytes() for path in recorder.capture.iterdir())
        with_lengths = stream(records, FRONTEND)
        trace = fully_read(recorder.capture)
        told = [(message.name, message.argument) for place in range(len(trace.rows)) for message in details.read(trace, place).messages]
        counted = trace.totals()
        trace.close()
    assert serve.heard == INITIAL + (b"" if takes else KVSEP)
    for secret in (TOKEN, TOKEN[:8], TOKEN[-8:], b"Bearer", b"invalid_token"):
        assert secret not in capture
    assert len(with_lengths) == len(STARTUP + serve.heard)
    assert INITIAL[: INITIAL.index(b"\x01")] in with_lengths
    assert len(stream(records, BACKEND)) == len(OFFER) + len(READY if takes else REFUSAL + FAILED)
    assert told[1:3] == [("AuthenticationSASL", "OAUTHBEARER"), ("SASLInitialResponse", "OAUTHBEARER")]
    if takes:
        assert [name for name, _ in told[3:]] == ["AuthenticationOk", "ReadyForQuery"]
    else:
        assert [name for name, _ in told[3:]] == ["AuthenticationSASLContinue", "SASLResponse", "ErrorResponse"]
        assert told[-1][1] == "28000 OAuth bearer authentication failed"
    assert counted.setup_round_trips == (2 if takes else 3)
