"""Prose in plain English: no phrases that read translated, lines of 100 columns, short sentences.

Checked are the comments, docstrings and string literals of the package, and the pages. What counts
as prose on a page is what is neither code, nor a table, nor a heading.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import click
import pytest

from pgtrace.cli import COMMANDS, root

ROOT: Final = Path(__file__).parent.parent
MODULES: Final = sorted((ROOT / "pgtrace").rglob("*.py"))
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
COLUMNS: Final = 100
WORDS: Final = 35
TRANSLATED: Final = {
    r"(?<!there )(?:is|are|was|were) none(?! of)": "is not one, there is none",
    r"(?:is|are|was|were|be|been|being) told(?! apart)": "is reported, learns, knows",
    r"(?:tells|told) (?:as such|apart by)": "is reported; differs in",
    r"(?:comes|came|come) to(?: be)?(?= an?\b| that\b| nothing\b|[.,;:]|$)": "is, amounts to",
    r"(?:stands|stood)(?! (?:for|out)\b)": "is",
    r"stand (?=in|on|at|behind|before|below|above|there|first|last)": "be",
    r"save for": "except",
    r"by and by": "gradually",
    r"(?<!there )is no (?:word|size|number|duration|name|limit|list|table|filter|rule|message)\b": "is not a ...",
    r"[Ww]hat is (?:no|none|nothing)\b": "anything that is not",
    r"[Nn]obody knows": "is not known",
    r"[Ww]hoever": "anyone who, you",
    r"whom": "who",
    r"of one's own": "of its own, your own",
    r"(?:what|all) there is to (?:say|know)": "all the details",
    r"it came to": "",
    r"do(?:es)? (?:with)?out": "do not need",
    r"handed on": "passed on",
    r"looked into": "inspected, supported",
    r"goes? on with": "continues with",
    r"likewise": "in the same way",
    r"anew": "again",
    r"speaks? for": "is evidence of",
    r"(?:right|directly) behind": "after",
    r"hence(?!forth)|thereof|therein|whereof|wherein|thereby|whereby": "so, of it, in it",
    r"[Ss]o it is (?:with|in|for)": "this also applies",
    r"means? nothing": "is not valid, is meaningless",
    r"not there to (?:its|their) end": "incomplete, truncated",
    r"so many(?! (?:that|as)\b)": "this many, that many",
    r"in the place of": "instead of",
    r"in vain": "without success",
    r"[Ee]very one (?:before|beyond|after|that)": "each one",
    r"of all kinds": "of every kind",
    r"(?:says?|said) the reason": "gives the reason",
    r"what (?:it|that|this) is (?:of|about)\b": "its owner, its subject",
    r"(?:an?|one)(?: \w+)? a line\b": "one ... per line",
    r"some (?:seconds|minutes|microseconds|milliseconds|hundred)": "a few",
    r"whose an? connection": "who owns a connection",
    r"end(?:s|ed)? (?:drivers' )?TLS": "terminates TLS",
    r"errors that are new": "new errors",
    r"budgets? (?:is|are) (?:not )?kept": "is met",
    r"in another order": "in a different order",
    r"(?:are|is) no (?:tags?|differences?|segments?)\b": "are not ...",
}
"""Phrase -> what to say instead."""
_TRANSLATED: Final = [(re.compile(rf"\b(?:{phrase})", re.MULTILINE), instead) for phrase, instead in TRANSLATED.items()]
_FENCE: Final = re.compile(r"^ *```.*?^ *```$|^<!-- begin: .*?^<!-- end -->$", re.MULTILINE | re.DOTALL)
"""Code, and what a command has written."""
_CODE: Final = re.compile(r"`[^`]*`")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?:;])[\"')\]*]*\s+")
_MARKS: Final = re.compile(r"[\w'’./-]*\w")


class Prose(NamedTuple):
    """One comment, docstring, string or paragraph."""

    line: int
    text: str
    width: int
    """Of its longest line; 0 for a string, which is not prose to wrap."""


def of_module(source: str) -> Iterator[Prose]:
    """The comments, docstrings and strings of a module."""
    lines = source.splitlines()
    docstrings: set[int] = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.add(id(node.value))
            first, last = node.lineno, node.end_lineno or node.lineno
            yield Prose(first, node.value.value, _width(lines[first - 1 : last]))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield Prose(node.lineno, node.value, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            directive = re.match(r"# *(?:type:|noqa|fmt:|ruff:)", token.string)
            yield Prose(token.start[0], token.string, 0 if directive else len(lines[token.start[0] - 1]))


def _width(lines: list[str]) -> int:
    """Of the longest line, without tables and what is indented as code."""
    prose = [line for line in lines if not line.lstrip().startswith("|") and not line.startswith(" " * (_indent(lines[0]) + 4))]
    return max(map(len, prose), default=0)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def of_page(text: str) -> Iterator[Prose]:
    """The paragraphs and list items of a page."""
    text = _FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)
    begun, kept = 1, list[str]()
    for number, line in enumerate([*text.splitlines(), ""], 1):
        code_or_table = line.startswith(("    ", "|", "#", "<", "[", "!"))
        if kept and (not line.strip() or code_or_table or re.match(r" *(?:[-*]|\d+\.) ", line)):
            yield Prose(begun, " ".join(kept), max(map(len, kept)))
            kept = []
        if line.strip() and not code_or_table:
            begun = begun if kept else number
            kept.append(line)


def translated(text: str) -> Iterator[str]:
    """The phrases in a text that read translated."""
    text = _CODE.sub("``", " ".join(text.split()))
    for phrase, instead in _TRANSLATED:
        for found in phrase.finditer(text):
            yield f"{text[max(0, found.start() - 30) : found.end() + 20]!r}: say {instead!r}"


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph; a colon and a semicolon end one too."""
    return _SENTENCE_END.split(_CODE.sub("code", re.sub(r"\]\([^)]*\)", "]", text)))


