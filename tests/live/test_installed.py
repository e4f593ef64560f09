"""What is built is what is documented: docs/start.md typed as it is, with the wheel, in an empty directory.

PGTRACE_PYTHONS names more interpreters, separated by `:`; each gets an environment of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import consoles

ROOT = Path(__file__).parents[2]
START = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
TOOLS = Path(sys.executable).parent
PYTHONS = [sys.executable, *filter(None, os.environ.get("PGTRACE_PYTHONS", "").split(":"))]
STEP = re.compile(r'^```(?:python title="([^"]+)"(?: replaces="([^"]+)")?|console)\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is published, made from this checkout: it is fit to be."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(out)], cwd=ROOT, check=True, capture_output=True)
    made = sorted(out.iterdir())
    assert [path.suffix for path in made] == [".whl", ".gz"]
    done = subprocess.run([TOOLS / "twine", "check", "--strict", *made], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return made[0]


def installed(wheel: Path, python: str, home: Path) -> dict[str, str]:
    """An environment with the wheel and pytest and nothing else, and the variables for it."""
    environment = home / "environment"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PYTHON", "PYTEST", "VIRTUAL_ENV"))}
    uv = str(TOOLS / "uv")
    subprocess.run([uv, "-q", "venv", "--python", python, environment], check=True, env=clean)
    where = ["--python", str(environment / "bin" / "python")]
    subprocess.run([uv, "-q", "pip", "install", *where, f"{wheel}[demo]", "pytest"], check=True, env=clean)
    return {**clean, "PATH": f"{environment / 'bin'}:{clean['PATH']}", "XDG_STATE_HOME": str(home / "state"), "NO_COLOR": "1"}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_first_ten_minutes(python: str, wheel: Path, tmp_path: Path) -> None:
    """Files are written and commands typed in the order of the page."""
    environment = installed(wheel, python, tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    for file, replaced, text in STEP.findall(START):
        if file:
            write(work / file, replaced, text)
            continue
        for command in consoles.commands(text):
            done = subprocess.run(
                ["bash", "-c", command.line],
                cwd=work,
                env=environment,
                text=True,
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=100,
            )
            assert consoles.matches(done.stdout, command.printed), f"{command.line}\n{done.stdout}"
            assert done.returncode == int("not met" in command.printed or "failed" in command.printed), command.line
    assert (tmp_path / "environment/share/man/man1/pgtrace-run.1").exists()


def write(path: Path, replaced: str, text: str) -> None:
    """A file, or the part of it that begins with `replaced` and ends before the next one."""
    if replaced:
        before, found, rest = path.read_text(encoding="utf-8").partition(replaced)
        assert found, replaced
        text = before + text + "\n\n" + rest[rest.index("\nif __name__") + 1 :]
    path.write_text(text, encoding="utf-8")
