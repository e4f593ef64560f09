"""Which message a reply answers, in letters: `>` what the driver sends, `<` what the server answers with."""

from __future__ import annotations

import pytest

from pgtrace.faults import parse
from pgtrace.protocol.codes import STARTUP_MESSAGE
from pgtrace.proxy.replies import Replies


def play(script: str) -> str:
    """Each server message with what it begins and ends the reply to: `Z[S]` where it is all of it, `T[Q` and `Z]Q` at its ends."""
    replies = Replies()
    said = []
    rules = {letter: parse(f"close before reply to Sync#{ord(letter)}") for letter in "PBCDESQFp^"}
    for run in script.split():
        for letter in run[1:]:
            code = STARTUP_MESSAGE if letter == "^" else ord(letter)
            if run[0] == ">":
                replies.sent(code, (rules[letter],) if letter in rules else ())
                continue
            begins, ends = ("".join(chr(rule.number) for rule in some) for some in replies.received(code))
            said.append(
                f"{letter}[{begins}]"
                if begins and begins == ends
                else letter + (f"[{begins}" if begins else "") + (f"]{ends}" if ends else "")
            )
    return " ".join(said)


@pytest.mark.parametrize(
    ("script", "meaning"),
    [
        (">^ <R >p <R >p <RRSSKZ", "R[^] R[p] R[p] R S S K Z"),
        (">Q <TDDCZ", "T[Q D D C Z]Q"),
        (">Q <EZ", "E[Q Z]Q"),
        (">PBDES <12TDDCZ", "1[P] 2[B] T[D] D[E D C]E Z[S]"),
        (">PDH <1tT >BES <2DCZ", "1[P] t[D T]D 2[B] D[E C]E Z[S]"),
        (">PBES <1EZ >BES <2CZ", "1[P] E[B] Z[S] 2[B] C[E] Z[S]"),
        (">PBE <1E >QES <Z", "1[P] E[B] Z[S]"),
        (">BES <2CEZ", "2[B] C[E] E[S Z]S"),
        (">BES <2NSACZ", "2[B] N S A C[E] Z[S]"),
        (">CS <3Z", "3[C] Z[S]"),
        (">SS <ZZ", "Z[S] Z[S]"),
        (">BESBES <2CZ2CZ", "2[B] C[E] Z[S] 2[B] C[E] Z[S]"),
        (">BES <2s >ES <ZDCZ", "2[B] s[E] Z[S] D[E C]E Z[S]"),
        (">BES <2G >ddcS <CZ", "2[B] G[E C]E Z[S]"),
        (">BESddcS <2GCZ", "2[B] G[E C]E Z[S]"),
        (">BE <2G >SdcS <CZ", "2[B] G[E C]E Z[S]"),
        (">BE <2G >dfS <EZ", "2[B] G[E E]E Z[S]"),
        (">BES <2HddcCZ", "2[B] H[E d d c C]E Z[S]"),
        (">Q <G >dSc <CZ >Q <CZ", "G[Q C Z]Q C[Q Z]Q"),
        ("<N >Q <CZ", "N C[Q Z]Q"),
        ("<Z", "Z"),
    ],
)  # fmt: skip
def test_a_reply_answers_what_is_due(script: str, meaning: str) -> None:
    assert play(script) == meaning
