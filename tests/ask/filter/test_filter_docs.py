"""docs/filter.md against the code: its words, its examples, and every sentence its grammar can make."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.ask.filter import parse
from pgtrace.ask.filter.tree import TextTerm
from pgtrace.ask.filter.values import COUNTERS, MESSAGES
from pgtrace.ask.filter.words import KEYED, OPERATORS, WORDS, ValueKind
from pgtrace.errors import FilterError
from pgtrace.regex.automaton import MOST_NODES
from tests.corpus import NIGHTLY

PAGE = (Path(__file__).parent.parent.parent.parent / "docs" / "filter.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([\w.]+)` \| (.*) \| (.*) \| `(.*)` \|$", PAGE, re.MULTILINE)


def test_every_word_is_there_with_its_meaning_and_its_example() -> None:
    assert [(name, meaning, example) for name, meaning, _, example in ROWS] == [
        (word.name, word.meaning, word.example) for word in WORDS.values()
    ]


def test_the_letters_are_there() -> None:
    for name, _, takes, _ in ROWS:
        if WORDS[name].letters:
            assert takes == ", ".join(f"`{letter}`" for letter in WORDS[name].letters)


@pytest.mark.parametrize("example", [example for _, _, _, example in ROWS])
def test_every_example_is_a_filter_on_its_word(example: str) -> None:
    tree = parse(example).tree
    assert isinstance(tree, TextTerm) == (tree.word.kind is not ValueKind.NUMBER)  # type: ignore[union-attr]
    assert example.startswith(tree.word.name)  # type: ignore[union-attr]


def test_the_commands_of_the_page_are_filters() -> None:
    commands = re.findall(r"^ {4}pgtrace \w+ --filter '(.*?)' ", PAGE, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        parse(command)


def test_the_error_of_the_page_is_the_one_that_comes() -> None:
    command = re.search(r"\$ pgtrace stats --filter '(.*?)'.*\n((?:    .*\n)+)", PAGE)
    assert command is not None
    with pytest.raises(FilterError) as raised:
        parse(command[1])
    assert [f"    pgtrace: {raised.value}".splitlines()[0], *[f"    {line}" for line in str(raised.value).splitlines()[1:]]] == command[
        2
    ].splitlines()


def test_the_bound_of_the_page_is_the_codes() -> None:
    assert f"more than {MOST_NODES:,} nodes" in PAGE


# The grammar, read as it stands on the page, makes sentences.

GRAMMAR = PAGE.split("```abnf\n")[1].split("```")[0]
RULES = dict(re.findall(r"^(\w+) +=((?:.*\n)(?:[ \t].*\n|\n)*)", GRAMMAR, re.MULTILINE))
TOKEN = re.compile(
    r"""\s+|;.*|(?P<string>"[^"]*")|(?P<prose><[^>]*>)|(?P<range>%x[0-9A-F]+(?:-[0-9A-F]+)?)|(?P<times>\d*\*?\d*(?=["<(\[A-Za-z]))|(?P<name>[A-Za-z-]+)|(?P<sign>[()\[\]/])"""
)
CORE = {"SP": " ", "HTAB": "\t", "CR": "\r", "LF": "\n", "DQUOTE": '"'}
NOT_SEARCHED = re.compile(r"[~:=<>]|!=|[A-Za-z_]\w*(<=|>=|!=|[~:=<>])")
RUN = st.from_regex(r"[!#-&*-\x7e\u0100-\u0120][!-'*-\x7e\u0100-\u0120]{0,6}", fullmatch=True)
EXPRESSION = st.sampled_from(["^select", "a|b", "\\d+", '"(a|b){2} c"', "'it''s'", '"a ""b"""', ".", "__asyncpg_stmt_"])
PROSE = {
    "search": RUN.filter(lambda text: text.lower() not in (*WORDS, *OPERATORS) and not NOT_SEARCHED.match(text)),
    "expression": EXPRESSION,
    "message": st.sampled_from([*MESSAGES.values(), "unknown", "parse"]),
    "counter": st.sampled_from([*COUNTERS.values(), "ROWS", "frontend_messages.parse"]),
}


