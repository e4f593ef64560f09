"""A comparison as text and as JSON: the sentences, then the steps of each differing connection,
line by line.

    +9 round trips: the Parse of SELECT ... is no longer reused (parsed 10 times, was once)

    --- a.pgtrace  c1 asyncpg
    +++ b.pgtrace  c1 asyncpg
    @@ -5 +5 @@
      PDH → 1tT        select id, name from item where id = $1  prepares
      ×9:
         BES → 2DsZ    select id, name from item where id = $1  b→b
    +    PDH → 1tT     select id, name from item where id = $1  prepares

`b→b` are the formats of parameters and results. Each line has a mark; on a terminal the marks
become colours (lines()).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.cells import cell_len

from pgtrace import sanitise, sqltext
from pgtrace.compare.behaviour import ROUND_TRIP, SETUP, BehaviourStep, Conversation
from pgtrace.compare.changes import Change
from pgtrace.compare.diff import Comparison, Fold, Hunk, Pair
from pgtrace.sanitise import Shown

SCHEMA: Final = "pgtrace.diff/1"
SENTENCES_SHOWN: Final = 30
"""The most differences that are printed, most costly first; JSON has all."""
_FLIGHT_WIDTH: Final = 28
_SQL_WIDTH: Final = 100

Texts = Mapping[str, str]
Line = tuple[str, Shown]
"""The mark of a line (`+`, `-`, `@`, `head` or empty), and its text."""


def lines(compared: Comparison, names: Sequence[str]) -> Iterator[Line]:
    """The sentences, then the steps. `names` are the names of the two captures."""
    return ((kind, sanitise.line(text)) for kind, text in _lines(compared, names))


def _lines(compared: Comparison, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    first, second = names
    if compared.same:
        yield "", f"the same wire behaviour: {_sums(compared)}"
        return
    yield "head", f"{first} and {second} differ: {_sums(compared)}"
    for change in compared.changes[:SENTENCES_SHOWN]:
        yield _mark(change), f"  {sentence(change)}"
    if (more := len(compared.changes) - SENTENCES_SHOWN) > 0:
        yield "", f"  and {more} smaller difference{'' if more == 1 else 's'}"
    for pair in compared.pairs:
        yield "", ""
        yield "-", f"--- {first}  {_named(pair.first)}"
        yield "+", f"+++ {second}  {_named(pair.second)}"
        texts = compared.first.texts
        for hunk in pair.hunks:
            yield "@", f"@@ -{hunk.first} +{hunk.second} @@"
            for fold in hunk.folds:
                yield from _fold(fold, texts)


def as_dict(compared: Comparison, names: Sequence[str]) -> dict[str, Any]:
    """The object of `diff --json`."""
    return {
        "schema": SCHEMA,
        "same": compared.same,
        **{
            key: {
                "file": name,
                "connections": side.connections,
                "round_trips": side.number(ROUND_TRIP),
                "setup_round_trips": side.number(SETUP),
            }
            for key, name, side in zip("ab", names, (compared.first, compared.second), strict=True)
        },
        "changes": [
            {
                "kind": change.kind,
                "words": change.words,
                "round_trips": change.round_trips,
                "setup_round_trips": change.setup_round_trips,
                "statement": change.statement or None,
            }
            for change in compared.changes
        ],
        "connections": [_pair_as_dict(pair, compared.first.texts) for pair in compared.pairs],
    }  # fmt: skip


def _pair_as_dict(pair: Pair, texts: Texts) -> dict[str, Any]:
    return {
        "a": pair.first.name if pair.first is not None else None,
        "b": pair.second.name if pair.second is not None else None,
        "hunks": [_hunk_as_dict(hunk, texts) for hunk in pair.hunks],
    }


def _hunk_as_dict(hunk: Hunk, texts: Texts) -> dict[str, Any]:
    return {
        "a": hunk.first,
        "b": hunk.second,
        "steps": [{"times": fold.times, "lines": [_line_as_dict(mark, step, texts) for mark, step in fold.lines]} for fold in hunk.folds],
    }


def _line_as_dict(mark: str, step: BehaviourStep, texts: Texts) -> dict[str, Any]:
    return {
        "only": {"-": "a", "+": "b"}.get(mark),
        "kind": step.kind,
        "flight": step.flight,
        "sql": [texts.get(part.statement) or part.statement for part in step.parts],
        "parameters": step.parameters or None,
        "results": step.results or None,
        "prepares": any(part.named for part in step.parts),
        "sqlstate": step.sqlstate or None,
    }


def _fold(fold: Fold, texts: Texts) -> Iterator[tuple[str, str]]:
    if len(fold.lines) == 1:
        (mark, step), times = fold.lines[0], f"×{fold.times} " if fold.times > 1 else ""
        yield mark.strip(), f"{mark} {times}{_step(step, texts, len(times))}".rstrip()
        return
    if fold.times > 1:
        yield "@", f"  ×{fold.times}:"
    for mark, step in fold.lines:
        indent = "   " if fold.times > 1 else ""
        yield mark.strip(), f"{mark} {indent}{_step(step, texts, len(indent))}".rstrip()


def _step(step: BehaviourStep, texts: Texts, taken: int) -> str:
    """One step on one line."""
    flight = sanitise.text(step.flight)
    space = " " * max(2, _FLIGHT_WIDTH - taken - cell_len(flight))
    about = "  ".join(part for part in (sqltext.shorten(sql_of(step, texts), _SQL_WIDTH), details(step)) if part)
    return f"{flight}{space}{about}"


def sql_of(step: BehaviourStep, texts: Texts) -> str:
    """The statements of a step."""
    return "; ".join(dict.fromkeys(sqltext.shorten(texts.get(part.statement) or part.statement, _SQL_WIDTH) for part in step.parts))


def details(step: BehaviourStep) -> str:
    """The formats of a step, whether it prepares, and its error."""
    formats = f"{step.parameters}→{step.results}" if step.parameters or step.results else ""
    prepares = "prepares" if any(part.named for part in step.parts) else ""
    error = f"error {step.sqlstate}" if step.sqlstate else ""
    return "  ".join(part for part in (formats, prepares, error) if part)


def sentence(change: Change) -> str:
    """`+9 round trips: ...`."""
    cost = ", ".join(
        f"{number:+d} {word}{'' if abs(number) == 1 else 's'}"
        for number, word in ((change.round_trips, "round trip"), (change.setup_round_trips, "set-up round trip"))
        if number
    )
    return f"{cost}: {change.words}" if cost else change.words


def _mark(change: Change) -> str:
    cost = change.round_trips + change.setup_round_trips
    return "-" if cost > 0 else "+" if cost < 0 else ""


def _named(conversation: Conversation | None) -> str:
    return f"{conversation.name} {conversation.driver}" if conversation is not None else "no such connection"


def _sums(compared: Comparison) -> str:
    """`12 round trips, was 10; 3 set-up`."""
    parts = []
    for kind, word in ((ROUND_TRIP, "round trip"), (SETUP, "set-up round trip")):
        was, now = compared.first.number(kind), compared.second.number(kind)
        parts.append(f"{now} {word}{'' if now == 1 else 's'}" + (f", was {was}" if was != now else ""))
    connections = compared.second.connections
    return "; ".join([*parts, f"{connections} connection{'' if connections == 1 else 's'}"])
