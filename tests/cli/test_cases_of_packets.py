"""Packets that somebody had to read (tests/data/cases), and a start-up: what is printed of each is what the protocol says.

Of nat_twice and vxlan two of four connections are kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import commands

CASES = Path(__file__).parents[1] / "data" / "cases"
TWICE = "appear twice, under translated addresses (127.0.0.1:22015 and 172.17.0.2:22015): counted once"


def printed(command: str, name: str) -> tuple[Any, str]:
    """What a command says in JSON, and on stderr."""
    found = commands.call(command, "--json", CASES / name)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout), found.stderr


def test_show_says_what_a_driver_wanted_that_was_refused_tls() -> None:
    """Its bytes were never kept: no `bytes no longer kept`."""
    found = commands.call("show", CASES / "direct_tls_refused.pgtrace").stdout
    assert "TLS, or not PostgreSQL; the server closed: --tls auto, or sslmode=disable towards pgtrace" in found
    assert "(bytes that cannot be read are counted, not kept)" in found
    assert "no longer kept" not in found


@pytest.mark.parametrize("name", ["halves_appended.pcapng", "halves_merged.pcapng"])
def test_both_directions_recorded_apart(name: str) -> None:
    """Appended or merged, nothing is lost, and the server does not answer before it is asked."""
    told, err = printed("stats", name)
    assert (told["capture"]["gaps"], told["capture"]["dropped_bytes"], told["capture"]["complete"]) == (0, 0, True)
    totals = told["totals"]
    assert (totals["setup_round_trips"], totals["round_trips"], totals["executions"], totals["rows"]) == (1, 67, 24, 24)
    assert 0 < totals["wait_ns"] < 20_000_000
    assert err == ""
    advised, _ = printed("advise", name)
    assert [(one["finding"], one["number"], one["driver"]) for one in advised["findings"]] == [("cache-thrash", 28, "pgx")]
    assert advised["unexplained"] == {"errors": {}, "ends": {}}


@pytest.mark.parametrize(("name", "said"), [("nat_twice.pcap", TWICE), ("vxlan.pcap", "")])
def test_packets_that_are_there_twice_or_in_a_tunnel(name: str, said: str) -> None:
    told, err = printed("stats", name)
    totals = told["totals"]
    assert (told["capture"]["connections"], totals["setup_round_trips"], totals["round_trips"]) == (2, 3, 7)
    assert (totals["executions"], totals["rows"], totals["errors"]) == (5, 2, 0)
    assert told["capture"]["gaps"] == 0
    assert [(one["driver"], one["round_trips"]) for one in told["connections"]] == [("unknown", 3), ("pg8000", 4)]
    assert said in err
    assert bool(said) is bool(err)
    advised, _ = printed("advise", name)
    assert (advised["findings"], advised["unexplained"]) == ([], {"errors": {}, "ends": {}})
