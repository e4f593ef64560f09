"""A label, and the capture that is called after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pgtrace import variant
from pgtrace.cli import root
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.errors import UsageError


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("asyncpg", "asyncpg.pgtrace"),
        ("psycopg text", "psycopg-text.pgtrace"),
        ("../../etc/passwd", "etc-passwd.pgtrace"),
        ("cache=0", "cache=0.pgtrace"),
        ("\x1b[31m", "31m.pgtrace"),
        ("..", "variant.pgtrace"),
        ("größer", "größer.pgtrace"),
    ],
)
def test_the_name_of_its_capture(label: str, name: str) -> None:
    assert variant.file_name(variant.checked(label)) == name


@pytest.mark.parametrize("label", ["", "  ", "x" * 201])
def test_what_is_no_label(label: str) -> None:
    with pytest.raises(UsageError):
        variant.checked(label)


def test_a_directory_without_a_label_is_refused(tmp_path: Path) -> None:
    found = CliRunner().invoke(root, ["run", "-w", f"{tmp_path}/", "true"])
    assert found.exit_code == 2
    assert "--label" in found.output


def test_a_program_is_recorded_under_a_label(server: EmbeddedServer, tmp_path: Path) -> None:
    into = tmp_path / "captures"
    program = "import os, psycopg; psycopg.connect(os.environ['DATABASE_URL']).execute('SELECT 1')"
    pgtrace = [sys.executable, "-m", "pgtrace"]
    subprocess.run(
        [*pgtrace, "run", "-q", "--label", "psycopg text", "-w", f"{into}/", "--", sys.executable, "-c", program],
        env={**os.environ, "DATABASE_URL": server.url()},
        check=True,
        timeout=60,
    )
    told = json.loads(subprocess.check_output([*pgtrace, "stats", "--json", into / "psycopg-text.pgtrace"], timeout=60))
    assert [(one["label"], one["executions"]) for one in told["labels"]] == [("psycopg text", 2)]
