"""What is read without the message classes is what the classes say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pgtrace.protocol import backend, frontend, heads, startup
from pgtrace.protocol.message import MalformedMessage, Message
from tests.protocol.message_mutants import mutants

MUTANTS = 4000
Reader = Callable[[bytes], Any]
SAME: dict[str, tuple[type[Message], Reader, Callable[[Any], Any]]] = {
    "query": (frontend.Query, lambda body: heads.strings(body, 1), lambda one: (one.query,)),
    "tag": (backend.CommandComplete, lambda body: heads.strings(body, 1), lambda one: (one.command_tag,)),
    "parameter": (backend.ParameterStatus, lambda body: heads.strings(body, 2), lambda one: (one.name, one.value)),
    "describe": (frontend.Describe, heads.named, lambda one: (one.kind, one.name)),
    "close": (frontend.Close, heads.named, lambda one: (one.kind, one.name)),
    "execute": (frontend.Execute, heads.execute, lambda one: one.portal),
    "parse": (frontend.Parse, heads.parse, lambda one: (one.statement, one.query, one.parameter_types)),
    "types": (backend.ParameterDescription, heads.type_oids, lambda one: one.parameter_types),
    "columns": (backend.RowDescription, heads.column_formats, lambda one: [column.format for column in one.columns]),
    "startup": (startup.StartupMessage, heads.startup, lambda one: (one.protocol, one.parameters)),
}
ONE_PARAMETER = b"\0\3\0\0user\0app\0\0"


def said(kind: type[Message], body: bytes, what: Callable[[Any], Any]) -> Any:
    try:
        return what(kind.parse(body))
    except MalformedMessage:
        return None


@pytest.mark.parametrize("name", SAME)
def test_a_head_says_what_its_class_says_and_refuses_what_it_refuses(name: str) -> None:
    kind, read, what = SAME[name]
    example = kind.EXAMPLE
    bodies = [example, b"", *(example[:end] for end in range(len(example))), *(example + more for more in (b"\0", b"x", b"\0\0", b"\0\1"))]
    bodies += mutants(example, name, MUTANTS)
    outcomes = []
    for body in bodies:
        expected = said(kind, body, what)
        assert read(body) == expected, body
        outcomes.append(expected is None)
    assert 50 < sum(outcomes) < len(outcomes) - 50  # both ways were taken


@pytest.mark.parametrize(
    "body", [ONE_PARAMETER, b"\0\3\0\0\0", b"\0\3\0\0a\0\0\0", b"\0\3\0\0a\0\0", b"\0\3\0\0", b"\0\3\0\0\0\0", b"\0\3\0\0\0a\0\0"]
)
def test_startup_ends_where_a_name_would_begin(body: bytes) -> None:
    assert heads.startup(body) == said(startup.StartupMessage, body, lambda one: (one.protocol, one.parameters))


def test_the_head_of_a_bind() -> None:
    # A head is all of a body up to where the values begin, so of its class nothing is left over.
    bodies = [b"p\0s\0\0\2\0\1\0\0", *mutants(b"p\0s\0\0\2\0\1\0\0", "bind", MUTANTS)]
    outcomes = []
    for body in bodies:
        expected = said(frontend.BindHead, body, lambda one: (one.portal, one.statement, one.parameter_formats) if not one.rest else None)
        assert heads.bind(body) == expected, body
        outcomes.append(expected is None)
    assert 50 < sum(outcomes) < len(outcomes) - 50
