"""Real drivers and a real PostgreSQL with TLS, seen by tcpdump, with the secrets that OpenSSL
wrote: it counts what the plain session counts."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from pgtrace.address import parse_listen, parse_upstream
from pgtrace.certificates import DriverTls
from pgtrace.recorder import Recorder
from tests.live.packet_recording import tcpdump
from tests.live.traffic import until

WORK = ["select 1", "select generate_series(1, 300)", "select repeat('x', 100000)"]


def stats(*arguments: str | Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "pgtrace", "stats", "--json", *map(str, arguments)]
    found = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert "stay encrypted" not in found.stderr
    counted: dict[str, Any] = json.loads(found.stdout)
    return counted


def context(keylog: Path | None, version: ssl.TLSVersion) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.maximum_version = version
    made.set_alpn_protocols(["postgresql"])
    if keylog is not None:
        made.keylog_filename = str(keylog)
    return made


async def asyncpg_works(host: str, port: int, server: Any, *, ssl_context: ssl.SSLContext | bool, direct: bool = False) -> None:
    connection = await asyncpg.connect(
        host=host, port=port, user=server.user, password=server.password, database=server.database, ssl=ssl_context, direct_tls=direct
    )
    try:
        for statement in WORK:
            await connection.fetch(statement)
        await connection.executemany("select $1::int", [(number,) for number in range(50)])
    finally:
        await connection.close()


def psycopg_works(host: str, port: int, server: Any, rest: str) -> None:
    login = f"host={host} port={port} user={server.user} password={server.password} dbname={server.database} {rest}"
    with psycopg.connect(login, autocommit=True) as connection:
        for statement in WORK:
            connection.execute(statement)
        with connection.pipeline():
            for number in range(20):
                connection.execute("select %s::int", [number])


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_asyncpg(version: ssl.TLSVersion, direct: bool, tls_server, tmp_path: Path) -> None:
    keylog, packets, plain = tmp_path / "keys", tmp_path / "tls.pcap", tmp_path / "plain.pcap"
    host, port = "127.0.0.1", tls_server.port
    with tcpdump(packets, port):
        asyncio.run(asyncpg_works(host, port, tls_server, ssl_context=context(keylog, version), direct=direct))
    with tcpdump(plain, port):
        asyncio.run(asyncpg_works(host, port, tls_server, ssl_context=False))
    found = stats("--keylog", keylog, packets)
    expected = stats("--port", str(port), plain)
    (about,) = found["connections"]
    assert (about["driver"], about["kind"], about["tls"]["frontend"]) == ("asyncpg", "session", version.name.replace("_", "."))
    for key in ("round_trips", "executions", "rows", "binds", "parses_named", "values_binary", "errors"):
        assert found["totals"][key] == expected["totals"][key], key
    assert found["totals"]["rows"] == 352
    assert found["capture"]["complete"]


@pytest.mark.skipif(psycopg.pq.version() < 180000, reason="sslkeylogfile is libpq 18's")
def test_psycopg_and_the_secrets_in_the_file(tls_server, tmp_path: Path) -> None:
    keylog, packets = tmp_path / "keys", tmp_path / "tls.pcap"
    with tcpdump(packets, tls_server.port):
        psycopg_works("127.0.0.1", tls_server.port, tls_server, f"sslmode=require sslkeylogfile={keylog}")
    found = stats("--keylog", keylog, packets)
    (about,) = found["connections"]
    assert (about["driver"], about["application_name"], about["tls"]["frontend"]) == ("psycopg", "", "TLSv1.3")
    assert found["totals"]["rows"] == 1 + 300 + 1 + 20
    if shutil.which("editcap"):
        injected = tmp_path / "tls.pcapng"
        subprocess.run(["editcap", "--inject-secrets", f"tls,{keylog}", packets, injected], check=True)
        again = stats(injected)
        assert again["totals"] == found["totals"]


def test_pgtraces_own_tls(tls_server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSLKEYLOGFILE has both legs: what tcpdump sees before pgtrace is what pgtrace recorded."""
    keylog, packets, capture = tmp_path / "keys", tmp_path / "tls.pcap", tmp_path / "recorded.pgtrace"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keylog))
    upstream = parse_upstream(f"postgresql://127.0.0.1:{tls_server.port}/?sslmode=require", {})
    with Recorder(parse_listen("127.0.0.1:0"), upstream, tls=DriverTls("end"), write=capture) as recorder, tcpdump(packets, recorder.port):
        asyncio.run(asyncpg_works("127.0.0.1", recorder.port, tls_server, ssl_context=context(None, ssl.TLSVersion.TLSv1_3)))
        psycopg_works("127.0.0.1", recorder.port, tls_server, "sslmode=require channel_binding=disable")
        until(lambda: recorder.stats()["connections"], lambda live: live == 0)
    monkeypatch.delenv("SSLKEYLOGFILE")
    found, recorded = stats("--keylog", keylog, packets), stats(capture)
    for key, value in recorded["totals"].items():
        if not key.endswith("_ns"):
            assert found["totals"][key] == value, key
    text = keylog.read_text().split()
    assert not [word for word in text if len(word) > 60 and word.encode() in capture.read_bytes()]
    assert os.stat(keylog).st_mode & 0o777 == 0o600
