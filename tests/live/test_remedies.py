"""Each remedy that is printed without a note was tried: the program of the finding has it, and the same program with the remedy has not.

For the drivers of the demo and for SQLAlchemy that is every remedy; where a pooler is needed, PgBouncer has to be installed.
Programs in other languages (PGTRACE_NIGHTLY) need Go, a JDK with Maven, Node.js or cargo.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import select
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from captures.recording.scenarios import Unavailable
from pgtrace import Recorder
from pgtrace.address import Leg, parse_listen, parse_upstream
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.pooler import Pooler
from pgtrace.demo.ports import free_port
from pgtrace.identify import drivers, layers
from pgtrace.identify.remedies import DEMO, DEMO_OR_UNKNOWN, Remedy
from pgtrace.judge.advice import Advice
from pgtrace.judge.finding import Finding
from pgtrace.judge.findings import KINDS, pooler_wait, prepared_leak
from pgtrace.legs.joins import find
from pgtrace.trace.trace import Trace
from tests.corpus import NIGHTLY
from tests.data.findings.record import pgbouncer
from tests.live import remedied_elsewhere as elsewhere
from tests.live.remedied import SCENARIOS, TABLES, Program
from tests.live.remedied_alike import ALL, MANY, NEVER, NOT_TRIED, PROGRAMS, WAIT_NS, Given
from tests.live.remedied_alike import NEWER as KEEPS

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
        connection.execute("drop table item, written, author, book; drop type if exists temper")
        for database in ("for_some", "for_nobody"):
            connection.execute(f"drop database if exists {database} with (force)")


def advised(
    server: EmbeddedServer,
    program: Program | Callable[[str, str], Any],
    capture: Path,
    pooled: int,
    *,
    both: bool = False,
    newer: tuple[str, ...] = (),
    is_unreachable: bool = False,
    is_impatient: bool = False,
) -> list[Finding]:
    """What is found where a program ran; with `both`, both sides of the pooler are recorded. A program that takes a second address
    gets one that is recorded, but not behind the pooler."""
    with contextlib.ExitStack() as stack:
        behind = upstream = f"{server.host}:{server.port}"
        more_legs: list[Leg] = []
        if both:
            between = free_port()
            upstream, more_legs = f"127.0.0.1:{between}", [Leg(parse_listen("127.0.0.1:0"), parse_upstream(behind, {}))]
        elif pooled:
            upstream = f"127.0.0.1:{stack.enter_context(pgbouncer(server, pooled, *newer))}"
            more_legs = [Leg(parse_listen("127.0.0.1:0"), parse_upstream(behind, {}))]
        elif is_unreachable:
            upstream = f"127.0.0.1:{free_port()}"
        elif is_impatient:
            upstream = f"127.0.0.1:{stack.enter_context(impatient_relay(server))}"
        recorder = stack.enter_context(Recorder(upstream=upstream, write=capture, more_legs=more_legs))
        port = int(recorder.addresses_of_legs[-1][0].rpartition(":")[2])
        if both:
            stack.enter_context(Pooler(server, between, port, pool_size=pooled))
        url = recorder.url(user=server.user, password=server.password, database=server.database)
        takes_two = len(inspect.signature(program).parameters) == 2
        program(url, server.url("127.0.0.1", port)) if takes_two else program(url)  # type: ignore[call-arg]
    trace = Trace.open([capture])
    trace.read_until(1 << 62)
    advice = Advice(trace, joins=find(trace))
    advice.update()
    findings = advice.findings()
    trace.close()
    return findings


@contextlib.contextmanager
def impatient_relay(server: EmbeddedServer) -> Iterator[int]:
    """Something between recorder and server that closes a connection without a word once it is idle for 0.2 s; its port."""

    def pass_on(one: socket.socket) -> None:
        with one, socket.create_connection((server.host, server.port)) as other:
            while ready := select.select([one, other], [], [], 0.2)[0]:
                for side in ready:
                    data = side.recv(65536)
                    if not data:
                        return
                    (other if side is one else one).sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=pass_on, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def is_about(finding: Finding, kind: str) -> bool:
    """Whether it is of that kind, or a part of it is."""
    return kind in (finding.name, *finding.note.parts)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_remedy_helps(server: EmbeddedServer, tables: None, tmp_path: Path, name: str) -> None:
    scenario = SCENARIOS[name]
    if scenario.pooled and shutil.which("pgbouncer") is None:
        pytest.skip("PgBouncer is not installed")
    newer: tuple[str, ...] = ()
    if scenario.newer or scenario.always_newer:
        if NEWER is None:
            pytest.skip("PgBouncer 1.24 is built by `make poolers`")
        newer = (NEWER, "max_prepared_statements = 100\n")
    client, kind, remedy = TRIED[name]
    assert (client, kind) == (scenario.client, scenario.kind)
    both = kind == "pooler-added"
    before = [
        one
        for one in advised(
            server,
            scenario.before,
            tmp_path / "before.pgtrace",
            scenario.pooled,
            newer=newer if scenario.always_newer else (),
            both=both,
        )
        if is_about(one, kind)
    ]
    assert any(client in (one.driver, one.layer) for one in before), before
    assert any(remedy.text in one.remedies for one in before), [one.remedies for one in before]
    after = [
        one
        for one in advised(server, scenario.after, tmp_path / "after.pgtrace", scenario.pooled, newer=newer, both=both)
        if is_about(one, kind)
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
            if is_about(one, kind)
        ]

    try:
        before = found(remedied=False)
    except Unavailable as missing:
        pytest.skip(str(missing))
    assert any(client == one.driver for one in before), before
    assert any(remedy.text in one.remedies for one in before), [one.remedies for one in before]
    assert found(remedied=True) == []


def general() -> Iterator[tuple[str, Remedy]]:
    """Remedies that are no driver's or layer's, with the kind of finding."""
    for kind in KINDS:
        for remedy in (*kind.first, *kind.remedies, *(one for others in kind.also.values() for one in others)):
            yield kind.name, remedy


TOGETHER: dict[str, list[str]] = {}
"""Programs that run in the same surroundings, by the name of the first."""
for _name, _alike in PROGRAMS.items():
    _first = next(one for one in PROGRAMS if PROGRAMS[one].surroundings == _alike.surroundings)
    TOGETHER.setdefault(_first, []).append(_name)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", TOGETHER)
def test_the_general_remedy_helps_each_of_its_clients(
    server: EmbeddedServer, tables: None, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared_leak, "MANY", MANY)
    monkeypatch.setattr(pooler_wait, "WAIT_NS", WAIT_NS)
    alike = PROGRAMS[name]
    names = TOGETHER[name]
    if alike.pooled and shutil.which("pgbouncer") is None:
        pytest.skip("PgBouncer is not installed")
    if alike.newer and NEWER is None:
        pytest.skip("PgBouncer 1.24 is built by `make poolers`")

    def found(clients: Sequence[str], *, remedied: bool) -> tuple[list[Finding], bool]:
        """The findings, and whether every program came to its end."""
        ended: list[bool] = []

        def run(url: str, direct: str) -> None:
            def all_of(client: str) -> list[bool]:
                return [
                    PROGRAMS[one].run(Given(client, url, direct, server.url(), remedied=remedied, pooled=bool(alike.pooled)))
                    for one in names
                ]

            with ThreadPoolExecutor(len(clients) if alike.waits else 1) as pool:
                for results in pool.map(all_of, clients):
                    ended.extend(results)

        pooled = (alike.remedied_pooled if remedied else 0) or alike.pooled
        settings = alike.remedied_pooler if remedied and alike.remedied_pooler is not None else alike.pooler
        capture = tmp_path / f"{clients[0]} {remedied}.pgtrace"
        findings = advised(
            server,
            run,
            capture,
            pooled,
            newer=(NEWER or "" if settings == KEEPS else "pgbouncer", settings),
            is_unreachable=alike.is_unreachable and not remedied,
            is_impatient=alike.is_impatient,
            both=alike.both,
        )
        return [one for one in findings if is_about(one, alike.kind)], all(ended)

    apart = [one for one in alike.clients if one != "sqlalchemy"], [one for one in alike.clients if one == "sqlalchemy"]
    for clients in filter(None, apart):  # one process has one layer
        before, came_to_their_end = found(clients, remedied=False)
        assert not (alike.stays and came_to_their_end)
        for client in clients:
            known = [one for one in before if client == (one.layer or one.driver)]
            for kind, remedy in general():
                if remedy.tried in names and client in remedy.clients:
                    mine = known + [one for one in before if one.driver == drivers.UNKNOWN and drivers.UNKNOWN in remedy.clients]
                    assert kind in (alike.kind, *(one.name for one in KINDS if alike.kind in one.joins))
                    assert mine, (client, [(one.driver, one.layer) for one in before])
                    assert remedy.text in {text for one in mine for text in one.remedies}, [one.remedies for one in mine]
        after, _ = found(clients, remedied=True)
        assert alike.stays or after == []


def test_a_general_remedy_that_was_tried_has_a_program() -> None:
    clients = {(remedy.tried, tuple(one for one in remedy.clients if one != drivers.UNKNOWN)) for _, remedy in general() if remedy.clients}
    assert clients == {(name, one.clients) for name, one in PROGRAMS.items()}
    assert DEMO == ALL
    assert (*DEMO, drivers.UNKNOWN) == DEMO_OR_UNKNOWN


def test_what_was_tried_is_a_scenario() -> None:
    assert set(TRIED) == set(SCENARIOS) | set(ELSEWHERE)


def test_the_page_has_them_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "findings.md").read_text(encoding="utf-8")
    rows = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in page.splitlines() if line.startswith("| ")]
    everywhere = {
        (", ".join(one for one in remedy.clients if one != drivers.UNKNOWN), kind, remedy.text)
        for kind, remedy in general()
        if remedy.clients
    }
    tried = {(client, kind, remedy.text) for client, kind, remedy in TRIED.values()} | everywhere
    assert {row for row in rows if len(row) == 3} - {("for", "finding", "remedy that was tried"), ("---", "---", "---")} == tried


@pytest.mark.parametrize("client", DEMO)
def test_of_these_every_remedy_was_tried(client: str) -> None:
    """Or it is named as one that was not, or cannot be printed for the client."""
    own = (drivers.BY_NAME.get(client) or layers.BY_NAME[client]).remedies
    untried = [remedy.text for remedies in own.values() for remedy in remedies if not remedy.tried]
    for kind in KINDS:
        covers = any(not remedy.needs and not remedy.unless for remedy in own.get(kind.name, ()))
        left = [*kind.first, *(() if covers else (*kind.remedies, *(one for others in kind.also.values() for one in others)))]
        untried += [remedy.text for remedy in left if client not in remedy.clients and (remedy.clients or not remedy.tried)]
    never = tuple(begins for several in NEVER.values() for begins in several)
    missing = [text for text in untried if text not in NOT_TRIED and not text.startswith(never)]
    assert missing == [], "CONTRIBUTING.md says how a remedy is tried"


def test_what_was_not_tried_is_on_the_page() -> None:
    page = " ".join((Path(__file__).parents[2] / "docs" / "findings.md").read_text(encoding="utf-8").split())
    general_texts = {remedy.text for _, remedy in general()} | {
        remedy.text for client in drivers.DRIVERS for remedies in client.remedies.values() for remedy in remedies
    }
    assert set(NOT_TRIED) <= general_texts
    for begins in (one for several in NEVER.values() for one in several):
        assert any(text.startswith(begins) for text in general_texts), begins
    for words in ("`transaction_timeout` of PgBouncer", "pooler-added"):
        assert words in page.partition("## pooler-26000")[0], words
