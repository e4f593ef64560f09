"""Set-up: encryption requests, authentication, version negotiation, refusals."""

from __future__ import annotations

import pytest

from pgtrace.protocol.fields import error_fields
from tests.playbook import play

READY = "AuthenticationOk | ParameterStatus server_version 18.1 | BackendKeyData 42 key1 | ReadyForQuery I"
START = "F StartupMessage user=app database=shop\n"
SCRAM = (
    "B AuthenticationSASL SCRAM-SHA-256\nF SASLInitialResponse SCRAM-SHA-256 n,,n=,r=abc\nB AuthenticationSASLContinue r=abc\n"
    "F SASLResponse c=biws\nB AuthenticationSASLFinal v=x | "
)

SETUPS = [
    ("trust: the StartupMessage", START + f"B {READY}", 1),
    ("password: and its answer", START + f"B AuthenticationCleartextPassword\nF PasswordMessage secret\nB {READY}", 2),
    ("SCRAM: StartupMessage, SASLInitialResponse, SASLResponse", START + SCRAM + READY, 3),
    ("SSLRequest refused, then SCRAM", "F SSLRequest\nB SSLRequestReply N\n" + START + SCRAM + READY, 4),
    ("GSSENCRequest, SSLRequest, StartupMessage", f"F GSSENCRequest\nB GSSENCRequestReply N\nF SSLRequest\nB SSLRequestReply N\n"
        f"{START}B {READY}", 3),
    ("SSLRequest before GSSENCRequest", f"F SSLRequest\nB SSLRequestReply N\nF GSSENCRequest\nB GSSENCRequestReply N\n{START}B {READY}", 3),
    ("both sent at once are one wait", f"F SSLRequest | GSSENCRequest\nB SSLRequestReply N\nB GSSENCRequestReply N\n{START}B {READY}", 2),
    ("in several reads it is still one", START + "B AuthenticationOk\nB ParameterStatus a b\nB ReadyForQuery I", 1),
    ("GSSAPI: tokens until it is Ok", START + "B AuthenticationGSS\nF GSSResponse t1\nB AuthenticationGSSContinue t2\n"
        "F GSSResponse t3\n" f"B {READY}", 3),
    ("SSPI", f"{START}B AuthenticationSSPI\nF GSSResponse t1\nB {READY}", 2),
    ("OAUTHBEARER: no final message", f"{START}B AuthenticationSASL OAUTHBEARER\nF SASLInitialResponse OAUTHBEARER n,,\x01\nB {READY}", 2),
    ("OAUTHBEARER refused: the server's reason is answered before it gives up", START + "B AuthenticationSASL OAUTHBEARER\n"
     "F SASLInitialResponse OAUTHBEARER n,,\x01\nB AuthenticationSASLContinue {}\nF SASLResponse \x01\n"
         "B ErrorResponse FATAL 28000 no\nc1 close B", 3),
    ("GSSAPI encryption: nothing more is seen", "F GSSENCRequest\nB GSSENCRequestReply G\nc1 opaque F 900\nc1 opaque B 70\nc1 close F", 1),
    ("protocol 2.0 refused: its error answers", "F StartupMessage protocol=2.0 user=app\nB Version2Error FATAL:  unsupported\n"
        "c1 close B", 1),
    ("no process for it: an error of protocol 2.0", START + "B Version2Error could not fork new process for connection: no memory\n"
        "c1 close B", 1),
    ("refused: an ErrorResponse answers", START + "B ErrorResponse FATAL 28P01 password\nc1 close B", 1),
    ("refused after the password", START + "B AuthenticationCleartextPassword\nF PasswordMessage x\n"
        "B ErrorResponse FATAL 28P01 no\nc1 close B", 2),
    ("never answered", START, 1),
    ("closed without an answer", START + "c1 close B", 1),
    ("SSLRequest alone (a health check)", "F SSLRequest\nB SSLRequestReply N\nc1 close F", 1),
]  # fmt: skip


