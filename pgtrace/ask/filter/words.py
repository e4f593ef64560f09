"""The words of the filter language, and the values that each accepts.

There is one entry per word. The parser reads from it what is allowed, completion what to offer, and
a test compares it with docs/filter.md. facts.py has a word's value in a row.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final


class ValueKind(enum.Enum):
    """What a word is compared with."""

    NAME = enum.auto()
    """A name: `:` is the whole of it, in its own letter case."""
    TEXT = enum.auto()
    """Text: `:` is some part of it, in any letter case."""
    MESSAGE = enum.auto()
    """The manual's name of a message, in any letter case."""
    NUMBER = enum.auto()
    CONNECTION = enum.auto()
    """`2`, or `b:2` for the second of several files."""
    STATEMENT = enum.auto()
    """A statement, whatever its values and white space."""
    FINGERPRINT = enum.auto()
    """The fingerprint of a statement, or the beginning of it."""
    TRACE = enum.auto()
    """A trace id, the beginning of one, or the traceparent that has it."""
    LEG = enum.auto()
    """The letter of a leg, or text: some part of it, in any letter case."""
    LETTER = enum.auto()
    """One letter of a few, or the word it begins."""


COMPARED: Final = {
    ValueKind.NAME: (":", "~"),
    ValueKind.TEXT: (":", "~"),
    ValueKind.MESSAGE: (":", "~"),
    ValueKind.NUMBER: (":", "<", "<=", ">", ">="),
    ValueKind.CONNECTION: (":",),
    ValueKind.STATEMENT: (":",),
    ValueKind.FINGERPRINT: (":",),
    ValueKind.TRACE: (":",),
    ValueKind.LEG: (":", "~"),
    ValueKind.LETTER: (":",),
}
"""The operators of each kind; `=` is `:`."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word."""

    name: str
    kind: ValueKind
    meaning: str
    example: str
    alone: str = ""
    """What it means without a value, if it can be used alone."""
    key: str = ""
    """For a tag: its key; for a counter: its name."""
    letters: tuple[str, ...] = ()
    """For a LETTER: the words, each recognised by its first letter in the case on the wire."""


_ALL: Final = (
    Word("driver", ValueKind.NAME, "the client library of its connection, as identified; `unknown` is one too", "driver:asyncpg"),
    Word("conn", ValueKind.CONNECTION, "the number of its connection, with the file's letter if there are several", "conn:2"),
    Word("sql", ValueKind.TEXT, "the SQL of a statement that one of its messages is for", 'sql ~ "^select .* for update"'),
    Word(
        "like",
        ValueKind.STATEMENT,
        "a statement of it that is this one except for values and white space",
        'like:"SELECT * FROM users WHERE id = 7"',
    ),
    Word(
        "fingerprint",
        ValueKind.FINGERPRINT,
        "the fingerprint of a statement of it in `stats --json`, whatever its values; its beginning is enough",
        "fingerprint:1f0c",
    ),
    Word("stmt", ValueKind.NAME, "the name of a prepared statement that one of its messages uses", "stmt ~ ^__asyncpg_"),
    Word("type", ValueKind.MESSAGE, "one of its messages, by the manual's name", "type:Describe"),
    Word("sqlstate", ValueKind.NAME, "the SQLSTATE of one of its errors", "sqlstate ~ ^23"),
    Word("rt", ValueKind.NUMBER, "its number in the timeline", "rt:59"),
    Word("ms", ValueKind.NUMBER, "its duration in milliseconds; of an open one, up to the end of the capture", "ms > 10"),
    Word("depth", ValueKind.NUMBER, "its pipeline depth: Execute, Query and FunctionCall messages", "depth > 1"),
    Word("rows", ValueKind.NUMBER, "its DataRow messages", "rows >= 1000"),
    Word(
        "count.COUNTER",
        ValueKind.NUMBER,
        "how much it adds to that counter of `stats --json`; of a table of messages: `count.frontend_messages.Flush`",
        "count.statements_reused > 1",
        alone="it adds to that counter",
    ),
    Word("fmt", ValueKind.LETTER, "the format of its results", "fmt:b", letters=("text", "binary", "mixed")),
    Word(
        "tx",
        ValueKind.LETTER,
        "the transaction status after it, as in ReadyForQuery: Idle, in a Transaction block, in a failed block (Error)",
        "tx:E",
        alone="it begins, ends or is inside a transaction block",
        letters=("Idle", "Transaction", "Error"),
    ),
    Word("at", ValueKind.TEXT, "the line of code that sent one of its statements: file, line and function", "at:orders.py:41"),
    Word("trace", ValueKind.TRACE, "the trace id in the traceparent of one of its statements (a comment)", "trace:0af7651916cd43dd"),
    Word(
        "tag.KEY",
        ValueKind.NAME,
        "the value of that key in a comment of one of its statements, as sqlcommenter writes it",
        "tag.route:/checkout",
        alone="a statement of it has that key",
    ),
    Word("mark", ValueKind.NAME, "a mark that was open when it opened", "mark:test_checkout"),
    Word("label", ValueKind.NAME, "the label of its capture, as `--label` gave it", "label:pool"),
    Word("leg", ValueKind.LEG, "the letter of its connection's leg, if a capture has several; or its listener and upstream", "leg:B"),
    Word("user", ValueKind.NAME, "the user of its connection", "user:app"),
    Word("db", ValueKind.NAME, "the database of its connection", "db:shop"),
    Word("app", ValueKind.NAME, "the application_name of its connection, the latest one", "app ~ worker"),
    Word("error", ValueKind.TEXT, "the message of one of its errors", 'error:"duplicate key"', alone="it has an error"),
)

WORDS: Final = {word.name: word for word in _ALL}
OPERATORS: Final = ("and", "or", "not")
TAG: Final = "tag."
"""What a word for a tag begins with; its key follows."""
COUNT: Final = "count."
"""What a word for a counter begins with; its name follows."""
KEYED: Final = {TAG: "tag.KEY", COUNT: "count.COUNTER"}
"""The words that a name follows, by their beginning."""


def known(name: str) -> Word | None:
    """The word of that name."""
    for beginning, word in KEYED.items():
        if name[: len(beginning)].lower() == beginning and len(name) > len(beginning):
            key = name[len(beginning) :]
            return replace(WORDS[word], name=beginning + key, key=key)
    return WORDS.get(name.lower())
