"""TLS in packets is looked into where its secrets are known: it counts like the plain session, and shows no more of its secrets."""

from __future__ import annotations

import ssl
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.capture.pcap import Pcap, is_startup
from pgtrace.capture.record import DECRYPTED, Data, Ended, Fact, Opaque, Record
from pgtrace.capture.tls import decrypting
from pgtrace.capture.tls.keylog import KeyLog
from pgtrace.capture.writer import CaptureWriter
from pgtrace.errors import CaptureError, MissingExtra
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.testing.capture import Capture
from tests.capture import packet_forge as forge
from tests.capture.packet_forge import Talk
from tests.capture.packet_reading import counted_capture
from tests.capture.test_capture_redact import SCRAM_TURNS, SECRETS
from tests.capture.tls_talk import ECDSA, RSA, TlsTalk, contexts
from tests.playbook import records as played

SCRIPT = """
0   F StartupMessage user=app database=shop
6   B AuthenticationOk | ParameterStatus server_version 18.1 | BackendKeyData 1 7777 | ReadyForQuery I
10  F Parse s1 SELECT $1 | Bind - s1 params=42 | Execute - | Sync
12  B ParseComplete | BindComplete | DataRow 42 ×3 | CommandComplete SELECT 3 | ReadyForQuery I
20  F Query BEGIN
21  B CommandComplete BEGIN | ReadyForQuery T
30  F Query SELECT bad
41  B ErrorResponse 42703 no | ReadyForQuery E
60  F Terminate
"""
TURNS = [(one.side, one.data) for one in played(SCRIPT) if isinstance(one, Data)]


def read(data: bytes, keylog: Path | None, named: tuple[int, ...] = (5432,), piece: int = 1 << 20) -> tuple[list[Record], Pcap]:
    pcap = Pcap(named, keylog=KeyLog(str(keylog)) if keylog is not None else None)
    pcap._key = bytes(32)  # so that the hashes of cancel keys can be compared
    found: list[Record] = []
    for start in range(0, len(data), piece):
        found += pcap.feed(data[start : start + piece])
    return found + pcap.finish(), pcap


def sent_by(found: list[Record]) -> list[tuple[int, bytes]]:
    """Turn by turn, behind SSLRequest and its reply."""
    return [(one.side, one.data) for one in found if isinstance(one, Data) and one.data != b"S" and one.data[4:8] != b"\x04\xd2\x16\x2f"]


def totals(found: list[Record], pcap: Pcap, directory: Path) -> dict[str, Any]:
    path = directory / "capture"
    path.unlink(missing_ok=True)
    with CaptureWriter(path, header=pcap.header) as writer:
        writer.write(found)
    return counted_capture(path)["totals"]


