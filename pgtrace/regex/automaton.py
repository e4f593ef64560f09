"""Searching with a regular expression in time linear in the text.

Python's `re` backtracks: on forty letters `(a+)+b` never ends in practice, on a long statement
`.*.*.*x` takes minutes, and nothing can stop a search that has started. A filter is typed into a
live view and applied to SQL of any length. So here an expression becomes an NFA (Thompson's
construction), and its deterministic states are built when a text needs them and remembered: from
then on, each character costs one look-up.

A deterministic state is the set of nodes reached, plus what `^` and `\\b` need to know about the
previous character. It is a dict from character to state that fills itself. FOUND is a state that
leads only to itself.

Bounds. An expression has at most MOST_NODES nodes. Some need exponentially many deterministic
states. Building them costs time and memory, so the nodes visited while building are counted. After
REMEMBERED_VISITS all states are dropped and built again. An expression that visits more than
FREE_VISITS, plus one for every CHARACTERS_A_VISIT characters read, is given up (TooCostly). The
count depends only on the expression and the texts, so every machine refuses the same ones.
Measured: 40 ns per character, and about 40 ms before an expression is given up.

spans() returns the positions of the matches. It follows the NFA itself from each place where a
match may begin. A text with many such places could make that quadratic, so it too is given up,
after VISITS_A_CHARACTER.
"""

from __future__ import annotations

from typing import Final

from pgtrace.regex.patterns import Alternatives, Anchor, BadPattern, Characters, Node, Repeat, Sequence, is_word, parse

MOST_NODES: Final = 1_000
FREE_VISITS: Final = 50_000
CHARACTERS_A_VISIT: Final = 16
REMEMBERED_VISITS: Final = 100_000
VISITS_A_CHARACTER: Final = 32
"""The most nodes that spans() may visit for each character of its texts."""

_BEGINNING: Final = 0
_WORD: Final = 1
_OTHER: Final = 2


class TooCostly(Exception):
    """An expression that needs too many states for its texts."""


class _Step:
    """A node of the NFA: a character, an anchor, or several alternatives. The last node, the match,
    has none of these."""

    __slots__ = ("anchor", "characters", "following")

    def __init__(self, following: tuple[int, ...], characters: Characters | None = None, anchor: str = "") -> None:
        self.following = following
        self.characters = characters
        self.anchor = anchor


class _State(dict[str, "_State"]):
    """A deterministic state."""

    __slots__ = ("_pattern", "before", "nodes")

    def __init__(self, pattern: Pattern, nodes: frozenset[int], before: int) -> None:
        super().__init__()
        self._pattern = pattern
        self.nodes = nodes
        self.before = before

    def __missing__(self, character: str) -> _State:
        state = self[character] = self._pattern._after(self, character)
        return state