class Sentences:
    """Strategies for the sentences of a rule."""

    def __init__(self) -> None:
        self._rules: dict[str, st.SearchStrategy[str]] = {"ws": st.sampled_from([" ", "\t", "\r\n"])}

    def of(self, rule: str) -> st.SearchStrategy[str]:
        if rule in CORE:
            return st.just(CORE[rule])
        if rule in ("ALPHA", "DIGIT"):
            return st.sampled_from("aZ" if rule == "ALPHA" else "019")
        if rule not in self._rules:
            self._rules[rule] = st.deferred(lambda: self._read(rule))
        return self._rules[rule]

    def _read(self, rule: str) -> st.SearchStrategy[str]:
        tokens = [(str(found.lastgroup), found[0]) for found in TOKEN.finditer(RULES[rule]) if found.lastgroup and found[0]]
        strategy, rest = self._alternatives(rule, tokens)
        assert not rest
        return strategy

    def _alternatives(self, rule: str, tokens: list[tuple[str, str]]) -> tuple[st.SearchStrategy[str], list[tuple[str, str]]]:
        ways = []
        while True:
            parts: list[st.SearchStrategy[str]] = []
            while tokens and tokens[0][1] not in ("/", ")", "]"):
                part, tokens = self._repeated(rule, tokens)
                parts.append(part)
            ways.append(st.tuples(*parts).map("".join))
            if not tokens or tokens[0][1] != "/":
                return st.one_of(ways), tokens
            tokens = tokens[1:]

    def _repeated(self, rule: str, tokens: list[tuple[str, str]]) -> tuple[st.SearchStrategy[str], list[tuple[str, str]]]:
        kind, text = tokens[0]
        if kind != "times":
            return self._one(rule, tokens)
        least, star, most = text.partition("*")
        part, tokens = self._one(rule, tokens[1:])
        if not star:
            return st.lists(part, min_size=int(least), max_size=int(least)).map("".join), tokens
        return st.lists(part, min_size=int(least or 0), max_size=min(2, int(most or 2))).map("".join), tokens

    def _one(self, rule: str, tokens: list[tuple[str, str]]) -> tuple[st.SearchStrategy[str], list[tuple[str, str]]]:
        (kind, text), *tokens = tokens
        if text in ("(", "["):
            inner, tokens = self._alternatives(rule, tokens)
            return (st.one_of(st.just(""), inner) if text == "[" else inner), tokens[1:]
        if kind == "string":
            return st.sampled_from([text[1:-1], text[1:-1].upper(), text[1:-1].lower()]), tokens
        if kind == "prose":
            return PROSE[rule], tokens
        if kind == "range":
            first, _, last = text[2:].partition("-")
            characters = map(chr, range(int(first, 16), min(int(last or first, 16), 0x250) + 1))
            return st.sampled_from([one for one in characters if one == " " or not (one.isspace() or one in "\x7f\x85")]), tokens
        return self.of(text), tokens


def test_the_grammar_is_whole() -> None:
    for body in RULES.values():
        leftover = TOKEN.sub("", body)
        assert not leftover, leftover
    named = {found["name"] for body in RULES.values() for found in TOKEN.finditer(body) if found["name"]}
    assert named - set(CORE) - {"ALPHA", "DIGIT"} == set(RULES) - {"filter"}
    words = {next((beginning for beginning, word in KEYED.items() if word == name), name) for name in WORDS}
    assert words <= set(re.findall(r'"(\w+\.?)"', GRAMMAR))


@settings(max_examples=300 if NIGHTLY else 60)
@given(Sentences().of("filter"))
def test_every_sentence_of_the_grammar_is_a_filter(sentence: str) -> None:
    parse(sentence)