def words(sentence: str) -> int:
    return len(_MARKS.findall(sentence))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_in_plain_english(path: Path) -> None:
    found = list(of_module(path.read_text(encoding="utf-8")))
    wrong = [f"{path}:{prose.line}: {phrase}" for prose in found for phrase in translated(prose.text)]
    wrong += [f"{path}:{prose.line}: {prose.width} columns" for prose in found if prose.width > COLUMNS]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_is_in_plain_english(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = list(of_page(text))
    wrong = [f"{path}:{number}: {phrase}" for number, line in enumerate(text.splitlines(), 1) for phrase in translated(line)]
    wrong += [f"{path}:{prose.line}: {prose.width} columns" for prose in found if prose.width > COLUMNS]
    long = [(prose.line, sentence) for prose in found for sentence in sentences(prose.text) if words(sentence) > WORDS]
    wrong += [f"{path}:{line}: {words(sentence)} words: {sentence}" for line, sentence in long]
    assert not wrong, "\n".join(wrong)


def test_every_summary_of_help_is_whole() -> None:
    with click.Context(root, info_name="pgtrace", terminal_width=80) as context:
        listed = root.get_help(context).partition("Commands:")[2]
    summaries = dict(line.split(maxsplit=1) for line in listed.strip().splitlines())
    assert set(summaries) == set(COMMANDS)
    assert not [line for line in summaries.values() if not line.endswith(".") or line.endswith("...")]


@pytest.mark.parametrize(
    "text",
    [
        "a frame that is none",
        "the driver is told",
        "what stands there",
        "`drvier` is no word here",
        "whoever reads it",
        "what is no round trip",
        "so many bytes",
        "a value in the place of it",
    ],
)
def test_a_translated_phrase_is_found(text: str) -> None:
    assert list(translated(text))


def test_code_is_not_prose() -> None:
    assert not list(translated("`is none` stays"))
    page = "# What stands\n\nOne line.\n\n    code that stands\n\n| a | b |\n\n```\nwhat is none\n```\n\n- an item\n  goes over lines\n"
    assert [prose.text for prose in of_page(page)] == ["One line.", "- an item   goes over lines"]
    assert [words(sentence) for sentence in sentences("One, two. [Three](four.md) `five six`: seven")] == [2, 2, 1]
