"""Capture and Recorder as Python sees them, and the examples of docs/python.md, run before a real server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pgtrace
from pgtrace import Capture, Recorder
from pgtrace.errors import AddressError, CaptureError, FilterError, UsageError
from pgtrace.report import stats
from pgtrace.testing.counted import Statement
from pgtrace.trace.counters import KEYS
from tests import playbook

ROOT = Path(__file__).parents[2]
CAPTURES = ROOT / "captures"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def ten():
    with Capture(CAPTURES / "psycopg" / "ten_queries.pgtrace") as capture:
        yield capture


def test_every_counter_is_an_attribute(ten):
    told = stats.as_dict(ten.trace)
    assert ten.json() == told
    assert {key: getattr(ten, key) for key in KEYS} == {key: told["totals"][key] for key in KEYS}
    assert ten.round_trips == 11
    assert set(KEYS) <= set(dir(ten))
    with pytest.raises(AttributeError, match=r"Capture has no 'round_trip': did you mean round_trips\?"):
        _ = ten.round_trip


def test_drivers_connections_and_statements(ten):
    assert {driver: counters.round_trips for driver, counters in ten.drivers.items()} == {"psycopg": 11}
    (connection,) = ten.connections
    assert (connection.driver, connection.user, connection.server_version[:2]) == ("psycopg", "postgres", "18")
    (statement,) = ten.statements
    assert (statement.parses, statement.reused, statement.executions, statement.names) == (6, 4, 10, ["_pg3_0"])
    assert json.loads(json.dumps(ten.json()))["statements"][0]["sql"] == statement.sql


def test_findings(ten):
    (finding,) = ten.findings
    assert (finding.name, finding.driver, finding.cost) == ("n+1", "psycopg", 9)
    assert ten.timeline[finding.evidence[0].place].shape.flight == "PBDES → 12TDCZ"
    assert finding.remedies[0].startswith("WHERE column = ANY(%s)")
    assert ten.findings == ten.findings


@pytest.mark.parametrize(
    "sql",
    [
        "select id, name, price from item where id = $1",
        "SELECT id,name, price\nFROM item WHERE id = 42;",
        "select ... id = $1",
        "... item ...",
        "...",
    ],
)
def test_a_statement_is_found_by(sql, ten):
    assert isinstance(ten.statement(sql), Statement)
    assert ten.statement(sql, driver="psycopg").executions == 10


@pytest.mark.parametrize("sql", ["select id ... from", "item", "select .* id = $1", "SELECT * FROM item"])
def test_a_statement_that_is_none(sql, ten):
    with pytest.raises(LookupError, match=r"there are\n    psycopg  select id, name, price from item where id = \$1"):
        ten.statement(sql)


def test_which_statement(ten):
    paths = [CAPTURES / driver / "ten_queries.pgtrace" for driver in ("psycopg", "asyncpg")]
    with Capture(*paths) as capture:
        with pytest.raises(LookupError, match=r"2 statements match .*: give more of the text, or the driver\n    (asyncpg|psycopg) "):
            capture.statement("select ... from item ...")
        assert capture.statement("select ... from item ...", driver="asyncpg").reused > 0
        with pytest.raises(LookupError, match="there are none of pg8000"):
            capture.statement("...", driver="pg8000")
        assert sorted(connection.file for connection in capture.connections) == [0, 1]


def test_hostile_text_is_shown_escaped(tmp_path, server):
    import psycopg

    path = tmp_path / "hostile.pgtrace"
    with Recorder(upstream=server.url(), write=path) as recorder, psycopg.connect(recorder.url(), autocommit=True) as connection:
        connection.execute('select 1 as "\x1b]0;title\x07\u202e"')
        connection.execute("select 2")
    with Capture(path) as capture:
        assert "\x1b" not in str(capture)
        assert "\\x1b]0;title\\x07\\u202e" in str(capture)
        with pytest.raises(LookupError) as error:
            capture.statement("nothing")
        assert "\x1b" not in str(error.value)


def test_a_packet_capture():
    paths = sorted((ROOT / "tests" / "data" / "packets").glob("*.pcap*"))
    counted = []
    for path in paths:
        with Capture(path) as capture:
            counted.append(capture.round_trips)
    assert any(counted)


def test_what_is_no_capture(tmp_path):
    with pytest.raises(CaptureError, match="unknown file type"):
        Capture(ROOT / "README.md")
    with pytest.raises(CaptureError, match="no such file"):
        Capture(tmp_path / "none.pgtrace")
    with pytest.raises(UsageError, match=r"Capture\('checkout.pgtrace'\)"):
        Capture()


def test_marks(server, tmp_path):
    import psycopg

    path = tmp_path / "marks.pgtrace"
    with Recorder(upstream=server.url(), write=path, rtt="1ms") as recorder:
        assert recorder.rtt_ns == 1_000_000
        with psycopg.connect(recorder.url(), autocommit=True) as connection:
            connection.execute("select 'before'")
            for times in (1, 2):
                with recorder.mark("twice"):
                    for _ in range(times):
                        connection.execute("select 'within', %s", (times,))
            with recorder.mark("other"):
                connection.execute("select 'other'")
    with Capture(path) as capture:
        assert {name: counters.round_trips for name, counters in capture.marks.items()} == {"twice": 3, "other": 1}
        window = capture.mark("twice")
        assert (window.round_trips, window.executions, window.drivers) == (3, 3, ["psycopg"])
        assert [(one.sql, one.executions) for one in window.statements] == [("select $1, $2", 3)]
        assert window.statement("select ... $2").parses == 3
        assert window.json()["statements"][0]["executions"] == 3
        assert window.json()["round_trips"] == 3
        assert str(window) == "  1-3  PBDES → 12TDCZ  select 'within', $1  (1 row)  ×3"
        assert repr(window) == "<Window 'twice': 3 round trips>"
        with pytest.raises(LookupError, match="no mark 'twoce'; the marks are 'twice', 'other'"):
            capture.mark("twoce")


def test_a_url(server):
    import psycopg

    with Recorder(upstream=server.url()) as recorder:
        place = f"127.0.0.1:{recorder.port}"
        assert recorder.url() == f"postgresql://postgres:{server.password}@{place}/postgres"
        assert recorder.url(scheme="postgresql+asyncpg", database="a/b") == f"postgresql+asyncpg://postgres:{server.password}@{place}/a%2Fb"
        assert recorder.url(user="me@home") == f"postgresql://me%40home@{place}/postgres"
        with psycopg.connect(recorder.url()) as connection:
            assert connection.info.port == recorder.port
    recorder = Recorder(upstream="db:5432")
    assert (recorder.upstream.host, recorder.port) == ("db", 0)
    with pytest.raises(UsageError, match="'20 miles' is not a duration"):
        Recorder(upstream="db", rtt="20 miles")
    with pytest.raises(AddressError):
        Recorder(upstream="db:nowhere")


def test_a_url_from_the_environment(server, monkeypatch):
    for name, value in (server.environment() | {"PGUSER": "some one"}).items():
        monkeypatch.setenv(name, value)
    with Recorder() as recorder:
        assert recorder.url() == f"postgresql://some%20one:{server.password}@127.0.0.1:{recorder.port}/postgres"


def test_nothing_is_imported_before_it_is_used():
    script = (
        "import sys, pgtrace; print(sorted(name for name in sys.modules if name.startswith('pgtrace'))); from pgtrace import "
        "Capture, Recorder"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "['pgtrace']\n"
    assert pgtrace.Recorder is Recorder
    with pytest.raises(AttributeError):
        _ = pgtrace.Recoder


def test_the_examples_of_the_page(server, tmp_path, monkeypatch, capsys):
    """Run in the order of the page, each with the imports it shows; only the server's name is another."""
    import psycopg

    monkeypatch.chdir(tmp_path)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("create role shop login")
        connection.execute("create database shop owner shop")
        connection.execute(f"alter role shop password '{server.password}'")
    monkeypatch.setenv("PGPASSWORD", server.password)

    def check_out(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("create temporary table item (id int primary key, name text)")
            connection.execute("insert into item values (1, 'tea')")
            for _ in range(3):
                connection.execute("select name from item where id = %s", (1,))

    for example in EXAMPLES:
        exec(compile(example.replace("db:5432", f"{server.host}:{server.port}"), "docs/python.md", "exec"), {"check_out": check_out})
    printed = capsys.readouterr().out
    assert len(EXAMPLES) == 3
    assert re.match(r"5 0 3\npsycopg 5\n3 0 0\n5 ", printed)
    assert "PBDES → 12TDCZ  select name from item where id = $1  (1 row)  ×3\n" in printed
    assert printed.endswith("0 5\n1 10\n2 15\n")


def test_what_a_filter_selects_is_counted_exactly(ten):
    """The same numbers as `stats --filter`, for a capture, and within a mark."""
    prepared = ten.where("stmt:_pg3_0")
    assert (prepared.round_trips, prepared.parses_named, prepared.statements_reused) == (6, 1, 4)
    assert [row.number - 1 for row in prepared.timeline] == prepared.places
    assert len(prepared.places) == 6
    assert str(prepared).splitlines()[0].split()[1] == "PS"
    assert ten.where("error").round_trips == 0
    with pytest.raises(FilterError, match="unknown filter word"):
        ten.where("nonsense:1")


def test_a_filter_within_a_mark(server):
    import psycopg

    with (
        Recorder(upstream=f"{server.host}:{server.port}") as recorder,
        psycopg.connect(server.url(recorder.host, recorder.port), autocommit=True) as connection,
    ):
        connection.execute("select 'before'")
        with recorder.mark("work"):
            connection.execute("select 'inside'")
            connection.execute("listen work")
        with Capture(recorder.capture) as capture:
            recorder.quiet(capture)
            assert capture.where("sql ~ '^select'").round_trips == 2
            assert capture.mark("work").where("sql ~ '^select'").round_trips == 1
            assert capture.mark("work").where("").round_trips == capture.mark("work").round_trips == 2


def test_a_notebook_shows_a_table(tmp_path: Path) -> None:
    """With counters and findings, and no markup from the wire."""
    with Capture(ROOT / "captures" / "sqlalchemy+psycopg" / "ten_queries.pgtrace") as capture:
        page = capture._repr_html_()
    assert "<td>psycopg</td><td>4</td><td>23</td>" in page
    assert "<b>n+1</b> (psycopg, 9 round trips)" in page
    hostile = "F StartupMessage user=<b>x database=d application_name=<script>\nB AuthenticationOk | ReadyForQuery I\n"
    loop = "".join(f"F Query select '<img src=x>' from t where a = {n}\nB CommandComplete SELECT 1 | ReadyForQuery I\n" for n in range(12))
    with Capture(playbook.write(tmp_path / "<i>.pgtrace", f"{hostile}{loop}end")) as capture:
        page = capture._repr_html_()
    assert "<img" not in page
    assert "<script" not in page
    assert "&lt;i&gt;.pgtrace" in page
