"""The image, the compose example and the workflows: checked as far as that goes without running
them (`make image` builds and runs the image)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent


def done(*command: str | Path) -> str:
    """What a checker has to say: nothing, or what is wrong."""
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return "" if found.returncode == 0 else found.stdout + found.stderr


def test_the_dockerfile() -> None:
    assert done(TOOLS / "hadolint", "Dockerfile") == ""


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("compose-spec", "examples/compose/compose.yaml"),
        ("github-workflows", ".github/workflows/release.yml"),
        ("github-workflows", ".github/workflows/ci.yml"),
    ],
)
def test_a_file_is_what_its_reader_takes(schema: str, file: str) -> None:
    assert done(TOOLS / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", file) == ""


def test_the_image_has_all_that_the_build_needs() -> None:
    """Docker sends what .dockerignore lets through, and nothing else."""
    sent = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    assert sent == {"pgtrace", "release", "hatch_build.py", "pyproject.toml", "README.md", "LICENSE", "wheels"}
    assert all((ROOT / name).exists() for name in sent - {"wheels"})