WAYS = {
    "TLS 1.3": {},
    "TLS 1.3, HelloRetryRequest": {"curve": "secp384r1"},
    **{
        cipher: {
            "version": ssl.TLSVersion.TLSv1_2,
            "ciphers": cipher,
            "cert": RSA if "RSA" in cipher.split("-")[1:2] or cipher.startswith("AES") else ECDSA,
        }
        for cipher in (
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDHE-ECDSA-AES128-CCM:@SECLEVEL=0",
            "ECDHE-ECDSA-AES256-CCM:@SECLEVEL=0",
            "ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0",
            "ECDHE-ECDSA-AES256-CCM8:@SECLEVEL=0",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-RSA-CHACHA20-POLY1305",
            "AES256-GCM-SHA384",
        )
    },
}


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_it_counts_like_the_plain_session(way: str, direct: bool, tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    made = TlsTalk(contexts(keylog, **WAYS[way]), Talk(mss=700), direct=direct).all(TURNS).close()
    plain = forge.talk_of(SCRIPT, Talk())
    found, pcap = read(forge.pcap(forge.frames(made.talk.sent)), keylog)
    shown, _ = read(forge.pcap(forge.frames(plain.sent)), None)
    assert sent_by(found) == sent_by(shown)[: len(TURNS)]
    version = "TLSv1.3" if "TLS" in way else "TLSv1.2"
    assert [(one.key, one.value) for one in found if isinstance(one, Fact)] == [(DECRYPTED, version)]
    assert totals(found, pcap, tmp_path)["round_trips"] == 3
    assert [one.how for one in found if isinstance(one, Ended)] == ["close_notify", "close_notify"]
    assert pcap.notes() == []


def test_in_any_pieces_and_in_a_file_with_the_secrets(tmp_path: Path) -> None:
    """As `editcap --inject-secrets` makes it."""
    keylog = tmp_path / "keys"
    made = TlsTalk(contexts(keylog), Talk(mss=97)).all(TURNS).close()
    frames = forge.frames(made.talk.sent)
    text = keylog.read_bytes()
    secrets = forge.block(10, struct.pack("<II", 0x544C534B, len(text)) + text)
    file = (
        forge.section()
        + secrets
        + forge.interface(resolution=9)
        + forge.pcapng(frames)[len(forge.section() + forge.interface(resolution=9)) :]
    )
    for piece in (1, 1000, 1 << 20):
        assert sent_by(read(file, None, piece=piece)[0]) == sent_by(read(forge.pcap(frames), keylog)[0])
    whole = sent_by(read(forge.pcap(frames), keylog)[0])
    assert b"".join(data for side, data in whole if side == FRONTEND) == b"".join(data for side, data in TURNS if side == FRONTEND)


def test_only_the_secrets_of_the_application_are_known(tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    made = TlsTalk(contexts(keylog)).all(TURNS)
    keylog.write_text("".join(line for line in keylog.read_text().splitlines(True) if "HANDSHAKE" not in line))
    assert len(sent_by(read(forge.pcap(forge.frames(made.talk.sent)), keylog)[0])) == len(TURNS)


def test_a_key_log_that_is_written_later_than_the_packets_come(tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    made = TlsTalk(contexts(keylog)).all(TURNS[:3])
    text = keylog.read_bytes()
    keylog.write_bytes(text[:40])
    pcap = Pcap(keylog=KeyLog(str(keylog)), streamed=True)
    pcap._streamed = True
    frames = forge.frames(made.talk.sent)
    found = pcap.feed(forge.pcap(frames))
    assert sent_by(found) == []
    keylog.write_bytes(text)
    made.send(*TURNS[3])
    found += pcap.feed(forge.pcap(forge.frames(made.talk.sent[len(frames) :]))[24:])
    assert [side for side, _ in sent_by(found)] == [side for side, _ in TURNS[:4]]
    times = [one.time_ns for one in found if isinstance(one, Data)]
    assert times == sorted(times)
    assert len(set(times)) == len(times)


def test_no_secret_reaches_the_capture(tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    made = TlsTalk(contexts(keylog)).all(SCRAM_TURNS)
    found, pcap = read(forge.pcap(forge.frames(made.talk.sent)), keylog)
    shown = repr(found).encode() + b"".join(one.data for one in found if isinstance(one, Data)) + repr(pcap.notes()).encode()
    assert len(sent_by(found)) == len(SCRAM_TURNS)
    for secret in SECRETS:
        assert secret not in shown
    assert not [line for line in keylog.read_text().split() if len(line) > 60 and line in repr(found) + repr(pcap.tls and pcap.tls.keylog)]


# What cannot be decrypted.


def refused(sent: list[forge.Sent], keylog: Path, reason: str) -> list[Record]:
    found, pcap = read(forge.pcap(forge.frames(sent)), keylog)
    assert pcap.notes() == [f"1 connections stay encrypted: {reason}"]
    return found


def test_without_its_secrets_it_is_as_it_was(tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    TlsTalk(contexts(keylog))  # another one's
    made = TlsTalk(contexts(None)).all(TURNS).close()
    found = refused(made.talk.sent, keylog, decrypting.NO_SECRETS)
    assert found == read(forge.pcap(forge.frames(made.talk.sent)), None)[0]
    assert sum(one.length for one in found if isinstance(one, Opaque)) > 1000


def test_a_suite_that_is_no_aead(tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    made = TlsTalk(contexts(keylog, version=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0")).all(TURNS)
    refused(made.talk.sent, keylog, "cipher suite 0xc023 is no AEAD")


def test_secrets_that_do_not_fit(tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    made = TlsTalk(contexts(keylog)).all(TURNS)
    changed = [line[:-5] + "0000\n" if line.startswith(("SERVER_T", "SERVER_H")) else line for line in keylog.read_text().splitlines(True)]
    keylog.write_text("".join(changed))
    found = refused(made.talk.sent, keylog, decrypting.WRONG)
    assert not [one for one in sent_by(found) if one[0] == BACKEND]


def test_joined_in_the_middle(tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    made = TlsTalk(contexts(keylog)).all(TURNS)
    refused(made.talk.sent[12:], keylog, decrypting.NO_BEGINNING)


def test_behind_a_loss_it_is_opaque(tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    made = TlsTalk(contexts(keylog)).all(TURNS).close()
    first = next(place for place, one in enumerate(made.talk.sent) if one.payload and place > len(made.talk.sent) - 12)
    found = refused(made.talk.sent[:first] + made.talk.sent[first + 1 :], keylog, decrypting.LOST)
    assert [one for one in found if isinstance(one, Opaque)]
    assert 0 < len(sent_by(found)) < len(TURNS)


def test_without_what_decrypts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgtrace.capture.pcap.is_available", lambda: False)
    monkeypatch.setattr(decrypting, "is_available", lambda: False)
    keylog = tmp_path / "keys"
    keylog.write_text("")
    with pytest.raises(MissingExtra, match=r"pgtrace\[keylog\]"):
        read(b"", keylog)
    secrets = forge.block(10, struct.pack("<II", 0x544C534B, 1) + b"\n")
    _, pcap = read(forge.section() + secrets, None)
    assert "pgtrace[keylog]" in pcap.notes()[0]


def test_a_key_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="cannot be read as a key log"):
        KeyLog(str(tmp_path / "none"))


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=6), st.integers(0, 40), st.integers(1, 900))
def test_no_bytes_raise(changes: list[tuple[int, int]], missing: int, mss: int) -> None:
    """Whatever is changed, missing or cut again."""
    data = bytearray(SAMPLE)
    for place, value in changes:
        data[200 + place % (len(data) - 200)] = value
    head, packets = forge.split(SAMPLE)
    pcap = Pcap(keylog=KeyLog(None))
    assert pcap.tls is not None
    pcap.tls.keylog.add(SAMPLE_KEYS)
    pcap.feed(bytes(data))
    pcap.finish()
    pcap = Pcap(keylog=KeyLog(None))
    assert pcap.tls is not None
    pcap.tls.keylog.add(SAMPLE_KEYS)
    pcap.feed(head + b"".join(packets[:missing] + packets[missing + 1 :]))
    pcap.finish()
    pcap.notes()


def _sample() -> tuple[bytes, bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        keylog = Path(directory, "keys")
        made = TlsTalk(contexts(keylog)).all(TURNS).close()
        return forge.pcap(forge.frames(made.talk.sent)), keylog.read_bytes()


SAMPLE, SAMPLE_KEYS = _sample()


# ALPN.


def test_a_client_hello_that_asks_for_postgresql_is_known_on_any_port(tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    made = TlsTalk(contexts(keylog), Talk(server=("10.0.0.2", 7777), mss=100), direct=True).all(TURNS)
    for secrets in (None, keylog):
        _, pcap = read(forge.pcap(forge.frames(made.talk.sent)), secrets)
        assert pcap.connections == 1
    client, _ = contexts(None)
    client.set_alpn_protocols(["h2"])
    ways = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = client.wrap_bio(*ways, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        end.do_handshake()
    other = ways[1].read()
    assert is_startup(other) is False
    hello = next(one.payload for one in TlsTalk(contexts(None), direct=True).talk.sent if one.payload)
    assert is_startup(hello) is True
    assert {is_startup(hello[:size]) for size in range(1, len(hello))} == {None}


def test_the_python_api_takes_a_key_log_and_the_pieces_of_a_recording(tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    made = TlsTalk(contexts(keylog), Talk(mss=700)).all(TURNS).close()
    frames = forge.frames(made.talk.sent)
    middle = len(frames) // 2
    paths = [tmp_path / "ring.pcap0", tmp_path / "ring.pcap1"]
    for path, part in zip(paths, (frames[:middle], frames[middle:]), strict=True):
        path.write_bytes(forge.pcap(part))
    with Capture(*reversed(paths), keylog=keylog) as capture:
        assert len(capture.connections) == 1
        assert capture.connections[0].kind == "session"
        assert capture.round_trips > 0
        assert capture.complete
    with Capture(*paths) as capture:
        assert [one.kind for one in capture.connections] == ["opaque"]
