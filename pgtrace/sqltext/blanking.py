"""SQL text with its literals blanked: the same length and the same tokens, in pieces cut anywhere.

Text inside quotes (strings of every kind, dollar quotes) becomes `*`, text inside comments `.`, and
each digit of a number `1` (but a lone 0 stays). Quotes, the backslashes of E'...' and the tags of
dollar quotes stay. So do words, quoted identifiers, operators and parameters. The text has the same
tokens at the same places, so grouping statements and reading their names gives the same result.

A piece is covered before the next one arrives. To continue, the scanner must see the end of the
text so far again, from three tokens before it, each shortened to the part that decides how it
continues (`'*`, `$tag$*`, `/*.`). So a literal of 1 GiB is read once and takes no memory. If a cut
goes through the beginning of a closing tag, or through a `*` or `/` in a comment, two pieces keep
it although one piece would not. Only its place is part of the secret.

Bytes are read as Latin-1, one character each: in the encodings that a server can have, no quote,
backslash or dollar sign is part of another character. If that does not hold, or backslashes escape
in all strings, the caller must cover the whole text instead.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.sqltext.scanner import COMMENT_ENDS, CONTINUED, ESCAPED_INSIDE, Token, scan

_PLAIN_INSIDE: Final = re.compile(r"(?:[^']++|'')*+")
_QUOTED_INSIDE: Final = re.compile(r'(?:[^"]++|"")*+')
_SECRET: Final = re.compile(r"[^']")
_ESCAPED_SECRET: Final = re.compile(r"[^'\\]")
_COMMENT: Final = re.compile(r"(?<=--)[^\n\r]++")
_DECIMAL: Final = re.compile(r"[0-9]")
_BASED: Final = re.compile(r"(?<=..)[0-9A-Fa-f]")
_LINE: Final = re.compile(r"[\n\r]")
_TOKENS_AGAIN: Final = 3
"""A dollar quote is three tokens while its tag has not ended: `$`, `tag`, and the token after
it."""
_LONGEST_WORD: Final = 64
_LONGEST_AGAIN: Final = 4096


class Blanking:
    """Blanks one SQL text, piece by piece."""

    __slots__ = ("_again", "_lost")

    def __init__(self) -> None:
        self._again = ""
        self._lost = False  # too much would have to be seen again: the rest is covered completely

    def cover(self, piece: bytes) -> bytes:
        """Blank the next piece. The result has the same length and is safe to keep."""
        if self._lost:
            return b"*" * len(piece)
        text = self._again + piece.decode("latin-1")
        tokens = scan(text)
        covered = _cover(text, tokens)[len(self._again) :]
        self._again = _replacement(text, tokens)
        self._lost = len(self._again) > _LONGEST_AGAIN
        return covered.encode("latin-1")


def _cover(text: str, tokens: list[Token]) -> str:
    covered = []
    for kind, start, end in tokens:
        piece = text[start:end]
        if kind == "string":
            piece = _cover_dollars(piece) if piece[0] == "$" else _cover_quotes(piece)
        elif kind == "comment":
            piece = _cover_comment(piece)
        elif kind == "number" and piece != "0":  # its x may come with the next piece
            piece = (_BASED if piece[1:2] in tuple("xXoObB") else _DECIMAL).sub("1", piece)
        covered.append(piece)
    return "".join(covered)


def _cover_quotes(token: str) -> str:
    """Cover '...' and its variants, with all strings that continue it."""
    inside, secret = (ESCAPED_INSIDE, _ESCAPED_SECRET) if token[0] in "eE" else (_PLAIN_INSIDE, _SECRET)
    begin = token.index("'") + 1
    parts = [token[:begin]]
    while True:
        end = _end(inside, token, begin)
        parts.append(secret.sub("*", token[begin:end]))
        more = CONTINUED.match(token, end + 1)
        if more is None:
            parts.append(token[end:])
            return "".join(parts)
        begin = more.end()
        parts.append(_COMMENT.sub(lambda found: "." * len(found[0]), token[end:begin]))


def _end(inside: re.Pattern[str], token: str, begin: int) -> int:
    """The position of the closing quote, of the end of the text, or of its last backslash."""
    found = inside.match(token, begin)
    return found.end() if found else begin


def _cover_dollars(token: str) -> str:
    tag, closed = _tag(token)
    if closed:
        return tag + "*" * (len(token) - 2 * len(tag)) + tag
    kept = _begun(tag, token[len(tag) :])
    return tag + "*" * (len(token) - len(tag) - len(kept)) + kept


def _tag(token: str) -> tuple[str, bool]:
    """The tag of a dollar quote, and whether it closes the quote."""
    tag = token[: token.index("$", 1) + 1]
    return tag, len(token) >= 2 * len(tag) and token.endswith(tag)


def _begun(tag: str, inner: str) -> str:
    """What may be the beginning of the closing tag, at the end of the text."""
    return next((tag[:size] for size in range(min(len(tag) - 1, len(inner)), 0, -1) if inner.endswith(tag[:size])), "")


def _cover_comment(token: str) -> str:
    if token.startswith("--"):
        return "--" + "." * (len(token) - 2)
    depth, begun = _depth(token)
    kept = begun if depth else "*/"
    return "/*" + "." * (len(token) - 2 - len(kept)) + kept


def _depth(token: str) -> tuple[int, str]:
    """How many comments are open at the end of one that began with /*, and what may be the
    beginning of the next delimiter."""
    depth, end = 1, 2
    for found in COMMENT_ENDS.finditer(token, 2):
        depth, end = depth + (1 if found[0] == "/*" else -1), found.end()
    return depth, token[-1] if end < len(token) and token[-1] in "*/" else ""


def _replacement(text: str, tokens: list[Token]) -> str:
    """A short replacement for the end of the text, with which scanning continues as it would with
    the whole text."""
    parts: list[str] = []
    wanted = _TOKENS_AGAIN
    lines = blanks = comments = False
    for number in range(len(tokens) - 1, -1, -1):
        kind, start, end = tokens[number]
        token = text[start:end]
        is_last = number == len(tokens) - 1
        if kind == "space":
            blanks, lines = True, lines or _LINE.search(token) is not None
        elif kind == "comment" and token.startswith("--"):
            if is_last:
                parts.append("--" if len(token) == 2 else "--.")
        elif kind == "comment":
            depth, begun = _depth(token)
            comments = comments or not depth
            if depth:
                parts.append("/*" * depth + "." + begun)
        else:
            parts.append(("/**/" if comments else "") + ("\n" if lines else " " if blanks else ""))
            parts.append(_shortened(kind, token))
            lines = blanks = comments = False
            wanted -= 1
            if not wanted:
                break
    return "".join(reversed(parts))


def _shortened(kind: str, token: str) -> str:
    if kind == "string" and token[0] == "$":
        tag, closed = _tag(token)
        return tag + "*" + (tag if closed else _begun(tag, token[len(tag) :]))
    if kind == "string":
        inside = ESCAPED_INSIDE if token[0] in "eE" else _PLAIN_INSIDE
        begin = token.index("'") + 1
        head = token[:begin] + "*"
        while (more := CONTINUED.match(token, (end := _end(inside, token, begin)) + 1)) is not None:
            begin = more.end()
        return head + token[end : end + 1]
    if kind == "quoted":
        begin = token.index('"') + 1
        end = _end(_QUOTED_INSIDE, token, begin)
        return token[:begin] + "x" + token[end : end + 1]
    return token[:_LONGEST_WORD]
