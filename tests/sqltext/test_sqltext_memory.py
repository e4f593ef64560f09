"""What is worked out of a text is remembered, of long texts few."""

from __future__ import annotations

import pytest

from pgtrace.sqltext.memory import remembered


@pytest.mark.parametrize(("length", "kept"), [(10, 4096), (1_000, 4096), (1_001, 256), (16_000, 256), (16_001, 8)])
def test_how_many_are_kept_depends_on_their_length(length: int, kept: int) -> None:
    asked: list[str] = []

    @remembered
    def first(sql: str) -> str:
        """What it says."""
        asked.append(sql)
        return sql[:1]

    texts = [f"{number:<{length}}" for number in range(kept)]
    for _ in range(2):
        assert [first(text) for text in texts] == [text[:1] for text in texts]
    assert len(asked) == kept
    first("x" * length)
    first(texts[-1])
    assert len(asked) == kept + 1
    first(texts[0])
    assert len(asked) == kept + 2
    assert first.__doc__ == "What it says."
