"""The server's side of SCRAM-SHA-256, with the example of RFC 7677 and with a login of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from pgtrace.protocol import authentication as auth
from pgtrace.serve import scram
from pgtrace.serve.scram import Login, Refused, Verifier
from tests.serve.served import Served
from tests.serve.test_serve_session import ASYNCPG


def answer(password: str, client_first: bytes, server_first: bytes) -> bytes:
    """A client's last message, by RFC 5802."""
    fields = dict(part.split(b"=", 1) for part in server_first.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    header, bare = client_first[:3], client_first[3:]
    plain = b"c=" + base64.b64encode(header) + b",r=" + fields[b"r"]
    signature = hmac.digest(hashlib.sha256(key).digest(), b",".join((bare, server_first, plain)), "sha256")
    return plain + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))


def test_the_example_of_the_rfc(monkeypatch: pytest.MonkeyPatch) -> None:
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    monkeypatch.setattr(scram.secrets, "token_bytes", lambda _: salt)
    login = Login(Verifier("pencil"))
    login.first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    # the RFC's server chose a nonce that is no base64
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    login._nonce, login._server_first = nonce, b"r=%b,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096" % nonce
    proof = b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert login.last(b"c=biws,r=%b,p=%b" % (nonce, proof)) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.mark.parametrize("password", ["secret", "naïve ✓"])
def test_who_knows_the_password_gets_in(password: str) -> None:
    login = Login(Verifier(password))
    first = b"n,,n=,r=abc"
    server_first = login.first(first)
    assert server_first.startswith(b"r=abc")
    assert login.last(answer(password, first, server_first)).startswith(b"v=")


@pytest.mark.parametrize("first", [b"", b"p=tls-server-end-point,,n=,r=abc", b"n,,n=", b"n", b"x,,n=,r=a"])
def test_what_is_not_scram_is_refused(first: bytes) -> None:
    with pytest.raises(Refused):
        Login(Verifier("secret")).first(first)


@pytest.mark.parametrize(
    "last", [b"", b"c=biws", b"c=biws,r=abc,p=%%%", b"c=biws,r=abc,p=", b"c=biws,r=abc,p=" + base64.b64encode(bytes(32))]
)
def test_another_proof_is_refused(last: bytes) -> None:
    login = Login(Verifier("secret"))
    login.first(b"n,,n=,r=abc")
    with pytest.raises(Refused):
        login.last(last)


def test_a_session_asks_for_the_password(tmp_path: Path) -> None:
    recording = Served.script(tmp_path, ASYNCPG).recording
    for password, letters in (("secret", "RRSKZ"), ("wrong", "E")):
        served = Served(recording, Verifier("secret"))
        driver = served.socket()
        assert driver.says("StartupMessage user=app database=shop") == "R"
        first = b"n,,n=,r=abc"
        driver.session.receive(auth.SASLInitialResponse("SCRAM-SHA-256", first).wire())
        ((_, body, _),) = driver.frames()
        assert driver.sends(auth.SASLResponse(answer(password, first, body[4:])).wire()) == letters
        assert served.refused == (["app"] if letters == "E" else [])
    early = Served(recording, Verifier("secret")).socket()
    early.says("StartupMessage user=app database=shop")
    assert early.says("Query SELECT 1") == ""
    assert early.closed == "FIN"
