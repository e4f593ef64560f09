"""A comparison in two columns: what shares a line, and which round trip each half is."""

from __future__ import annotations

from pathlib import Path

from pgtrace.compare.behaviour import Behaviour
from pgtrace.compare.columns import Half, Line, in_columns
from pgtrace.compare.diff import compare
from tests import playbook

START = "F StartupMessage user=app\nB AuthenticationOk | BackendKeyData 1 7777 | ReadyForQuery I\n"
PREPARE = "F Parse s1 SELECT name FROM item WHERE id = $1 | Sync\nB ParseComplete | ReadyForQuery I\n"
RUN = "F Bind - s1 params=7 | Execute - | Sync\nB BindComplete | DataRow tea | CommandComplete SELECT 1 | ReadyForQuery I\n"
UNNAMED = (
    "F Parse - SELECT name FROM item WHERE id = $1 | Bind - - params=7 | Execute - | Sync\n"
    "B ParseComplete | BindComplete | DataRow tea | CommandComplete SELECT 1 | ReadyForQuery I\n"
)
QUERY = "F Query SELECT 1\nB RowDescription n:23 | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I\n"
END = "F Terminate\nc1 close F\n"


def columns(path: Path, *scripts: str) -> list[Line]:
    sides = []
    for number, script in enumerate(scripts):
        side = Behaviour([playbook.write(path / f"{number}.pgtrace", script)])
        side.update()
        sides.append(side)
    found = in_columns(compare(sides[0], sides[1], context=None))
    for side in sides:
        side.close()
    return found


def told(line: Line) -> tuple[str, str]:
    """`2 × BES → 2DCZ @3`, for each half."""

    def of(half: object) -> str:
        return f"{half.times} × {half.step.flight} @{half.round_trip}" if isinstance(half, Half) else "" if half is None else "connection"

    return of(line.first), of(line.second)


def test_the_same_work_in_another_way_shares_lines(tmp_path: Path) -> None:
    lines = columns(tmp_path, START + QUERY + PREPARE + RUN * 3 + QUERY + END, START + QUERY + UNNAMED * 3 + QUERY + END)
    assert [(told(line), line.is_difference) for line in lines] == [
        (("connection", "connection"), False),
        (("1 × Start → KZ @0", "1 × Start → KZ @0"), False),
        (("1 × Q → TDCZ @1", "1 × Q → TDCZ @1"), False),
        (("1 × PS → 1Z @2", "3 × PBES → 12DCZ @2"), True),
        (("3 × BES → 2DCZ @3", ""), True),
        (("1 × Q → TDCZ @6", "1 × Q → TDCZ @5"), False),
        (("1 × Terminate @-1", "1 × Terminate @-1"), False),
    ]


def test_repeats_of_several_steps_are_counted_on(tmp_path: Path) -> None:
    lines = columns(tmp_path, START + (QUERY + UNNAMED) * 4 + RUN + END, START + (QUERY + UNNAMED) * 4 + QUERY + END)
    assert [told(line) for line in lines][2:6] == [
        ("4 × Q → TDCZ @1", "4 × Q → TDCZ @1"),
        ("4 × PBES → 12DCZ @2", "4 × PBES → 12DCZ @2"),
        ("1 × BES → 2DCZ @9", ""),
        ("", "1 × Q → TDCZ @9"),
    ]


def test_connections_that_did_the_same_are_one_line(tmp_path: Path) -> None:
    script = START + QUERY + END
    assert [(told(line), line.is_same, line.is_difference) for line in columns(tmp_path, script, script)] == [
        (("connection", "connection"), True, False)
    ]


def test_a_connection_without_another_is_all_of_one_side(tmp_path: Path) -> None:
    other = START + QUERY + END + "\n10 c2 F StartupMessage user=app\nc2 B AuthenticationOk | ReadyForQuery I\nc2 F Terminate\nc2 close F\n"
    lines = columns(tmp_path, START + QUERY + END, other)
    assert lines[0].first is None
    assert [line.first for line in lines[1:-1]] == [None] * (len(lines) - 2)
    assert lines[-1].is_same
