"""A connection introduced in words: what protects it and how its driver logged in."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtrace.report import about
from pgtrace.trace.trace import Trace
from tests.playbook import write

LOGIN = """
F  StartupMessage user=app
{facts}
B  AuthenticationSASL SCRAM-SHA-256
F  SASLInitialResponse SCRAM-SHA-256 {header}
B  AuthenticationOk | ReadyForQuery I
F  Query SELECT 1
"""


@pytest.mark.parametrize(
    ("facts", "header", "lines"),
    [
        ("", "n,,", ["login: SCRAM-SHA-256"]),
        ("", "y,,", ["login: SCRAM-SHA-256, channel binding possible but not offered"]),
        ("", "p=tls-server-end-point,,", ["login: SCRAM-SHA-256, bound to the channel"]),
        (
            "c1 fact tls.frontend TLSv1.3\nc1 fact tls.frontend.alpn postgresql\nc1 fact tls.backend TLSv1.2",
            "n,,",
            ["driver's leg: TLSv1.3  alpn postgresql", "upstream leg: TLSv1.2", "login: SCRAM-SHA-256"],
        ),
        ("c1 fact tls.frontend.error unknown\x1bca", "n,,", ["driver's leg: unknown\\x1bca", "login: SCRAM-SHA-256"]),
        ("c1 fact channel_binding ways", "y,,", ["login: SCRAM-SHA-256, channel binding possible but not offered", "dead end: ways"]),
    ],
)  # fmt: skip
def test_tls_and_login(facts: str, header: str, lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a.pgtrace"
    write(path, LOGIN.format(facts=facts, header=header))
    trace = Trace.open([path])
    trace.update()
    told = about.lines(trace, trace.connections[0])
    trace.close()
    assert [line.strip().removeprefix("c1  ") for line in told] == lines
