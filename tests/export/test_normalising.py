"""A message with its texts replaced: by field, so that what is no text stays as it is."""

from __future__ import annotations

import re

from pgtrace.export.normalising import Normaliser
from pgtrace.identify.drivers.names import StableNames
from pgtrace.protocol import backend, frontend
from pgtrace.protocol.message import Message


class Digits:
    """A rule that hides numbers."""

    def apply(self, text: str) -> str:
        return re.sub(r"\d+", "N", text)


def normalised(message: Message, *rules: Digits) -> Message:
    return Normaliser(StableNames(None), rules).message(message)  # type: ignore[arg-type]


def test_without_names_and_rules_it_is_the_same_object() -> None:
    message = frontend.Query("select 1")
    assert normalised(message) is message


def test_texts_and_values_are_replaced() -> None:
    assert normalised(frontend.Query("select 42"), Digits()) == frontend.Query("select N")
    row = backend.DataRow((b"42", None, b"\xff7"))
    assert normalised(row, Digits()) == backend.DataRow((b"N", None, b"\xffN"))
    bind = frontend.Bind("p1", "s1", (), (b"7", None), ())
    assert normalised(bind, Digits()) == frontend.Bind("p1", "s1", (), (b"N", None), ())


def test_names_of_statements_are_the_drivers_business() -> None:
    """A rule does not touch them: who replaces them knows which driver drew them."""
    assert normalised(frontend.Parse("s1", "select 1", (23,)), Digits()) == frontend.Parse("s1", "select N", (23,))
    assert normalised(frontend.Close("S", "s1"), Digits()) == frontend.Close("S", "s1")


def test_what_no_rule_changes_is_the_same_object() -> None:
    message = backend.CommandComplete("BEGIN")
    assert normalised(message, Digits()) is message
    assert normalised(backend.CommandComplete("SELECT 3"), Digits()) == backend.CommandComplete("SELECT N")
