"""Regular expressions without backtracking: Python's `re` agrees on what they find, and nothing makes them slow."""

from __future__ import annotations

import math
import random
import re
import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.regex import patterns
from pgtrace.regex.automaton import Pattern, TooCostly
from pgtrace.regex.patterns import BadPattern

ATOMS = [
    "a", "b", "B", "é", "\\.", "-", " ", ".",
    "\\d", "\\D", "\\w", "\\W", "\\s", "\\S", "\\n", "[ab]", "[^ab]", "[a-c\\d]", "[]x]", "[^\\s-]", "[b-]", "\\b", "\\B", "^", "$",
]  # fmt: skip
NOT_REPEATED = ("\\b", "\\B", "^", "$")
QUANTIFIERS = ["*", "+", "?", "*?", "{2}", "{1,}", "{0,2}", "{,3}?"]


def expressions() -> st.SearchStrategy[str]:
    atoms = st.sampled_from(ATOMS)
    repeated = st.tuples(st.sampled_from([one for one in ATOMS if one not in NOT_REPEATED]), st.sampled_from(QUANTIFIERS)).map("".join)

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        joined = st.lists(inner, min_size=1, max_size=3).map("".join)
        chosen = st.lists(inner, min_size=1, max_size=3).map("|".join)
        grouped = st.tuples(st.sampled_from(["(", "(?:"]), chosen, st.just(")"), st.sampled_from(["", *QUANTIFIERS])).map("".join)
        return joined | grouped

    return st.recursive(atoms | repeated, grown, max_leaves=5)


def as_python(expression: str) -> re.Pattern[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # `[[` may come to mean something else some day
        return re.compile(expression, re.IGNORECASE | re.DOTALL)


@settings(max_examples=600)
@given(expressions(), st.lists(st.text("abcABé.-_ x1\n", min_size=1, max_size=6), max_size=5))
def test_it_finds_what_pythons_re_finds(expression: str, texts: list[str]) -> None:
    # Expressions and texts are short because Python's re is not linear: nested repetitions on a dozen letters can keep it busy for good.
    python, own = as_python(expression.replace("$", "\\Z")), Pattern(expression)  # Python's $ also stands before a last line break
    for text in texts:
        assert own.search(text) is (python.search(text) is not None), (expression, text)


@given(st.text("ab(|)[]{}*+?\\^$.-,1d", max_size=12))
def test_what_it_takes_is_an_expression_and_means_the_same(expression: str) -> None:
    try:
        own = Pattern(expression)
    except BadPattern as error:
        assert 0 <= error.position <= len(expression)  # noqa: PT017 - most texts are none
        return
    for text in ("", "a", "ab1", "b.d", "{,}"):
        assert own.search(text) is (as_python(expression).search(text) is not None)


@pytest.mark.parametrize(
    ("expression", "position"),
    [
        ("a)", 1), ("(a", 0), ("[a", 0), ("a**", 2), ("x*+", 2), ("*a", 0), ("a|+", 2), ("^*", 0), ("(a)\\1", 3), ("(?=a)", 0),
        ("(?i)a", 0), ("(?P<n>a)", 0),
        ("a\\", 1), ("\\q", 0), ("a{3,1}", 1), ("a{99999}", 1), ("[z-a]", 1), ("[a-\\d]", 1), ("(" * 50 + ")" * 50, 40),
    ],
)  # fmt: skip
def test_what_is_refused_points_at_its_place(expression: str, position: int) -> None:
    with pytest.raises(BadPattern) as raised:
        patterns.parse(expression)
    assert raised.value.position == position


LONG = 256 * 1024
WORDS = "select a.b, c from orders where x = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' and id in (1, 2, 3)\n"
RANDOM = random.Random(7)
TEXTS = {
    "sql": (WORDS * (LONG // len(WORDS) + 1))[:LONG],
    "a": "a" * LONG,
    "a!": "a" * LONG + "!",
    "ab": "".join(RANDOM.choice("ab") for _ in range(LONG)),
    "blank": " " * LONG,
}
EVIL = [
    "(a+)+b!", "(a|a)*b!", "(a|aa)+$", "(a*)*b!", "((a*)*)*b!", "([a-zA-Z]+)*!",
    "(.*)*x!", "(a|b|ab)*c!", "(x+x+)+y", "(.*a){25}!", ".*.*.*.*.*=x!", "\\s*\\s*\\s*$!",
    "^(([a-z])+.)+[A-Z]([a-z])+$", "(\\w+\\s?)*!x", "(a?){60}a{60}!", "^(a?)*?$!", "(?:(?:a|b)?){100}c", "(a|b)*a(a|b){12}c",
    "[ab]*a[ab]{200}c", "(.?){300}!!",
    "(a{0,30}){30}b", "((((a{9}){9}){9}){9}){9}", "(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)[x][y]", "\\b(a+|b+)*\\b!x", "(^a|b$)*(a|b|ab)*!x",
]  # fmt: skip


@pytest.mark.parametrize("expression", EVIL)
def test_evil_expressions_end_in_time(expression: str) -> None:
    """A quarter of a megabyte takes a tenth of a second of processor time. An expression that
    backtracks takes hours; 0.5 s leave room for a slow machine, and the best of three counts."""
    for text in TEXTS.values():
        best = math.inf
        for _ in range(3):
            begun = time.process_time()
            try:
                Pattern(expression).search(text)
            except (BadPattern, TooCostly):
                pass
            best = min(best, time.process_time() - begun)
            if best < 0.5:
                break
        assert best < 0.5


def test_an_expression_that_needs_too_many_states_is_given_up_always() -> None:
    pattern = Pattern("(a|b)*a(a|b){12}c")
    with pytest.raises(TooCostly):
        pattern.search(TEXTS["ab"])
    with pytest.raises(TooCostly):
        pattern.search(TEXTS["ab"])
    assert Pattern("(a|b)*a(a|b){12}c").search("ab" * 6 + "a" * 13 + "c")


def test_many_texts_share_what_was_built() -> None:
    pattern = Pattern("select.*from +(users|orders).*where")
    begun = time.process_time()
    found = sum(pattern.search(f"SELECT x{n} FROM orders o JOIN t{n} USING (id) WHERE o.id = ${n % 7}") for n in range(20_000))
    assert found == 20_000
    assert time.process_time() - begun < 1.0