class Pattern:
    """A regular expression to search with. Letter case is ignored."""

    def __init__(self, text: str) -> None:
        """Raises BadPattern."""
        self.text = text
        self._steps: list[_Step] = [_Step(())]  # node 0 is the match
        self._start = self._add(parse(text), 0)
        self._sees_words = any(step.anchor in ("b", "B") for step in self._steps)
        self._found = _State(self, frozenset(), _OTHER)
        self._states: dict[tuple[frozenset[int], int], _State] = {}
        self._visits = 0
        self._span_visits = 0
        self._forgotten_at = REMEMBERED_VISITS
        self._characters = 0

    def search(self, text: str) -> bool:
        """Whether the expression matches anywhere in the text. Raises TooCostly."""
        self._characters += len(text)
        found = self._found
        state = self._state(frozenset((self._start,)), _BEGINNING)
        for character in text:
            state = state[character]
            if state is found:
                return True
        return self._reached(state, None) is None

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The start and end of each match: the longest at the leftmost place after the previous
        match, and not empty. Raises TooCostly."""
        self._characters += len(text)
        found: list[tuple[int, int]] = []
        at = 0
        while at < len(text):
            end = self._longest(text, at)
            if end > at:
                found.append((at, end))
            at = max(end, at + 1)
        return found

    def _longest(self, text: str, begin: int) -> int:
        """Where the longest match that begins at `begin` ends; `begin` if there is none."""
        steps, end = self._steps, begin
        nodes = {self._start}
        for at in range(begin, len(text) + 1):
            before = _BEGINNING if not at else _WORD if is_word(text[at - 1]) else _OTHER
            after = text[at] if at < len(text) else None
            seen, waiting = set(nodes), list(nodes)
            nodes = set()
            while waiting:
                node = waiting.pop()
                if not node:
                    end = at
                    continue
                step = steps[node]
                if step.characters is not None:
                    if after is not None and step.characters.has(after):
                        nodes.update(step.following)
                elif not step.anchor or _is_there(step.anchor, before, after):
                    waiting += [one for one in step.following if one not in seen]
                    seen.update(step.following)
            self._span_visits += len(seen)
            if self._span_visits > FREE_VISITS + self._characters * VISITS_A_CHARACTER:
                raise TooCostly
            if not nodes:
                break
        return end

    # The NFA.

    def _add(self, node: Node, following: int) -> int:
        """Put a tree before the node `following`. Returns the node where it begins."""
        if isinstance(node, Characters):
            return self._step(_Step((following,), characters=node))
        if isinstance(node, Anchor):
            return self._step(_Step((following,), anchor=node.kind))
        if isinstance(node, Sequence):
            for part in reversed(node.parts):
                following = self._add(part, following)
            return following
        if isinstance(node, Alternatives):
            return self._step(_Step(tuple([self._add(part, following) for part in node.parts])))
        return self._repeat(node, following)

    def _repeat(self, node: Repeat, following: int) -> int:
        begin = following
        if node.most is None:
            begin = self._step(_Step(()))
            self._steps[begin].following = (self._add(node.part, begin), following)
        else:
            for _ in range(node.most - node.least):
                begin = self._step(_Step((self._add(node.part, begin), following)))
        for _ in range(node.least):
            begin = self._add(node.part, begin)
        return begin

    def _step(self, step: _Step) -> int:
        if len(self._steps) >= MOST_NODES:
            raise BadPattern("the expression is too large", 0)
        self._steps.append(step)
        return len(self._steps) - 1

    # The deterministic states.

    def _state(self, nodes: frozenset[int], before: int) -> _State:
        state = self._states.get((nodes, before))
        if state is None:
            if self._visits >= self._forgotten_at:
                self._forgotten_at += REMEMBERED_VISITS
                self._states.clear()
            state = self._states[nodes, before] = _State(self, nodes, before)
        return state

    def _after(self, state: _State, character: str) -> _State:
        """The state to which a character leads."""
        if state is self._found:
            return state
        reached = self._reached(state, character)
        if reached is None:
            return self._found
        nodes = {self._start}
        for step in reached:
            if step.characters is not None and step.characters.has(character):
                nodes.update(step.following)
        return self._state(frozenset(nodes), _WORD if self._sees_words and is_word(character) else _OTHER)

    def _reached(self, state: _State, after: str | None) -> list[_Step] | None:
        """The steps that can come next. `after` is the next character, None at the end. Returns
        None once the expression has matched."""
        steps = self._steps
        seen = set(state.nodes)
        waiting = list(seen)
        reached = []
        while waiting:
            node = waiting.pop()
            if not node:
                return None
            step = steps[node]
            if step.characters is not None:
                reached.append(step)
            elif not step.anchor or _is_there(step.anchor, state.before, after):
                for following in step.following:
                    if following not in seen:
                        seen.add(following)
                        waiting.append(following)
        self._visits += len(seen)
        if self._visits > FREE_VISITS + self._characters // CHARACTERS_A_VISIT:
            raise TooCostly
        return reached


def _is_there(anchor: str, before: int, after: str | None) -> bool:
    if anchor == "^":
        return before == _BEGINNING
    if anchor == "$":
        return after is None
    at_edge = (before == _WORD) is not (after is not None and is_word(after))
    return at_edge is (anchor == "b")
