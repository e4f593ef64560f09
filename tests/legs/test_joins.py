"""Both sides of a pooler in captures: what belongs together, what is counted, and what is unrelated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pgtrace.capture.reader import CaptureReader
from pgtrace.legs.joins import Finding, Joins, State, find
from pgtrace.legs.sums import legs
from pgtrace.report.joins import joins_as_text
from pgtrace.report.stats import as_dict
from pgtrace.trace.trace import Trace
from tests import playbook
from tests.legs.both_sides import BOTH

POOLERS = Path(__file__).parents[1] / "data" / "poolers"
FRONT, BACK = POOLERS / "front.pgtrace", POOLERS / "back.pgtrace"


@contextlib.contextmanager
def read(*paths: Path) -> Iterator[Trace]:
    trace = Trace.open(paths)
    trace.update()
    with contextlib.closing(trace):
        yield trace


@contextlib.contextmanager
def joined(*paths: Path) -> Iterator[tuple[Trace, Joins]]:
    """The trace as `stats` counts it, and its joins."""
    with read(*paths) as first:
        joins = find(first)
        assert joins is not None
        counted = first.once_more(joins.connections)
    counted.update()
    joins.use_trace(counted)
    with contextlib.closing(counted):
        yield counted, joins


def test_all_of_a_pgbouncer_is_joined() -> None:
    with joined(FRONT, BACK) as (trace, joins):
        told = joins.as_dict()
        assert {key: told[key] for key in ("joined", "ambiguous", "unjoined", "swallowed", "added", "switches", "renamed")} == {
            "joined": 51,
            "ambiguous": 0,
            "unjoined": 0,
            "swallowed": 0,
            "added": 3,
            "switches": 8,
            "renamed": 27,
        }
        (pooler,) = joins.poolers
        assert joins.own_statements(pooler) == [("SET client_encoding='''utf-8''';", 3)]
        assert pooler.names["__asyncpg_stmt_1__"] == "PGBOUNCER_1"
        for place, row in enumerate(trace.rows):
            for other in joins.across(place):
                if joins.state(place) is State.JOINED:
                    assert trace.rows[other].rows == row.rows
                    assert joins.across(other) == (place,)


def test_the_order_of_the_files_says_nothing() -> None:
    with joined(BACK, FRONT) as (_, joins):
        assert joins.as_dict()["joined"] == 51
        assert (joins.letter(joins.poolers[0].front), joins.as_dict()["added"]) == ("B", 3)


def test_what_is_joined_counts_once() -> None:
    with read(FRONT) as front, joined(FRONT, BACK) as (trace, joins):
        alone, both = as_dict(front), as_dict(trace, joins)
        ours = {"wait_ns", "client_ns"}  # until the end of the longer capture
        assert {key: value for key, value in both["totals"].items() if key not in ours} == {
            key: value for key, value in alone["totals"].items() if key not in ours
        }
        assert [one["driver"] for one in both["drivers"]] == ["asyncpg"]
        assert len(both["statements"]) == len(alone["statements"])
        assert sorted(one["leg"] for one in both["connections"]) == ["A", "A", "A", "B", "B"]
        assert [(one["leg"], one["file"], one["connections"]) for one in both["legs"]] == [("A", str(FRONT), 3), ("B", str(BACK), 2)]
        assert [leg.counters.round_trips for leg in legs(trace, joins)] == [51, 54]


def test_two_legs_of_one_capture(tmp_path: Path) -> None:
    with joined(playbook.write(tmp_path / "a.pgtrace", BOTH.format(one=1) + "\nend")) as (trace, joins):
        told = joins.as_dict()
        assert [told[key] for key in ("joined", "swallowed", "added", "ambiguous", "unjoined", "renamed")] == [2, 1, 1, 0, 0, 1]
        states = {row.shape.flight: joins.state(place) for place, row in enumerate(trace.rows) if row.connection == 0}
        assert states["PS → 1Z"] is State.SWALLOWED
        first = next(place for place, row in enumerate(trace.rows) if row.shape.flight.startswith("PBES"))
        assert joins.in_pooler_ns(first) == 4_000_000
        assert trace.totals().round_trips == 3
        assert [joins.leg(connection.index) for connection in trace.connections] == ["A", "B"]


def test_blind_joins_are_called_ambiguous(tmp_path: Path) -> None:
    script = BOTH.format(one=1) + "\nend"
    path = playbook.write(tmp_path / "a.pgtrace", script)
    with read(path) as trace:
        trace.settings[0, "redact"] = "params"
        joins = find(trace)
        assert joins is not None
        told = joins.as_dict()
        assert (told["joined"], told["ambiguous"], told["added"], told["swallowed"]) == (0, 2, 1, 1)


def test_unrelated_captures_both_count(tmp_path: Path) -> None:
    """At the same time, and even with the same work."""
    script = "\n".join(f"{n * 10} F Query SELECT {n}\n{n * 10 + 5} B CommandComplete SELECT 1 | ReadyForQuery I" for n in range(1, 20))
    shifted = "\n".join(
        f"{n * 10 + 2} F Query SELECT {n + 3}\n{n * 10 + 4} B CommandComplete SELECT 1 | ReadyForQuery I" for n in range(1, 20)
    )
    one, other = playbook.write(tmp_path / "a.pgtrace", script + "\nend"), playbook.write(tmp_path / "b.pgtrace", shifted + "\nend")
    with read(one, other) as trace:
        assert find(trace) is None
    with read(one, one) as trace:
        assert find(trace) is None


@pytest.mark.parametrize("path", [FRONT, BACK])
def test_one_side_alone_has_none(path: Path) -> None:
    with read(path) as trace:
        assert find(trace) is None
        assert as_dict(trace)["joins"] is None


@pytest.mark.parametrize("paths", [(FRONT, BACK), (POOLERS.parent / "findings" / "both_sides.pgtrace",)], ids=["two files", "two legs"])
def test_captures_that_grow_are_joined_as_whole_ones(paths: tuple[Path, ...], tmp_path: Path) -> None:
    """Each grows block by block, in turns; what a block of the other one has is then read out of order."""
    grown = [tmp_path / path.name for path in paths]
    ends = []  # of a block: the time of its last record, its file, and how much of the file there is then
    for path, copy in zip(paths, grown, strict=True):
        reader = CaptureReader(path)
        copy.write_bytes(path.read_bytes()[: reader.position])
        shift_ns = reader.header.wall_ns - reader.header.monotonic_ns
        while blocks := reader.read(1):
            ends.append((blocks[-1].records[-1][0] + shift_ns, path, copy, reader.position))
        reader.close()
    with contextlib.closing(Trace.open(grown)) as trace:
        finding = Finding(trace)
        decided = []
        for _, path, copy, size in sorted(ends):
            copy.write_bytes(path.read_bytes()[:size])
            trace.update()
            assert finding.advance()
            decided.append(sum(pooler.joined for pooler in finding.joins.poolers) if finding.joins is not None else 0)
        assert decided[-3] > 0
        finding.finish()
        assert finding.advance()
        assert finding.is_done
        with read(*paths) as once:
            expected, found = find(once), finding.joins
            assert expected is not None
            assert found is not None
            assert told(once, expected) == told(trace, found)
            assert expected.as_dict() == found.as_dict()
            assert expected.connections == found.connections


def told(trace: Trace, joins: Joins) -> dict[tuple[str, int], tuple[State, list[tuple[str, int]]]]:
    """What is known about each row, whatever its place: rows are where their captures were read."""

    def which(place: int) -> tuple[str, int]:
        entry = trace.rows.entry(place)
        return trace.name_of(trace.connections[entry.connection]), entry.opened_ns

    return {which(place): (joins.state(place), [which(one) for one in joins.across(place)]) for place in range(len(trace.rows))}


def nested(paths: list[list[int]]) -> str:
    """Round trips, each through some legs from the driver to a server: a session on each leg."""
    legs = sorted({leg for path in paths for leg in path})
    lines = [f"0 c{leg} {line}" for leg in legs for line in ("F StartupMessage user=app", f"fact leg {'ABCDEFGH'[leg - 1]}")]
    lines += [f"0 c{leg} B AuthenticationOk | ReadyForQuery I" for leg in legs]
    for number, path in enumerate(paths):
        begin = 20 * (number + 1)
        lines += [f"{begin + depth} c{leg} F Query SELECT {number}" for depth, leg in enumerate(path)]
        answered = "B DataRow {0} | CommandComplete SELECT 1 | ReadyForQuery I"
        lines += [f"{begin + 9 + depth} c{leg} {answered.format(number)}" for depth, leg in enumerate(reversed(path))]
    return "\n".join([*lines, "end"])


@pytest.mark.parametrize("paths", [(FRONT, BACK), (POOLERS.parent / "findings" / "both_sides.pgtrace",)], ids=["two files", "two legs"])
def test_one_pooler_is_a_chain_of_one(paths: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Following each round trip finds the sums that were counted when it was joined."""
    with joined(*paths) as (_, joins):
        counted = joins.as_dict()
        monkeypatch.setattr(Joins, "is_chain", True)
        assert joins.as_dict() == counted


