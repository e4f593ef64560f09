"""The fault rules of a recorder: what they look for, and which of them are used up. faults.py
applies them to a connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pgtrace.faults import Rule
from pgtrace.regex.automaton import Pattern, TooCostly


class FaultRules:
    """The rules of a recorder, and which of them are used up."""

    def __init__(self, rules: Iterable[Rule], warn: Callable[[str], None]) -> None:
        self.rules = tuple(dict.fromkeys(rules))
        self._patterns = {rule.pattern: Pattern(rule.pattern) for rule in self.rules if rule.pattern}
        self._spent: set[Rule] = set()
        self._warn = warn

    def spend(self, rule: Rule) -> bool:
        """Whether the rule may apply now. A rule that applies only once is then used up."""
        if rule.once and rule in self._spent:
            return False
        self._spent.add(rule)
        return True

    def matches(self, rule: Rule, body: bytes) -> bool:
        """Whether the body matches the rule's pattern."""
        if not rule.pattern:
            return True
        try:
            return self._patterns[rule.pattern].search(body.decode("utf-8", "surrogateescape"))
        except TooCostly:
            self._warn(f"fault `{rule.text}`: the expression needs too many states for the messages it meets")
            return False
