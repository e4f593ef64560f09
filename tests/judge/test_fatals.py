"""FATAL errors by which a server or a pooler ends a session: each has its finding, and says who ended it."""

from __future__ import annotations

import pytest

from pgtrace.judge import fatals
from pgtrace.protocol import backend
from pgtrace.session.failures import Failure
from pgtrace.trace.row import Label
from tests.judging import Judge

POOLERS = {
    "client_idle_timeout": ("client_idle_timeout", "the pool's maximum idle time"),
    "idle transaction timeout": ("idle_transaction_timeout", "end the transaction before slow work"),
    "query_wait_timeout": ("no server connection was free", "a larger pool"),
    "query timeout": ("query_timeout", "make the statement faster"),
    "transaction timeout": ("transaction_timeout", "make transactions shorter"),
    "tidy up, go home": ("tidy up, go home", "the pooler's log"),
}


@pytest.mark.parametrize("text", POOLERS)
@pytest.mark.parametrize("status", ["I", "T"])
@pytest.mark.parametrize("used", [False, True])
def test_an_end_by_a_pooler(judged: Judge, text: str, status: str, used: bool) -> None:
    """It answers with an error of its own, which has none of the fields that PostgreSQL always sends."""
    body = backend.ErrorResponse((("S", "FATAL"), ("C", "08P01"), ("M", text))).build()
    said = f"45{len(body) + 4:08x}{body.hex()}"
    lines = [f"F Query SELECT now()\nB CommandComplete SELECT 1 | ReadyForQuery {status}", f"1500 raw B {said}"]
    lines += ["3000 F Query SELECT 2"] if used else []
    found = judged(*lines, "3500 c1 ends B FIN", "3501 c1 close B", "end")
    names, remedy = POOLERS[text]
    waits = status == "T" and "transaction" not in text
    assert found.names == ["server-ended", *(["idle-in-transaction"] if waits else [])]
    ended = found["server-ended"]
    assert "1 session ended by the pooler" in ended.what
    assert names in ended.what
    assert remedy in ended.remedies[0]
    assert ("used-after-fatal" in ended.note.parts) is used
    assert not found.errors
    assert not found.ends


@pytest.mark.parametrize(
    ("failure", "message", "cause"),
    [
        (Failure("57P01", "FATAL"), "shut down", "57P01"),
        (Failure("57P01", "ERROR"), "shut down", ""),
        (Failure("58030", "FATAL"), "no disk", ""),
        (Failure("08P01", "FATAL", is_postgres=False), "query_wait_timeout", "query_wait_timeout"),
        (Failure("08P01", "FATAL", is_postgres=False), "", "08P01"),
        (Failure("08006", "FATAL", is_postgres=False), "pgtrace: the upstream cannot be reached", ""),
    ],
)
def test_the_cause(failure: Failure, message: str, cause: str) -> None:
    assert fatals.cause(Label("", failure.sqlstate, message, failures=(failure,))) == cause
