"""What many rows share: equal ones are kept once, and both tables stay within their bounds."""

from __future__ import annotations

import pytest

from pgtrace.session.failures import Failure
from pgtrace.trace import interned, row
from pgtrace.trace.interned import Interned
from pgtrace.trace.row import NO_FLIGHT, Label, RowKind, Shape


@pytest.fixture
def tables() -> Interned:
    return Interned()


def test_what_is_equal_is_kept_once(tables: Interned) -> None:
    shape, label = Shape(RowKind.ROUND_TRIP, "Q → CZ"), Label("SELECT 1")
    assert tables.shape(shape) == tables.shape(shape._replace()) != tables.shape(shape._replace(depth=2))
    assert tables.label(label) == tables.label(label._replace()) != tables.label(label._replace(sqlstate="42601"))


def test_shapes_beyond_the_bound_have_no_flight(tables: Interned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interned, "SHAPES_KEPT", 3)
    shapes = [Shape(RowKind.ROUND_TRIP, f"Q → {'D' * count}CZ", b"Q", b"D" * count + b"CZ", errors=count % 2) for count in range(50)]
    numbers = [tables.shape(shape) for shape in shapes]
    assert [tables.shape_at(number) for number in numbers[:2]] == shapes[:2]
    assert {tables.shape_at(number) for number in numbers[2:]} == {
        Shape(RowKind.ROUND_TRIP, NO_FLIGHT, errors=errors, sent_flight=NO_FLIGHT) for errors in (0, 1)
    }


def test_shapes_are_bounded_in_bytes(tables: Interned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interned, "SHAPE_BYTES_KEPT", 5_000)
    kept = [tables.shape_at(tables.shape(Shape(RowKind.ROUND_TRIP, "Q", b"Q" * 1000, bytes([one])))).flight for one in range(10)]
    assert kept == ["Q"] * 4 + [NO_FLIGHT] * 6


def test_labels_beyond_the_bound_say_so(tables: Interned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interned, "LABELS_KEPT", 3)
    numbers = [tables.label(Label(f"SELECT {one}")) for one in range(5)]
    assert [tables.label_at(number).sql for number in numbers] == ["SELECT 0", "SELECT 1", *["… not kept: too many different texts"] * 3]
    assert tables.label(Label("SELECT 1")) == numbers[1]


@pytest.mark.parametrize(
    "label",
    [
        Label("x" * 1000),
        Label("", sqlstate="x" * 1000),
        Label("", message="x" * 1000),
        Label("", end="x" * 1000),
        Label("", groups=tuple(range(25))),
        Label("", shares=tuple(map(row.Share, range(7)))),
        Label("", failures=(Failure("", "", "x" * 800),)),
    ],
    ids=["SQL", "SQLSTATE", "message", "end", "groups", "shares", "failures"],
)
def test_labels_are_bounded_in_bytes(tables: Interned, monkeypatch: pytest.MonkeyPatch, label: Label) -> None:
    monkeypatch.setattr(interned, "LABEL_BYTES_KEPT", 5_500)
    numbers = [tables.label(label._replace(sql=f"{one}{label.sql}")) for one in range(10)]
    assert [number > 0 for number in numbers] == [True] * 5 + [False] * 5


def test_a_long_label_is_cut(tables: Interned) -> None:
    groups = tuple(range(2 * row.GROUPS_KEPT))
    text = "x" * (row.LONGEST_SQL + 1)
    kept = tables.label_at(tables.label(Label(text, text, text, groups, others=groups, shares=tuple(map(row.Share, groups)))))
    assert [len(part) for part in (kept.sql, kept.sqlstate, kept.message)] == [row.LONGEST_SQL] * 3
    assert kept.groups == groups[: row.GROUPS_KEPT]
    assert list(kept.shares_by_group) == [(group, row.Share(group)) for group in kept.groups]


def test_equal_shares_are_one_object(tables: Interned, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever texts have them; and no more of them are remembered than the bound."""
    monkeypatch.setattr(interned, "SHARES_KEPT", 3)
    labels = [tables.label_at(tables.label(Label(f"SELECT {one}", groups=(one,), shares=(row.Share(one // 4),)))) for one in range(8)]
    assert len({id(label.shares) for label in labels}) == 2
    assert [label.shares for label in labels] == [(row.Share(one // 4),) for one in range(8)]
    for one in range(10):
        tables.label(Label("", shares=(row.Share(one),)))
    assert len(tables._shares) <= 3


def test_groups_without_a_message_come_after_those_with_one(tables: Interned) -> None:
    many = tuple(range(row.GROUPS_KEPT - 1))
    kept = tables.label_at(tables.label(Label("", groups=many, others=(-1, -2, -3), shares=(row.Share(1),) * (len(many) + 3))))
    assert [group for group, _ in kept.shares_by_group] == [*many, -1]