CHAIN = [
    *[[1, 2, 3]] * 8,
    *[[1]] * 2,  # the first pooler answers
    *[[1, 2]] * 3,  # the second one does
    [3],  # the second one's own
    *[[2, 3]] * 4,  # the first one's own, which the second one passes on
    *[[2]] * 5,  # the same, which the second one answers: no server has it
]
"""Legs from a driver to a server, through two poolers, for each round trip."""


def test_a_chain_is_one_pooler_in_sums(tmp_path: Path) -> None:
    """The first four are the drivers' round trips by what became of them behind the last pooler, `added` is the rest of the servers'."""
    with read(playbook.write(tmp_path / "a.pgtrace", nested(CHAIN))) as trace:
        joins = find(trace)
        assert joins is not None
        assert [(one.joined, one.swallowed, one.added) for one in joins.poolers] == [(11, 2, 9), (12, 8, 1)]
        told = joins.as_dict()
        text = [*joins_as_text(joins)]
    assert {key: told[key] for key in ("joined", "ambiguous", "unjoined", "swallowed", "added", "switches")} == {
        "joined": 8, "ambiguous": 0, "unjoined": 0, "swallowed": 5, "added": 5, "switches": 0,
    }  # fmt: skip
    assert sum(told[key] for key in ("joined", "ambiguous", "unjoined", "swallowed")) == sum(path[0] == 1 for path in CHAIN)
    assert told["joined"] + told["added"] == sum(path[-1] == 3 for path in CHAIN)
    assert (told["pooler_ns"]["max"], told["before_ns"]["max"]) == (4_000_000, 2_000_000), "a ms each way in each of the two"
    assert text[1].startswith("2 poolers in a chain: 8 round trips reached a server and were joined, 0 ambiguous, 0 unjoined, 5 answered")


