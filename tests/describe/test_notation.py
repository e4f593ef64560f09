"""Flights as the pictures of the interface show them, and laws of folding that hold for any messages."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.describe import notation
from pgtrace.describe.notation import CANCEL, GSS, SKIP, SSL, START

FAILED_PIPELINE = (b"PBDE" * 5 + b"S", b"12TDC" + b"12nC" + b"12TE" + bytes([SKIP, SKIP]) + b"Z")


@pytest.mark.parametrize(
    ("sent", "received", "text"),
    [
        (b"PDH", b"1tT", "PDH → 1tT"),
        (b"PDH", b"", "PDH"),
        (b"BDES", b"2TDCZ", "BDES → 2TDCZ"),
        (b"BDE" * 100 + b"S", b"2nC" * 100 + b"Z", "BDE×100 S → 2nC×100 Z"),
        (b"BE" * 100 + b"S", b"2C" * 100 + b"Z", "BE×100 S → 2C×100 Z"),
        (b"BHEHS", b"2DCZ", "BHEHS → 2DCZ"),
        (b"Q", b"CCCCZ", "Q → C×4 Z"),
        (b"Q", b"CCCZ", "Q → CCCZ"),
        (b"Q", b"TDCTDCTDCZ", "Q → TDC×3 Z"),
        (*FAILED_PIPELINE, "PBDE×5 S → 12TDC12nC12TE skip×2 Z"),
        (b"PBESBES", b"12EZ2E" + bytes([SKIP]) + b"Z", "P BES×2 → 12EZ2E skip Z"),
        (bytes([SSL]), b"N", "SSL → N"),
        (bytes([GSS, SSL, START]), b"NN", "GSS SSL Start → NN"),
        (b"p", b"RR" + b"S" * 15 + b"KZ", "p → RR S×15 KZ"),
        (bytes([CANCEL]), b"", "Cancel"),
        (b"", b"A", "← A"),
        (b"", b"", ""),
        (b"\x80 Q", b"Z", "??Q → Z"),
        (b"Q" + b"PBDES" * 4 + b"Q", b"Z" + b"12CZ" * 4 + b"CZ", "Q PBDES×4 Q → Z 12CZ×4 CZ"),
        (b"CS" + b"PBDES" * 3, b"3Z" + b"12nCZ" * 3, "CS PBDES×3 → 3Z 12nCZ×3"),
    ],
)
def test_flight(sent: bytes, received: bytes, text: str) -> None:
    assert notation.flight(sent, received) == text


def test_flight_in_ascii() -> None:
    assert notation.flight(b"BDE" * 100 + b"S", b"2nC" * 100 + b"Z", ascii=True) == "BDEx100 S -> 2nCx100 Z"


@pytest.mark.parametrize(
    ("text", "width", "fitted"),
    [
        ("PBDE×5 S → 12TDC12nC12TE skip×2 Z", 40, "PBDE×5 S → 12TDC12nC12TE skip×2 Z"),
        ("PBDE×5 S → 12TDC12nC12TE skip×2 Z", 22, "PBDE×5 S → …E skip×2 Z"),
        ("PBDE×5 S → 12TDC12nC12TE skip×2 Z", 19, "PBDE×5 S → …E skip…"),
        ("PBDEx5 S -> 12TDC12nC12TE skipx2 Z", 23, "PBDEx5 S -> …E skipx2 Z"),
        ("BDE×100 S → 2nC×100 Z", 19, "BDE×100 S → 2nC×10…"),
        ("PBES×20 → 12CZ×9 12EZ×11", 20, "PBES×20 → …12EZ×11"),
        ("PDH → EZ", 6, "PDH →…"),
        ("PDH", 0, ""),
    ],
)
def test_fit_keeps_the_tail_of_an_error(text: str, width: int, fitted: str) -> None:
    assert notation.fit(text, width) == fitted


@pytest.mark.parametrize(
    ("sent", "received", "words"),
    [
        (b"PDH", b"1tT", "Parse Describe Flush → ParseComplete ParameterDescription RowDescription"),
        (b"Q", b"CCCCZ", "Query → CommandComplete×4 ReadyForQuery"),
        (b"BES", b"2DsZ", "Bind Execute Sync → BindComplete DataRow PortalSuspended ReadyForQuery"),
        (b"CS" + b"BE" * 3 + b"S", b"3Z", "Close Sync (Bind Execute)×3 Sync → CloseComplete ReadyForQuery"),
        (b"PDH", b"", "Parse Describe Flush"),
        (b"", b"A", "← NotificationResponse"),
        (bytes([SSL]), b"N", "SSLRequest → SSLRequestReply(N)"),
        (bytes([GSS]), b"E", "GSSENCRequest → ErrorResponse"),
        (bytes([START]), b"RRSSKZ", "StartupMessage → Authentication×2 ParameterStatus×2 BackendKeyData ReadyForQuery"),
        (b"p", b"R", "AuthenticationResponse → Authentication"),
    ],
)
def test_spell(sent: bytes, received: bytes, words: str) -> None:
    assert notation.spell(sent, received) == words


def test_spell_tells_what_type_bytes_do_not() -> None:
    assert notation.spell(*FAILED_PIPELINE, sqlstates=("23505",), statuses="E") == (
        "Parse Bind Describe Execute ×5 Sync → …CommandComplete×2 ErrorResponse(23505) 2 executions skipped ReadyForQuery(E)"
    )
    assert notation.spell(b"BES", b"2EZ", ("26000",), "I") == "Bind Execute Sync → BindComplete ErrorResponse(26000) ReadyForQuery(I)"
    assert notation.spell(b"BESBES", b"2CZ2EZ", ("22012",), "IT").endswith("→ …CommandComplete ErrorResponse(22012) ReadyForQuery(T)")
    assert notation.spell(b"p", b"R", authentication=("SASLInitialResponse", "AuthenticationSASLContinue")) == (
        "SASLInitialResponse → AuthenticationSASLContinue"
    )


def unfold(side: str) -> str:
    whole = ""
    for part in side.split(" "):
        group, _, times = part.partition("×")
        whole += group * int(times or 1)
    return whole


GROUPS = st.lists(st.tuples(st.text("PBDESHQ12TCnZ", min_size=1, max_size=6), st.integers(1, 30)), max_size=6)


@given(GROUPS)
@settings(max_examples=300)
def test_folding_loses_nothing_and_never_lengthens(groups: list[tuple[str, int]]) -> None:
    letters = "".join(group * times for group, times in groups)
    text = notation.flight(letters.encode(), b"")
    assert unfold(text) == letters
    assert len(text) <= len(letters)


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 40))
@settings(max_examples=300)
def test_any_bytes_have_a_flight_that_fits(sent: bytes, received: bytes, width: int) -> None:
    text = notation.flight(sent, received)
    assert re.fullmatch(r"[ -~×→←…]*", text)
    assert len(notation.fit(text, width)) <= width
    assert notation.spell(sent, received, ("23505",) * 3, "IT") or not (sent or received)


def test_long_flights_take_linear_time() -> None:
    kinds = [
        b"PBDE" * 15_000,
        bytes((i * i // 7) % 19 + 65 for i in range(60_000)),
        b"AB" * 8 + b"C" + b"AAB" * 20_000,
        b"2TDC" * 15_000 + b"E",
    ]

    def seconds(messages: bytes) -> float:
        began = time.process_time()
        notation.flight(messages, b"Z")
        notation.spell(messages, messages)
        return time.process_time() - began

    for messages in kinds:
        quarter, whole = seconds(messages[:15_000]), seconds(messages)
        assert whole < max(0.2, 10 * quarter)
        assert whole < 5
