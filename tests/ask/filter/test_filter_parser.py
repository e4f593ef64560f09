"""What filters mean, and where they go wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.ask.filter import parse
from pgtrace.ask.filter.tree import All, Any, Node, Not, NumberTerm, TextTerm
from pgtrace.errors import FilterError, UsageError


def shown(node: Node, text: str) -> str:
    """The tree with brackets around everything."""
    if isinstance(node, TextTerm | NumberTerm):
        return text[node.start : node.end]
    if isinstance(node, Not):
        return f"!{shown(node.part, text)}"
    return "(" + (" & " if isinstance(node, All) else " | ").join(shown(part, text) for part in node.parts) + ")"


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("", "()"),
        ("users", "users"),
        ("conn:2 users", "(conn:2 & users)"),
        ("a or b c", "(a | (b & c))"),
        ("a b or c", "((a & b) | c)"),
        ("not a b", "(!a & b)"),
        ("not (a b)", "!(a & b)"),
        ("not not not a", "!a"),
        ("a AND(b OR Not c)", "(a & (b | !c))"),
        ("(a)(b)", "(a & b)"),
        ("error tx", "(error & tx)"),
        ("Driver = asyncpg and ms>10", "(Driver = asyncpg & ms>10)"),
        ('sql ~ "a (b)" "or"', '(sql ~ "a (b)" & "or")'),
        ("sql ~ a=b:c", "sql ~ a=b:c"),
        ("$1 * count", "($1 & * & count)"),
    ],
)
def test_what_binds_what(text: str, means: str) -> None:
    assert shown(parse(text).tree, text) == means


@pytest.mark.parametrize(
    ("text", "position", "length", "reason"),
    [
        ("dirver:x", 0, 6, "unknown filter word 'dirver'; did you mean 'driver'?"),
        ("zz:x", 0, 2, "the words are driver conn sql"),
        ("a::int", 0, 1, "in quotes"),
        ("conn 2", 0, 4, "`conn` needs a value: conn:2"),
        ("error and rows", 10, 4, "`rows` needs a value"),
        ("users and", 9, 1, "missing"),
        ("users and or x", 10, 2, "missing"),
        ("or x", 0, 2, "missing"),
        ("()", 1, 1, "missing"),
        ("(users", 0, 1, "no `)`"),
        ("users)", 5, 1, "without a `(`"),
        ("x > ", 0, 1, "unknown filter word"),
        ("ms >", 4, 1, "needs a value"),
        ("ms > ten", 5, 3, "not a number"),
        ("ms > 1e3", 5, 3, "not a number"),
        ("ms ~ 1", 0, 4, "works with `:` `<`"),
        ("driver > x", 0, 8, "works with `:` `~`"),
        ("conn != 2", 0, 7, "not conn:"),
        ("conn:x", 5, 1, "not a connection"),
        ("type:Prase", 5, 5, "did you mean Parse?"),
        ("type:zzzzzz", 5, 6, "unknown message"),
        ("fmt:q", 4, 1, "text, binary, mixed"),
        ("tx:''", 3, 2, "Idle, Transaction, Error"),
        ("sql ~ (a|b)", 6, 1, "in quotes"),
        ("sql ~ a**b", 8, 1, "repetition"),
        ("sql ~ 'it''s a**'", 15, 1, "repetition"),
        ('sql ~ "\\1"', 6, 4, "back references"),
        ("sql ~ 'a{100}{9}'", 13, 1, "repetition"),
        ("sql ~ '(a{100}){100}'", 6, 15, "too large"),
        ("> 3", 0, 1, "no word before `>`"),
        ('a "b', 2, 2, 'missing closing "'),
        ("(" * 41 + "a" + ")" * 41, 40, 1, "more than 40 deep"),
    ],
)
def test_errors_point_at_the_place(text: str, position: int, length: int, reason: str) -> None:
    with pytest.raises(FilterError) as raised:
        parse(text)
    error = raised.value
    assert (error.position, max(1, error.length)) == (position, length)
    assert reason in error.reason
    first, shown, carets = str(error).splitlines()
    assert first == f"filter: {error.reason}"
    assert shown == f"    {text}"
    assert carets == "    " + " " * position + "^" * length


def test_an_error_is_a_wrong_use_and_shows_no_control_characters() -> None:
    with pytest.raises(UsageError) as raised:
        parse("a\x1b]0;x\x07\n and")
    assert raised.value.exit_code == 2
    assert str(raised.value).splitlines()[1:] == ["    a ]0;x   and", "                ^"]


PIECES = [*"ab1:=<>~!()\"' \\[*|.$-", "and ", "or ", "not ", "sql", "ms", "conn", "tx", "error", "type", "fmt"]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_any_text_is_a_filter_or_an_error_at_a_place_in_it(text: str) -> None:
    try:
        parse(text)
    except FilterError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017 - most texts are none
        assert error.position + error.length <= len(text) + 1  # noqa: PT017


def test_length_is_no_danger() -> None:
    assert len(parse(" or ".join(["users"] * 5_000)).tree.parts) == 5_000  # type: ignore[union-attr]
    assert isinstance(parse("not " * 5_001 + "users").tree, Not)
    assert isinstance(parse(f"{'users ' * 5_000}").tree, All)
    assert isinstance(parse("a or b").tree, Any)
