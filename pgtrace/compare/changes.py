"""What changed between two captures, in sentences: `+9 round trips: the Parse of SELECT ... is no
longer reused (parsed 10 times, was once)`.

Each sentence is a Change with its subject and its cost. Changes are derived from the sums of both
sides (totals.py), by statement: how often it runs, how often it is parsed, alone or with others,
with which formats and errors. Sums do not show where in a capture something happened; the aligned
steps (diff.py) do.

The first sentence about a statement carries its cost, so the costs add up to the difference of the
counters. BEGIN, COMMIT and the like are statements, too, but one sentence says that a transaction
was added or removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pgtrace import sqltext
from pgtrace.compare.behaviour import OTHER, ROUND_TRIP, SETUP, BehaviourStep, Conversation
from pgtrace.compare.totals import BEGINS, ENDS, Facts, Side

SQL_WIDTH: Final = 80
_NAMED_STATEMENTS: Final = 3
_FORMAT_WORDS: Final = {"t": "text", "b": "binary", "m": "text and binary"}
_UNTYPED: Final = {"SSL": "SSLRequest", "GSS": "GSSENCRequest", "Start": "StartupMessage", "p": "an authentication response"}
_MOSTLY: Final = 0.5


@dataclass(frozen=True, slots=True)
class Change:
    """One difference in words."""

    kind: str
    """`new`, `gone`, `executions`, `parse`, `pipeline`, `protocol`, `results`, `parameters`,
    `error`, `messages`, `transaction`, `setup`, `connection`, `other` or `order`."""
    words: str
    round_trips: int = 0
    """How many more round trips the second capture has."""
    setup_round_trips: int = 0
    statement: str = ""
    """The normalised SQL of its statement, if it is about one."""


Between = tuple[Conversation | None, Conversation | None]


def changes(first: Side, second: Side, differing: Sequence[Between], steps: Sequence[BehaviourStep]) -> list[Change]:
    """The changes, most costly first. `differing` are the pairs of connections that differ."""
    found = [
        *_connections(differing, steps),
        *_setup(differing, steps),
        *_statements(first, second),
        *_others(differing, steps),
    ]
    if not found:
        same = first.steps == second.steps
        found = [
            Change(
                "order",
                "the same round trips come in a different order, or on different connections"
                if same
                else "round trips differ in their messages",
            )
        ]
    return sorted(found, key=lambda change: -abs(change.round_trips) - abs(change.setup_round_trips))


# Connections and set-up.


def _connections(differing: Sequence[Between], steps: Sequence[BehaviourStep]) -> Iterator[Change]:
    for one, other in differing:
        lone = one or other
        if lone is None or (one and other):
            continue
        setups = sum(steps[step].kind == SETUP for step in lone.steps)
        round_trips = sum(steps[step].kind == ROUND_TRIP for step in lone.steps)
        word = "is gone" if one else "is new"
        kind = "connection" if lone.kind == "session" else f"{lone.kind} connection"
        words = f"{kind} {lone.name} ({lone.driver}, {_counted(round_trips, 'round trip')}) {word}"
        yield Change("connection", words, setup_round_trips=-setups if one else setups)


def _setup(differing: Sequence[Between], steps: Sequence[BehaviourStep]) -> Iterator[Change]:
    """The differences in the set-up of connections, with equal ones together."""
    sent = {step.flight: step.sent or step.flight for step in steps if step.kind == SETUP}
    found: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = Counter()
    for one, other in differing:
        if one and other:
            before, after = (Counter(steps[step].flight for step in side.steps if steps[step].kind == SETUP) for side in (one, other))
            if before != after:
                found[tuple((before - after).elements()), tuple((after - before).elements())] += 1
    for (gone, new), times in found.items():
        difference = len(new) - len(gone)
        each = f" in each of {times} connections" if times > 1 else ""
        if gone and new:
            words = f"set-up is {' · '.join(new)}, was {' · '.join(gone)}{each}"
        else:
            what = ", ".join(_UNTYPED.get(sent[flight], sent[flight]) for flight in new or gone)
            words = f"{what} {'is new in' if new else 'is gone from'} the set-up{each}"
        yield Change("setup", words, setup_round_trips=difference * times)


# Statements.


def _statements(first: Side, second: Side) -> Iterator[Change]:
    explained: set[str] = set()
    for make in (_transactions, _pipelines):
        for change, about in make(first, second):
            yield change
            explained |= about
    for statement in {**first.facts, **second.facts}:
        before, after = first.facts.get(statement), second.facts.get(statement)
        text = second.text(statement)
        if before is None or after is None:
            if statement not in explained:
                facts = before or after or Facts()
                times = max(facts.executions, facts.parses, 1)
                words = f"{f'×{times} ' if times > 1 else ''}{_short(text)} {'is new' if after else 'is gone'}"
                yield Change("new" if after else "gone", words, facts.round_trips if after else -facts.round_trips, statement=text)
            continue
        cost = after.round_trips - before.round_trips if statement not in explained else 0
        for kind, words in _clauses(before, after, _short(text), cost, explained=statement in explained):
            yield Change(kind, words, cost, statement=text)
            cost = 0


def _clauses(before: Facts, after: Facts, text: str, cost: int, *, explained: bool) -> Iterator[tuple[str, str]]:
    """The differences in a statement that both sides have, as (kind, sentence). The one that
    explains the cost comes first, unless the cost is `explained` already.
    """
    for kind, clause in (("protocol", _protocol), ("executions", _executions), ("parse", _parse)):
        if words := clause(before, after, text):
            explained = True
            yield kind, words
    details = [
        *_formats("results", text, before.results, after.results),
        *_formats("parameters", text, before.parameters, after.parameters),
        *_errors(before.errors, after.errors, text),
    ]
    flights = _flights(before.flights, after.flights, text)
    if flights and not explained and (cost or not details):
        yield "messages", flights
    yield from details


def _protocol(before: Facts, after: Facts, text: str) -> str:
    if _mostly(before.simple, before.executions) and _never(after.simple, after.executions):
        return f"{text} is sent as Parse, Bind and Execute, was a simple Query"
    if _never(before.simple, before.executions) and _mostly(after.simple, after.executions):
        return f"{text} is a simple Query, was sent as Parse, Bind and Execute"
    return ""


def _executions(before: Facts, after: Facts, text: str) -> str:
    if before.executions == after.executions:
        return ""
    return f"{text} runs {_times(after.executions)}, was {_times(before.executions)}"


def _parse(before: Facts, after: Facts, text: str) -> str:
    if _protocol(before, after, "x"):
        return ""
    counts = f"(parsed {_times(after.parses)}, was {_times(before.parses)})"
    rates = (before.parses * max(1, after.executions), after.parses * max(1, before.executions))
    more, fewer = after.parses > before.parses and rates[1] > rates[0], after.parses < before.parses and rates[1] < rates[0]
    if (more or fewer) and before.reused and after.reused:
        return f"the Parse of {text} is reused {_times(after.reused)}, was {_times(before.reused)} {counts}"
    if more and before.reused:
        return f"the Parse of {text} is no longer reused {counts}"
    if fewer and after.reused:
        return f"the Parse of {text} is reused {counts}"
    if more or fewer:
        return (
            f"{text} is parsed {_times(after.parses)} for {_counted(after.executions, 'execution')}, was "
            f"{_times(before.parses)} for {before.executions}"
        )
    if before.parses == after.parses and before.named != after.named:
        return (
            f"{text} is parsed {'under a name' if after.named > before.named else 'without a name'} "
            f"{_times(abs(after.named - before.named))} more"
        )
    if after.preparing > before.preparing:
        return f"the Parse of {text} takes a separate round trip{_in_number(after.preparing, before.preparing)}"
    if after.preparing < before.preparing:
        return f"the Parse of {text} no longer takes a separate round trip{_in_number(before.preparing, after.preparing)}"
    return ""


def _formats(what: str, text: str, before: set[str], after: set[str]) -> Iterator[tuple[str, str]]:
    if before and after and before != after:
        verb = "are" if what == "results" else "are sent as"
        yield what, f"{what} of {text} {verb} {_format_words(after)}, were {_format_words(before)}"


def _errors(before: Counter[str], after: Counter[str], text: str) -> Iterator[tuple[str, str]]:
    for sqlstate in {**before, **after}:
        was, now = before[sqlstate], after[sqlstate]
        if was != now:
            times = f"×{now or was} " if (now or was) > 1 else ""
            what = f"{times}is new" if not was else f"{times}is gone" if not now else f"comes {_times(now)}, was {_times(was)}"
            yield "error", f"error {sqlstate} {what}: {text}"


def _flights(before: Counter[str], after: Counter[str], text: str) -> str:
    if before == after:
        return ""
    new, gone = after - before, before - after
    return f"{text} takes {_flight_words(new or after)}, was {_flight_words(gone or before)}"


# Statements that share a sentence.


def _transactions(first: Side, second: Side) -> Iterator[tuple[Change, set[str]]]:
    """Transactions that were added or removed."""
    for ours, theirs, sign in ((first, second, 1), (second, first, -1)):
        if ours.controls(BEGINS) or not (begins := theirs.controls(BEGINS)):
            continue
        lone = [one for one in begins + theirs.controls(ENDS) if one not in ours.facts]
        around = [one for one in theirs.facts if one in theirs.in_transaction - ours.in_transaction and one not in lone]
        names = " and ".join(dict.fromkeys(theirs.first_word(one).upper() for one in lone))
        verb = "are" if " and " in names else "is"
        words = f"{names} {verb} now around" if sign > 0 else f"{names} {verb} no longer around"
        cost = sign * sum(theirs.facts[one].round_trips for one in lone)
        yield Change("transaction", f"{words} {_listed(theirs, around)}" if around else words, cost), set(lone)


def _pipelines(first: Side, second: Side) -> Iterator[tuple[Change, set[str]]]:
    """Statements that used to run together in one round trip and no longer do, or the other way
    round.
    """
    explained: set[str] = set()
    for ours, theirs, sign in ((first, second, 1), (second, first, -1)):
        for step in ours.steps:
            about = dict.fromkeys(part.statement for part in step.parts if part.executions)
            if step.executions < 2 or not explained.isdisjoint(about) or any(not _is_unpiped(ours, theirs, one) for one in about):
                continue
            together = max(ours.facts[one].running for one in about)
            apart = sum(theirs.facts[one].running for one in about)
            if together >= apart:
                continue
            explained.update(about)
            what = f"a pipeline of {step.executions}" if together == 1 else f"{_counted(together, 'pipeline')}"
            if sign > 0:
                words = f"{what} became {_counted(apart, 'round trip')}: {_listed(ours, about)}"
            else:
                words = f"{_counted(apart, 'round trip')} became {what}: {_listed(ours, about)}"
            cost = sum(second.facts[one].round_trips - first.facts[one].round_trips for one in about)
            yield Change("pipeline", words, cost, statement=ours.text(next(iter(about))) if len(about) == 1 else ""), set(about)


def _is_unpiped(ours: Side, theirs: Side, statement: str) -> bool:
    before, after = ours.facts[statement], theirs.facts.get(statement)
    if after is None or not after.executions:
        return False
    return before.piped / before.executions - after.piped / after.executions > _MOSTLY


# What is not a round trip.


def _others(differing: Sequence[Between], steps: Sequence[BehaviourStep]) -> Iterator[Change]:
    counts = (Counter[BehaviourStep](), Counter[BehaviourStep]())
    for pair in differing:
        if all(pair):
            for side, one in zip(counts, pair, strict=True):
                side.update(steps[step] for step in (one.steps if one else ()) if steps[step].kind == OTHER)
    for step in {**counts[0], **counts[1]}:
        was, now = counts[0][step], counts[1][step]
        if was == now:
            continue
        name = f"{step.flight.removeprefix('← ')}{f' {step.sqlstate}' if step.sqlstate else ''}"
        words = f"{name} is new" if not was else f"{name} is gone" if not now else f"{name} comes {_times(now)}, was {_times(was)}"
        yield Change("other", words)


# Words.


def _short(text: str) -> str:
    return sqltext.shorten(text, SQL_WIDTH)


def _listed(side: Side, statements: Iterable[str]) -> str:
    texts = [_short(side.text(statement)) for statement in statements]
    more = len(texts) - _NAMED_STATEMENTS
    return ", ".join(texts[:_NAMED_STATEMENTS]) + (f" and {more} more" if more > 0 else "")


def _flight_words(flights: Counter[str]) -> str:
    (flight, _), *rest = flights.most_common()
    return f"{flight} and others" if rest else flight


def _format_words(formats: set[str]) -> str:
    return _FORMAT_WORDS["m" if len(formats) > 1 else next(iter(formats))]


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _in_number(many: int, few: int) -> str:
    """The two numbers of round trips in words; empty for one against none."""
    return f" ({_counted(many, 'round trip')} against {few})" if few or many > 1 else ""


def _mostly(part: int, whole: int) -> bool:
    return whole > 0 and part / whole > _MOSTLY


def _never(part: int, whole: int) -> bool:
    return whole > 0 and part == 0
