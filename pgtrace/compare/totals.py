"""The sums of one of two compared captures: how often each step occurs, and the figures of each
statement.

A round trip is attributed to its first statement that does not merely begin or end a transaction,
otherwise to its first statement. So the round trips of all statements add up to those of the
capture, and a BEGIN that is sent along costs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pgtrace import sqltext
from pgtrace.compare.behaviour import ROUND_TRIP, BehaviourStep, Conversation

BEGINS: Final = frozenset({"begin", "start"})
ENDS: Final = frozenset({"commit", "end", "rollback", "abort"})
"""First words of statements that begin and end transactions."""


@dataclass(slots=True)
class Facts:
    """The figures of one statement on one side."""

    round_trips: int = 0
    """The round trips attributed to it."""
    running: int = 0
    """Round trips in which it ran."""
    executions: int = 0
    simple: int = 0
    piped: int = 0
    """Executions in round trips with several executions."""
    parses: int = 0
    named: int = 0
    preparing: int = 0
    """Round trips in which it was parsed and did not run."""
    parameters: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)
    errors: Counter[str] = field(default_factory=Counter)
    flights: Counter[str] = field(default_factory=Counter)

    @property
    def reused(self) -> int:
        """Executions that did not need their own Parse."""
        return max(0, self.executions - self.simple - self.parses)


@dataclass(slots=True)
class Side:
    """The sums of one of two captures."""

    steps: Counter[BehaviourStep]
    facts: dict[str, Facts]
    texts: Mapping[str, str]
    in_transaction: frozenset[str]
    """Statements after which a transaction was open."""
    connections: int

    @classmethod
    def of(
        cls, conversations: Sequence[Conversation], steps: Sequence[BehaviourStep], texts: Mapping[str, str], in_transaction: Iterable[str]
    ) -> Side:
        """The sums of these conversations."""
        numbers: Counter[int] = Counter()
        for conversation in conversations:
            numbers.update(conversation.steps)
        counted = Counter({steps[number]: times for number, times in numbers.items()})
        side = cls(counted, {}, texts, frozenset(in_transaction), len(conversations))
        for step, times in side.steps.items():
            side._add(step, times)
        return side

    def number(self, kind: str) -> int:
        """The number of steps of a kind."""
        return sum(times for step, times in self.steps.items() if step.kind == kind)

    def text(self, statement: str) -> str:
        """The SQL of a statement, or the text that replaces it."""
        return self.texts.get(statement) or statement

    def first_word(self, statement: str) -> str:
        """The first word of a statement; empty if its SQL is not known."""
        return next(iter(sqltext.words(self.texts.get(statement, ""))), "").lower()

    def controls(self, words: frozenset[str]) -> list[str]:
        """The statements that begin with one of these words."""
        return [statement for statement in self.facts if self.first_word(statement) in words]

    def _add(self, step: BehaviourStep, times: int) -> None:
        together = step.executions
        parts = range(len(step.parts))
        paying = next((place for place in parts if self.first_word(step.parts[place].statement) not in BEGINS | ENDS), 0)
        failing = next((place for place in parts if step.parts[place].failed), len(step.parts) - 1)
        for place, part in enumerate(step.parts):
            facts = self.facts.setdefault(part.statement, Facts())
            facts.round_trips += times * (place == paying and step.kind == ROUND_TRIP)
            facts.running += times * bool(part.executions)
            facts.executions += times * part.executions
            facts.simple += times * part.executions * part.simple
            facts.piped += times * part.executions * (together > 1 and not part.simple)
            facts.parses += times * part.parses
            facts.named += times * part.named
            facts.preparing += times * (part.parses > 0 and not part.executions and step.kind == ROUND_TRIP)
            facts.parameters |= {part.parameters} - {""}
            facts.results |= {part.results} - {""} if part.executions else set()
            facts.flights[step.flight] += times
            if step.sqlstate and place == failing:
                facts.errors[step.sqlstate] += times
        if not step.parts and step.kind == ROUND_TRIP:
            facts = self.facts.setdefault(step.flight, Facts())
            facts.round_trips += times
            facts.flights[step.flight] += times
            if step.sqlstate:
                facts.errors[step.sqlstate] += times
