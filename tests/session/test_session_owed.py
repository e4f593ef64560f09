"""What the backend owes at a moment, in a few bytes, and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgtrace.session import owed
from pgtrace.session.owed import MOST_BEFORE, Owed

KINDS = st.integers(owed.STARTUP, owed.COPY_END)


def item(kind: int, copying: bool = False) -> Owed:
    made = Owed(kind, 1)
    made.copying = copying
    return made


@given(st.lists(st.tuples(KINDS, st.booleans()), max_size=12), st.integers(0, 11), st.booleans(), st.booleans(), st.booleans())
def test_a_note_is_the_queue(queue: list[tuple[int, bool]], place: int, copies: bool, skipping: bool, copy_both: bool) -> None:
    items = [item(*one) for one in queue]
    copying = items[place % len(items)] if copies and items else None
    again, its_copying, its_skipping, its_both = owed.restored(owed.before(items, copying, skipping=skipping, copy_both=copy_both))
    assert [(one.kind, one.copying) for one in again] == queue
    assert (its_skipping, its_both) == (skipping, copy_both)
    assert (again.index(its_copying) if its_copying else None) == (items.index(copying) if copying else None)


def test_nothing_owed_is_nothing_kept_and_so_is_too_much() -> None:
    assert owed.before([], None, skipping=False, copy_both=False) == b""
    assert len(owed.before([item(owed.SYNC)] * MOST_BEFORE, None, skipping=True, copy_both=False)) == MOST_BEFORE + 1
    assert owed.before([item(owed.SYNC)] * (MOST_BEFORE + 1), None, skipping=True, copy_both=False) == b""
    assert owed.restored(b"") == ([], None, False, False)


def test_every_kind_has_a_name() -> None:
    assert len(owed.NAMES) == owed.COPY_END + 1
    assert owed.NAMES[owed.EXECUTE] == "Execute"