@pytest.mark.parametrize(("script", "setup"), [case[1:] for case in SETUPS], ids=[case[0] for case in SETUPS])
def test_set_up_round_trips(script: str, setup: int) -> None:
    session, _ = play(script)
    assert (session.tally.setup_round_trips, session.tally.round_trips) == (setup, 0)


def test_set_up_is_over_at_the_first_ready_for_query() -> None:
    session, _ = play(START + SCRAM + READY + "\nF Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I")
    assert (session.tally.setup_round_trips, session.tally.round_trips) == (3, 1)


def test_a_round_trip_that_opened_before_it_is_set_up_also_where_it_carries_a_query() -> None:
    session, _ = play(f"{START}F Query SELECT 1\nB {READY}\nB CommandComplete SELECT 1 | ReadyForQuery I\n")
    assert (session.tally.setup_round_trips, session.tally.round_trips) == (1, 0)
    assert session.tally.executions == 1


def test_a_negotiated_version_belongs_to_the_same_round_trip() -> None:
    session, heard = play(
        "F StartupMessage protocol=3.2 user=app _pq_.command_tag_format=x\n"
        f"B NegotiateProtocolVersion 3.0 _pq_.command_tag_format\nB {READY}\n"
    )
    assert session.tally.setup_round_trips == 1
    assert session.negotiated == 196608
    assert bytes(heard.round_trips[0].received) == b"vRSKZ"


@pytest.mark.parametrize(("said", "protocol"), [("3.2", 196610), ("0.2", 196610), ("3.0", 196608)])
def test_a_greased_version_and_option_are_negotiated(said: str, protocol: int) -> None:
    """PostgreSQL says the whole version; where only the minor one is said, as the manual has it, the major one is the driver's."""
    session, _ = play(
        "F StartupMessage protocol=3.9999 user=app _pq_.test_protocol_negotiation=\n"
        f"B NegotiateProtocolVersion {said} _pq_.test_protocol_negotiation\nB {READY}\n"
    )
    assert session.negotiated == protocol
    assert session.unrecognized_options == ("_pq_.test_protocol_negotiation",)


def test_an_error_of_protocol_2_is_the_round_trip_s() -> None:
    _, heard = play("F StartupMessage protocol=2.0 user=app\nB Version2Error FATAL:  unsupported frontend protocol 2.0\nc1 close B")
    (round_trip,) = heard.round_trips
    assert round_trip.errors == 1
    assert error_fields(round_trip.error) == {"M": "FATAL:  unsupported frontend protocol 2.0"}
    assert heard.failures == [None]


def test_parameters_and_key_are_learned() -> None:
    session, _ = play(START + f"B {READY}\nB ParameterStatus server_version 18.2")
    assert session.parameters == {"server_version": "18.2"}
    assert session.key == b"\0\0\0\x2akey1"


def test_a_cancel_request_is_no_round_trip() -> None:
    session, heard = play("F CancelRequest 42 key1\nc1 close B")
    assert (session.tally.setup_round_trips, session.tally.round_trips) == (0, 0)
    assert session.cancel[-8:] == b"\0\0\0\x2akey1"
    assert session.bytes == [16, 0]
    assert session.is_quiet
    assert len(heard.others) == 1


def test_encrypted_bytes_are_counted_and_nothing_else() -> None:
    session, _ = play("F SSLRequest\nB SSLRequestReply S\nc1 opaque F 517\nc1 opaque B 1200\nc1 close F")
    assert (session.tally.setup_round_trips, session.tally.round_trips) == (1, 0)
    assert session.bytes == [8 + 517, 1 + 1200]
    assert session.unreadable


def test_bytes_that_are_not_postgresql_never_become_messages() -> None:
    session, _ = play("c1 raw F 474554202f20485454502f312e310d0a\nc1 raw B 485454502f312e3120343030\nc1 close F")
    assert session.unreadable
    assert session.startup == b""
    assert (session.tally.setup_round_trips, session.tally.round_trips) == (0, 0)
    assert dict(session.tally.frontend) == {}
