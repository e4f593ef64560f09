"""Passage.values: a hash of what a round trip asked, whichever way the reads were cut."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pgtrace.capture.record import Data
from pgtrace.protocol import frontend
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.connection import Session
from pgtrace.session.run import LONGEST_HASHED
from tests.playbook import Heard, records

SCRIPT = """
    F Parse s SELECT $1 | Sync
    B ParseComplete | ReadyForQuery I
    F Bind - s params={first} | Execute - | Sync
    B BindComplete | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
    F Bind - s params={second} | Execute - | Sync
    B BindComplete | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
    F Bind - s params={first} | Execute - | Sync
    B BindComplete | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
    F Bind - s params={second} | Execute - | Sync | Bind - s params={first} | Execute - | Sync
    B BindComplete | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
    B BindComplete | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
"""


def reads(script: str) -> list[tuple[int, bytes]]:
    """The reads of a script, with the start-up before them."""
    return [(one.side, one.data) for one in records(script) if isinstance(one, Data)]


def values(all_reads: Iterable[tuple[int, bytes]]) -> list[int]:
    """The hash of each round trip after set-up."""
    heard = Heard()
    session = Session(heard)
    for number, (side, data) in enumerate(all_reads):
        session.receive(side, number * 1000, data)
    session.close(1_000_000_000)
    return [one.passage.values for one in heard.round_trips if not one.exchange.effect.setup]


@pytest.mark.parametrize("length", [3, 200, 9_000])
def test_equal_values_have_equal_hashes_however_reads_are_cut(length: int) -> None:
    whole = reads(SCRIPT.format(first="a" * length, second="b" * length))
    expected = values(whole)
    parse, first, second, again, both = expected
    assert again == first
    assert len({0, parse, first, second, both}) == 5
    longest = max(len(data) for _, data in whole)
    for at in range(1, longest, 1 + longest // 150):
        assert values((side, piece) for side, data in whole for piece in (data[:at], data[at:]) if piece) == expected


def test_a_message_that_comes_with_the_one_before_belongs_to_its_own_round_trip() -> None:
    """Half of the second Bind is in the first one's read, and its rest comes after the answer."""
    start = reads("F Parse s SELECT $1 | Sync\nB ParseComplete | ReadyForQuery I")
    (_, one), (_, answer) = reads("F Bind - s params=x | Execute - | Sync\nB BindComplete | CommandComplete SELECT 0 | ReadyForQuery I")[
        -2:
    ]
    apart = values([*start, (FRONTEND, one), (BACKEND, answer), (FRONTEND, one), (BACKEND, answer)])
    together = values([*start, (FRONTEND, one + one[:7]), (BACKEND, answer), (FRONTEND, one[7:]), (BACKEND, answer)])
    assert together == apart
    assert apart[1] == apart[2] != 0


def test_a_very_long_one_has_no_hash() -> None:
    query = frontend.Query("select '" + "x" * LONGEST_HASHED + "'").wire()
    start = reads("F Sync\nB ReadyForQuery I")
    assert values([*start, (FRONTEND, query)])[-1] == 0


@pytest.mark.parametrize("at", [3, 4, 8, 12])
def test_a_first_packet_in_pieces_that_a_server_answers_too_early(at: int) -> None:
    """It has no type byte, so it is no message of a round trip that could be hashed as one."""
    ready = (BACKEND, b"Z\0\0\0\5I")
    (_, startup), *_ = reads("F Query SELECT 1")
    query = frontend.Query("SELECT 1").wire()
    assert values([ready, (FRONTEND, startup[:at]), (FRONTEND, startup[at:] + query), ready]) == values(
        [ready, (FRONTEND, startup + query), ready]
    )
