"""Every scenario that psycopg plays for the captures, with libpq's own trace beside the recording: the golden is that trace.

libpq's trace begins once psycopg has the connection; the golden is compared from there on.
"""

from __future__ import annotations

import psycopg
import pytest
from psycopg import pq

from captures.recording import with_psycopg
from captures.recording.scenarios import SCHEMA, Target
from tests.live import scenario_server
from tests.live.libpq_text import exported, traced

server = scenario_server.server


@pytest.mark.parametrize("scenario", with_psycopg.PLAYS)
def test_the_golden_is_libpq_s_trace(scenario, server, distant_proxy, trace_of, tmp_path, monkeypatch):
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(SCHEMA)
    connect = psycopg.connect
    with (tmp_path / "libpq.trace").open("wb") as file:

        def traced_connect(*args, **options):
            connection = connect(*args, **options)
            connection.pgconn.trace(file.fileno())
            connection.pgconn.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS | pq.Trace.REGRESS_MODE)
            return connection

        monkeypatch.setattr(psycopg, "connect", traced_connect)
        target = Target(distant_proxy.host, distant_proxy.port, server.user, server.password, server.database)
        with_psycopg.PLAYS[scenario](target)
    found = exported(trace_of(distant_proxy), plain=False)
    found = [line for line in found if "\tCancelRequest\t" not in line]
    begins = next(place for place, line in enumerate(found) if line == "B\t5\tReadyForQuery\t I") + 1
    assert found[begins:] == traced((tmp_path / "libpq.trace").read_bytes())
