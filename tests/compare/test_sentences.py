"""Sentences of a diff are true of both captures: generated pairs, and recorded ones that were once told wrongly."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.compare.behaviour import Behaviour
from pgtrace.compare.diff import Comparison, compare
from tests import playbook
from tests.corpus import NIGHTLY

RECORDED = Path(__file__).parents[1] / "data" / "diff"
START = """
F StartupMessage user=app database=shop
B AuthenticationOk | BackendKeyData 1 7777 | ReadyForQuery I
"""
TEXTS = ("SELECT a FROM t WHERE i = $1", "UPDATE t SET b = $1", "SELECT c FROM u WHERE j = $1")
NUMBER = re.compile(r"never|once|twice|(\d+) times")


@dataclass(slots=True)
class Truth:
    """What a script does with one statement."""

    executions: int = 0
    simple: int = 0
    parses: int = 0
    parameters: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)


Unit = tuple[int, str, int, int, int]
"""Statement, manner, how often, format of the parameter and of the result."""
UNITS = st.tuples(
    st.integers(0, 2), st.sampled_from(["simple", "unnamed", "named", "pipeline"]), st.integers(1, 6), st.integers(0, 1), st.integers(0, 1)
)


def script(units: list[Unit]) -> tuple[str, dict[str, Truth]]:
    """A session that does these, one after the other, and what is true of it."""
    lines = [START]
    truths: dict[str, Truth] = {}
    prepared: set[int] = set()
    for number, manner, times, parameter, result in units:
        text = TEXTS[number]
        truth = truths.setdefault(text, Truth())
        truth.executions += times
        if manner == "simple":
            truth.simple += times
            truth.results.add("t")
            lines += [f"F Query {text}\nB RowDescription a:25 | DataRow x | CommandComplete SELECT 1 | ReadyForQuery I"] * times
            continue
        truth.parameters.add("tb"[parameter])
        truth.results.add("tb"[result])
        name = "-" if manner == "unnamed" else f"s{number}"
        bind = f"Bind - {name} params=7 in={parameter} out={result} | Execute -"
        done = "BindComplete | DataRow x | CommandComplete SELECT 1"
        parse = manner == "unnamed" or number not in prepared
        if manner == "unnamed":
            lines += [f"F Parse - {text} | {bind} | Sync\nB ParseComplete | {done} | ReadyForQuery I"] * times
            truth.parses += times
            continue
        prepared.add(number)
        truth.parses += parse
        if manner == "pipeline":
            before, answer = (f"Parse {name} {text} | ", "ParseComplete | ") if parse else ("", "")
            sent, replies = " | ".join([bind] * times), " | ".join([done] * times)
            lines.append(f"F {before}{sent} | Sync\nB {answer}{replies} | ReadyForQuery I")
            continue
        if parse:
            lines.append(f"F Parse {name} {text} | Sync\nB ParseComplete | ReadyForQuery I")
        lines += [f"F {bind} | Sync\nB {done} | ReadyForQuery I"] * times
    return "\n".join([*lines, "F Terminate", "c1 close F"]), truths


def compared(directory: Path, before: str, after: str) -> Comparison:
    sides = []
    for name, text in (("before", before), ("after", after)):
        side = Behaviour([playbook.write(directory / f"{name}.pgtrace", text)])
        while side.update():
            pass
        sides.append(side)
    found = compare(*sides)
    for side in sides:
        side.close()
    return found


def times(words: str) -> int:
    found = NUMBER.fullmatch(words)
    assert found, words
    return {"never": 0, "once": 1, "twice": 2}.get(words) or int(found[1] or 0)


FORMATS = {"text": {"t"}, "binary": {"b"}, "text and binary": {"t", "b"}}
CLAIMS = {
    "runs": re.compile(r"(.*) runs (.*), was (.*)"),
    "reused": re.compile(r"the Parse of (.*) is reused (.*), was (.*) \(parsed (.*), was (.*)\)"),
    "newly": re.compile(r"the Parse of (.*) is reused \(parsed (.*), was (.*)\)"),
    "no longer": re.compile(r"the Parse of (.*) is no longer reused \(parsed (.*), was (.*)\)"),
    "formats": re.compile(r"(results|parameters) of (.*?) are (?:sent as )?(.*), were (.*)"),
    "extended": re.compile(r"(.*) is sent as Parse, Bind and Execute, was a simple Query"),
    "simple": re.compile(r"(.*) is a simple Query, was sent as Parse, Bind and Execute"),
    "new": re.compile(r"(?:×(\d+) )?(SELECT .*|UPDATE .*) is (new|gone)"),
}


def is_true(words: str, before: dict[str, Truth], after: dict[str, Truth]) -> bool:
    """Whether a sentence holds; one that is not known here must not be about a statement alone."""
    kind, found = next(((kind, match) for kind, pattern in CLAIMS.items() if (match := pattern.fullmatch(words))), ("", None))
    if found is None:
        return True
    reused = lambda truth: max(0, truth.executions - truth.simple - truth.parses)  # noqa: E731
    if kind == "formats":
        what, text, now, was = found.groups()
        said = (FORMATS[was], FORMATS[now])
        return (getattr(before[text], what), getattr(after[text], what)) == said and said[0] != said[1]
    if kind == "new":
        side, other = (after, before) if found[3] == "new" else (before, after)
        return found[2] not in other and int(found[1] or 1) == max(side[found[2]].executions, side[found[2]].parses)
    was, now = before[found[1]], after[found[1]]
    if kind == "runs":
        return (times(found[2]), times(found[3])) == (now.executions, was.executions)
    if kind == "reused":
        return [times(found[number]) for number in (2, 3, 4, 5)] == [reused(now), reused(was), now.parses, was.parses]
    if kind in ("newly", "no longer"):
        gone = kind == "no longer"
        return (
            (times(found[2]), times(found[3])) == (now.parses, was.parses)
            and not reused(now if gone else was)
            and reused(was if gone else now) > 0
        )
    first, second = (was, now) if kind == "extended" else (now, was)
    return first.simple > first.executions / 2 and not second.simple


@settings(max_examples=150 if NIGHTLY else 75, deadline=None)
@given(st.lists(UNITS, min_size=1, max_size=5), st.lists(UNITS, min_size=1, max_size=5))
def test_each_sentence_is_true_of_both(tmp_path_factory: pytest.TempPathFactory, one: list[Unit], other: list[Unit]) -> None:
    directory = tmp_path_factory.mktemp("pair")
    (before, was), (after, now) = script(one), script(other)
    found = compared(directory, before, after)
    for change in found.changes:
        assert is_true(change.words, was, now), change.words


@pytest.mark.parametrize(
    ("before", "after", "said", "never"),
    [
        ("formats_sequential", "formats_pipelined", "3 round trips became a pipeline of 3", r"parameters of .* are sent as"),
        ("batch_plain", "batch_rewritten", "is reused 6 times, was 999 times", "no longer reused"),
    ],
)
def test_recorded_pairs(before: str, after: str, said: str, never: str) -> None:
    sides = [Behaviour([RECORDED / f"{name}.pgtrace"]) for name in (before, after)]
    for side in sides:
        while side.update():
            pass
    words = [change.words for change in compare(*sides).changes]
    assert Counter(said in one for one in words)[True] == 1, words
    assert not [one for one in words if re.search(never, one)]
    for side in sides:
        side.close()