TOPOLOGIES = {
    "a chain of two poolers": [[1, 2, 3]],
    "a chain of three": [[1, 2, 3, 4]],
    "a chain in another order of the legs": [[3, 1, 2]],
    "a pooler with two servers": [[1, 2], [1, 3]],
    "a pooler, and a second one with two servers": [[1, 2, 3], [1, 2, 4]],
    "two poolers that have nothing to do with each other": [[1, 2], [3, 4]],
}


@pytest.mark.parametrize("ways", TOPOLOGIES.values(), ids=TOPOLOGIES)
@pytest.mark.parametrize("grows", [False, True], ids=["whole", "growing"])
def test_poolers_are_joined_pairwise_and_count_once(ways: list[list[int]], grows: bool, tmp_path: Path) -> None:
    paths = [ways[number % len(ways)] for number in range(12)]
    file = playbook.write(tmp_path / "a.pgtrace", nested(paths), block_records=3)
    whole = file.read_bytes()
    with contextlib.closing(Trace.open([file])) as trace:
        finding = Finding(trace)
        for size in range(len(whole) // 3, len(whole), len(whole) // 7) if grows else ():
            file.write_bytes(whole[:size])
            trace.update()
            assert finding.advance()
        file.write_bytes(whole)
        trace.update()
        finding.finish()
        assert finding.advance()
        joins = finding.joins
        assert joins is not None
        letters = {(pooler.front[1], back[1]) for pooler in joins.poolers for back in pooler.backs}
        assert letters == {("ABCD"[front - 1], "ABCD"[back - 1]) for path in ways for front, back in pairwise(path)}
        drivers = {"ABCD"[path[0] - 1] for path in ways}
        assert {pooler.front[1] for pooler in joins.of_drivers} == drivers
        assert {key: joins.as_dict()[key] for key in ("joined", "ambiguous", "unjoined", "swallowed", "added")} == {
            "joined": 12, "ambiguous": 0, "unjoined": 0, "swallowed": 0, "added": 0,
        }  # fmt: skip
        for place, row in enumerate(trace.rows):
            if joins.state(place) is State.JOINED:
                (other,) = joins.across(place)
                assert trace.rows[other].label.sql == row.label.sql
        counted = trace.once_more(joins.connections)
    with contextlib.closing(counted):
        while counted.update():
            pass
        assert counted.totals().round_trips == 12
        assert {connection.leg for connection in counted.connections if connection.index not in counted.apart} == drivers
