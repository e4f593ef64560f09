"""The projects of examples/ run as they are, in a copy, before a real server; and one query more in any of them is found and named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live


EXAMPLES = Path(__file__).parents[2] / "examples"
TESTS = {"pytest_project": 4, "sqlalchemy_project": 4, "django_project": 4}
CHANGES = {
    "pytest_project": (
        "shop.py",
        "    return len(found)",
        '        connection.execute("select max(price) from sale")\n    return len(found)',
    ),
    "sqlalchemy_project": ("models.py", "select(Order).options(selectinload(Order.lines))", "select(Order)"),
    "django_project": ("shop/models.py", '.prefetch_related("lines")', ".all()"),
}
"""File, and what becomes of which text in it."""
SAID = {
    "pytest_project": ["select max(price) from sale", "+1 round trip: select max(price) from sale is new", "round_trips is 5, at most 4"],
    "sqlalchemy_project": ["> 4-7  PBDES", "x5 SELECT … FROM order_line", "one query for each row (N+1)?"],
    "django_project": ["round_trips is 12, at most 8", 'x5 SELECT … FROM "shop_line"', "one query for each row (N+1)?"],
}


@pytest.fixture(params=TESTS)
def project(request, tmp_path):
    return Path(shutil.copytree(EXAMPLES / request.param, tmp_path / request.param))


def run(project, server, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "DJANGO_"))}
    environment |= {"DATABASE_URL": server.url(), "TMPDIR": str(tmp_path), "CI": "true"}
    options = ["-q", "-pno:cacheprovider", "-pno:hypothesispytest", "-pno:asyncio", "--pgtrace-upstream", server.url()]
    command = [sys.executable, "-m", "pytest", *options]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.sampled(2)
def test_it_passes(project, server, tmp_path):
    done = run(project, server, tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert f"{TESTS[project.name]} passed" in done.stdout
    assert sorted(tmp_path.glob("pgtrace-*")) == []


@pytest.mark.sampled(2)
def test_one_query_more_is_named(project, server, tmp_path):
    file, before, after = CHANGES[project.name]
    source = (project / file).read_text(encoding="utf-8")
    assert before in source
    (project / file).write_text(source.replace(before, after), encoding="utf-8")
    done = run(project, server, tmp_path)
    assert done.returncode == 1
    assert [text for text in SAID[project.name] if text not in done.stdout] == [], done.stdout
