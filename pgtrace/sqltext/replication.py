"""The replication commands that decide the contents of CopyData: START_REPLICATION and
CREATE_REPLICATION_SLOT.

A walsender has a grammar of its own, with the words, quoted names and string constants of SQL.
Keywords are read in any case. For any other command the result is None. A command that the server
would refuse is read as far as possible.

Source: PostgreSQL manual, "Streaming Replication Protocol".
"""

from __future__ import annotations

from typing import NamedTuple

from pgtrace.sqltext.memory import remembered
from pgtrace.sqltext.scanner import lower, tokens, unquoted


class StartReplication(NamedTuple):
    """START_REPLICATION [SLOT slot] [PHYSICAL | LOGICAL] ... [(option 'value', ...)]."""

    slot: str
    is_logical: bool
    options: tuple[tuple[str, str], ...]


class CreatedSlot(NamedTuple):
    """CREATE_REPLICATION_SLOT slot [TEMPORARY] LOGICAL plugin."""

    slot: str
    plugin: str


def start_replication(sql: str) -> StartReplication | None:
    """The slot, kind and options in a START_REPLICATION; None for any other command."""
    words = _words(sql)
    if lower(words[0] if words else "") != "start_replication":
        return None
    slot = words[2] if lower(words[1] if words[1:] else "") == "slot" and words[2:] else ""
    behind = 3 if slot else 1
    is_logical = lower(words[behind] if words[behind:] else "") == "logical"
    options: list[tuple[str, str]] = []
    if "(" in words:
        option: list[str] = []
        for word in (*words[words.index("(") + 1 :], ","):
            if word not in (",", ")"):
                option.append(word)
            elif option:
                options.append((option[0], option[1] if option[1:] else ""))
                option = []
    return StartReplication(slot, is_logical, tuple(options))


def created_slot(sql: str) -> CreatedSlot | None:
    """The logical slot that a CREATE_REPLICATION_SLOT creates; None for any other command."""
    words = _words(sql)
    if lower(words[0] if words else "") != "create_replication_slot":
        return None
    behind = words[2:]
    if behind and lower(behind[0]) == "temporary":
        behind = behind[1:]
    return CreatedSlot(words[1], behind[1]) if len(behind) > 1 and lower(behind[0]) == "logical" else None


def is_answered_in_parts(sql: str) -> bool:
    """Whether the command has several CommandCompletes: one for each result set or direction, and
    one at the end."""
    words = _words(sql)
    return bool(words) and lower(words[0]) in ("base_backup", "start_replication")


@remembered
def _words(sql: str) -> tuple[str, ...]:
    """The words and marks; names and strings without their quotes."""
    found: list[str] = []
    for kind, start, end in tokens(sql):
        text = sql[start:end]
        if kind == "quoted":
            found.append(unquoted(text))
        elif kind == "string":
            found.append(text.partition("'")[2].removesuffix("'").replace("''", "'"))
        elif kind not in ("space", "comment"):
            found.append(text)
    return tuple(found)
