"""What a recorder counts and what tcpdump's packets count, of every recorded scenario of the drivers that come with the tests.

One recorder for each driver, with the delay the captures were recorded with. The drivers of other
languages are checked the same way, where their tools are: `make captures-check`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from captures.recording.packets import LostPackets
from captures.recording.scenarios import SCENARIOS, Unavailable
from captures.recording.twice import differences, plays_of, seen_twice
from tests.live import scenario_server

server = scenario_server.server
TRIES = 3
"""A busy machine may lose packets before tcpdump has them; what differs without that is wrong."""
DRIVERS = ("asyncpg", "psycopg", "psycopg2", "pg8000", "psql")


@pytest.mark.parametrize("driver", DRIVERS)
def test_both_count_the_same(driver: str, server, tmp_path: Path) -> None:
    plays = plays_of(driver)
    for turn in range(TRIES):
        directory = tmp_path / str(turn)
        directory.mkdir()
        try:
            recorded, packets = seen_twice(server, plays.values(), directory)
        except Unavailable as reason:
            pytest.skip(str(reason))
        except LostPackets:
            if turn + 1 == TRIES:
                raise
        else:
            break
    assert differences(recorded, packets) == []
    assert recorded["connections"] == len(plays) + ("cancel" in plays)
    assert recorded["counters"]["all"]["complete"]
    assert len(plays) >= len(SCENARIOS) - 3
    print(f"{driver}: {len(plays)} scenarios, {recorded['messages']} messages seen twice")


def test_a_difference_is_told(server, tmp_path: Path) -> None:
    """Another scenario's packets are not these."""
    seen = []
    for scenario in ("one_query", "failure"):
        directory = tmp_path / scenario
        directory.mkdir()
        try:
            seen.append(seen_twice(server, [plays_of("psycopg2")[scenario]], directory))
        except Unavailable as reason:
            pytest.skip(str(reason))
    (recorded, _), (_, packets) = seen
    assert any(line.startswith("all errors: 0 recorded, 1 in packets") for line in differences(recorded, packets))
