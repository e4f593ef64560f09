"""SCRAM-SHA-256-PLUS is taken out of a server's offer, and nothing else is changed."""

from __future__ import annotations

import struct

import pytest

from pgtrace.protocol.authentication import AuthenticationSASL
from pgtrace.proxy.channel_binding import ChannelBindingFilter
from tests.proxy.wire import OFFER, PLAIN_OFFER, READY, message

REFUSAL = message(b"E", b"SFATAL\0C28000\0Mno encryption\0\0")
NEGOTIATE = message(b"v", struct.pack(">II", 0x30000, 0))


def pieces_of(data: bytes, cut: int | None = None) -> tuple[bytes, list[tuple[bytes | None, bytes]]]:
    found = ChannelBindingFilter()
    parts = [data] if cut is None else [data[:cut], data[cut:]]
    pieces = [piece for part in parts for piece in found.feed(part)]
    assert found.done or cut is None
    return b"".join(sent for _, sent in pieces), pieces


def test_the_offer_is_changed_wherever_it_is_cut():
    data = NEGOTIATE + OFFER + READY
    for cut in range(len(data) + 1):
        sent, pieces = pieces_of(data, cut)
        assert sent == NEGOTIATE + PLAIN_OFFER + READY
        assert [original for original, _ in pieces if original is not None] == [OFFER]


def test_the_offer_is_changed_as_its_definition_says():
    """construct's definition of AuthenticationSASL is the oracle; the recorder does not import it."""
    for before, after in ((), ()), (("OAUTHBEARER",), ()), ((), ("A", "B")):
        offer = AuthenticationSASL((*before, "SCRAM-SHA-256-PLUS", *after)).wire()
        assert pieces_of(offer, 0)[0] == AuthenticationSASL((*before, *after)).wire()


@pytest.mark.parametrize(
    "data",
    [
        PLAIN_OFFER + READY,
        READY,
        REFUSAL,
        message(b"R", b"\0\0\0\5salt") + READY,
        b"R\0\0\0\3" + OFFER,
        b"R\x7f\xff\xff\xff" + OFFER,
        b"\0\0\0\0\0" + OFFER,
        message(b"R", b"\0\0\0\x0aSCRAM-SHA-256-PLUS") + READY,
        message(b"N", bytes(5000)) + PLAIN_OFFER,
    ],
)
def test_everything_else_is_passed_on_as_it_is(data):
    for cut in [None, *range(min(len(data), 64))]:
        found = ChannelBindingFilter()
        parts = [data] if cut is None else [data[:cut], data[cut:]]
        pieces = [piece for part in parts for piece in found.feed(part)]
        assert b"".join(sent for _, sent in pieces) == data
        assert all(original is None for original, _ in pieces)
