"""Tests that are not live need neither PostgreSQL nor a driver: `make unit` runs them in a Python that has neither."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SITE = Path(__file__).parent / "without_servers"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import psycopg", "no drivers here"),
        ("from asyncpg import connect", "no drivers here"),
        ("import psycopg2.extras", "no drivers here"),
        ("import pg8000.dbapi", "no drivers here"),
        ("from pgtrace.demo.embedded import EmbeddedServer; EmbeddedServer().start()", "embedded"),
        ("import subprocess; subprocess.run(['/usr/lib/postgresql/18/bin/postgres', '--version'])", "no PostgreSQL here"),
        ("import subprocess; subprocess.Popen(['setpriv', '--reuid', '1', '/x/bin/initdb'])", "no PostgreSQL here"),
        ("import socket; socket.create_connection(('127.0.0.1', 5432))", "no PostgreSQL here"),
        ("import socket; socket.socket(socket.AF_UNIX).connect('/tmp/.s.PGSQL.5432')", "no PostgreSQL here"),
    ],
)
def test_neither_a_driver_nor_a_server_can_be_had(code: str, said: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SITE), str(SITE.parents[1])])}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert said in ended.stderr


def test_what_is_not_live_runs_there(request: pytest.FixtureRequest) -> None:
    """This test is not live: where only those are run, drivers are out of reach."""
    assert request.node.get_closest_marker("live") is None
    if request.config.getoption("markexpr") == "not live" and str(SITE) in os.environ.get("PYTHONPATH", ""):
        with pytest.raises(ImportError):
            __import__("psycopg")


def test_who_asks_for_a_server_is_live(pytester: pytest.Pytester) -> None:
    """By fixture, by a fixture of a fixture, by its directory, by the marker; and with `-m "not
    live"` a module that is live is not imported."""
    (pytester.path / "conftest.py").write_text((SITE.parent / "conftest.py").read_text())
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\nmarkers = ["live"]\naddopts = ["--import-mode=importlib", "--strict-markers"]')
    pytester.makepyfile(
        test_mixed="""
            import pytest
            @pytest.fixture
            def above(proxy): ...
            def test_server(server): ...
            def test_proxy(proxy): ...
            def test_above(above): ...
            def test_window(pgtrace): ...
            def test_plain(tmp_path): ...
        """,
        test_marked="import no_such_driver, pytest\npytestmark = pytest.mark.live\ndef test_it(): ...\n",
    )
    live = pytester.mkdir("live")
    (live / "conftest.py").write_text("import no_such_driver\n")
    (live / "test_there.py").write_text("def test_it(): ...\n")
    listed = pytester.runpytest_subprocess("--collect-only", "-q", "-m", "not live", "-p", "no:cacheprovider").outlines
    assert [line for line in listed if "::" in line] == ["test_mixed.py::test_plain"]


def test_where_only_live_tests_run_a_module_without_any_is_not_imported(pytester: pytest.Pytester) -> None:
    (pytester.path / "conftest.py").write_text((SITE.parent / "conftest.py").read_text())
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\nmarkers = ["live"]\naddopts = ["--import-mode=importlib", "--strict-markers"]')
    pytester.makepyfile(
        test_plain="import no_such_module\ndef test_it(tmp_path): ...\n",
        test_marked="import pytest\n@pytest.mark.live\ndef test_it(): ...\n",
        test_fixture="def test_it(tmp_path, server): ...\n",
        test_typed="def test_it(\n    tmp_path: object, server: object\n) -> None: ...\n",
    )
    pytester.mkdir("live").joinpath("test_there.py").write_text("def test_it(): ...\n")
    listed = pytester.runpytest_subprocess("--collect-only", "-q", "-m", "live", "-p", "no:cacheprovider").outlines
    named = ["live/test_there.py::test_it", "test_fixture.py::test_it", "test_marked.py::test_it", "test_typed.py::test_it"]
    assert sorted(line for line in listed if "::" in line) == named


@pytest.mark.parametrize("which", ["live", "not live", "live or not live"])
def test_a_live_test_in_a_module_that_does_not_say_so_is_refused(pytester: pytest.Pytester, which: str) -> None:
    """Unless it is left out with its module: then the other runs refuse it."""
    (pytester.path / "conftest.py").write_text((SITE.parent / "conftest.py").read_text())
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\nmarkers = ["live"]\naddopts = ["--import-mode=importlib", "--strict-markers"]')
    (pytester.path / "needs_a_server.py").write_text("import pytest\n@pytest.fixture\ndef hidden(server): ...\n")
    pytester.makepyfile(test_it="def test_it(hidden): ...\n")
    ended = pytester.runpytest_subprocess("--collect-only", "-q", "-m", which, "-p", "no:cacheprovider", "-p", "needs_a_server")
    said = "\n".join([*ended.outlines, *ended.errlines])
    assert ("would leave its live tests out" in said) == (which != "live"), said
