"""The worked sequences of the counting rules, row by row: the number is the round trips of the session."""

from __future__ import annotations

import pytest

from tests.session.letters import SEQUENCES, play


@pytest.mark.parametrize(("sequence", "round_trips"), SEQUENCES, ids=[one for one, _ in SEQUENCES])
def test_worked_sequence(sequence: str, round_trips: int) -> None:
    session = play(sequence)
    if sequence.endswith(" closed"):
        session.close(10**9)
    assert (session.tally.round_trips, session.tally.setup_round_trips) == (round_trips, 1)
    assert session.is_quiet
