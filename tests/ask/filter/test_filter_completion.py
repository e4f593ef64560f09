"""What is offered while a filter is typed: words, and the values that occur with the number of round trips they select."""

from __future__ import annotations

import pytest

from pgtrace.ask.filter import completion, parse
from pgtrace.ask.filter.completion import Occurring
from pgtrace.ask.filter.values import COUNTERS
from pgtrace.ask.filter.words import KEYED, WORDS
from pgtrace.trace.feed import Feed
from pgtrace.trace.trace import Trace


def fed(trace: Trace) -> Occurring:
    occurring = Occurring(trace)
    feed = Feed(trace)
    feed.subscribe(occurring)
    feed.advance()
    return occurring


@pytest.mark.parametrize(
    ("text", "start", "typed", "word"),
    [
        ("", 0, "", None),
        ("conn:2 d", 7, "d", None),
        ("conn:2 ", 7, "", None),
        ("conn:2 driver:as", 14, "as", "driver"),
        ("not (type = Pa", 12, "Pa", "type"),
        ("app ~ ", 6, "", "app"),
        ('app:"my w', 4, "my w", "app"),
        ("mark:'it", 5, "it", "mark"),
        ("nothing:x", 0, "nothing:x", None),
    ],
)
def test_what_the_cursor_is_in(text: str, start: int, typed: str, word: str | None) -> None:
    found = completion.expected(text, len(text))
    assert (found.start, found.typed, found.word.name if found.word is not None else None) == (start, typed, word)
    assert completion.expected(text + " and users", len(text)) == found


def test_words_are_ready_for_their_value() -> None:
    assert [choice.text for choice in completion.words("d")] == ["driver:", "depth > ", "db:"]
    assert [choice.text for choice in completion.words("ERR")] == ["error"]
    assert [KEYED.get(choice.text, choice.text.rstrip(" :>")) for choice in completion.words("")] == list(WORDS)


def test_the_counters_are_offered_after_their_word() -> None:
    assert [choice.text for choice in completion.counter_words("count.statements")] == ["count.statements_reused"]
    offered = [choice.text for choice in completion.counter_words("count.")]
    assert sorted(offered) == sorted(f"count.{name}" for name in COUNTERS.values())
    for text in offered:
        parse(text)


def test_values_that_occur_with_their_numbers(shop: Trace) -> None:
    occurring = fed(shop)
    found = {name: [(choice.text, choice.round_trips) for choice in occurring.values(word)] for name, word in WORDS.items()}
    assert sorted(found["driver"]) == [("asyncpg", 4), ("unknown", 4)]
    assert sorted(found["conn"]) == [("1", 4), ("2", 4)]
    assert found["stmt"] == [("__asyncpg_stmt_1__", 2)]
    assert found["sqlstate"] == [("23505", 1)]
    assert found["mark"] == [("test_checkout", 2)]
    assert dict(found["type"])["Query"] == 3
    assert {choice.text for choice in occurring.values(WORDS["type"], "PARSE")} == {"Parse", "ParseComplete"}
    assert found["ms"] == found["sql"] == []


def test_each_value_selects_what_it_says(shop: Trace) -> None:
    """Of what is complete: the last row is still open."""
    occurring = fed(shop)
    offered = 0
    for word in WORDS.values():
        for choice in occurring.values(word):
            selection = parse(f"{word.name}:{choice.text}").over(shop)
            assert (
                sum(selection.selects(place) and not shop.rows[place].is_open for place in range(len(shop.rows))) == choice.round_trips
            ), choice
            offered += 1
    assert offered > 30


@pytest.mark.parametrize("value", ["plain", "two words", "it's", 'say "x"', "a(b)", "__x__"])
def test_values_are_quoted_as_they_are_read(value: str) -> None:
    term = parse(f"app:{completion.quoted(value)}").tree
    assert term.test(value)  # type: ignore[union-attr, arg-type]
    assert not term.test(value + "x")  # type: ignore[union-attr, arg-type]
