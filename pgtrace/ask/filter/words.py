"""The words of the filter language, and the values that each accepts.

There is one entry per word. The parser takes from it what is allowed, completion takes what to
offer, and a test compares it with docs/filter.md. facts.py computes a word's value in a row.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final


class ValueKind(enum.Enum):
    """The kind of value with which a word is compared."""

    NAME = enum.auto()
    """A name: `:` matches the whole name, with its letter case."""
    TEXT = enum.auto()
    """A text: `:` matches any part of it, in any letter case."""
    MESSAGE = enum.auto()
    """The manual's name of a message, in any letter case."""
    NUMBER = enum.auto()
    CONNECTION = enum.auto()
    """A connection: `2`, or `b:2` in the second of several files."""
    STATEMENT = enum.auto()
    """A statement, whatever its values and white space."""
    FINGERPRINT = enum.auto()
    """The fingerprint of a statement, or its beginning."""
    TRACE = enum.auto()
    """A trace id, its beginning, or a whole traceparent."""
    LEG = enum.auto()
    """The letter of a leg, or any part of its listener and upstream, in any letter case."""
    LETTER = enum.auto()
    """One of a few letters, or the word that it begins."""


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
"""Kind -> the operators that it allows; `=` is the same as `:`."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the language."""

    name: str
    kind: ValueKind
    meaning: str
    example: str
    alone: str = ""
    """The meaning without a value, if the word can be used alone."""
    key: str = ""
    """For a tag: its key; for a counter: its name."""
    letters: tuple[str, ...] = ()
    """For a LETTER: the words; their first letters are those on the wire."""


_ALL: Final = (
    Word("driver", ValueKind.NAME, "the client library of the connection, as identified, or `unknown`", "driver:asyncpg"),
    Word("conn", ValueKind.CONNECTION, "the number of the connection, with the file's letter if there are several files", "conn:2"),
    Word("sql", ValueKind.TEXT, "the SQL of a statement in the round trip", 'sql ~ "^select .* for update"'),
    Word(
        "like",
        ValueKind.STATEMENT,
        "a statement in the round trip, whatever its values and white space",
        'like:"SELECT * FROM users WHERE id = 7"',
    ),
    Word(
        "fingerprint",
        ValueKind.FINGERPRINT,
        "the fingerprint of a statement in the round trip, as in `stats --json`; its beginning is enough",
        "fingerprint:1f0c",
    ),
    Word("stmt", ValueKind.NAME, "the name of a prepared statement that a message uses", "stmt ~ ^__asyncpg_"),
    Word("type", ValueKind.MESSAGE, "the manual's name of one of the messages", "type:Describe"),
    Word("sqlstate", ValueKind.NAME, "the SQLSTATE of one of the errors", "sqlstate ~ ^23"),
    Word("rt", ValueKind.NUMBER, "the number in the timeline", "rt:59"),
    Word("ms", ValueKind.NUMBER, "the duration in milliseconds; of an open round trip, up to the end of the capture", "ms > 10"),
    Word("depth", ValueKind.NUMBER, "the pipeline depth: Execute, Query and FunctionCall messages", "depth > 1"),
    Word("rows", ValueKind.NUMBER, "the number of DataRow messages", "rows >= 1000"),
    Word(
        "count.COUNTER",
        ValueKind.NUMBER,
        "how much the round trip adds to that counter of `stats --json`; for messages: `count.frontend_messages.Flush`",
        "count.statements_reused > 1",
        alone="it adds to that counter",
    ),
    Word("fmt", ValueKind.LETTER, "the format of the results", "fmt:b", letters=("text", "binary", "mixed")),
    Word(
        "tx",
        ValueKind.LETTER,
        "the transaction status afterwards, as in ReadyForQuery: Idle, in a Transaction block, in a failed block (Error)",
        "tx:E",
        alone="it begins, ends or is inside a transaction block",
        letters=("Idle", "Transaction", "Error"),
    ),
    Word("at", ValueKind.TEXT, "the line of code that sent one of the statements: file, line and function", "at:orders.py:41"),
    Word("trace", ValueKind.TRACE, "the trace id in the traceparent comment of one of the statements", "trace:0af7651916cd43dd"),
    Word(
        "tag.KEY",
        ValueKind.NAME,
        "the value of that key in a comment of one of the statements, as sqlcommenter writes it",
        "tag.route:/checkout",
        alone="one of the statements has that key",
    ),
    Word("mark", ValueKind.NAME, "a mark that was open when the round trip began", "mark:test_checkout"),
    Word("label", ValueKind.NAME, "the label of the capture, as given by `--label`", "label:pool"),
    Word("leg", ValueKind.LEG, "the letter of the connection's leg, if a capture has several; or the leg's listener and upstream", "leg:B"),
    Word("user", ValueKind.NAME, "the user of the connection", "user:app"),
    Word("db", ValueKind.NAME, "the database of the connection", "db:shop"),
    Word("app", ValueKind.NAME, "the latest application_name of the connection", "app ~ worker"),
    Word("error", ValueKind.TEXT, "the message of one of the errors", 'error:"duplicate key"', alone="it has an error"),
)

WORDS: Final = {word.name: word for word in _ALL}
OPERATORS: Final = ("and", "or", "not")
TAG: Final = "tag."
"""The beginning of a word for a tag; the key follows."""
COUNT: Final = "count."
"""The beginning of a word for a counter; its name follows."""
KEYED: Final = {TAG: "tag.KEY", COUNT: "count.COUNTER"}
"""Beginning of a word that a name follows -> the whole word."""


def known(name: str) -> Word | None:
    """The word with that name; None if there is none."""
    for beginning, word in KEYED.items():
        if name[: len(beginning)].lower() == beginning and len(name) > len(beginning):
            key = name[len(beginning) :]
            return replace(WORDS[word], name=beginning + key, key=key)
    return WORDS.get(name.lower())
