"""A recorded server in a test: recorded once against PostgreSQL, then served without it; what a mismatch says."""

from __future__ import annotations

import pytest

from tests.testing.test_pytest_plugin import Project, text

pytestmark = pytest.mark.live
pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester, server, monkeypatch, tmp_path):
    return Project(pytester, server, monkeypatch, tmp_path)


TESTS = """
VALUE = 7

@pytest.mark.pgtrace_serve("marked.trace")
def test_marked(pgtrace):
    with psycopg.connect(pgtrace.dsn, autocommit=True) as connection:
        assert connection.execute("select %s::int as x", (VALUE,)).fetchone() == (VALUE,)
"""
BLOCK = """
def test_block(pgtrace):
    with pgtrace.serve("block") as server, psycopg.connect(server.dsn, autocommit=True) as connection:
        assert connection.execute("select 41 + 1").fetchone() == (42,)
"""


def test_it_is_recorded_once_and_served_without_a_server(project, monkeypatch):
    project.write(TESTS)
    recorded = project.run()
    recorded.assert_outcomes(passed=1)
    assert "captures/marked.trace" in text(recorded)
    golden = project.pytester.path / "captures" / "marked.trace"
    assert '"select $1::int as x"' in golden.read_text()
    before = golden.read_bytes()
    # now there is no server anywhere
    for name in ("PGHOST", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    served = project.run("--pgtrace-upstream", "127.0.0.1:1", upstream=False)
    served.assert_outcomes(passed=1)
    assert golden.read_bytes() == before
    project.write(TESTS.replace("VALUE = 7", "VALUE = 8"))
    differs = project.run("--pgtrace-upstream", "127.0.0.1:1", upstream=False)
    differs.assert_outcomes(failed=1)
    assert "pgtrace: the driver did not send what marked.trace has" in text(differs)
    assert "parameter $1: recorded" in text(differs)
    project.run("--pgtrace-update").assert_outcomes(passed=1)
    assert golden.read_bytes() != before
    project.run("--pgtrace-upstream", "127.0.0.1:1", upstream=False).assert_outcomes(passed=1)


def test_a_block_is_served(project):
    project.write(BLOCK)
    project.run().assert_outcomes(passed=1)
    assert (project.pytester.path / "captures" / "block.trace").exists()
    project.run().assert_outcomes(passed=1)
    project.write(BLOCK.replace("41 + 1", "42 + 0"))
    differs = project.run()
    differs.assert_outcomes(failed=1)
    assert "expected Query, got another Query" in text(differs) or "expected Parse, got another Parse" in text(differs)


def test_what_is_written_wrong_is_said(project, monkeypatch):
    monkeypatch.setenv("CI", "1")
    project.write("""
@pytest.mark.pgtrace_serve("none")
def test_missing(pgtrace):
    raise AssertionError("never run")

@pytest.mark.pgtrace_serve
def test_unnamed(pgtrace):
    raise AssertionError("never run")

@pytest.mark.pgtrace_serve("a", colour="red")
def test_option(pgtrace):
    raise AssertionError("never run")
""")
    result = project.run("--pgtrace-upstream", "127.0.0.1:1", upstream=False)
    result.assert_outcomes(errors=3)
    for reason in ("none.trace", 'it has one name: @pytest.mark.pgtrace_serve("checkout.trace")', "colour= is not an option of serving"):
        assert reason in text(result)
    assert "never run" not in text(result)
