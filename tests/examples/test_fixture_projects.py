"""The projects of examples/ where only a fixture, or the test itself, knows the server; and unittest without pytest.

There is no Docker here: a module in the place of testcontainers gives a running server as its container. What is tried is our side of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.live

EXAMPLES = Path(__file__).parents[2] / "examples"
OPTIONS = ["-q", "-pno:cacheprovider", "-pno:hypothesispytest", "-pno:asyncio", "-pno:django", "-pno:xdist", "-pno:timeout"]
CONTAINER = """
import os
class PostgresContainer:
    def __init__(self, image, *, driver="psycopg2"):
        assert (image, driver) == ("postgres:18", None)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass
    def get_connection_url(self):
        return os.environ["THE_CONTAINER"]
"""


def run(name, tmp_path, arguments, **variables):
    project = shutil.copytree(EXAMPLES / name, tmp_path / name)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "DJANGO_", "DATABASE_URL"))}
    environment |= {"TMPDIR": str(tmp_path), **variables}
    done = subprocess.run([sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert sorted(tmp_path.glob("pgtrace-*")) == []
    return done


def test_unittest(server, tmp_path):
    done = run("unittest_project", tmp_path, ["-W", "error", "-m", "unittest"], DATABASE_URL=server.url())
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Ran 1 test" in done.stderr


def test_pytest_postgresql(server, tmp_path):
    url = urlsplit(server.url())
    there = [
        f"--postgresql-{name}={value}"
        for name, value in (("host", url.hostname), ("port", url.port), ("user", url.username), ("password", url.password))
    ]
    done = run("postgresql_project", tmp_path, ["-m", "pytest", *OPTIONS, *there])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_testcontainers(server, tmp_path):
    stub = tmp_path / "stub" / "testcontainers"
    stub.mkdir(parents=True)
    (stub / "__init__.py").touch()
    (stub / "postgres.py").write_text(CONTAINER, encoding="utf-8")
    done = run(
        "containers_project",
        tmp_path,
        ["-m", "pytest", *OPTIONS],
        THE_CONTAINER=server.url(),
        PYTHONPATH=f"{stub.parent}:{os.environ.get('PYTHONPATH', '')}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
