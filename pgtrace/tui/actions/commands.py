"""`:`, any command by name: the actions of the keys, and commands with an argument.

A key's command has the name of its action (`fold-level`), or the name in the table of keys. It does
what the key would do now, at the present focus, and is not available when the key is not. A command
with an argument is listed by the object that carries it out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from textual.actions import parse
from textual.dom import DOMNode
from textual.screen import Screen

from pgtrace.tui.model.asking import NO_CHOICES, Asking, Choice, Choices, Fault
from pgtrace.tui.model.keys import KEYS, Hints, Key
from pgtrace.tui.model.theme import THEMES

_KEY_CELLS: Final = 13
"""The width of a command's key or argument, in cells."""


class Command(NamedTuple):
    """A command with an argument."""

    name: str
    argument: str
    """The argument, as the help shows it."""
    meaning: str
    run: Callable[[str], str]
    """Carries the command out. Returns an error message, or an empty string."""
    words: Callable[[], Iterable[str]] = tuple
    """Returns the words that complete the argument."""


def theme_command(screen: Screen[None]) -> Command:
    """The command `theme NAME`, which the application carries out."""

    def theme(text: str) -> str:
        if text not in THEMES:
            return f"unknown theme {text!r}: use {', '.join(THEMES)}"
        if not screen.app.check_action("theme", ()):
            return "NO_COLOR is set: there are no themes to choose from"
        screen.call_next(screen.run_action, f"app.theme('{text}')")
        return ""

    return Command("theme", "NAME", "colours", theme, lambda: THEMES)


def name_of(key: Key) -> str:
    """The name of a key's command; empty if the table gives it none and its action has
    parameters."""
    return key.name or ("" if "(" in key.action else key.action.rpartition(".")[2].replace("_", "-"))


def by_key() -> dict[str, list[Key]]:
    """The keys of each command: several if areas give it different meanings."""
    found: dict[str, list[Key]] = {}
    for key in KEYS:
        if name_of(key):
            found.setdefault(name_of(key), []).append(key)
    return found


def does(keys: Sequence[Key]) -> str:
    """A description of the command of these keys, from the first area that has one."""
    return next((key.does or key.meaning for key in keys if key.does or key.meaning), "")


class CommandLine(Asking):
    """The line that `:` opens."""

    label = ":"
    room = 8
    HINTS: ClassVar[Hints] = (("↓ ↑", "choose"), ("tab", "complete"), ("enter", "do"), ("esc", "back"))

    def __init__(self, commands: Sequence[Command], screen: Screen[None], history: list[str]) -> None:
        self.history = self._own = history
        self._commands = {one.name: one for one in commands}
        self._screen = screen

    def choices(self, text: str, cursor: int) -> Choices:
        word, blank, argument = text[:cursor].lstrip().partition(" ")
        start = cursor - len(argument) if blank else cursor - len(word)
        if blank:
            command = self._commands.get(word)
            words = command.words() if command is not None else ()
            return Choices(
                start, [Choice(one, opens=command is not None and " " in command.argument) for one in words if one.startswith(argument)]
            )
        found = [
            Choice(f"{one.name} ", f"{one.argument:<{_KEY_CELLS}}{one.meaning}", opens=True)
            for one in self._commands.values()
            if one.name.startswith(word)
        ]
        for name, keys in by_key().items():
            if name.startswith(word) and name not in self._commands:
                found.append(Choice(name, f"{keys[0].own:<{_KEY_CELLS}}{does(keys)}"))
        return Choices(start, sorted(found)) if found else NO_CHOICES

    def accepted(self, text: str) -> Fault | None:
        word, _, argument = text.strip().partition(" ")
        begin = len(text) - len(text.lstrip())
        if not word:
            return None
        command = self._commands.get(word)
        keys = by_key().get(word, [])
        if command is not None and (argument.strip() or not keys):
            reason = command.run(argument.strip()) if argument.strip() else f"{word} needs an argument: {word} {command.argument}"
            where = (begin + len(word) + 1, len(text)) if argument.strip() else (begin, begin + len(word))
        elif not keys:
            reason, where = f"unknown command {word!r}", (begin, begin + len(word))
        elif argument.strip():
            reason, where = f"{word} takes no argument", (begin + len(word) + 1, len(text))
        else:
            reason, where = ("" if _press(self._screen, keys) else f"{word} does nothing here"), (begin, begin + len(word))
        if reason:
            return Fault(*where, reason)
        if text not in self._own[-1:]:
            self._own.append(text)
        return None


def _press(screen: Screen[None], keys: list[Key]) -> bool:
    """Do what one of the keys would do now. Returns whether any of them has a use."""
    nodes: list[DOMNode] = [*(screen.focused.ancestors_with_self if screen.focused is not None else [screen, screen.app])]
    for key in keys:
        namespace, name, parameters = parse(key.action)
        for node in [screen.app] if namespace == "app" else nodes:
            action = getattr(node, f"action_{name}", None)
            if action is not None and node.check_action(name, parameters):
                screen.call_next(_perform, action, parameters)
                return True
    return False


async def _perform(action: Callable[..., Any], parameters: tuple[Any, ...]) -> None:
    result = action(*parameters)
    if inspect.isawaitable(result):
        await result
