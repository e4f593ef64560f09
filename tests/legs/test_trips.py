"""Keys of round trips: what poolers change makes no difference, and everything else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtrace.legs.trips import Lost, Trip, Trips
from pgtrace.trace.trace import Trace
from tests import playbook

ONE = (0, "")
ALONE = "F Parse s1 SELECT $1 | Sync\nB ParseComplete | ReadyForQuery I\n"


def read(path: Path, script: str) -> list[Trip | Lost]:
    trace = Trace.open([playbook.write(path, script)])
    trace.update()
    trips = Trips(trace, [ONE])
    found = [trip for side, trip in [*trips.new(is_all=True), *trips.open()] if side == ONE]
    trips.close()
    trace.close()
    return found


def last(path: Path, script: str) -> Trip:
    found = read(path, script)[-1]
    assert isinstance(found, Trip)
    return found


BIND = "Bind - {name} params=42,NULL in=1 out=1 | Execute - | Sync"
REPLY = "BindComplete | DataRow 42 ×2 | CommandComplete SELECT 2 | ReadyForQuery I"
PREPARED = "F Parse {name} SELECT $1 | Sync\nB ParseComplete | ReadyForQuery I\n"


@pytest.mark.parametrize(
    ("behind", "is_same"),
    [
        (PREPARED.format(name="p") + f"F {BIND.format(name='p')}\nB {REPLY}", True),
        (f"F Parse p SELECT $1 | {BIND.format(name='p')}\nB ParseComplete | {REPLY}", True),
        (PREPARED.format(name="p") + f"F Close S x | {BIND.format(name='p')}\nB CloseComplete | {REPLY}", True),
        (PREPARED.format(name="p") + f"F {BIND.format(name='p')}\nB ParameterStatus TimeZone UTC | NoticeResponse hm | {REPLY}", True),
        (PREPARED.format(name="p") + f"F Flush | {BIND.format(name='p')}\nB {REPLY}", True),
        (PREPARED.format(name="p").replace("$1", "$2") + f"F {BIND.format(name='p')}\nB {REPLY}", False),
        (PREPARED.format(name="p") + f"F {BIND.format(name='p').replace('42', '43')}\nB {REPLY}", False),
        (PREPARED.format(name="p") + f"F {BIND.format(name='p').replace('in=1', 'in=0')}\nB {REPLY}", False),
        (PREPARED.format(name="p") + f"F {BIND.format(name='p').replace('Execute -', 'Execute - 7')}\nB {REPLY}", False),
        (PREPARED.format(name="p") + f"F {BIND.format(name='p')}\nB {REPLY.replace('×2', '×3')}", False),
        (PREPARED.format(name="p") + f"F {BIND.format(name='p')}\nB {REPLY.replace('DataRow 42', 'DataRow 43')}", False),
        (PREPARED.format(name="p") + f"F {BIND.format(name='p')}\nB {REPLY.replace('SELECT 2', 'SELECT 3')}", False),
        (PREPARED.format(name="p") + f"F {BIND.format(name='p')}\nB {REPLY.replace('Query I', 'Query T')}", False),
    ],
)
def test_what_makes_a_key(tmp_path: Path, behind: str, is_same: bool) -> None:
    front = last(tmp_path / "a.pgtrace", PREPARED.format(name="s") + f"F {BIND.format(name='s')}\nB {REPLY}\nend")
    back = last(tmp_path / "b.pgtrace", behind + "\nend")
    assert (front.keys == back.keys) is is_same
    assert front.ends_idle
    assert front.names == ("s",)
    assert "p" in back.names


def test_a_statement_prepared_earlier_is_unknown(tmp_path: Path) -> None:
    script = f"F {BIND.format(name='s')}\nB {REPLY}\nend"
    assert last(tmp_path / "a", script).has_unknown
    assert not last(tmp_path / "b", PREPARED.format(name="s") + script).has_unknown


def test_an_error_is_its_sqlstate(tmp_path: Path) -> None:
    script = 'F Query SELECT x\nB ErrorResponse 26000 prepared statement "{}" does not exist | ReadyForQuery I\nend'
    assert last(tmp_path / "a", script.format("s1")).keys == last(tmp_path / "b", script.format("PGBOUNCER_1")).keys
    assert last(tmp_path / "c", script.replace("26000", "42P05")).keys != last(tmp_path / "d", script).keys


def test_a_parse_alone_counts_by_its_sql_or_not_at_all(tmp_path: Path) -> None:
    alone = last(tmp_path / "a", ALONE + "end")
    assert alone.keys == last(tmp_path / "b", ALONE.replace("s1", "s2") + "end").keys
    assert alone.keys != last(tmp_path / "c", ALONE.replace("$1", "$2") + "end").keys
    assert alone.bare == last(tmp_path / "d", "F Sync\nB ReadyForQuery I\nend").keys


def test_a_pipeline_has_a_key_for_each_sync(tmp_path: Path) -> None:
    one, other = "Bind - - params=1 | Execute - | Sync", "Bind - - params=2 | Execute - | Sync"
    both = last(tmp_path / "a", f"F {one} | {other}\nB {REPLY} | {REPLY}\nend")
    parts = read(tmp_path / "b", f"F {one}\nB {REPLY}\nF {other}\nB {REPLY}\nend")
    assert both.keys == tuple(key for part in parts if isinstance(part, Trip) for key in part.keys)
    assert len(both.keys) == 2


COPY_SENT = ["Query COPY item FROM STDIN", "CopyData 1", "CopyData 2", "CopyData 3"]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("end", ["CopyDone", "CopyFail no more"])
@pytest.mark.parametrize("ahead", range(1, 6))
def test_copy_data_may_be_sent_ahead(tmp_path: Path, ahead: int, end: str, at_once: bool) -> None:
    """However much of it, the last message included: the keys are those of a driver that waits."""
    answered = "CommandComplete COPY 1" if end == "CopyDone" else "ErrorResponse 57014 no more"
    sent = [*COPY_SENT, end]

    def keys(path: Path, ahead: int, between: str) -> tuple[int, ...]:
        lines = [f"F {between.join(part)}" for part in (sent[:ahead], sent[ahead:]) if part]
        lines.insert(1, "B CopyInResponse 0")
        script = "\n".join(
            [*lines, f"B {answered} | ReadyForQuery I", "F Query SELECT 1", "B CommandComplete SELECT 1 | ReadyForQuery I", "end"]
        )
        return tuple(key for trip in read(path, script) if isinstance(trip, Trip) for key in trip.keys)

    found = keys(tmp_path / "ahead", ahead, " | " if at_once else "\nF ")
    assert found == keys(tmp_path / "waits", 1, " | ")
    assert len(found) == 3


def test_the_set_up_is_none_and_a_flush_ends_no_transaction(tmp_path: Path) -> None:
    found = read(tmp_path / "a", "F Parse s SELECT 1 | Describe S s | Flush\nB ParseComplete | ParameterDescription | NoData\nend")
    assert [type(one) is Trip and one.ends_idle for one in found] == [False]


def test_a_driver_that_left_is_cut(tmp_path: Path) -> None:
    found = last(tmp_path / "a", "F Query SELECT 1\nc1 ends F RST\nc1 close F\nend")
    assert found.is_cut
    assert found.asked == last(tmp_path / "b", "F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\nend").asked


def test_a_gap_is_told_and_its_round_trip_has_no_key(tmp_path: Path) -> None:
    found = read(tmp_path / "a", "F Query SELECT 1\nc1 gap 100\nF Query SELECT 2\nend")
    assert any(isinstance(one, Lost) for one in found)
    assert not any(one.keys for one in found if isinstance(one, Trip))
