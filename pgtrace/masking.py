"""Command lines as they may be shown: secrets in them become `***`.

This is for text that is not pgtrace's: the arguments of a program that it runs, and command lines
that make no sense. An address that pgtrace itself uses is parsed (conninfo.py), and its secrets
never reach an output. Here nothing can be parsed for certain, so in doubt more is masked than
necessary:

- In a URL, everything between the user's `:` and the last `@` of the argument, even if the shell
  took it for a path and its `//` became `/`.
- The value after a name that looks secret, and `=` or `:`: `password=`, `PGPASSWORD=`,
  `--password=`, also percent-encoded. In libpq's keyword form a value extends to the next keyword,
  so that an unquoted blank does not show the rest.
- The argument after an option with such a name, and after psql's `-W`.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Sequence
from typing import Final

from pgtrace.parameters import PARAMETERS

MASK: Final = "***"
_SECRET: Final = re.compile(r"pass(?!file|ive)|pwd|secret|token|scram_\w+_key|api_?key|credential", re.IGNORECASE)
_LOGIN: Final = re.compile(r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]*:/{1,3}[^:/@\s?]*:(?!//)", re.IGNORECASE)
_NAME: Final = r"(?<![\w.%-])(?P<name>(?:[\w.-]|%[0-9A-Fa-f]{2})+)"
_EQUALS: Final = re.compile(rf"{_NAME}\s*=\s*")
_COLON: Final = re.compile(rf"{_NAME}[\"']?\s*:\s*")
_BLANK: Final = re.compile(r"(?<![\w-])(?P<name>--?[A-Za-z][\w-]*)\s+(?!-)")
_OPTION: Final = re.compile(r"--?[A-Za-z][\w-]*")
_QUOTED: Final = r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|)"
_VALUE: Final = re.compile(rf"{_QUOTED}\S*", re.DOTALL)
_KEYWORD_VALUE: Final = re.compile(rf"{_QUOTED}.*?(?=\s(?:{'|'.join(PARAMETERS)})\s*=|\Z)", re.DOTALL)
_REST: Final = re.compile(r".*", re.DOTALL)


def arguments(words: Sequence[str]) -> list[str]:
    """The arguments of a command with their secrets masked."""
    shown: list[str] = []
    follows = False
    for word in words:
        shown.append(MASK if follows and not word.startswith("-") else argument(word))
        follows = word == "-W" or (_OPTION.fullmatch(word) is not None and _is_secret(word))
    return shown


def argument(word: str) -> str:
    """One argument of a command, which may be a whole command line itself."""
    word = _without_password(word)
    first = _EQUALS.match(word)
    if first is not None and first["name"].lower() in PARAMETERS:
        return _masked(_EQUALS, word, _KEYWORD_VALUE)
    if first is not None and _is_secret(first["name"]):
        return _masked(_EQUALS, word, _REST)
    return _masked(_BLANK, _masked(_COLON, _masked(_EQUALS, word)))


def message(text: str) -> str:
    """A message that may repeat an argument."""
    return _masked(_EQUALS, _without_password(text))


def _without_password(text: str) -> str:
    """The text with everything between the first user of a URL and the last `@` masked."""
    login, end = _LOGIN.search(text), text.rfind("@")
    return f"{text[: login.end()]}{MASK}{text[end:]}" if login is not None and login.end() <= end else text


def _masked(names: re.Pattern[str], text: str, values: re.Pattern[str] = _VALUE) -> str:
    """The text with the value after each secret name masked. A value may contain text that looks
    like a name, and a name text that looks like a value."""
    shown, at = "", 0
    while (found := names.search(text, at)) is not None:
        shown += text[at : found.end()]
        at = found.end()
        if _is_secret(found["name"]) and (value := values.match(text, at)) is not None and value.end() > at:
            shown += MASK
            at = value.end()
    return shown + text[at:]


def _is_secret(name: str) -> bool:
    return _SECRET.search(urllib.parse.unquote(name)) is not None and not name.startswith("--no-")
