"""What no finding explains: counts, within a bound, less what the findings that are told explain."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.judge.unexplained import KEPT, OTHERS, UNKNOWN, Unexplained


@dataclass
class Told:
    """As much of a note as explains something."""

    errors: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)


@dataclass
class Failed:
    errors: tuple[str, ...]


def test_most_first_and_what_has_no_sqlstate_is_said() -> None:
    found = Unexplained()
    assert not found
    for states in (("23505",), ("", "42P01"), ("42P01",)):
        found.failed(Failed(states))  # type: ignore[arg-type]
    assert found.errors == {"42P01": 2, "23505": 1, UNKNOWN: 1}
    assert found


def test_an_end_is_explained_by_its_note_alone() -> None:
    found, told, kept_back = Unexplained(), Told(), Told()
    found.ended("reset by the driver", told)  # type: ignore[arg-type]
    found.ended("reset by the driver", kept_back)  # type: ignore[arg-type]
    found.ended("FIN of the server", None)
    left = found.without([told])  # type: ignore[list-item]
    assert left.ends == {"FIN of the server": 1, "reset by the driver": 1}
    assert found.ends == {"reset by the driver": 2, "FIN of the server": 1}
    assert found.without([told, kept_back]).ends == {"FIN of the server": 1}  # type: ignore[list-item]


@given(
    st.lists(st.sampled_from(["23505", "42P01", "40001"]), max_size=20),
    st.dictionaries(st.sampled_from(["23505", "42P01"]), st.integers(0, 30)),
)
def test_nothing_is_explained_below_zero(errors: list[str], explained: dict[str, int]) -> None:
    found = Unexplained()
    found.failed(Failed(tuple(errors)))  # type: ignore[arg-type]
    left = found.without([Told(Counter(explained))])  # type: ignore[list-item]
    for state in set(errors):
        assert left.errors.get(state, 0) == max(0, errors.count(state) - explained.get(state, 0))


@pytest.mark.parametrize("more", [1, 50])
def test_beyond_the_bound_they_are_others(more: int) -> None:
    found = Unexplained()
    found.failed(Failed(tuple(f"{number:05}" for number in range(KEPT + more))))  # type: ignore[arg-type]
    found.failed(Failed(("00000",)))  # type: ignore[arg-type]
    assert (len(found.errors), found.errors[OTHERS], found.errors["00000"]) == (KEPT + 1, more, 2)
