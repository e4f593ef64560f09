"""Each remedy that is printed without a note was tried: the program of the finding has it, and the same program with the remedy has not.

For the drivers of the demo and for SQLAlchemy that is every remedy; where a pooler is needed, PgBouncer has to be installed.
Programs in other languages (PGTRACE_NIGHTLY) need Go, a JDK with Maven, Node.js or cargo.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from captures.recording.scenarios import Unavailable
from pgtrace import Recorder
from pgtrace.address import Leg, parse_listen, parse_upstream
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.pooler import Pooler, free_port
from pgtrace.identify import drivers, layers
from pgtrace.identify.remedies import Remedy
from pgtrace.judge.advice import Advice
from pgtrace.judge.finding import Finding
from pgtrace.judge.findings import KINDS
from pgtrace.legs.joins import find
from pgtrace.trace.trace import Trace
from tests.corpus import NIGHTLY
from tests.data.findings.record import pgbouncer
from tests.live import remedied_elsewhere as elsewhere
from tests.live.remedied import SCENARIOS, TABLES, Program
from tests.live.remedied_alike import PROGRAMS

NEWER = os.environ.get("PGTRACE_PGBOUNCER")
"""A PgBouncer that keeps prepared statements, built by `make poolers`."""
TRIED = {
    remedy.tried: (client.name, kind, remedy)
    for client in (*drivers.DRIVERS, *layers.LAYERS)
    for kind, remedies in client.remedies.items()
    for remedy in remedies
    if remedy.tried
}


ELSEWHERE = sorted(name for name, (client, _, _) in TRIED.items() if client in elsewhere.CLIENTS)


@pytest.fixture(scope="module")
def tables(server: EmbeddedServer) -> Iterator[None]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for statement in TABLES:
            connection.execute(statement)
        yield
        connection.execute("drop table item, written, author, book")


def advised(
    server: EmbeddedServer, program: Program, capture: Path, pooled: int, *, both: bool = False, newer: tuple[str, ...] = ()
) -> list[Finding]:
    """What is found where a program ran; with `both`, both sides of the pooler are recorded."""
    with contextlib.ExitStack() as stack:
        upstream = f"{server.host}:{server.port}"
        more_legs: list[Leg] = []
        if both:
            port = free_port()
            upstream, more_legs = f"127.0.0.1:{port}", [Leg(parse_listen("127.0.0.1:0"), parse_upstream(upstream, {}))]
        elif pooled:
            upstream = f"127.0.0.1:{stack.enter_context(pgbouncer(server, pooled, *newer))}"
        recorder = stack.enter_context(Recorder(upstream=upstream, write=capture, more_legs=more_legs))
        if both:
            behind = int(recorder.addresses_of_legs[1][0].rpartition(":")[2])
            stack.enter_context(Pooler(server, port, behind, pool_size=pooled))
        program(recorder.url(user=server.user, password=server.password, database=server.database))
    trace = Trace.open([capture])
    trace.read_until(1 << 62)
    advice = Advice(trace, joins=find(trace))
    advice.update()
    findings = advice.findings()
    trace.close()
    return findings


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_remedy_helps(server: EmbeddedServer, tables: None, tmp_path: Path, name: str) -> None:
    scenario = SCENARIOS[name]
    if scenario.pooled and shutil.which("pgbouncer") is None:
        pytest.skip("PgBouncer is not installed")
    newer: tuple[str, ...] = ()
    if scenario.newer:
        if NEWER is None:
            pytest.skip("PgBouncer 1.24 is built by `make poolers`")
        newer = (NEWER, "max_prepared_statements = 100\n")
    client, kind, remedy = TRIED[name]
    assert (client, kind) == (scenario.client, scenario.kind)
    both = kind == "pooler-added"
    before = [one for one in advised(server, scenario.before, tmp_path / "before.pgtrace", scenario.pooled, both=both) if one.name == kind]
    assert any(client in (one.driver, one.layer) for one in before), before
    assert any(remedy.text in one.remedies for one in before), [one.remedies for one in before]
    after = [
        one
        for one in advised(server, scenario.after, tmp_path / "after.pgtrace", scenario.pooled, newer=newer, both=both)
        if one.name == kind
    ]
    assert after == []


@pytest.mark.skipif(not NIGHTLY, reason="builds programs in four languages")
@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_remedy_helps_in_another_language(server: EmbeddedServer, tables: None, tmp_path: Path, name: str) -> None:
    client, kind, remedy = TRIED[name]
    pooled = elsewhere.POOLED.get(name, 0)
    newer: tuple[str, ...] = ()
    if pooled and shutil.which("pgbouncer") is None:
        pytest.skip("PgBouncer is not installed")
    if "newer" in name:
        if NEWER is None:
            pytest.skip("PgBouncer 1.24 is built by `make poolers`")
        newer = (NEWER, f"{elsewhere.POOLER}max_prepared_statements = 100\n")

    def found(*, remedied: bool) -> list[Finding]:
        def run(url: str) -> None:
            elsewhere.program(client, name, remedied=remedied)(elsewhere.target(url))

        capture = tmp_path / f"{remedied}.pgtrace"
        return [
            one
            for one in advised(server, run, capture, pooled, newer=newer if remedied and newer else ("pgbouncer", elsewhere.POOLER))
            if one.name == kind
        ]

    try:
        before = found(remedied=False)
    except Unavailable as missing:
        pytest.skip(str(missing))
    assert any(client == one.driver for one in before), before
    assert any(remedy.text in one.remedies for one in before), [one.remedies for one in before]
    assert found(remedied=True) == []


@pytest.mark.parametrize("kind", PROGRAMS)
def test_the_general_remedy_helps_each_of_its_clients(server: EmbeddedServer, tables: None, tmp_path: Path, kind: str) -> None:
    alike = PROGRAMS[kind]
    if alike.pooled and shutil.which("pgbouncer") is None:
        pytest.skip("PgBouncer is not installed")

    def found(clients: Sequence[str], *, remedied: bool) -> list[Finding]:
        def run(url: str) -> None:
            for client in clients:
                alike.run(client, url, remedied)

        capture = tmp_path / f"{clients[0]} {remedied}.pgtrace"
        return [one for one in advised(server, run, capture, alike.pooled) if one.name == kind]

    apart = [one for one in alike.clients if one != "sqlalchemy"], [one for one in alike.clients if one == "sqlalchemy"]
    for clients in filter(None, apart):  # one process has one layer
        before = found(clients, remedied=False)
        for client in clients:
            mine = [one for one in before if client == (one.layer or one.driver)]
            assert mine, (client, [(one.driver, one.layer) for one in before])
            texts = {remedy.text for remedy in mine[0].kind.remedies if client in remedy.clients}
            assert texts <= {text for one in mine for text in one.remedies}, [one.remedies for one in mine]
        assert found(clients, remedied=True) == []


def test_the_clients_of_a_general_remedy_have_a_program() -> None:
    clients = {kind.name: {client for remedy in kind.remedies for client in remedy.clients} for kind in KINDS}
    assert {name: found for name, found in clients.items() if found} == {name: set(one.clients) for name, one in PROGRAMS.items()}


def test_what_was_tried_is_a_scenario() -> None:
    assert set(TRIED) == set(SCENARIOS) | set(ELSEWHERE)


def test_the_page_has_them_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "findings.md").read_text(encoding="utf-8")
    rows = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in page.splitlines() if line.startswith("| ")]
    general = {(client, kind.name, remedy.text) for kind in KINDS for remedy in kind.remedies for client in remedy.clients}
    tried = {(client, kind, remedy.text) for client, kind, remedy in TRIED.values()} | general
    assert {row for row in rows if len(row) == 3} - {("for", "finding", "remedy that was tried"), ("---", "---", "---")} == tried


@pytest.mark.parametrize("client", ["asyncpg", "psycopg", "psycopg2", "pg8000", "sqlalchemy"])
def test_of_these_every_remedy_was_tried(client: str) -> None:
    registered = drivers.BY_NAME.get(client) or layers.BY_NAME[client]
    untried: list[Remedy] = [remedy for remedies in registered.remedies.values() for remedy in remedies if not remedy.tried]
    assert [remedy.text for remedy in untried if "DEALLOCATE" not in remedy.needs] == []
